//! Measures what the agent uses.

use std::io;
use std::time::Duration;

use super::decide::{Cpu, Reading};
use super::windows::{Programs, Windows};
use crate::bpf::RunStats;
use crate::host::Host;
use crate::host::own::{CpuTime, cpu_time, give_back_memory, resident};

/// Takes a reading now and then.
#[derive(Debug)]
pub struct Meter {
    host: Host,
    windows: Windows<Option<RunStats>>,
    last: Option<Last>,
    /// Used since the last reading for what is no part of the load.
    exempt: CpuTime,
    /// When free memory was last given back.
    gave_back: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    at: Duration,
    time: CpuTime,
    spun: Option<u64>,
}

/// The agent's programs, by what says how long they have run.
struct Timed<'a, F> {
    host: &'a Host,
    run_time: F,
}

impl<F: Fn() -> Duration> Programs for Timed<'_, F> {
    type Taking = Option<RunStats>;

    fn take_times(&self) -> io::Result<Self::Taking> {
        match RunStats::enable() {
            Err(_) if self.host.text("/proc/sys/kernel/bpf_stats_enabled").as_deref() == Some("1") => Ok(None),
            enabled => enabled.map(Some),
        }
    }

    fn run_time(&self) -> Duration {
        (self.run_time)()
    }
}

impl Meter {
    /// Measures this process.
    pub fn new(host: Host) -> Self {
        Self { host, windows: Windows::default(), last: None, exempt: CpuTime::default(), gave_back: None }
    }

    /// Measures the programs where it is time for it by `clock`; `run_time` says how long they have run while times were taken.
    /// How long it can wait for the next call.
    pub fn turn(&mut self, clock: impl Fn() -> Duration, run_time: impl Fn() -> Duration) -> Duration {
        let asked = self.windows.refused().is_some();
        let wait = self.windows.turn(clock, &Timed { host: &self.host, run_time });
        if let Some(error) = self.windows.refused().filter(|_| !asked) {
            tracing::warn!(
                %error,
                "cannot measure what the programs in the kernel cost: the CPU budget holds for the rest alone (give \
                 CAP_SYS_ADMIN, or set kernel.bpf_stats_enabled=1)"
            );
        }
        wait
    }

    /// What was used since the last reading; `None` for the first one. Where more memory is resident than `budget`,
    /// what is free of it is given back first, once in `window`. `spun`: calls that only spun, so far.
    pub fn read(&mut self, now: Duration, spun: Option<u64>, budget: u64, window: Duration) -> Option<Reading> {
        let time = cpu_time().ok()?;
        let last = self.last.replace(Last { at: now, time, spun })?;
        let passed = now.saturating_sub(last.at).as_secs_f64();
        let used = counted(time.since(last.time), std::mem::take(&mut self.exempt));
        let part = |used: Duration| if passed > 0.0 { used.as_secs_f64() / passed } else { 0.0 };
        let (user, system) = (part(used.user), part(used.system));
        let spinning = match (spun, last.spun) {
            (Some(now), Some(then)) if passed > 0.0 => Some(now.saturating_sub(then) as f64 / passed),
            _ => None,
        };
        let cpu = Cpu { user, system, programs: self.windows.cpus() };
        Some(Reading { cpu, memory: self.memory(now, budget, window), spinning })
    }

    /// Something else is in force from `now` on: what the programs cost is to be measured anew.
    pub fn forget(&mut self, now: Duration) {
        self.windows.forget(now);
    }

    /// So much CPU is no part of the next reading's: it is in [`Self::time`] alone.
    pub fn exempt(&mut self, time: CpuTime) {
        self.exempt = CpuTime { user: self.exempt.user + time.user, system: self.exempt.system + time.system };
    }

    /// CPU time up to the last reading.
    pub fn time(&self) -> CpuTime {
        self.last.map(|last| last.time).unwrap_or_default()
    }

    fn memory(&mut self, now: Duration, budget: u64, window: Duration) -> Option<u64> {
        let memory = resident(&self.host)?;
        if memory <= budget || self.gave_back.is_some_and(|at| now.saturating_sub(at) < window) {
            return Some(memory);
        }
        self.gave_back = Some(now);
        give_back_memory();
        resident(&self.host)
    }
}

