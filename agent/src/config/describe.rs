//! Every setting with its meaning, in the order of the file.

use serde_json::Value;

use super::key::Key;
use super::schema::{Node, schema};

/// A table of the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Section {
    /// Its name: `otlp.metrics`.
    pub name: String,
    /// What it is about.
    pub description: String,
    /// What can be set in it.
    pub settings: Vec<Setting>,
}

/// A setting. Values are TOML.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting {
    /// Its name in its section.
    pub name: String,
    /// What it means.
    pub description: String,
    /// What it may be, in words.
    pub accepts: String,
    /// What it may be, where its type alone does not say that: a range, or words.
    pub limits: Option<String>,
    /// Its words and their meaning, where it is one of a few words that need one.
    pub words: Vec<(String, String)>,
    /// What it is unless it is set; `None` where it is then without a value.
    pub default: Option<String>,
    /// What it may look like.
    pub example: Option<String>,
}

/// Every section of the file.
pub fn sections() -> Vec<Section> {
    let schema = schema();
    let mut sections = Vec::new();
    collect(Node::new(&schema), &Key::default(), &mut sections);
    sections
}

fn collect(node: Node<'_>, key: &Key, sections: &mut Vec<Section>) {
    let children = || node.children().into_iter().flatten();
    let settings: Vec<_> =
        children().filter(|(_, child)| !child.is_section()).map(|(name, child)| setting(name, child)).collect();
    if !settings.is_empty() {
        sections.push(Section { name: key.to_string(), description: one_line(node.description()), settings });
    }
    for (name, child) in children().filter(|(_, child)| child.is_section()) {
        collect(child, &key.child(name), sections);
    }
}

fn setting(name: &str, node: Node<'_>) -> Setting {
    let words = node.words().into_iter().filter(|(_, meaning)| !meaning.is_empty());
    Setting {
        name: name.to_owned(),
        description: one_line(node.description()),
        accepts: node.accepts(),
        limits: node.range().or_else(|| node.plain_words()),
        words: words.map(|(word, meaning)| (word.to_owned(), one_line(meaning))).collect(),
        default: node.default().and_then(toml),
        example: node.example().and_then(toml),
    }
}

fn toml(value: &Value) -> Option<String> {
    toml::Value::try_from(value).ok().map(|value| value.to_string())
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
