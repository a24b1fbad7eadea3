//! Sleep that the kernel's ring, or the end, cuts short.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{Timespec, epoll};

const RING: u64 = 0;
const STOP: u64 = 1;

/// Why a sleep is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Woken {
    /// It lasted as long as it was to.
    Slept,
    /// The kernel half calls: it has much to tell, or something that does not wait.
    Called,
    /// The [`Stop`] was dropped.
    Stopped,
}

/// Ends every sleep when it is dropped.
#[derive(Debug)]
pub struct Stop(#[expect(dead_code, reason = "its end is what tells")] PipeWriter);

/// What tells that a [`Stop`] was dropped.
#[derive(Debug)]
pub struct Stopped(PipeReader);

/// A [`Stop`], and what tells of it.
pub fn stop() -> io::Result<(Stop, Stopped)> {
    let (reader, writer) = io::pipe()?;
    Ok((Stop(writer), Stopped(reader)))
}

/// Sleeps.
#[derive(Debug)]
pub struct Bell(OwnedFd);

impl Bell {
    /// Hears calls of `ring`, and the end by `stopped`. Both must outlive it.
    pub fn new(ring: BorrowedFd<'_>, stopped: &Stopped) -> io::Result<Self> {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        // On edges: what the kernel half passes quietly makes the ring readable, but is no call.
        let calls = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&poll, ring, epoll::EventData::new_u64(RING), calls)?;
        epoll::add(&poll, stopped.0.as_fd(), epoll::EventData::new_u64(STOP), epoll::EventFlags::empty())?;
        Ok(Self(poll))
    }

    /// Sleeps for `pause` at most, in whole milliseconds and no less than was asked for; a signal may cut it short.
    pub fn sleep(&self, pause: Duration) -> io::Result<Woken> {
        let millis = pause.as_nanos().div_ceil(1_000_000).min(i32::MAX as u128) as u64;
        let pause = Timespec::try_from(Duration::from_millis(millis)).map_err(io::Error::other)?;
        let mut events = [const { std::mem::MaybeUninit::uninit() }; 2];
        let events = match epoll::wait(&self.0, &mut events, Some(&pause)) {
            Ok((events, _)) => &*events,
            Err(rustix::io::Errno::INTR) => &[],
            Err(error) => return Err(error.into()),
        };
        let of = |event: &epoll::Event, what: u64| event.data.u64() == what;
        Ok(if events.iter().any(|event| of(event, STOP)) {
            Woken::Stopped
        } else if events.iter().any(|event| of(event, RING)) {
            Woken::Called
        } else {
            Woken::Slept
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Instant;

    use super::*;

    const LONG: Duration = Duration::from_secs(600);
    const SHORT: Duration = Duration::from_millis(2);

    #[test]
    fn sleep_lasts_until_something_happens() {
        let (ring, mut kernel) = io::pipe().unwrap();
        let (stop, stopped) = stop().unwrap();
        let bell = Bell::new(ring.as_fd(), &stopped).unwrap();
        let begun = Instant::now();
        assert_eq!(bell.sleep(SHORT).unwrap(), Woken::Slept);
        assert!(begun.elapsed() >= SHORT);
        kernel.write_all(b"x").unwrap();
        assert_eq!(bell.sleep(LONG).unwrap(), Woken::Called);
        assert_eq!(bell.sleep(SHORT).unwrap(), Woken::Slept, "what lies there calls once");
        kernel.write_all(b"x").unwrap();
        assert_eq!(bell.sleep(LONG).unwrap(), Woken::Called);
        kernel.write_all(b"x").unwrap();
        drop(stop);
        assert_eq!(bell.sleep(LONG).unwrap(), Woken::Stopped, "the end comes first");
        assert_eq!(bell.sleep(LONG).unwrap(), Woken::Stopped);
    }
}
