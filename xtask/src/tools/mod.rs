//! What the end-to-end tests and the demo talk to: each made once, again when its list of versions changes.

mod collector;
mod node;
mod python;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::checkout::Checkout;
pub(crate) use python::{TORCH, torch};

/// Programs beside the agent.
pub(crate) struct Tools {
    collector: PathBuf,
    python: PathBuf,
    node: PathBuf,
}

/// Finds them, and makes what is missing.
pub(crate) fn tools(checkout: &Checkout) -> Result<Tools> {
    let (python, node) = (python::python(checkout)?, node::node(checkout)?);
    Ok(Tools { collector: collector::collector(checkout)?, python, node })
}

/// The task: prints what a shell has to set for the tests to run without this program.
#[expect(clippy::print_stdout, reason = "the settings are the output")]
pub(crate) fn report(checkout: &Checkout) -> Result<()> {
    let agent = checkout.agent();
    for (name, path) in tools(checkout)?.named(&agent) {
        println!("{name}='{}'", path.display());
    }
    if !agent.exists() {
        eprintln!("There is no agent yet: `cargo xtask build` makes it.");
    }
    Ok(())
}

impl Tools {
    /// Tells tests and demo where everything is.
    pub(crate) fn tell(&self, checkout: &Checkout, command: &mut Command) {
        command.envs(self.named(&checkout.agent()));
    }

    fn named<'a>(&'a self, agent: &'a Path) -> [(&'static str, &'a Path); 4] {
        [
            ("INFERSCOPE_BIN", agent),
            ("INFERSCOPE_COLLECTOR", &self.collector),
            ("INFERSCOPE_PYTHON", &self.python),
            ("INFERSCOPE_NODE", &self.node),
        ]
    }
}
