//! The configuration as text: all defaults with their meaning, and what is in force.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

use toml::{Table, Value};

use super::Config;
use super::describe::{Setting, sections};
use super::endpoint::redacted;
use super::error::Place;
use super::key::Key;
use super::schema::{Node, schema};
use crate::export::{Compression, Destination, Protocol};

/// Longest line of a comment.
const WIDTH: usize = 100;

const DEFAULT_HEAD: &str = "Every setting of inferscope. A line that begins with `#` and a name holds the default, or an \
    example where the setting has no default: take the `#` away and write what you want. Environment variables of \
    OpenTelemetry go before this file; `inferscope config print --effective` shows what is in force, and why.";

/// A file with every setting, its meaning and its default. It says nothing that is not so without it.
pub fn default_file() -> String {
    let mut out = String::new();
    comment(&mut out, DEFAULT_HEAD);
    for section in sections() {
        out.push('\n');
        comment(&mut out, &section.description);
        line(&mut out, format_args!("[{}]", section.name));
        for setting in &section.settings {
            print_default(&mut out, setting);
        }
    }
    out
}

fn print_default(out: &mut String, setting: &Setting) {
    if !setting.description.is_empty() {
        out.push('\n');
        let limits = setting.limits.as_ref().map(|limits| format!(" Accepted: {limits}."));
        comment(out, &format!("{}{}", setting.description, limits.unwrap_or_default()));
        for (word, meaning) in &setting.words {
            comment(out, &format!("- \"{word}\": {meaning}"));
        }
    }
    let empty = |value: &&String| matches!(value.as_str(), "[]" | "{}");
    match (setting.default.as_ref().filter(|default| !empty(default)), &setting.example) {
        (Some(value), _) => line(out, format_args!("#{} = {value}", setting.name)),
        (None, Some(value)) => line(out, format_args!("#{} = {value}  # an example", setting.name)),
        (None, None) => (),
    }
}

fn comment(out: &mut String, text: &str) {
    let mut width = 0;
    for word in text.split(' ') {
        if width == 0 || width + 1 + word.len() > WIDTH {
            out.push_str(if width == 0 { "# " } else { "\n# " });
            width = 2;
        } else {
            out.push(' ');
            width += 1;
        }
        out.push_str(word);
        width += word.len();
    }
    out.push('\n');
}

fn line(out: &mut String, text: fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _written: fmt::Result = writeln!(out, "{text}");
}

/// The values in force, and where each was written. Holds secrets, and shows none.
#[derive(Clone, Default)]
pub(super) struct Effective {
    values: Table,
    places: BTreeMap<Key, Place>,
}

impl fmt::Debug for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Effective").finish_non_exhaustive()
    }
}

/// Column in which the origin of a value begins.
const ORIGIN: usize = 48;

impl Effective {
    pub(super) fn new(values: Table, places: BTreeMap<Key, Place>) -> Self {
        Self { values, places }
    }

    fn section(&self, out: &mut String, node: Node<'_>, key: &Key) {
        let children = || node.children().into_iter().flatten();
        let settings = children().filter(|(_, child)| !child.is_section());
        let set = settings.filter_map(|(name, child)| Some((name, child, self.value(&key.child(name))?)));
        for (place, (name, child, value)) in set.enumerate() {
            if place == 0 {
                let gap = if out.is_empty() { "" } else { "\n" };
                line(out, format_args!("{gap}[{key}]"));
            }
            let text = format!("{name} = {}", shown(value, child.is_secret()));
            line(out, format_args!("{text:<ORIGIN$} # {}", self.origin(&key.child(name))));
        }
        for (name, child) in children().filter(|(_, child)| child.is_section()) {
            self.section(out, child, &key.child(name));
        }
    }

    fn value(&self, key: &Key) -> Option<&Value> {
        let (last, parents) = key.split_last()?;
        parents.iter().try_fold(&self.values, |table, name| table.get(name)?.as_table())?.get(last)
    }

    fn is_true(&self, key: &str) -> bool {
        self.value(&Key::of(key)).and_then(Value::as_bool) == Some(true)
    }

    /// Where a setting, or each part of it, was written.
    fn origin(&self, key: &Key) -> String {
        let parts = self.places.iter().filter(|(part, _)| part.is_below(key)).map(|(_, place)| place);
        let parts: BTreeSet<String> = parts.map(origin).collect();
        if !parts.is_empty() {
            return parts.into_iter().collect::<Vec<_>>().join(", ");
        }
        self.places.get(key).map_or_else(|| "default".to_owned(), origin)
    }
}

fn origin(place: &Place) -> String {
    match place {
        Place::File { path, line, .. } => format!("{path}:{line}"),
        Place::Variable(_) | Place::CommandLine => place.to_string(),
    }
}

fn shown(value: &Value, secret: bool) -> String {
    match value {
        Value::Table(table) if secret => {
            let hidden = table.keys().map(|name| (name.clone(), Value::from("(hidden)")));
            Value::Table(hidden.collect()).to_string()
        }
        Value::String(text) => Value::String(redacted(text)).to_string(),
        value => value.to_string(),
    }
}

impl Config {
    /// What is in force, and where each value was written. Secrets are hidden.
    pub fn effective(&self) -> String {
        let mut out = String::new();
        let schema = schema();
        self.effective.section(&mut out, Node::new(&schema), &Key::default());
        out.push('\n');
        for destination in self.destinations().lines() {
            line(&mut out, format_args!("# {destination}"));
        }
        out
    }

    /// Where each signal goes, or why it does not: one line for each.
    pub fn destinations(&self) -> String {
        let signals = [
            ("Metrics", "metrics.export", &self.export.metrics),
            ("Spans", "spans.export", &self.export.traces),
            ("The agent's log", "log.export", &self.export.logs),
        ];
        let mut out = String::new();
        for (what, switch, destination) in signals {
            line(&mut out, format_args!("{what}: {}", self.whereto(switch, destination.as_ref())));
        }
        out
    }

    fn whereto(&self, switch: &str, destination: Option<&Destination>) -> String {
        let Some(destination) = destination else {
            let off = ["otlp.enabled", switch].into_iter().find(|switch| !self.effective.is_true(switch));
            let why = off.map_or_else(|| "no endpoint is set".to_owned(), |switch| format!("{switch} is false"));
            return format!("not shipped, because {why}");
        };
        let protocol = match destination.protocol {
            Protocol::Grpc => "gRPC",
            Protocol::HttpProtobuf => "HTTP",
        };
        let compression = match destination.compression {
            Compression::Gzip => "gzip",
            Compression::None => "uncompressed",
        };
        format!("to {} ({protocol}, {compression})", redacted(&destination.endpoint.to_string()))
    }
}
