//! CPU time of this process, for benchmarks.

use rustix::time::{ClockId, clock_gettime};

const ROUNDS: usize = 20;

/// Nanoseconds of CPU for one of the `count` things that `work` makes, user and system, the best of several rounds. What
/// it returns is freed within that time.
pub(crate) fn nanos_each<T>(count: usize, mut work: impl FnMut() -> T) -> u128 {
    let now = || {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        time.tv_sec as u128 * 1_000_000_000 + time.tv_nsec as u128
    };
    let round = |_| {
        let before = now();
        drop(work());
        (now() - before) / count as u128
    };
    (0..ROUNDS).map(round).min().unwrap_or_default()
}
