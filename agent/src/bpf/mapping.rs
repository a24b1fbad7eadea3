//! A piece of an array of the kernel half, mapped into the agent: read and written without a system call.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

/// What may be done with a piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Access {
    /// The kernel writes, the agent reads.
    Read,
    /// Both write.
    ReadWrite,
}

/// Words of an array. A mapped page counts as the agent's memory whether it is read or not: map no more than is used.
pub(super) struct Mapping {
    base: NonNull<u8>,
    bytes: usize,
    /// Pieces do not begin where pages do: these bytes of the first page come before.
    skipped: usize,
}

// SAFETY: the mapping belongs to this value alone; its words are atomic.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps `bytes` of the array behind `array`, from byte `begin` on. Both are multiples of 8.
    pub(super) fn new(array: impl AsFd, begin: usize, bytes: usize, access: Access) -> io::Result<Self> {
        let page = rustix::param::page_size();
        let skipped = begin.checked_rem(page).ok_or(io::ErrorKind::Unsupported)?;
        let bytes = skipped + bytes;
        let offset = libc::off_t::try_from(begin - skipped).map_err(io::Error::other)?;
        let access = match access {
            Access::Read => libc::PROT_READ,
            Access::ReadWrite => libc::PROT_READ | libc::PROT_WRITE,
        };
        let fd = array.as_fd().as_raw_fd();
        // SAFETY: a new mapping; the kernel checks its place against the map's.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, libc::MAP_SHARED, fd, offset) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { base, bytes, skipped })
    }

    /// Its words. Each is whole; they are not of one instant, since the kernel goes on writing.
    pub(super) fn words(&self) -> &[AtomicU64] {
        let count = (self.bytes - self.skipped) / size_of::<AtomicU64>();
        // SAFETY: within the mapping, which lives as long as `self`; both sides write whole, aligned words.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr().add(self.skipped).cast(), count) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` made.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}
