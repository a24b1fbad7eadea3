//! The kernel's statistics of programs: how often each ran, and for how long.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use anyhow::{Context, Result};

const BPF_ENABLE_STATS: libc::c_long = 32;
const BPF_STATS_RUN_TIME: u64 = 0;

/// Switches them on until this is dropped. Each run then costs two looks at a clock more.
#[derive(Debug)]
pub struct Statistics {
    _on: OwnedFd,
}

impl Statistics {
    /// Needs Linux 5.8 and root.
    pub fn enable() -> Result<Self> {
        let which = BPF_STATS_RUN_TIME;
        // SAFETY: the attributes of this command are one word.
        let fd = unsafe { libc::syscall(libc::SYS_bpf, BPF_ENABLE_STATS, &raw const which, size_of::<u64>()) };
        let fd = i32::try_from(fd)?;
        if fd < 0 {
            return Err(io::Error::last_os_error()).context("cannot switch the statistics of programs on");
        }
        // SAFETY: a descriptor that nobody else has.
        Ok(Self { _on: unsafe { OwnedFd::from_raw_fd(fd) } })
    }
}
