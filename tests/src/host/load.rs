//! Processes that do known things, in a cgroup.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

use anyhow::{Context, Result, ensure};

use crate::affinity;
use crate::cgroup::Cgroup;

/// A process that begins when it is told to and says when it is done, then waits to be let go.
#[derive(Debug)]
pub struct Load {
    child: Child,
    tell: Option<ChildStdin>,
    hear: BufReader<std::process::ChildStdout>,
}

impl Load {
    /// Prepares a process of `binary` in cgroups. It has done nothing yet.
    pub fn start(binary: &Path, arguments: &[&str], cgroups: &[&Cgroup]) -> Result<Self> {
        let mut command = Command::new(binary);
        command.args(arguments);
        Self::of(command, cgroups)
    }

    /// The same of a program that speaks as `syscall-load` does.
    pub fn of(mut command: Command, cgroups: &[&Cgroup]) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let program = command.get_program().to_owned();
        let mut child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let hear = BufReader::new(child.stdout.take().context("no stdout")?);
        let tell = child.stdin.take();
        let mut load = Self { child, tell, hear };
        load.ready()?;
        for cgroup in cgroups {
            cgroup.take(load.process())?;
        }
        Ok(load)
    }

    /// Keeps it on a CPU, while it waits to be told.
    pub fn pin(&self, cpu: usize) -> Result<()> {
        affinity::pin(self.process(), cpu)
    }

    /// Its number.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Lets it begin.
    pub fn go(&mut self) -> Result<()> {
        let tell = self.tell.as_mut().context("it was let go")?;
        tell.write_all(b"go\n")?;
        Ok(tell.flush()?)
    }

    /// Waits until it can be told to begin.
    pub fn ready(&mut self) -> Result<()> {
        self.expect("ready").map(drop)
    }

    /// Waits until it has done what it is for; answers what it says of it.
    pub fn done(&mut self) -> Result<String> {
        self.expect("done")
    }

    /// Lets it begin and end.
    pub fn run(&mut self) -> Result<String> {
        self.go()?;
        self.done()
    }

    /// Lets it go and waits for its end.
    pub fn end(&mut self) -> Result<ExitStatus> {
        drop(self.tell.take());
        Ok(self.child.wait()?)
    }

    fn expect(&mut self, word: &str) -> Result<String> {
        let mut line = String::new();
        self.hear.read_line(&mut line)?;
        let rest = line.trim_end().strip_prefix(word);
        ensure!(rest.is_some(), "it says {line:?} instead of {word:?}");
        Ok(rest.unwrap_or_default().trim().to_owned())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // After `end` there is nothing left to kill.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// This package's binary of that name, beside the test or benchmark that asks.
pub fn binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    let beside = own.ancestors().skip(1).map(|directory| directory.join(name)).find(|path| path.is_file());
    beside.unwrap_or_else(|| PathBuf::from(name))
}
