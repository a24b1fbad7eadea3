//! Tools that come as crates, each at one version, built once into `target/tools`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::checkout::Checkout;
use crate::run;

/// A tool and its version.
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// What it is, for the line of progress.
    pub(crate) what: &'static str,
}

impl Tool {
    /// The program, built if it is not there. `variant` tells builds with different `settings` apart.
    pub(crate) fn get(
        &self,
        checkout: &Checkout,
        variant: &str,
        settings: impl FnOnce(&mut Command),
    ) -> Result<PathBuf> {
        let Self { name, version, what } = self;
        if let Some(program) = self.built(checkout, variant) {
            return Ok(program);
        }
        let mut command = checkout.cargo();
        command.args(["install", "--locked", name, "--version", version, "--root"]);
        // Built in a place that cargo removes: only the program stays.
        command.arg(self.place(checkout, variant)).env_remove("CARGO_TARGET_DIR");
        settings(&mut command);
        let log = checkout.tools(&format!("log/{name}.log"));
        run::step(&format!("Building {what} ({name} {version})"), &log, &mut command)?;
        Ok(self.program(checkout, variant))
    }

    /// The program, if it has been built.
    pub(crate) fn built(&self, checkout: &Checkout, variant: &str) -> Option<PathBuf> {
        Some(self.program(checkout, variant)).filter(|program| program.is_file())
    }

    fn program(&self, checkout: &Checkout, variant: &str) -> PathBuf {
        self.place(checkout, variant).join("bin").join(self.name)
    }

    fn place(&self, checkout: &Checkout, variant: &str) -> PathBuf {
        checkout.tools(&format!("{}-{}{variant}", self.name, self.version))
    }
}
