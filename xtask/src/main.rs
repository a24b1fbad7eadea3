//! The tasks of this repository: `cargo xtask help`. One file for each; what a task needs it installs.

mod again;
mod apt;
mod bench;
mod build;
mod check;
mod checkout;
mod codegen;
mod crates;
mod demo;
mod fuzz;
mod pack;
mod run;
mod setup;
mod test;
mod tidy;
mod tools;
mod vm;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::checkout::Checkout;

/// The tasks of this repository. Each installs what it needs into target/tools, or says what is missing.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", arg_required_else_help = true, disable_help_flag = false)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

/// In the order in which a newcomer needs them.
#[derive(Subcommand)]
enum Task {
    /// Shows inferscope at work on real servers (root)
    Demo(demo::Options),
    /// Builds the kernel half, then the agent with it inside
    Build(build::Options),
    /// Runs the tests: unit, ebpf (root), e2e (root), gpu (root); all of them when none is named
    Test(test::Options),
    /// Puts the tests of GPUs into target/pack, for a machine that has a GPU and nothing to build with
    Pack,
    /// Runs the tests of the kernel half on Debian's kernels, in virtual machines
    Vm(vm::Options),
    /// Formats, lints, generated documents and licences: what must hold before a merge
    Check,
    /// Writes the generated documents anew
    Codegen(codegen::Options),
    /// Measures what watching costs (root)
    Bench(bench::Options),
    /// Feeds hostile bytes to the parsers
    Fuzz(fuzz::Options),
    /// Installs the toolchain of the kernel half (the other tasks do so when they need it)
    Setup,
    /// Builds what the end-to-end tests talk to: Python servers, Node.js, the OpenTelemetry Collector
    Tools,
    /// Removes what interrupted test runs left behind (root)
    Tidy,
}

fn main() -> ExitCode {
    match perform(Cli::parse().task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("cargo xtask: error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> Result<ExitCode> {
    let checkout = Checkout::find()?;
    match task {
        Task::Demo(options) => demo::demo(&checkout, &options)?,
        Task::Build(options) => build::build(&checkout, &options)?,
        Task::Test(options) => return test::test(&checkout, &options),
        Task::Pack => pack::pack(&checkout)?,
        Task::Vm(options) => return vm::vm(&checkout, &options),
        Task::Check => return check::check(&checkout),
        Task::Codegen(options) => codegen::codegen(&checkout, &options)?,
        Task::Bench(options) => bench::bench(&checkout, &options)?,
        Task::Fuzz(options) => return fuzz::fuzz(&checkout, &options),
        Task::Setup => setup::report(&checkout)?,
        Task::Tools => tools::report(&checkout)?,
        Task::Tidy => tidy::tidy()?,
    }
    Ok(ExitCode::SUCCESS)
}
