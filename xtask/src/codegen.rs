//! Documents that are made from the code. The tests that compare them write them, too, when told so.

use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::checkout::Checkout;
use crate::run;

#[derive(Args)]
pub(crate) struct Options {
    /// Writes nothing, and fails where a document is out of date
    #[arg(long)]
    check: bool,
}

/// The task.
pub(crate) fn codegen(checkout: &Checkout, options: &Options) -> Result<()> {
    let mut command = command(checkout);
    if options.check {
        return run::run(&mut command).context("run `cargo xtask codegen`");
    }
    run::run(command.env("UPDATE_DOCS", "1"))
}

/// Fails where a document is out of date.
pub(crate) fn command(checkout: &Checkout) -> Command {
    let mut command = checkout.cargo();
    command.args(["test", "--quiet", "--package", "inferscope", "--test", "docs"]).env_remove("UPDATE_DOCS");
    command
}
