//! `inferscope gpu`: asks the running agent for the GPUs.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};

use crate::control::{Wish, ask};
use crate::host::{Host, process};

/// What to ask for.
#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Makes the running agent close every /dev/nvidia* and unload the driver's library: to unload or replace the driver, to
    /// reset a GPU, or to divide it anew.
    Release(Agent),
    /// Makes the running agent read GPUs again.
    Acquire(Agent),
}

/// Which agent.
#[derive(Args, Debug)]
pub(super) struct Agent {
    /// Process id of the agent, where several run.
    #[arg(long)]
    pid: Option<u32>,
}

pub(super) fn run(command: &Command) -> Result<ExitCode> {
    let (wish, agent) = match command {
        Command::Release(agent) => (Wish::Release, agent),
        Command::Acquire(agent) => (Wish::Acquire, agent),
    };
    let host = Host::default();
    let mut answer = ask(&host, agent.pid, wish)?;
    if wish == Wish::Release {
        answer += &others(&process::holders_of_nvidia(&host));
    }
    writeln!(std::io::stdout().lock(), "{answer}").context("cannot print")?;
    Ok(ExitCode::SUCCESS)
}

/// Who else keeps the driver from being unloaded.
fn others(holders: &[(u32, String)]) -> String {
    if holders.is_empty() {
        return String::new();
    }
    let named: Vec<_> = holders.iter().map(|(pid, name)| format!("{} ({pid})", name.escape_debug())).collect();
    format!("\nothers have device nodes open: {}", named.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_named() {
        assert_eq!(others(&[]), "");
        let holders = [(7, "nvidia-persiste".to_owned()), (42, "a\x1b".to_owned())];
        assert_eq!(others(&holders), "\nothers have device nodes open: nvidia-persiste (7), a\\u{1b} (42)");
    }
}
