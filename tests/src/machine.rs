//! Where and when something was measured.

use std::fs;
use std::process::Command;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::tools;

/// The machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// Its kernel's release.
    pub kernel: String,
    /// Its processor's model.
    pub cpu: String,
    /// CPUs that this process may use.
    pub cores: usize,
    /// It is a virtual machine.
    #[serde(rename = "virtual")]
    pub is_virtual: bool,
}

/// What every report begins with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Header {
    /// The day, as `2026-01-31`.
    pub date: String,
    /// The short hash of the commit that was measured.
    pub commit: String,
    /// Where.
    pub machine: Machine,
    /// What the run was asked to do.
    pub config: String,
}

impl Header {
    /// Of this machine, now.
    pub fn now(config: impl Into<String>) -> Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
        let cpu = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
        let machine = Machine {
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            cpu: cpu.trim_start_matches([' ', '\t', ':']).to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            is_virtual: cpuinfo.contains(" hypervisor"),
        };
        let mut git = Command::new("git");
        // Where there is no repository, whoever brought the programs knows.
        let commit = std::env::var("INFERSCOPE_COMMIT")
            .or_else(|_| said(git.args(["rev-parse", "--short", "HEAD"]).current_dir(tools::root())));
        Ok(Self {
            date: said(Command::new("date").arg("+%Y-%m-%d"))?,
            commit: commit.unwrap_or_default(),
            machine,
            config: config.into(),
        })
    }

    /// One line for people.
    pub fn line(&self) -> String {
        let Self { date, commit, machine: Machine { kernel, cpu, cores, is_virtual }, config } = self;
        let kind = if *is_virtual { "virtual machine" } else { "bare metal" };
        format!("{date}, commit {commit}, kernel {kernel}, {cores} × {cpu}, {kind}. {config}.")
    }
}

fn said(command: &mut Command) -> Result<String> {
    Ok(String::from_utf8(command.output()?.stdout)?.trim().to_owned())
}
