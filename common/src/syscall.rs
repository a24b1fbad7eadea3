//! Calls, errors and latencies of a workload's system calls, by class.

use crate::hist::HistWords;

/// What a system call is about.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Class {
    /// Sockets, and reads and writes of them.
    Network = 0,
    /// Files, pipes, and what else reads and writes.
    File,
    /// Futexes, semaphores, locks on files.
    Lock,
    /// Waits for events and for time to pass.
    Poll,
    /// Processes and threads, signals, their children.
    Process,
    /// Memory mappings.
    Memory,
    /// Requests to a GPU's driver.
    Gpu,
    /// Everything else.
    Other,
    /// Gives the CPU away and asks for nothing: counted, never timed.
    Yield,
}

impl Class {
    /// Every class, by number.
    pub const ALL: [Self; CLASSES] = [
        Self::Network,
        Self::File,
        Self::Lock,
        Self::Poll,
        Self::Process,
        Self::Memory,
        Self::Gpu,
        Self::Other,
        Self::Yield,
    ];

    /// The histogram of its calls: those that waited for somebody, and those that worked. `None`: it has none.
    #[inline(always)]
    pub const fn hist(self, waited: bool) -> Option<usize> {
        hist(self as u8, waited)
    }
}

/// Number of classes.
pub const CLASSES: usize = 9;
/// Classes with a histogram; the first [`WAITING`] of them have a second one.
const TIMED: usize = 8;
/// Classes whose calls may wait: for a peer, an event, a lock, a child.
const WAITING: usize = 5;
/// Histograms of a workload.
pub const HISTS: usize = TIMED + WAITING;

/// As [`Class::hist`], by the class's number.
#[inline(always)]
pub const fn hist(class: u8, waited: bool) -> Option<usize> {
    let class = class as usize;
    if class >= TIMED {
        None
    } else if waited && class < WAITING {
        Some(TIMED + class)
    } else {
        Some(class)
    }
}

/// What the table says of a system call: its class in the lowest four bits, and these.
pub mod traits {
    use super::Class;

    /// To sleep in it is to wait for somebody, and no work.
    pub const WAITS: u16 = 1 << 4;
    /// The first argument's descriptor says more: a socket, a GPU, or what does not wait.
    pub const DESCRIPTOR: u16 = 1 << 5;
    /// Without a time: it is too frequent, or does not return.
    pub const UNTIMED: u16 = 1 << 6;
    /// Returns twice: the second time, with 0, in a new task that did not call.
    pub const FORKS: u16 = 1 << 7;
    /// Answers the number of bytes read from a file.
    pub const READS: u16 = 1 << 8;
    /// Whether it fails nobody knows: what it answers is no error number.
    pub const NO_ERROR: u16 = 1 << 9;

    const CLASS: u16 = 0xf;

    /// The class's number.
    #[inline(always)]
    pub const fn class(traits: u16) -> u8 {
        (traits & CLASS) as u8
    }

    /// The same with another class.
    #[inline(always)]
    pub const fn with_class(traits: u16, class: Class) -> u16 {
        traits & !CLASS | class as u16
    }
}

/// Major numbers that character devices can have.
pub const MAJORS: usize = 512;

/// Numbers in the table. What lies beyond is [`Class::Other`].
pub const NUMBERS: usize = 512;

/// The error numbers by which the kernel tells itself that an interrupted call begins again, or ends with `EINTR`.
#[inline(always)]
pub const fn is_restart(answer: i64) -> bool {
    matches!(answer, -514..=-512 | -516)
}

/// True for error numbers that the caller gets to see.
#[inline(always)]
pub const fn is_error(answer: i64) -> bool {
    answer < 0 && answer >= -4095 && !is_restart(answer)
}

/// Copies of [`Counts`] that a workload has at most: one for each CPU as long as they suffice, so that few CPUs
/// write to the same one. A power of two.
pub const MAX_STRIPES: u32 = 16;

/// What is counted of a workload's system calls, and that there is news of its disks; the sum of its stripes is what holds.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
pub struct Counts {
    /// One call in 2^k is timed. Written by the agent at any time.
    pub k: u32,
    /// The number of the slot's owner, 0 = nobody. Written by the agent.
    pub owner: u32,
    /// Calls that ended, by [`Class`].
    pub calls: [u64; CLASSES],
    /// Of them, those that failed.
    pub errors: [u64; CLASSES],
    /// Calls that sleep, or slept, and have not ended, by weight; up and down, so that a stripe may go round below 0.
    pub asleep: [u64; CLASSES],
    /// Calls that were interrupted and begin again, or fail with `EINTR` behind the scenes. They count as calls.
    pub restarts: u64,
    /// Bytes that calls read from regular files, through the page cache or not.
    pub file_bytes_read: u64,
    /// Loss: calls without a time, since there was no memory for their beginning. By weight.
    pub lost_state: u64,
    /// Completions of the slot's block I/O: while it stands, what is counted of that need not be looked at.
    pub disk: u64,
}

impl Counts {
    /// Nothing counted.
    pub const ZERO: Self = Self {
        k: 0,
        owner: 0,
        calls: [0; CLASSES],
        errors: [0; CLASSES],
        asleep: [0; CLASSES],
        restarts: 0,
        file_bytes_read: 0,
        lost_state: 0,
        disk: 0,
    };
}

/// Latencies of a workload's system calls, by [`Class::hist`].
pub type Latencies = [HistWords; HISTS];

const _: () = assert!(size_of::<Counts>() == 256);
const _: () = assert!(Class::ALL.len() == CLASSES);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_follow_the_numbers() {
        assert!(Class::ALL.iter().enumerate().all(|(i, &class)| class as usize == i));
    }

    #[test]
    fn every_histogram_has_one_meaning() {
        let mut seen = [false; HISTS];
        for class in Class::ALL {
            let hists = [class.hist(false), class.hist(true)];
            let (work, wait) = (hists[0], hists[1]);
            for place in [work, wait].into_iter().flatten().take(if work == wait { 1 } else { 2 }) {
                assert!(!std::mem::replace(&mut seen[place], true), "{class:?} shares histogram {place}");
            }
        }
        assert_eq!(seen, [true; HISTS]);
        assert_eq!(Class::Yield.hist(false), None);
    }

    #[test]
    fn restarts_are_no_errors() {
        assert!(is_error(-1) && is_error(-4095) && is_error(-11));
        assert!(!is_error(0) && !is_error(3) && !is_error(-4096) && !is_error(i64::MIN));
        for restart in [-512, -513, -514, -516] {
            assert!(is_restart(restart) && !is_error(restart));
        }
        assert!(is_error(-515) && is_error(-517), "ENOIOCTLCMD and EPROBE_DEFER are none");
    }
}
