//! The agent as a user runs it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::{NamedTempFile, TempDir};

use crate::cpu_time::{self, UserTime};
use crate::memory::MemoryLimit;
use crate::process::{self, Ended, Process};
use crate::tools;

/// Longest wait until it watches.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// Longest wait for its end.
const STOPPED_WITHIN: Duration = Duration::from_secs(20);

/// An agent to be started.
#[derive(Debug)]
pub struct Setup {
    command: Command,
    cgroups: Vec<PathBuf>,
    config: Option<String>,
}

/// A configuration that ships what there is almost at once.
pub const OFTEN: &str = "[metrics]\ninterval = \"200ms\"\n[spans]\nwait = \"50ms\"\n";

impl Setup {
    /// `inferscope agent` with nothing of this process's environment that would configure it.
    pub fn new() -> Result<Self> {
        let mut command = Command::new(tools::inferscope()?);
        for (key, _) in std::env::vars_os() {
            let name = key.to_string_lossy();
            if name.starts_with("OTEL_") || name.starts_with("INFERSCOPE_") {
                command.env_remove(&key);
            }
        }
        command.arg("agent");
        Ok(Self { command, cgroups: Vec::new(), config: None })
    }

    /// One more argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// One more variable of its environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Watches a cgroup.
    pub fn cgroup(mut self, path: &Path) -> Self {
        self.cgroups.push(path.to_owned());
        self.arg("--cgroup").arg(path)
    }

    /// Writes its calls of `bpf(2)` to a file. To be said first.
    pub fn traced(self, file: &Path) -> Self {
        let mut command = Command::new("strace");
        // As its grandchild: the agent keeps its place as this process's child.
        command.args(["-D", "-f", "-qq", "--seccomp-bpf", "-e", "trace=bpf", "-o"]).arg(file);
        command.arg(self.command.get_program()).args(self.command.get_args());
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        Self { command, ..self }
    }

    /// Runs at once whenever it can: what it then waits for is not the CPU.
    pub fn at_once(mut self) -> Self {
        process::at_once(&mut self.command);
        self
    }

    /// Runs within a limit of memory.
    pub fn within(mut self, limit: &MemoryLimit) -> Result<Self> {
        limit.adopt(&mut self.command)?;
        Ok(self)
    }

    /// Reads a configuration file with this content.
    pub fn config(mut self, text: &str) -> Result<Self> {
        self.config = Some(text.to_owned());
        Ok(self)
    }

    /// Ships to an OTLP endpoint. `protocol`: `grpc` or `http/protobuf`.
    pub fn otlp(self, endpoint: &str, protocol: &str) -> Self {
        self.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint).env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    }

    /// Ships to an OTLP/gRPC endpoint.
    pub fn grpc(self, endpoint: &str) -> Self {
        self.otlp(endpoint, "grpc")
    }

    /// Counters and histograms since the last export: `delta`, or since the beginning: `cumulative`.
    pub fn temporality(self, temporality: &str) -> Self {
        self.env("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", temporality)
    }

    /// Starts it and waits until it runs, and watches the cgroups that were named. Unless its configuration says
    /// otherwise its budget is what the machine has, and it knows of no agent before it.
    pub fn start(self) -> Result<Agent> {
        let Self { mut command, cgroups, config } = self;
        let mut text = config.unwrap_or_default();
        if !text.contains("[budget]") {
            text.push_str("\n[budget]\ncpu_percent = 100\ncpus = 1024\nmemory = \"4GiB\"\n");
        }
        let state = tempfile::tempdir()?;
        if !text.contains("state =") {
            text = text.replace("[budget]", &format!("[budget]\nstate = \"{}\"", state.path().display()));
        }
        let config = write(&text, &mut command)?;
        let mut process = Process::start("the agent", command, None)?;
        process.until(READY_WITHIN, "the agent to watch", |process| {
            let log = process.err();
            let says = |words: &[&str]| log.iter().any(|line| words.iter().all(|word| line.contains(word)));
            let watches = |path: &PathBuf| says(&["watching", &path.display().to_string()]);
            (says(&["running"]) && cgroups.iter().all(watches)).then_some(())
        })?;
        Ok(Agent { process, _files: (config, state) })
    }

    /// Runs it to an end of its own, which must come within `within`.
    pub fn run(self, within: Duration) -> Result<Ended> {
        let Self { mut command, config, .. } = self;
        let file = config.map(|text| write(&text, &mut command)).transpose()?;
        let ended = Process::start("the agent", command, None)?.wait(within);
        drop(file);
        ended
    }
}

fn write(text: &str, command: &mut Command) -> Result<NamedTempFile> {
    let mut file = tempfile::Builder::new().prefix("inferscope-").suffix(".toml").tempfile()?;
    file.write_all(text.as_bytes())?;
    command.arg("--config").arg(file.path());
    Ok(file)
}

/// A running agent; killed when dropped.
#[derive(Debug)]
pub struct Agent {
    process: Process,
    // They stay as long as the agent may use them.
    _files: (NamedTempFile, TempDir),
}

impl Agent {
    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What it has logged so far.
    pub fn log(&self) -> Vec<String> {
        self.process.err()
    }

    /// Waits for a line of its log.
    pub fn until_logged(&mut self, within: Duration, text: &str) -> Result<String> {
        self.process.until(within, text, |process| process.err().into_iter().find(|line| line.contains(text)))
    }

    /// Asks it to end, waits, and fails unless it ended well.
    pub fn stop(self) -> Result<Ended> {
        self.process.stop(STOPPED_WITHIN)?.well("the agent")
    }

    /// Kills it: it has no time to do anything.
    pub fn kill(self, within: Duration) -> Result<Ended> {
        self.process.signal(libc::SIGKILL);
        self.process.wait(within)
    }

    /// Asks it to end, and waits, however it ends.
    pub fn end(self, within: Duration) -> Result<Ended> {
        self.process.stop(within)
    }

    /// User and system time so far.
    pub fn cpu(&self) -> Result<Duration> {
        cpu_time::total(self.process.pid())
    }

    /// Samples its user time from now on.
    pub fn user_time(&self) -> Result<UserTime> {
        UserTime::of(self.process.pid())
    }

    /// How long its programs in the kernel have run while statistics of programs were taken, by whoever asked for them.
    pub fn programs_time(&self) -> Result<Duration> {
        Ok(self.programs_times()?.into_values().sum())
    }

    /// The same by the number of the program: those that it lets go of are gone with what they ran.
    pub fn programs_times(&self) -> Result<BTreeMap<u64, Duration>> {
        // A program may be open more than once.
        let mut programs = BTreeMap::new();
        for file in fs::read_dir(format!("/proc/{}/fdinfo", self.process.pid()))? {
            // Descriptors come and go.
            let Ok(text) = fs::read_to_string(file?.path()) else { continue };
            let number = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
            if let (Some(id), Some(nanos)) = (number("prog_id:"), number("run_time_ns:")) {
                programs.insert(id, Duration::from_nanos(nanos));
            }
        }
        Ok(programs)
    }

    /// Resident memory.
    pub fn rss_mib(&self) -> Result<f64> {
        self.status_mib("VmRSS:")
    }

    /// The most memory that was resident at any time.
    pub fn peak_mib(&self) -> Result<f64> {
        self.status_mib("VmHWM:")
    }

    fn status_mib(&self, field: &str) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.pid()))?;
        let value = status.lines().find_map(|line| line.strip_prefix(field)?.split_whitespace().next());
        let kib: f64 = value.with_context(|| format!("no {field}"))?.parse()?;
        Ok(kib / 1024.0)
    }
}
