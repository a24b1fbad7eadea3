//! The command line: one file for each command.

mod agent;
mod config;
mod doctor;
mod gpu;
mod sources;
mod top;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, ConfigError};
use crate::sources::workloads::DiscoverError;

/// Tells, per workload, what each inference request cost and why it was slow, with nothing added to the workload.
#[derive(Parser, Debug)]
#[command(name = "inferscope", version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Watches this machine and ships OpenTelemetry.
    Agent(agent::Options),
    /// Shows the workloads of this machine.
    Top(top::Options),
    /// Says what this machine allows, what is missing, and how to mend it.
    Doctor(doctor::Options),
    /// Asks the running agent to let go of the GPUs, and to take them up again.
    #[command(subcommand)]
    Gpu(gpu::Command),
    /// Checks, prints and describes the configuration.
    #[command(subcommand)]
    Config(config::Command),
}

/// What to watch: shared by the commands that do.
#[derive(Args, Debug, Clone, Default)]
struct Watch {
    /// Configuration file (TOML); `inferscope config print` shows every setting.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A cgroup to watch: its directory in the cgroup2 file system. May be given several times; without it
    /// inference servers are found by themselves.
    #[arg(long = "cgroup", value_name = "DIR")]
    cgroups: Vec<PathBuf>,
}

impl Watch {
    fn config(&self) -> Result<Config, ConfigError> {
        Config::load_for(self.config.as_deref(), &crate::config::process, &self.cgroups)
    }
}

/// Warns of variables that somebody set in vain, once there is a log.
fn warn_of_unread() {
    let unread = crate::config::unread(std::env::vars_os());
    if !unread.is_empty() {
        let variables = unread.join(", ");
        tracing::warn!(variables, "set, and not read: docs/configuration.md has the variables that are");
    }
}

/// Runs a command to its end.
pub fn run(cli: Cli) -> ExitCode {
    crate::host::own::keep_little();
    let done = match cli.command {
        Command::Agent(options) => agent::run(options),
        Command::Top(options) => top::run(options),
        Command::Doctor(options) => doctor::run(&options),
        Command::Gpu(command) => gpu::run(&command),
        Command::Config(command) => config::run(command),
    };
    done.unwrap_or_else(|error| {
        eprintln!("inferscope: error: {}", told(&error));
        ExitCode::from(if is_usage(&error) { EX_USAGE } else { 1 })
    })
}

/// The error and its causes in one line, without those that a message before them told already.
fn told(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |said, cause| {
        let cause = cause.to_string();
        match said.as_str() {
            "" => cause,
            _ if said.contains(&cause) => said,
            _ => format!("{said}: {cause}"),
        }
    })
}

/// Whether another command line or configuration would mend it.
fn is_usage(error: &anyhow::Error) -> bool {
    let given = matches!(error.downcast_ref(), Some(DiscoverError::Open { .. } | DiscoverError::Elsewhere { .. }));
    given || error.is::<ConfigError>()
}

/// A configuration or command line that cannot be used (`sysexits.h`).
const EX_USAGE: u8 = 64;

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let cause = || std::io::Error::from_raw_os_error(2);
        let open = DiscoverError::Open { path: "/nope".into(), source: cause(), hint: String::new() };
        let error = anyhow::Error::from(open).context("cannot begin");
        let missing = "No such file or directory (os error 2)";
        assert_eq!(told(&error), format!("cannot begin: cannot watch the cgroup /nope: {missing}"));
        assert!(is_usage(&error));
        let other = Err::<(), _>(cause()).context("cannot begin").unwrap_err();
        assert_eq!(told(&other), format!("cannot begin: {missing}"));
        assert!(!is_usage(&other));
    }
}
