//! Strings from the wire become labels only through a bounded set.

use std::collections::HashSet;

use crate::model::request::Label;

/// Stands for every value that the set refused.
pub const OTHER: &str = "_OTHER";

/// Which characters a kind of label may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Charset {
    /// What prints: ASCII, and letters and digits of every script.
    Printable,
    /// Letters, digits and `_ . : -` of ASCII: what identifies, and can hold no sentence.
    Identifier,
}

impl Charset {
    fn allows(self, text: &str) -> bool {
        text.chars().all(|c| match self {
            Self::Printable => c == ' ' || c.is_ascii_graphic() || !c.is_ascii() && c.is_alphanumeric(),
            Self::Identifier => c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '-'),
        })
    }
}

/// Longest label in bytes.
const LONGEST: usize = 128;

/// The labels of one kind that one workload may have: the first so many values, then [`OTHER`].
pub struct Labels {
    known: HashSet<Label>,
    limit: usize,
    charset: Charset,
    other: Label,
    refused: u64,
}

impl Labels {
    /// An empty set for at most `limit` values.
    pub fn new(limit: usize, charset: Charset) -> Self {
        Self { known: HashSet::new(), limit, charset, other: OTHER.into(), refused: 0 }
    }

    /// The label of a value, which the set takes in while it has room.
    pub fn intern(&mut self, value: &[u8]) -> Label {
        if let Some(label) = self.known(value) {
            return label;
        }
        match self.accept(value) {
            Some(text) if self.known.len() < self.limit => {
                let label = Label::from(text);
                self.known.insert(Label::clone(&label));
                label
            }
            _ => self.overflow(),
        }
    }

    /// The label of a value that a server did not accept: it takes no room in the set.
    pub fn find(&self, value: &[u8]) -> Label {
        self.known(value).unwrap_or_else(|| self.other())
    }

    /// The label for what has no name.
    pub fn other(&self) -> Label {
        Label::clone(&self.other)
    }

    /// Times that a value was replaced by [`OTHER`].
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Distinct values taken in.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// True before the first value.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    fn known(&self, value: &[u8]) -> Option<Label> {
        let text = std::str::from_utf8(value).ok()?;
        self.known.get(text).cloned()
    }

    fn accept<'a>(&self, value: &'a [u8]) -> Option<&'a str> {
        let text = std::str::from_utf8(value).ok()?;
        (!text.is_empty() && text.len() <= LONGEST && self.charset.allows(text)).then_some(text)
    }

    fn overflow(&mut self) -> Label {
        self.refused += 1;
        self.other()
    }
}
