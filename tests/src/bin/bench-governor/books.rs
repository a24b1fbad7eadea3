//! What the agent really uses, by the kernel's books.

use std::collections::BTreeMap;
use std::ops::Add;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use inferscope_tests::agent::Agent;

/// Time between two looks: a program that the agent lets go of takes along what it ran since the last one.
const LOOK: Duration = Duration::from_millis(250);

/// CPU time that was used over some time.
#[derive(Clone, Copy, Default)]
pub(crate) struct Used {
    pub(crate) over: Duration,
    /// By the agent's process.
    pub(crate) process: Duration,
    /// By its programs in the kernel.
    pub(crate) programs: Duration,
}

struct Books {
    at: Instant,
    process: Duration,
    programs: BTreeMap<u64, Duration>,
}

impl Used {
    /// What the agent uses from now on, for some time.
    pub(crate) fn of(agent: &Agent, time: Duration) -> Result<Self> {
        let end = Instant::now() + time;
        let (mut used, mut last) = (Self::default(), Books::of(agent)?);
        while last.at < end {
            thread::sleep(LOOK.min(end - last.at));
            let now = Books::of(agent)?;
            used = used + now.since(&last);
            last = now;
        }
        Ok(used)
    }

    /// CPUs in the mean.
    pub(crate) fn cpus(self) -> f64 {
        (self.process + self.programs).as_secs_f64() / self.over.as_secs_f64()
    }

    /// The same of the programs alone.
    pub(crate) fn programs_cpus(self) -> f64 {
        self.programs.as_secs_f64() / self.over.as_secs_f64()
    }
}

impl Add for Used {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            over: self.over + other.over,
            process: self.process + other.process,
            programs: self.programs + other.programs,
        }
    }
}

impl Books {
    fn of(agent: &Agent) -> Result<Self> {
        Ok(Self { at: Instant::now(), process: agent.cpu()?, programs: agent.programs_times()? })
    }

    fn since(&self, before: &Self) -> Used {
        let ran =
            |(id, time): (&u64, &Duration)| time.saturating_sub(before.programs.get(id).copied().unwrap_or_default());
        Used {
            over: self.at - before.at,
            process: self.process.saturating_sub(before.process),
            programs: self.programs.iter().map(ran).sum(),
        }
    }
}