/// What of the time that was used counts. Each clock divides its time between the modes by samples of its own, so that one
/// mode may be exempt of more than it has: the other one gives it.
fn counted(used: CpuTime, exempt: CpuTime) -> CpuTime {
    let over = |exempt: Duration, used: Duration| exempt.saturating_sub(used);
    CpuTime {
        user: used.user.saturating_sub(exempt.user + over(exempt.system, used.system)),
        system: used.system.saturating_sub(exempt.system + over(exempt.user, used.user)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    const ROOM: u64 = 1 << 40;
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_thread_that_spins_uses_a_cpu_and_no_more_than_there_are() {
        let (mut meter, begun) = (Meter::new(Host::default()), Instant::now());
        assert_eq!(meter.read(begun.elapsed(), None, ROOM, SECOND), None, "nothing to compare with");
        let before = cpu_time().unwrap();
        let mut spun = 0_u64;
        while cpu_time().unwrap().user < before.user + Duration::from_millis(100) {
            spun = spun.wrapping_add(1);
        }
        let wall = begun.elapsed();
        let reading = meter.read(wall, None, ROOM, SECOND).unwrap();
        // Other tests run in this process, too: it may use more than this thread, but no more than there is.
        let used = reading.cpu.in_all() * wall.as_secs_f64();
        assert!(used >= 0.09, "{reading:?} in {wall:?}");
        let cpus = std::thread::available_parallelism().map_or(1.0, |cpus| cpus.get() as f64);
        assert!(reading.cpu.in_all() <= cpus * 1.2, "{reading:?} on {cpus} CPUs");
        assert!(meter.time().user >= before.user + Duration::from_millis(100));
    }

    /// Programs on every call of interest took five seconds to attach: that is no reason to take them off again.
    #[test]
    fn what_a_switch_takes_is_no_part_of_the_load() {
        let time = |user, system| CpuTime { user: SECOND * user, system: SECOND * system };
        let (used, switch) = (time(4, 3), time(3, 2));
        assert_eq!(counted(used, switch), time(1, 1));
        // Divided otherwise by the process's clock than by the thread's.
        assert_eq!(counted(used, time(5, 0)), time(0, 2));
        assert_eq!(counted(used, time(0, 5)), time(2, 0));
        assert_eq!(counted(used, time(9, 9)), time(0, 0));

        let mut meter = Meter::new(Host::default());
        let before = cpu_time().unwrap();
        meter.read(SECOND, None, ROOM, SECOND);
        // More than the tests of this process use.
        meter.exempt(time(500, 500));
        let reading = meter.read(SECOND * 2, None, ROOM, SECOND).unwrap();
        assert_eq!((reading.cpu.user, reading.cpu.system), (0.0, 0.0));
        let told = meter.time();
        assert!(told.user + told.system >= before.user + before.system, "the books tell it all the same");
        let mut spun = 0_u64;
        while cpu_time().unwrap().user < told.user + Duration::from_millis(20) {
            spun = spun.wrapping_add(1);
        }
        let reading = meter.read(SECOND * 3, None, ROOM, SECOND).unwrap();
        assert!(reading.cpu.user > 0.0, "what comes after counts again");
    }

    #[test]
    fn spinning_is_a_rate_and_unknown_where_nobody_counts_it() {
        let mut meter = Meter::new(Host::default());
        let mut read = |second, spun| meter.read(SECOND * second, spun, ROOM, SECOND).and_then(|read| read.spinning);
        assert_eq!(read(0, Some(1000)), None);
        assert_eq!(read(2, Some(7000)), Some(3000.0));
        assert_eq!(read(3, None), None);
        assert_eq!(read(4, Some(9000)), None, "counted anew");
        assert_eq!(read(4, Some(9000)), None, "at once");
        assert_eq!(read(5, Some(8000)), Some(0.0), "a count that began anew");
    }

    #[test]
    fn free_memory_is_given_back_before_anything_is_shed() {
        let (host, mut meter) = (Host::default(), Meter::new(Host::default()));
        // Small pieces stay with the allocator, and one at the end keeps it from giving them back by itself.
        let pieces: Vec<Vec<u8>> = (0..40_000).map(|_| vec![1; 1000]).collect();
        let last = vec![1_u8; 1000];
        drop(pieces);
        let before = resident(&host).unwrap();
        let after = meter.memory(SECOND, 0, SECOND).unwrap();
        if cfg!(target_env = "gnu") {
            assert!(after + (20 << 20) < before, "{before} {after}, {} bytes kept", last.len());
        }
        assert_eq!(meter.gave_back, Some(SECOND));
        meter.memory(SECOND + SECOND / 2, 0, SECOND);
        assert_eq!(meter.gave_back, Some(SECOND), "once in a window");
    }
}
