//! The configuration: a TOML file, the environment over it, and what comes of both as checked settings.

mod check;
mod describe;
mod destination;
mod document;
mod endpoint;
mod env;
mod error;
mod key;
mod layers;
mod pairs;
mod print;
mod raw;
mod schema;
#[cfg(test)]
mod tests;
mod units;

use std::path::{Path, PathBuf};

use tracing::level_filters::LevelFilter;

pub use describe::{Section, Setting, sections};
pub use env::{VARIABLES, Variable, process, unread};
pub use error::{ConfigError, Mistake, Place};
pub use print::default_file;
pub use schema::schema;

use crate::model::energy::IdlePolicy;
use crate::run::Cadence;
use crate::sources::gpu;
use crate::sources::host::Settings as Host;
use crate::sources::workloads::Settings as Watch;
use crate::{bpf, export, governor, model, wire};
use document::Document;
use error::Mistakes;
use key::Key;
use layers::Layers;
use print::Effective;
use schema::Node;

/// Everything that can be set, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who is watched.
    pub watch: Watch,
    /// Sizes of the kernel half.
    pub kernel: bpf::Options,
    /// What is observed of the host.
    pub host: Host,
    /// Bounds of what is read from the wire.
    pub wire: wire::Limits,
    /// Bounds of the model.
    pub model: model::Limits,
    /// How often batches are made.
    pub cadence: Cadence,
    /// GPUs; `None` where they are not to be read.
    pub gpu: Option<Gpu>,
    /// Where OpenTelemetry goes, and how.
    pub export: export::Settings,
    /// The agent's own log.
    pub log: Log,
    /// What the agent itself may use.
    pub governor: governor::Settings,
    /// The agent's own `service.name`.
    pub service_name: String,
    effective: Effective,
}

/// How GPUs are read.
#[derive(Clone, PartialEq, Debug)]
pub struct Gpu {
    /// Where, and how often.
    pub source: gpu::Settings,
    /// Who bears idle energy.
    pub idle: IdlePolicy,
}

/// The agent's own log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Log {
    /// The least important lines that are written.
    pub level: LevelFilter,
}

impl Config {
    /// Reads the file, if there is one, and the variables of the environment over it ([`process`] for the real one).
    pub fn load(path: Option<&Path>, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        Self::load_for(path, env, &[])
    }

    /// The same for a command line that names cgroups: if there are any, those are watched and nothing else.
    pub fn load_for(
        path: Option<&Path>,
        env: &dyn Fn(&str) -> Option<String>,
        cgroups: &[PathBuf],
    ) -> Result<Self, ConfigError> {
        let file = path.map(|path| Ok((path.display().to_string(), read(path)?))).transpose()?;
        Self::build(file.as_ref().map(|(path, text)| (path.as_str(), text.as_str())), env, cgroups)
    }

    fn build(
        file: Option<(&str, &str)>,
        env: &dyn Fn(&str) -> Option<String>,
        cgroups: &[PathBuf],
    ) -> Result<Self, ConfigError> {
        let mut mistakes = Mistakes::default();
        let document = file.map(|(path, text)| Document::parse(path, text, &mut mistakes)).unwrap_or_default();
        let schema = schema();
        let mut layers = Layers::new(Node::new(&schema), document);
        layers.remove_unknown(&mut mistakes);
        // Once for the file alone: what the environment covers is to be right, too.
        layers.read(&mut mistakes);
        env::apply(env, &mut layers, &mut mistakes);
        if !cgroups.is_empty() {
            let list: Vec<String> = cgroups.iter().map(|cgroup| cgroup.to_string_lossy().into_owned()).collect();
            layers.set(&Key::of("watch.cgroups"), list, Place::CommandLine);
            layers.set(&Key::of("watch.discover"), false, Place::CommandLine);
        }
        let (raw, whole) = layers.read(&mut mistakes);
        let mut config = check::check(&raw, &layers, &mut mistakes);
        mistakes.check()?;
        if !cgroups.is_empty() {
            // As they are: a path need not be text.
            config.watch.cgroups = cgroups.to_vec();
        }
        config.effective = Effective::new(whole, layers.into_places());
        Ok(config)
    }
}

/// No configuration is larger.
const LARGEST: u64 = 1 << 20;

fn read(path: &Path) -> Result<String, ConfigError> {
    let text = || {
        let mut text = String::new();
        let file = std::fs::File::open(path)?;
        std::io::Read::read_to_string(&mut std::io::Read::take(file, LARGEST + 1), &mut text)?;
        if text.len() as u64 > LARGEST {
            return Err(std::io::Error::other(format!("larger than {LARGEST} bytes")));
        }
        Ok(text)
    };
    text().map_err(|source| ConfigError::Read { path: path.to_owned(), source })
}
