//! Holds the agent to its budget of CPU and memory.
//!
//! [`meter`] measures what the agent and its programs use, [`decide`] turns that into what is in force, in the order of
//! [`detail`]; [`ladder`] says when. The pipeline applies it. [`guard`] knows how earlier runs ended.

pub mod decide;
pub mod detail;
pub mod guard;
pub mod ladder;
pub mod meter;
mod oom;
pub mod settings;
mod tell;
pub mod windows;

use std::time::{Duration, Instant};

pub use decide::{Cause, Change, Cpu, Governor, Reading};
pub use detail::{Detail, Part};
pub use ladder::Step;
pub use settings::{Budget, Settings};
pub use tell::small as say_small;

use crate::host::Host;
use crate::host::own::{CpuTime, online_cpus};
use ladder::CALM;
use meter::Meter;

/// Pause between two readings.
const PAUSE: Duration = Duration::from_secs(1);

/// The governor of this process.
#[derive(Debug)]
pub struct Governing {
    began: Instant,
    next: Duration,
    settings: Settings,
    parts: Vec<Part>,
    governor: Governor,
    meter: Meter,
    reading: Option<Reading>,
    /// Budgets that were said to be beyond help.
    exhausted: Vec<Cause>,
}

/// What a turn brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Turn {
    /// Something else is in force now.
    pub changed: bool,
    /// How long the next turn can wait.
    pub wait: Duration,
}

/// How the governor stands.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct State {
    /// What was used at the last reading; `None` before the first one.
    pub reading: Option<Reading>,
    /// CPU time so far.
    pub time: CpuTime,
    /// What may be used.
    pub budget: Budget,
    /// Rungs that are shed, by cause.
    pub levels: Vec<(Cause, u64)>,
    /// What can be shed here, and whether something of it is.
    pub parts: Vec<(Part, bool)>,
    /// Changes so far.
    pub changes: Vec<(Cause, u64)>,
}

impl Governing {
    /// Begins to measure; `parts` are those that there are here.
    pub fn new(settings: Settings, parts: &[Part]) -> Self {
        let host = Host::default();
        let governor = Governor::new(&settings, settings.budget(online_cpus(&host)), parts);
        Self {
            began: Instant::now(),
            next: Duration::ZERO,
            settings,
            parts: parts.to_vec(),
            governor,
            meter: Meter::new(host),
            reading: None,
            exhausted: Vec::new(),
        }
    }

    /// Sheds everything that can be until the agent has proved healthy: it was killed again and again.
    pub fn start_small(&mut self) {
        self.governor.start_small(self.began.elapsed() + self.settings.healthy);
    }

    /// What changed took so much CPU to bring into force. It is no part of what the load costs: programs on each of some
    /// hundred system calls take seconds to attach, and would be taken off again for it.
    pub fn switched(&mut self, took: CpuTime) {
        self.meter.exempt(took);
    }

    /// Measures and decides where it is time for it. `run_time` says how long the programs have run while the kernel
    /// took times; `spun` how many calls only spun so far, where there are programs on every call.
    pub fn turn(&mut self, spun: impl Fn() -> Option<u64>, run_time: impl Fn() -> Duration) -> Turn {
        let began = self.began;
        let wait = self.meter.turn(|| began.elapsed(), run_time);
        let now = began.elapsed();
        if now < self.next {
            return Turn { changed: false, wait };
        }
        self.next = now + PAUSE;
        let budget = self.governor.budget();
        let Some(reading) = self.meter.read(now, spun(), budget.memory, self.settings.window) else {
            return Turn { changed: false, wait };
        };
        self.reading = Some(reading);
        let changes = self.governor.step(now, &reading);
        changes.iter().for_each(|change| tell::change(change, budget));
        let changed = !changes.is_empty();
        if changed {
            // What programs cost before says nothing of what they cost now.
            self.meter.forget(now);
        }
        let exhausted: Vec<Cause> = self.governor.exhausted().filter(|cause| !self.exhausted.contains(cause)).collect();
        exhausted.iter().for_each(|cause| tell::exhausted(*cause, budget, self.governor.mean(*cause)));
        self.exhausted.extend(exhausted);
        // Said again only when it was well within the budget meanwhile.
        self.exhausted.retain(|cause| self.governor.mean(*cause) >= CALM);
        Turn { changed, wait: if changed { Duration::ZERO } else { wait } }
    }

    /// What is in force.
    pub fn detail(&self) -> Detail {
        self.governor.detail()
    }

    /// How it stands.
    pub fn state(&self) -> State {
        let detail = self.detail();
        State {
            reading: self.reading,
            time: self.meter.time(),
            budget: self.governor.budget(),
            levels: Cause::ALL.map(|cause| (cause, self.governor.level(cause) as u64)).to_vec(),
            parts: self.parts.iter().map(|&part| (part, detail.lacks(part))).collect(),
            changes: self.governor.changes().collect(),
        }
    }
}
