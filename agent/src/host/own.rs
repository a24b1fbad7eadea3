//! What this process itself uses.

use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

use super::Host;

/// CPU time of every thread that this process has and had.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CpuTime {
    /// In user mode.
    pub user: Duration,
    /// In the kernel.
    pub system: Duration,
}

impl CpuTime {
    /// What was used since then.
    pub fn since(self, then: Self) -> Self {
        Self { user: self.user.saturating_sub(then.user), system: self.system.saturating_sub(then.system) }
    }
}

/// The CPU time so far. The kernel divides it between the modes by samples; their sum is exact.
pub fn cpu_time() -> io::Result<CpuTime> {
    usage(libc::RUSAGE_SELF)
}

/// The same of the calling thread alone.
pub fn thread_time() -> CpuTime {
    // It fails for no reason that there could be here.
    usage(libc::RUSAGE_THREAD).unwrap_or_default()
}

fn usage(whose: libc::c_int) -> io::Result<CpuTime> {
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: room for what the call writes.
    if unsafe { libc::getrusage(whose, usage.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: written by the call, which succeeded.
    let usage = unsafe { usage.assume_init() };
    let time = |time: libc::timeval| {
        let [seconds, micros] = [time.tv_sec, time.tv_usec].map(|part| u64::try_from(part).unwrap_or_default());
        Duration::from_secs(seconds) + Duration::from_micros(micros)
    };
    Ok(CpuTime { user: time(usage.ru_utime), system: time(usage.ru_stime) })
}

/// Bytes of resident memory; `None` where `/proc` does not tell.
pub fn resident(host: &Host) -> Option<u64> {
    let pages: u64 = host.text("/proc/self/statm")?.split_whitespace().nth(1)?.parse().ok()?;
    pages.checked_mul(rustix::param::page_size() as u64)
}

/// CPUs of the node that are online, whether this process may use them or not; 1 where `/sys` does not tell.
pub fn online_cpus(host: &Host) -> usize {
    let online = host.text("/sys/devices/system/cpu/online").unwrap_or_default();
    let ranges = online.split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        last.checked_sub(first)?.checked_add(1)
    });
    ranges.fold(0_usize, usize::saturating_add).max(1)
}

/// Lets this process open as many files as it may ask for. Where it may not have more, opening fails as it would have.
pub fn allow_files() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let most = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = rustix::process::setrlimit(rustix::process::Resource::Nofile, most) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// Room at the end of a thread's heap that glibc keeps. Left alone it keeps twice the largest piece that was ever freed,
/// which is megabytes once the kernel's types were read, and [`give_back_memory`] reaches it in the first thread alone.
#[cfg(target_env = "gnu")]
const KEPT: libc::c_int = 128 << 10;

/// Lets the memory allocator keep little of what is freed. To be called once, before anything is loaded.
pub fn keep_little() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes numbers.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
    }
}

/// Gives free memory back to the kernel: glibc keeps what came and went in small pieces for later, such as the tree of
/// the kernel's types. See also [`keep_little`].
pub fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: has no conditions.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::made_up::Machine;
    use rustix::time::{ClockId, clock_gettime};

    /// The kernel's own clock of this process.
    fn clock() -> Duration {
        let now = clock_gettime(ClockId::ProcessCPUTime);
        Duration::new(now.tv_sec.cast_unsigned(), u32::try_from(now.tv_nsec).unwrap())
    }

    #[test]
    fn the_modes_add_up_to_what_the_process_used() {
        let mut spun = 0_u64;
        let until = clock() + Duration::from_millis(50);
        while clock() < until {
            spun = spun.wrapping_add(1);
        }
        let before = clock();
        let CpuTime { user, system } = cpu_time().unwrap();
        let after = clock();
        // Whole microseconds, each rounded down.
        let told = user + system;
        assert!(told + Duration::from_micros(2) >= before && told <= after, "{before:?} {told:?} {after:?}");
    }

    #[test]
    fn memory_that_is_touched_is_resident() {
        let host = Host::default();
        let before = resident(&host).unwrap();
        let block = vec![1_u8; 64 << 20];
        let after = resident(&host).unwrap();
        assert!(after >= before + (48 << 20), "{before} {after} with {} more", block.len());
    }

    #[test]
    fn cpus_are_counted_whatever_the_list() {
        for (list, cpus) in
            [("0-1\n", 2), ("0\n", 1), ("0-3,8-11,15\n", 9), ("", 1), ("x-y,3-1,7", 1), ("0-18446744073709551615", 1)]
        {
            let machine = Machine::new();
            machine.file("sys/devices/system/cpu/online", list);
            assert_eq!(online_cpus(machine.host()), cpus, "{list:?}");
        }
        assert_eq!(online_cpus(&Host::at("/nowhere")), 1);
        assert_eq!(resident(&Host::at("/nowhere")), None);
    }
}
