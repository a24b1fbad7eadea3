//! Wall time for instants of `CLOCK_MONOTONIC`.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Tries of [`Clock::now`]; the one with the shortest pause between its two readings wins.
const TRIES: usize = 3;

/// Maps `CLOCK_MONOTONIC` to Unix time. A wall clock that is set or slewed moves away from it: take a
/// new one now and then, at every flush for example.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Clock {
    /// Unix time minus monotonic time, in nanoseconds.
    offset: i64,
}

impl Clock {
    /// Reads both clocks.
    pub fn now() -> Self {
        let mut best = (u64::MAX, 0);
        for _ in 0..TRIES {
            let before = monotonic_nanos();
            let wall = nanos(clock_gettime(ClockId::Realtime));
            let pause = monotonic_nanos().saturating_sub(before);
            if pause < best.0 {
                best = (pause, wall as i64 - (before + pause / 2) as i64);
            }
        }
        Self { offset: best.1 }
    }

    /// A clock with a given difference, Unix time minus monotonic time, in nanoseconds.
    pub fn with_offset(offset: i64) -> Self {
        Self { offset }
    }

    /// Nanoseconds since the Unix epoch of an instant in nanoseconds of `CLOCK_MONOTONIC`.
    pub fn unix(self, monotonic: u64) -> u64 {
        monotonic.saturating_add_signed(self.offset)
    }

    /// Nanoseconds since the Unix epoch, now.
    pub fn unix_now(self) -> u64 {
        self.unix(monotonic_nanos())
    }
}

/// `CLOCK_MONOTONIC` in nanoseconds.
pub fn monotonic_nanos() -> u64 {
    nanos(clock_gettime(ClockId::Monotonic))
}

/// Processor time that the calling thread has had since it began: what something costs, however busy the machine is.
pub fn thread_cpu() -> Duration {
    Duration::from_nanos(nanos(clock_gettime(ClockId::ThreadCPUTime)))
}

fn nanos(time: Timespec) -> u64 {
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{SystemTime, UNIX_EPOCH};

    #[test]
    fn agrees_with_the_wall_clock() {
        let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        let now = Clock::now().unix_now();
        let after = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        // Half a pause between two readings is all that the mapping may be off.
        assert!(now + 1_000_000 >= before && now <= after + 1_000_000, "{before} {now} {after}");
    }

    #[test]
    fn waiting_costs_no_processor_time() {
        let before = thread_cpu();
        std::thread::sleep(Duration::from_millis(50));
        let waited = thread_cpu() - before;
        assert!(waited > Duration::ZERO && waited < Duration::from_millis(25), "{waited:?}");
    }

    #[test]
    fn an_instant_before_the_epoch_is_the_epoch() {
        assert_eq!(Clock::with_offset(-10).unix(3), 0);
        assert_eq!(Clock::with_offset(10).unix(3), 13);
    }
}
