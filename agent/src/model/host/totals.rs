//! What the probes have counted beneath a workload since it is watched.

use inferscope_common::sched::{self, ROLES};
use inferscope_common::syscall::{CLASSES, Class, HISTS};

use crate::model::Histogram;

/// Everything only grows but for `observed`, `asleep` and `k`.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// System calls are observed now; what is told of those under way holds only then.
    pub observed: bool,
    /// System calls that ended, by [`Class`].
    pub calls: [u64; CLASSES],
    /// Of them, those that failed.
    pub errors: [u64; CLASSES],
    /// System calls that sleep, or slept and have not ended, by class: exact while every call is timed, an unbiased
    /// estimate else.
    pub asleep: [u64; CLASSES],
    /// Calls that were interrupted and began again; they count as calls, and as no errors.
    pub restarts: u64,
    /// Bytes that calls read from regular files, from the page cache or not.
    pub file_bytes_read: u64,
    /// Loss: calls without a time, since the kernel had no memory for it.
    pub lost_state: u64,
    /// One call in 2^k is timed; the latencies are weighted.
    pub k: u32,
    /// How long system calls took, by [`Class::hist`].
    pub latencies: [Histogram; HISTS],
    /// By [`sched::Role`]; `None` for those that no thread has.
    pub roles: [Option<Box<RoleTotals>>; ROLES],
    /// Block I/O by [`inferscope_common::disk::Direction`].
    pub disk: [DiskTotals; 2],
    /// Completions of block I/O, in whole or in part: what `disk` is as of.
    pub disk_steps: u64,
}

/// Threads of one role.
#[derive(Clone, Debug, Default)]
pub struct RoleTotals {
    /// By [`sched::Counter`].
    pub counters: [u64; sched::COUNTERS],
    /// From runnable to running.
    pub run_delay: Histogram,
    /// From giving the CPU up to being runnable again.
    pub blocked: Histogram,
}

/// One direction of block I/O.
#[derive(Clone, Debug, Default)]
pub struct DiskTotals {
    /// Requests that completed.
    pub requests: u64,
    /// Of them, those that failed.
    pub errors: u64,
    /// Bytes that passed.
    pub bytes: u64,
    /// From issue to completion.
    pub latency: Histogram,
}

impl Totals {
    /// Latencies of a class: of calls that waited for somebody, or of those that worked. `None`: the class has none.
    pub fn latency(&self, class: Class, waited: bool) -> Option<&Histogram> {
        class.hist(waited).map(|place| &self.latencies[place])
    }

    /// A counter over all roles.
    pub fn counter(&self, counter: sched::Counter) -> u64 {
        self.roles.iter().flatten().map(|role| role.counters[counter as usize]).sum()
    }
}
