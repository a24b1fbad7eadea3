//! Times of short loops: the minimum of several slices, which contention and interrupts can only make longer.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Instant;

use anyhow::Result;

/// How a measurement is cut.
#[derive(Clone, Copy)]
pub(crate) struct Slices {
    /// Calls in a slice, which is to be over before something comes in between.
    pub(crate) calls: u32,
    pub(crate) slices: usize,
}

/// On a machine.
pub(crate) const SLICES: Slices = Slices { calls: 2000, slices: 10 };
/// Of the switching load; its calls are round trips.
const TRIPS: Slices = Slices { calls: 500, ..SLICES };

/// Nanoseconds for one call that does next to nothing.
pub(crate) fn getppid(cut: Slices) -> f64 {
    // SAFETY: takes nothing.
    slices(|| assert_ne!(unsafe { libc::syscall(libc::SYS_getppid) }, -1), cut)
}

/// Nanoseconds for giving the CPU away to nobody.
pub(crate) fn give_way(cut: Slices) -> f64 {
    // SAFETY: takes nothing.
    slices(|| assert_ne!(unsafe { libc::syscall(libc::SYS_sched_yield) }, -1), cut)
}

/// Nanoseconds for waking nobody who waits for a word in memory.
pub(crate) fn wake(cut: Slices) -> f64 {
    let word = 0u32;
    let wake = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: a word that lives for the call, which does not change it.
    slices(|| assert_eq!(unsafe { libc::syscall(libc::SYS_futex, &raw const word, wake, 1, 0, 0, 0) }, 0), cut)
}

fn slices(mut call: impl FnMut(), Slices { calls: times, slices }: Slices) -> f64 {
    let slice = |call: &mut dyn FnMut()| {
        let begun = Instant::now();
        (0..times).for_each(|_| call());
        begun.elapsed().as_nanos() as f64 / f64::from(times)
    };
    (0..slices).map(|_| slice(&mut call)).fold(f64::MAX, f64::min)
}

/// Two threads on one CPU that wake each other in turn.
pub(crate) struct PingPong {
    here: UnixStream,
    other: Option<thread::JoinHandle<()>>,
}

impl PingPong {
    pub(crate) fn start() -> Result<Self> {
        let (here, mut there) = UnixStream::pair()?;
        // It inherits the CPU that this thread is pinned to.
        let other = thread::spawn(move || {
            ahead();
            let mut byte = [0];
            while there.read_exact(&mut byte).is_ok() && there.write_all(&byte).is_ok() {}
        });
        Ok(Self { here, other: Some(other) })
    }

    /// Nanoseconds for one switch, with the calls around it.
    pub(crate) fn switch(&self) -> f64 {
        let mut here = &self.here;
        let mut byte = [0];
        // Two switches to a round trip.
        slices(|| drop(here.write_all(&[1]).and_then(|()| here.read_exact(&mut byte))), TRIPS) / 2.0
    }
}

impl Drop for PingPong {
    fn drop(&mut self) {
        drop(self.here.shutdown(std::net::Shutdown::Both));
        drop(self.other.take().map(thread::JoinHandle::join));
    }
}

/// Runs a measurement in a thread that did not exist before, ahead of everything else on its CPU: of a thread that was
/// watched the kernel would still keep something, and one that shares its CPU measures its neighbours.
pub(crate) fn apart(measure: impl FnOnce() -> f64 + Send) -> f64 {
    let run = || {
        ahead();
        measure()
    };
    thread::scope(|scope| scope.spawn(run).join().unwrap_or(f64::MAX))
}

/// Puts this thread before all that are scheduled fairly.
fn ahead() {
    let priority = libc::sched_param { sched_priority: 1 };
    // SAFETY: a priority that lives for the call. Without it the figures scatter more, and are right all the same.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const priority) };
}
