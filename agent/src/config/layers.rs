//! The values of the file and the environment in one tree, and where each of them was written.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::document::Document;
use super::endpoint::redacted;
use super::error::{Mistakes, Place};
use super::key::Key;
use super::raw::Raw;
use super::schema::Node;

/// Values found so far.
pub(super) struct Layers<'a> {
    schema: Node<'a>,
    tree: Table,
    places: BTreeMap<Key, Place>,
    /// Where the settings of the file have their names.
    names: BTreeMap<Key, Place>,
}

/// Longest value, in characters, that a message shows whole.
const SHOWN: usize = 80;

impl<'a> Layers<'a> {
    /// Begins with the values of a file.
    pub(super) fn new(schema: Node<'a>, file: Document) -> Self {
        Self { schema, tree: file.tree, places: file.values, names: file.names }
    }

    /// Puts a value in the place of what was there.
    pub(super) fn set(&mut self, key: &Key, value: impl Into<Value>, place: Place) {
        let Some((last, parents)) = key.split_last() else { return };
        if let Some(table) = table_mut(&mut self.tree, parents) {
            table.insert(last.to_owned(), value.into());
            self.places.retain(|other, _| !other.is_below(key));
            self.places.insert(key.clone(), place);
        }
    }

    /// Takes out what the file must not hold, and notes it.
    pub(super) fn remove_unknown(&mut self, mistakes: &mut Mistakes) {
        let mut unknown = Vec::new();
        find_unknown(self.schema, &Key::default(), &self.tree, &mut unknown);
        for (key, known) in unknown {
            let name = key.names().last().map_or("", String::as_str);
            let meant = nearest(name, &known).or_else(|| elsewhere(self.schema, &Key::default(), name));
            let meant = meant.map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
            let problem = format!("no such setting{meant} (there are: {})", known.join(", "));
            mistakes.note(self.names.get(&key).cloned(), &key, problem);
            self.remove(&key);
        }
    }

    /// The settings, and a table of all of them. What has the wrong type or is out of range is noted, and is as
    /// if it had not been set.
    pub(super) fn read(&mut self, mistakes: &mut Mistakes) -> (Raw, Table) {
        loop {
            let wrong = match serde_path_to_error::deserialize::<_, Raw>(Value::Table(self.tree.clone())) {
                Err(error) => vec![Key::from(error.path())],
                Ok(raw) => {
                    let whole = Table::try_from(&raw).unwrap_or_default();
                    let mut wrong = Vec::new();
                    find_out_of_range(self.schema, &Key::default(), &whole, &mut wrong);
                    if wrong.is_empty() {
                        return (raw, whole);
                    }
                    wrong
                }
            };
            for key in wrong {
                self.refuse(&key, None, mistakes);
                if !self.remove(&key) {
                    return (Raw::default(), Table::new());
                }
            }
        }
    }

    /// Notes that a setting's value is not accepted; `accepted` in place of what the schema says of it.
    pub(super) fn refuse(&self, key: &Key, accepted: Option<&str>, mistakes: &mut Mistakes) {
        let (described, secret) = self.schema.at(key).map_or((None, true), |(node, secret)| (Some(node), secret));
        let mut accepted = accepted.map(str::to_owned).or_else(|| described.map(Node::accepts)).unwrap_or_default();
        if self.value(key).is_some_and(Value::is_table) && described.is_some_and(|node| !node.is_section()) {
            accepted.push_str(" (a name with dots stands in quotes)");
        }
        let found = if secret { None } else { self.value(key).map(shown) };
        mistakes.refuse(self.place(key), key, found.as_deref(), &accepted);
    }

    /// Where a setting was written; `None` where it was not.
    pub(super) fn place(&self, key: &Key) -> Option<Place> {
        key.nearest(|key| self.places.get(key).cloned().filter(|_| self.value(key).is_some()))
    }

    /// True for a setting that was written.
    pub(super) fn is_set(&self, key: &Key) -> bool {
        self.value(key).is_some()
    }

    /// Where every value was written.
    pub(super) fn into_places(self) -> BTreeMap<Key, Place> {
        self.places
    }

    fn value(&self, key: &Key) -> Option<&Value> {
        let (last, parents) = key.split_last()?;
        parents.iter().try_fold(&self.tree, |table, name| table.get(name)?.as_table())?.get(last)
    }

    fn remove(&mut self, key: &Key) -> bool {
        let Some((last, parents)) = key.split_last() else { return false };
        let table = parents.iter().try_fold(&mut self.tree, |table, name| table.get_mut(name)?.as_table_mut());
        table.and_then(|table| table.remove(last)).is_some()
    }
}

fn table_mut<'t>(root: &'t mut Table, parents: &[String]) -> Option<&'t mut Table> {
    parents.iter().try_fold(root, |table, name| {
        table.entry(name.clone()).or_insert_with(|| Value::Table(Table::new())).as_table_mut()
    })
}

fn find_unknown(node: Node<'_>, key: &Key, table: &Table, unknown: &mut Vec<(Key, Vec<String>)>) {
    for (name, value) in table {
        let key = key.child(name);
        match (node.child(name), value) {
            (None, _) => {
                let known = node.children().into_iter().flatten().map(|(name, _)| name.to_owned()).collect();
                unknown.push((key, known));
            }
            (Some(child), Value::Table(inner)) if child.is_section() => find_unknown(child, &key, inner, unknown),
            _ => (),
        }
    }
}

fn find_out_of_range(node: Node<'_>, key: &Key, table: &Table, wrong: &mut Vec<Key>) {
    for (name, value) in table {
        let (key, child) = (key.child(name), node.child(name));
        match (child, value) {
            (Some(child), Value::Table(inner)) => find_out_of_range(child, &key, inner, wrong),
            (Some(child), value) if !child.contains(value) => wrong.push(key),
            _ => (),
        }
    }
}

/// The known name that is most like one that is not.
fn nearest(name: &str, known: &[String]) -> Option<String> {
    let likeness = |known: &String| strsim::jaro_winkler(name, known);
    let best = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(best) > 0.8).then(|| best.clone())
}

/// The setting of this very name in some other section.
fn elsewhere(node: Node<'_>, key: &Key, name: &str) -> Option<String> {
    let mut children = node.children()?.map(|(child, node)| (key.child(child), child, node));
    children.find_map(
        |(key, child, node)| {
            if child == name { Some(key.to_string()) } else { elsewhere(node, &key, name) }
        },
    )
}

/// A value as it stands in the file, shortened. Tables may hold secrets and are not shown.
fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) => format!("{:?}", redacted(text)),
        Value::Table(_) => "a table".to_owned(),
        Value::Array(list) if list.iter().any(|one| one.is_table() || one.is_array()) => {
            "a list of other things".to_owned()
        }
        Value::Array(list) => format!("[{}]", list.iter().map(shown).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    };
    match text.char_indices().nth(SHOWN) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}
