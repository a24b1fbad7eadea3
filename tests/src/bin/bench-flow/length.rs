//! How long the parts run.

use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Length {
    /// Within this an agent that has just started has looked around: for the holders of all sockets that listen, in vain
    /// for some.
    pub(crate) settled: Duration,
    /// Seconds of load in one run of a pair.
    pub(crate) run_seconds: u32,
    /// For how long an agent is watched without requests.
    pub(crate) idle: Duration,
    /// Rounds of four runs, at least.
    pub(crate) least_rounds: usize,
    /// Half of the interval of the median's shift at which no further round is needed, in percent.
    pub(crate) wanted_pct: f64,
    /// Past this no further round begins: for all rows together, at first in equal parts.
    pub(crate) rounds: Duration,
    /// For how long the packets of live streams are counted.
    pub(crate) live: Duration,
}

impl Length {
    /// For figures. Many short runs tell more than few long ones: what else the machine does changes slowly.
    pub(crate) const FULL: Self = Self {
        settled: Duration::from_secs(16),
        run_seconds: 10,
        idle: Duration::from_secs(40),
        least_rounds: 3,
        wanted_pct: 0.3,
        rounds: Duration::from_secs(600),
        live: Duration::from_secs(20),
    };
    /// To see that it works.
    pub(crate) const QUICK: Self = Self {
        settled: Duration::from_secs(1),
        run_seconds: 2,
        idle: Duration::from_secs(2),
        least_rounds: 1,
        wanted_pct: 0.3,
        rounds: Duration::ZERO,
        live: Duration::from_secs(2),
    };
}
