//! The kernel's blocks, mapped into the agent: read without a system call.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;

use inferscope_common::block::{Block, COUNTERS, Counter, Hist};
use inferscope_common::hist::SLOTS;

use super::mapping::{Access, Mapping};

const WORDS: usize = size_of::<Block>() / size_of::<u64>();
/// Words up to the end of the first histogram, [`Hist::EventGap`].
const HEAD: usize = COUNTERS + SLOTS;
const _: () = assert!(Hist::EventGap as usize == 0);

/// How far a workload is: counts that only grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Steps {
    /// Events with content that it streamed.
    pub events: u64,
    /// Requests that it began to receive.
    pub begun: u64,
    /// Those that ended.
    pub ended: u64,
}

/// The array of blocks; each is mapped by itself, while somebody reads it.
pub(super) struct Blocks {
    array: OwnedFd,
    count: u32,
}

impl Blocks {
    /// `count` blocks of the array behind `array`.
    pub(super) fn new(array: impl AsFd, count: u32) -> io::Result<Self> {
        Ok(Self { array: array.as_fd().try_clone_to_owned()?, count })
    }

    /// Blocks that there are.
    pub(super) fn len(&self) -> u32 {
        self.count
    }

    /// Maps one block, read-only.
    pub(super) fn map(&self, index: u32) -> io::Result<MappedBlock> {
        self.words(index, WORDS).map(MappedBlock)
    }

    /// Reads the beginning of one block alone.
    pub(super) fn steps(&self, index: u32) -> io::Result<Steps> {
        let head = self.words(index, HEAD)?;
        let words = || head.words().iter().map(|word| word.load(Ordering::Relaxed));
        let counter = |counter: Counter| words().nth(counter as usize).unwrap_or(0);
        // Events that follow another one are counted by the histogram of their gaps alone.
        let gaps = words().skip(COUNTERS).fold(0, u64::wrapping_add);
        Ok(Steps {
            events: counter(Counter::Events).wrapping_add(gaps),
            begun: counter(Counter::RequestsBegun),
            ended: counter(Counter::RequestsEnded),
        })
    }

    /// Maps the first words of a block.
    fn words(&self, index: u32, words: usize) -> io::Result<Mapping> {
        if index >= self.count {
            return Err(io::Error::new(io::ErrorKind::NotFound, "no such block"));
        }
        let begin = index as usize * size_of::<Block>();
        Mapping::new(&self.array, begin, words * size_of::<u64>(), Access::Read)
    }
}

/// A block of the kernel's, as it stands at every moment.
pub struct MappedBlock(Mapping);

impl MappedBlock {
    /// Copies the block. The kernel goes on adding: each word is whole, the words are not of one instant.
    pub fn read(&self, into: &mut Block) {
        // SAFETY: a block is that many words and nothing else.
        let into = unsafe { &mut *std::ptr::from_mut(into).cast::<[u64; WORDS]>() };
        for (to, from) in into.iter_mut().zip(self.0.words()) {
            *to = from.load(Ordering::Relaxed);
        }
    }
}
