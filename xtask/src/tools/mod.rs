//! What the end-to-end tests and the demo talk to: each made once, again when its list of versions changes.

mod collector;
mod node;
mod nvml;
mod python;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::checkout::Checkout;
pub(crate) use python::{TORCH, torch};

/// Programs beside the agent; `None` for those that are not needed.
pub(crate) struct Tools {
    collector: Option<PathBuf>,
    python: PathBuf,
    node: Option<PathBuf>,
    nvml: Option<PathBuf>,
}

/// Finds all of them, and makes what is missing.
pub(crate) fn tools(checkout: &Checkout) -> Result<Tools> {
    let (python, node) = (python::python(checkout)?, node::node(checkout)?);
    let nvml = nvml::nvml(checkout).inspect_err(|error| {
        eprintln!("NVIDIA's own management library is not to be had, and tests that look at it are skipped: {error:#}");
    });
    Ok(Tools { collector: Some(collector::collector(checkout)?), python, node: Some(node), nvml: nvml.ok() })
}

/// The same of those that the demo starts.
pub(crate) fn of_demo(checkout: &Checkout, with_collector: bool) -> Result<Tools> {
    let python = python::python(checkout)?;
    let collector = with_collector.then(|| collector::collector(checkout)).transpose();
    let collector = collector.context("no Collector for --collector: without it the demo needs none")?;
    Ok(Tools { collector, python, node: None, nvml: None })
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

    fn named<'a>(&'a self, agent: &'a Path) -> impl Iterator<Item = (&'static str, &'a Path)> {
        let all = [
            ("INFERSCOPE_BIN", Some(agent)),
            ("INFERSCOPE_COLLECTOR", self.collector.as_deref()),
            ("INFERSCOPE_PYTHON", Some(&*self.python)),
            ("INFERSCOPE_NODE", self.node.as_deref()),
            ("INFERSCOPE_NVML", self.nvml.as_deref()),
        ];
        all.into_iter().filter_map(|(name, path)| Some((name, path?)))
    }
}
