//! Node.js: found, or Debian's.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::apt;
use crate::checkout::{self, Checkout};
use crate::run;

/// Oldest version that has everything that the tests' server is written with.
const OLDEST: u32 = 18;

/// The program.
pub(super) fn node(checkout: &Checkout) -> Result<PathBuf> {
    if checkout::on_path("node").is_none() {
        apt::install(checkout, &["nodejs"], "Node.js")?;
    }
    let node = checkout::on_path("node").context("Debian's nodejs brought no `node`")?;
    let said = run::read(Command::new(&node).arg("--version"))?;
    let major = said.trim().trim_start_matches('v').split('.').next().and_then(|text| text.parse().ok());
    match major {
        Some(OLDEST..) => Ok(node),
        _ => bail!(
            "{} is {}: put Node.js {OLDEST} or newer before it on PATH, see https://nodejs.org/en/download",
            node.display(),
            said.trim()
        ),
    }
}
