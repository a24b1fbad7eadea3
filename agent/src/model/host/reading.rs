//! What cgroup files tell of a workload.

/// One reading. What the machine does not tell is absent, never 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reading {
    /// CPU time in nanoseconds.
    pub cpu_nanos: Option<u64>,
    /// Throttling by the CPU quota.
    pub throttle: Option<Throttle>,
    /// Memory in use, in bytes.
    pub memory: Option<u64>,
    /// Its limit, in bytes; absent where there is none.
    pub memory_limit: Option<u64>,
    /// Times that the limit was hit and memory had to be taken back.
    pub memory_limit_hits: Option<u64>,
    /// Processes that were killed for want of memory.
    pub oom_kills: Option<u64>,
    /// Time for which some task waited, in microseconds.
    pub pressure: Pressure,
}

/// CPU throttling.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Throttle {
    /// Periods of the quota that passed.
    pub periods: u64,
    /// Of them, those in which it was used up.
    pub throttled: u64,
    /// Nanoseconds for which tasks were held back.
    pub nanos: u64,
}

/// Pressure stall information: microseconds since the cgroup began.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pressure {
    /// Some task waited for a CPU.
    pub cpu_some: Option<u64>,
    /// Some task waited for memory.
    pub memory_some: Option<u64>,
    /// All of them did.
    pub memory_full: Option<u64>,
    /// Some task waited for I/O.
    pub io_some: Option<u64>,
    /// All of them did.
    pub io_full: Option<u64>,
}
