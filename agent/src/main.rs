//! The `inferscope` command.

use std::process::ExitCode;

use clap::Parser as _;
use inferscope::cli::{Cli, run};

fn main() -> ExitCode {
    run(Cli::parse())
}
