//! Where a setting stands: `otlp.metrics.endpoint`.

use std::fmt;

use serde_path_to_error::{Path, Segment};

/// Names from the top of the file down to a setting.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(super) struct Key(Vec<String>);

impl Key {
    /// The key of a setting, written with dots.
    pub(super) fn of(dotted: &str) -> Self {
        Self(dotted.split('.').map(str::to_owned).collect())
    }

    /// The key of what stands under `name` in here.
    pub(super) fn child(&self, name: &str) -> Self {
        Self(self.0.iter().map(String::as_str).chain([name]).map(str::to_owned).collect())
    }

    /// Its names, the last one apart; `None` for the whole file.
    pub(super) fn split_last(&self) -> Option<(&str, &[String])> {
        self.0.split_last().map(|(last, parents)| (last.as_str(), parents))
    }

    /// True for what stands somewhere in `other`.
    pub(super) fn is_below(&self, other: &Self) -> bool {
        self.0.len() > other.0.len() && self.0.starts_with(&other.0)
    }

    /// Its names.
    pub(super) fn names(&self) -> &[String] {
        &self.0
    }

    /// The setting, or the nearest thing around it, of which `known` knows something.
    pub(super) fn nearest<T>(&self, known: impl Fn(&Self) -> Option<T>) -> Option<T> {
        (1..=self.0.len()).rev().find_map(|length| known(&Self(self.0[..length].to_vec())))
    }
}

impl From<&Path> for Key {
    /// Elements of a list have no name: what is wrong with one of them is wrong with the list.
    fn from(path: &Path) -> Self {
        let name = |segment: &Segment| match segment {
            Segment::Map { key } => Some(key.clone()),
            _ => None,
        };
        Self(path.iter().map_while(name).collect())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, name) in self.0.iter().enumerate() {
            let dot = if place == 0 { "" } else { "." };
            if !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
                write!(f, "{dot}{name}")?;
            } else {
                write!(f, "{dot}{name:?}")?;
            }
        }
        Ok(())
    }
}
