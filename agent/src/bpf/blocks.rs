//! The kernel's blocks, mapped into the agent: read without a system call.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use inferscope_common::block::Block;

const WORDS: usize = size_of::<Block>() / size_of::<u64>();

/// The array of blocks, mapped read-only.
pub(super) struct Blocks {
    base: NonNull<[AtomicU64; WORDS]>,
    count: u32,
}

// SAFETY: the mapping belongs to this value alone.
unsafe impl Send for Blocks {}

impl Blocks {
    /// Maps `count` blocks of the array behind `fd`.
    pub(super) fn map(fd: impl AsFd, count: u32) -> io::Result<Self> {
        let bytes = count as usize * size_of::<Block>();
        let (read, shared, fd) = (libc::PROT_READ, libc::MAP_SHARED, fd.as_fd().as_raw_fd());
        // SAFETY: a new mapping; the kernel checks the size against the map's.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), bytes, read, shared, fd, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(base.cast()).map(|base| Self { base, count }).ok_or_else(io::Error::last_os_error)
    }

    /// Blocks that there are.
    pub(super) fn len(&self) -> u32 {
        self.count
    }

    /// Copies a block. The kernel goes on adding: each word is whole, the words are not of one instant.
    pub(super) fn read(&self, index: u32, into: &mut Block) -> bool {
        if index >= self.count {
            return false;
        }
        // SAFETY: within the mapping, which lives as long as `self`; the kernel writes whole, aligned words.
        let words = unsafe { self.base.add(index as usize).as_ref() };
        // SAFETY: a block is that many words and nothing else.
        let into = unsafe { &mut *std::ptr::from_mut(into).cast::<[u64; WORDS]>() };
        for (to, from) in into.iter_mut().zip(words) {
            *to = from.load(Ordering::Relaxed);
        }
        true
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        // SAFETY: the mapping that `map` made.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.count as usize * size_of::<Block>()) };
    }
}
