//! TOML text to a tree of values, and where each of them stands.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use serde::Deserialize as _;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Mistakes, Place};
use super::key::Key;

/// A file that was read.
#[derive(Default)]
pub(super) struct Document {
    /// Its values.
    pub(super) tree: toml::Table,
    /// Where each value stands.
    pub(super) values: BTreeMap<Key, Place>,
    /// Where the name of each value stands.
    pub(super) names: BTreeMap<Key, Place>,
}

impl Document {
    /// Reads a file's text. What is no TOML is noted, without the text around it: that may hold a secret.
    pub(super) fn parse(path: &str, text: &str, mistakes: &mut Mistakes) -> Self {
        let lines = Lines { path: path.into(), text };
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            mistakes.syntax(lines.place(error.span().unwrap_or_default()), format!("no TOML: {}", error.message()));
        }
        let mut document = Self::default();
        if !errors.is_empty() {
            return document;
        }
        document.index(&Key::default(), table.get_ref(), &lines);
        match toml::Table::deserialize(toml::Deserializer::from(table)) {
            Ok(tree) => document.tree = tree,
            // The reader's own words would show the number.
            Err(error) => {
                let place = lines.place(error.span().unwrap_or_default());
                mistakes.syntax(place, "no TOML: a number has too many digits".to_owned());
            }
        }
        document
    }

    fn index(&mut self, parent: &Key, table: &DeTable<'_>, lines: &Lines<'_>) {
        for (name, value) in table {
            let key = parent.child(name.get_ref());
            self.names.insert(key.clone(), lines.place(Spanned::span(name)));
            self.values.insert(key.clone(), lines.place(value.span()));
            if let DeValue::Table(table) = value.get_ref() {
                self.index(&key, table, lines);
            }
        }
    }
}

struct Lines<'a> {
    path: Arc<str>,
    text: &'a str,
}

impl Lines<'_> {
    fn place(&self, span: Range<usize>) -> Place {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or(before).chars().count() + 1;
        Place::File { path: Arc::clone(&self.path), line, column }
    }
}
