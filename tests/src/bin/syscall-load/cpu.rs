//! Contention for CPUs.

use std::ffi::CString;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use inferscope_tests::affinity::pin;

/// Runs for `millis` on one CPU without a pause.
pub(crate) fn spin(millis: u64, cpu: usize) -> Result<String> {
    pin(0, cpu)?;
    busy(Duration::from_millis(millis));
    Ok(String::new())
}

/// Wakes up every two milliseconds on one CPU and works for half a millisecond, for `millis`. Answers its own books: what the
/// kernel says of its waits for the CPU in nanoseconds, and how often it got one.
pub(crate) fn victim(millis: u64, cpu: usize) -> Result<String> {
    pin(0, cpu)?;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(millis) {
        busy(Duration::from_micros(500));
        thread::sleep(Duration::from_micros(1500));
    }
    Ok(fs::read_to_string("/proc/thread-self/schedstat")?.trim().to_owned())
}

/// Moves to and fro between the first two CPUs.
pub(crate) fn migrate(times: u64) -> Result<String> {
    for time in 0..times {
        pin(0, time as usize % 2)?;
    }
    Ok(String::new())
}

/// Sleeps and wakes up `times` times under a name.
pub(crate) fn named(name: &str, times: u64) -> Result<String> {
    let name = CString::new(name)?;
    // SAFETY: a string that lives for the call.
    ensure!(unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) } == 0, "prctl");
    (0..times).for_each(|_| thread::sleep(Duration::from_micros(500)));
    Ok(String::new())
}

fn busy(time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        std::hint::spin_loop();
    }
}
