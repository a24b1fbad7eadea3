//! What must hold before a merge, beside the tests.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::checkout::Checkout;
use crate::codegen;
use crate::crates::Tool;
use crate::run;
use crate::setup;

const DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2", what: "the reader of licences" };

type Check = fn(&Checkout) -> Result<()>;

/// The task: every check runs, and the ones that failed are named at the end.
pub(crate) fn check(checkout: &Checkout) -> Result<ExitCode> {
    let checks: [(&str, Check); 7] = [
        ("marks of merges", merges),
        ("format", format),
        ("lints of the user half", user_half),
        ("lints of the kernel half", kernel_half),
        ("lints of the fuzz targets", fuzz),
        ("generated documents", documents),
        ("licences and sources", deny),
    ];
    let mut failed = Vec::new();
    for (name, check) in checks {
        eprintln!("== {name}");
        if let Err(error) = check(checkout) {
            eprintln!("{error:#}");
            failed.push(name);
        }
    }
    if failed.is_empty() {
        eprintln!("All checks passed.");
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("Failed: {}.", failed.join(", "));
    Ok(ExitCode::FAILURE)
}

/// What a merge could not join stands between marks, which no compiler sees in a document.
fn merges(checkout: &Checkout) -> Result<()> {
    let mut grep = checkout.command("git");
    grep.args(["grep", "--line-number", "--extended-regexp", "^(<{7}|>{7})( |$)"]);
    let found = grep.output().context("cannot start git")?;
    match found.status.code() {
        Some(0) => bail!("left of a merge:\n{}", String::from_utf8_lossy(&found.stdout)),
        Some(1) => Ok(()),
        _ => bail!("git could not look: {}", String::from_utf8_lossy(&found.stderr)),
    }
}

fn format(checkout: &Checkout) -> Result<()> {
    run::run(checkout.cargo().args(["fmt", "--all", "--check"]))?;
    run::run(checkout.cargo().args(["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]))
}

fn user_half(checkout: &Checkout) -> Result<()> {
    // Together with the kernel half there would be two panic handlers.
    let clippy = ["clippy", "--workspace", "--exclude", "inferscope-ebpf", "--all-targets"];
    run::run(strict(checkout.cargo().args(clippy)))
}

fn kernel_half(checkout: &Checkout) -> Result<()> {
    let toolchain = setup::setup(checkout)?;
    match toolchain.clippy(checkout) {
        Ok(mut clippy) => run::run(strict(&mut clippy)),
        Err(error) => {
            eprintln!("Not checked: {error:#}");
            Ok(())
        }
    }
}

fn fuzz(checkout: &Checkout) -> Result<()> {
    let mut clippy = checkout.cargo();
    clippy.args(["clippy", "--manifest-path", "fuzz/Cargo.toml"]).env("CARGO_TARGET_DIR", checkout.target("fuzz"));
    run::run(strict(&mut clippy))
}

fn strict(clippy: &mut Command) -> &mut Command {
    clippy.args(["--", "--deny", "warnings"])
}

fn documents(checkout: &Checkout) -> Result<()> {
    run::run(&mut codegen::command(checkout))
}

/// Advisories are left out: they need a database from elsewhere. `cargo deny check advisories` looks them up.
fn deny(checkout: &Checkout) -> Result<()> {
    let deny = DENY.get(checkout, "", |_| {})?;
    run::run(checkout.command(deny).args([
        "--workspace",
        "check",
        "--hide-inclusion-graph",
        "bans",
        "licenses",
        "sources",
    ]))
}
