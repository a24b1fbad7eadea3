//! CPU time of a process, as exact as the kernel knows it.

use std::fs;
use std::io;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use perf_event::events::Software;
use perf_event::{Builder, Sampler};

/// User and system time of a running process so far by the scheduler's clock, over its threads. What threads used that have
/// ended is not in it.
pub fn total(pid: u32) -> Result<Duration> {
    let mut nanos = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end between the two.
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
        nanos += text.split_whitespace().next().context("an empty schedstat")?.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanos))
}

/// CPU time between two samples. The kernel's own accounts tell user from system time in ticks of 10 ms, to which whatever
/// timers wake keeps in step.
const PERIOD: Duration = Duration::from_micros(50);
/// Bytes for the samples of a thread: three seconds of nothing but user time.
const BUFFER: usize = 1 << 19;
/// Types of records: `perf_event_open(2)`.
const LOST: u32 = 2;
const SAMPLE: u32 = 9;

/// Samples the user time of every thread that a process has.
pub struct UserTime(Vec<Sampler>);

/// User time that was sampled.
#[derive(Clone, Copy, Default, Debug)]
pub struct Sampled(u64);

impl UserTime {
    /// Samples from now on.
    pub fn of(pid: u32) -> Result<Self> {
        let sampler = |task: io::Result<fs::DirEntry>| {
            let thread = task?.file_name().to_str().context("no number")?.parse()?;
            let mut builder = Builder::new(Software::CPU_CLOCK);
            builder.observe_pid(thread).exclude_kernel(true).sample_period(PERIOD.as_nanos() as u64).enabled(true);
            anyhow::Ok(builder.build()?.sampled(BUFFER)?)
        };
        let samplers: Result<_> = fs::read_dir(format!("/proc/{pid}/task"))?.map(sampler).collect();
        Ok(Self(samplers.context("cannot sample (perf_event_open)")?))
    }

    /// What was sampled.
    pub fn stop(self) -> Result<Sampled> {
        let mut samples = 0;
        for mut sampler in self.0 {
            sampler.as_counter_mut().disable()?;
            while let Some(record) = sampler.next_record() {
                match record.ty() {
                    SAMPLE => samples += 1,
                    LOST => bail!("samples were lost"),
                    _ => {}
                }
            }
        }
        Ok(Sampled(samples))
    }
}

impl Sampled {
    /// The time.
    pub fn time(self) -> Duration {
        PERIOD.mul_f64(self.0 as f64)
    }

    /// Half of its 95 % interval: chance decides where samples fall.
    pub fn uncertainty(self) -> Duration {
        PERIOD.mul_f64(1.96 * (self.0 as f64).sqrt())
    }
}

impl std::iter::Sum for Sampled {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        Self(all.map(|one| one.0).sum())
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::wait;

    /// CPU time of a process by the clock of its own.
    fn clock(pid: u32) -> Duration {
        let (mut clock, mut now) = (0, libc::timespec { tv_sec: 0, tv_nsec: 0 });
        // SAFETY: places for the clock's name and for the time.
        unsafe {
            assert_eq!(libc::clock_getcpuclockid(pid.cast_signed(), &raw mut clock), 0);
            assert_eq!(libc::clock_gettime(clock, &raw mut now), 0);
        }
        Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap())
    }

    /// Total, and user time by samples, of a shell's command that runs for 300 ms of CPU time and then stands still.
    fn used(command: &str) -> (Duration, Duration) {
        let mut child = Command::new("sh").args(["-c", command]).spawn().unwrap();
        let (sampling, before) = (UserTime::of(child.id()).unwrap(), clock(child.id()));
        let within = Duration::from_secs(60);
        let used =
            wait::until(within, "300 ms", || (clock(child.id()) > before + Duration::from_millis(300)).then_some(()));
        // What runs is brought up to date by the next tick; what stands still is.
        // SAFETY: a signal to a child.
        unsafe { libc::kill(child.id().cast_signed(), libc::SIGSTOP) };
        let stat = format!("/proc/{}/stat", child.id());
        let stands = || fs::read_to_string(&stat).unwrap().contains(") T ").then_some(());
        let stopped = wait::until(within, "the child to stand still", stands);
        let (cpu, clock, user) = (total(child.id()).unwrap(), clock(child.id()), sampling.stop().unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        used.and(stopped).unwrap();
        assert_eq!(cpu, clock);
        (cpu - before, user.time())
    }

    #[test]
    fn it_is_what_the_clock_of_the_process_says() {
        // A shell that counts nothing spends it on itself.
        let (cpu, user) = used("while :; do :; done");
        assert!(user > cpu.mul_f64(0.8) && user < cpu.mul_f64(1.1), "{user:?} of {cpu:?}");
        // One that copies zeros leaves it to the kernel.
        let (cpu, user) = used("exec dd if=/dev/zero of=/dev/null bs=1M status=none");
        assert!(user < cpu.mul_f64(0.2), "{user:?} of {cpu:?}");
    }
}
