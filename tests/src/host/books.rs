//! What the kernel itself says of a process with one thread: the tests' oracle.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::wait;

/// Longest wait until a process sleeps.
const LONG: Duration = Duration::from_secs(60);

/// Its books, while it sleeps: whatever it did is in them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Books {
    /// Nanoseconds that it waited for a CPU.
    pub run_delay: u64,
    /// Times that it got one.
    pub runs: u64,
    /// Times that it gave the CPU up.
    pub voluntary: u64,
    /// Times that it lost it.
    pub involuntary: u64,
    /// Faults that waited for a disk.
    pub major_faults: u64,
}

impl Books {
    /// Waits until the process sleeps in a read, and reads its books.
    pub fn asleep(process: u32) -> Result<Self> {
        let reads = format!("{} ", libc::SYS_read);
        wait::until(LONG, "the process to sleep in its read", || {
            let call = fs::read_to_string(format!("/proc/{process}/syscall")).ok()?;
            call.starts_with(&reads).then_some(())
        })?;
        Self::now(process)
    }

    fn now(process: u32) -> Result<Self> {
        let read = |file: &str| Ok::<_, anyhow::Error>(fs::read_to_string(format!("/proc/{process}/{file}"))?);
        let (schedstat, status, stat) = (read("schedstat")?, read("status")?, read("stat")?);
        let times: Vec<u64> = schedstat.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let field = |name: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such field")?;
            Ok(line.trim().parse()?)
        };
        let after_name = stat.rsplit_once(')').context("no stat")?.1;
        let [_, run_delay, runs, ..] = times[..] else { anyhow::bail!("no books: {schedstat}") };
        Ok(Self {
            run_delay,
            runs,
            voluntary: field("voluntary_ctxt_switches:")?,
            involuntary: field("nonvoluntary_ctxt_switches:")?,
            major_faults: after_name.split_whitespace().nth(9).context("no majflt")?.parse()?,
        })
    }

    /// What they grew by since `before`.
    pub fn since(&self, before: &Self) -> Self {
        Self {
            run_delay: self.run_delay - before.run_delay,
            runs: self.runs - before.runs,
            voluntary: self.voluntary - before.voluntary,
            involuntary: self.involuntary - before.involuntary,
            major_faults: self.major_faults - before.major_faults,
        }
    }
}
