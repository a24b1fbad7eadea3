//! Processes that the kernel killed for want of memory.

use crate::sched::Name;

/// Passed to the agent once for each.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct OomKill {
    /// When, in nanoseconds of `CLOCK_MONOTONIC`.
    pub time: u64,
    /// The workload's slot, and whose it was ([`crate::watch::binding`]).
    pub binding: u32,
    /// The process, as the machine numbers it.
    pub process: u32,
    /// Its name.
    pub name: Name,
}

const _: () = assert!(size_of::<OomKill>() == 32);
