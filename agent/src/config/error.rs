//! What is wrong with a configuration, in words that a person can act upon.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::key::Key;

/// A configuration that cannot be used. Never holds the value of a header or another secret.
#[derive(thiserror::Error, Debug)]
pub enum ConfigError {
    /// The file does not open, or is no text.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What is written in it, or in the environment, is wrong.
    #[error("{}", list(.0))]
    Mistakes(Vec<Mistake>),
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mistake {
    /// Where it was written; `None` where a default goes against another setting.
    pub place: Option<Place>,
    /// The setting, such as `otlp.endpoint`; `None` where the file is no TOML.
    pub field: Option<String>,
    /// What was found, and what is accepted.
    pub problem: String,
}

/// Where a value was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// In a file.
    File {
        /// Which one.
        path: Arc<str>,
        /// Line, from 1.
        line: usize,
        /// Character in the line, from 1.
        column: usize,
    },
    /// In an environment variable.
    Variable(&'static str),
    /// On the command line.
    CommandLine,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column } => write!(f, "{path}:{line}:{column}"),
            Self::Variable(name) => f.write_str(name),
            Self::CommandLine => f.write_str("command line"),
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        if let Some(field) = &self.field {
            write!(f, "{field}: ")?;
        }
        f.write_str(&self.problem)
    }
}

fn list(mistakes: &[Mistake]) -> String {
    match mistakes {
        [one] => one.to_string(),
        many => {
            let lines: String = many.iter().map(|mistake| format!("\n  {mistake}")).collect();
            format!("{} mistakes in the configuration:{lines}", many.len())
        }
    }
}

/// The mistakes found so far.
#[derive(Debug, Default)]
pub(super) struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// Notes a value that is not accepted; `found` is left out where it may be a secret.
    pub(super) fn refuse(&mut self, place: Option<Place>, key: &Key, found: Option<&str>, accepted: &str) {
        let found =
            found.map_or_else(|| "found something else (not shown)".to_owned(), |found| format!("found {found}"));
        self.note(place, key, format!("{found}; accepted: {accepted}"));
    }

    /// Notes any other mistake.
    pub(super) fn note(&mut self, place: Option<Place>, key: &Key, problem: String) {
        let mistake = Mistake { place, field: Some(key.to_string()), problem };
        // What three signals share is found three times.
        if !self.0.contains(&mistake) {
            self.0.push(mistake);
        }
    }

    /// Notes a mistake of the file as a whole.
    pub(super) fn syntax(&mut self, place: Place, problem: String) {
        self.0.push(Mistake { place: Some(place), field: None, problem });
    }

    /// An error, if there were any: those of the file come first, by line.
    pub(super) fn check(mut self) -> Result<(), ConfigError> {
        self.0.sort_by_key(|mistake| match &mistake.place {
            Some(Place::File { line, column, .. }) => (*line, *column),
            _ => (usize::MAX, 0),
        });
        if self.0.is_empty() { Ok(()) } else { Err(ConfigError::Mistakes(self.0)) }
    }
}
