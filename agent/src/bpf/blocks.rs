//! The kernel's blocks, mapped into the agent: read without a system call.

use std::io;
use std::mem::offset_of;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use inferscope_common::block::{Block, Counter, Hist};
use inferscope_common::hist::HistWords;

use super::live::LiveHist;
use super::mapping::{Access, Mapping};
use super::on_demand::OnDemand;

/// Bytes up to the end of the first histogram, [`Hist::EventGap`].
const HEAD: usize = offset_of!(Block, hists) + size_of::<HistWords>();
const _: () = assert!(Hist::EventGap as usize == 0);

/// How far a workload is: counts that only grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Steps {
    /// Events with content that it streamed, modulo 2^32.
    pub events: u32,
    /// Requests that it began to receive.
    pub begun: u64,
    /// Those that ended.
    pub ended: u64,
}

/// The array of blocks; each is mapped by itself, while somebody reads it.
pub(super) struct Blocks(OnDemand<Block>);

impl Blocks {
    /// `count` blocks of the array behind `array`.
    pub(super) fn new(array: impl AsFd, count: u32) -> io::Result<Self> {
        OnDemand::new(array, count, Access::Read).map(Self)
    }

    /// Blocks that there are.
    pub(super) fn len(&self) -> u32 {
        self.0.len()
    }

    /// Maps one block, read-only.
    pub(super) fn map(&self, index: u32) -> io::Result<MappedBlock> {
        self.0.element(index).map(MappedBlock)
    }

    /// Reads the beginning of one block alone.
    pub(super) fn steps(&self, index: u32) -> io::Result<Steps> {
        let head = self.0.beginning(index, HEAD)?;
        let counter = |counter: Counter| counter_of(&head, counter as usize);
        // Events that follow another one are counted by the histogram of their gaps alone.
        let gaps = hist_of(&head, Hist::EventGap).slots();
        Ok(Steps {
            events: gaps.fold(counter(Counter::Events) as u32, |sum, (_, count)| sum.wrapping_add(count)),
            begun: counter(Counter::RequestsBegun),
            ended: counter(Counter::RequestsEnded),
        })
    }
}

/// A block of the kernel's, as it stands at every moment.
pub struct MappedBlock(Mapping);

impl MappedBlock {
    /// Copies the block over an earlier copy, or over an empty one. The kernel goes on adding: each word is whole, the
    /// words are not of one instant.
    pub fn read(&self, into: &mut Block) {
        for (place, to) in into.counters.iter_mut().enumerate() {
            *to = counter_of(&self.0, place);
        }
        for hist in Hist::ALL {
            hist_of(&self.0, hist).copy(&mut into.hists[hist as usize]);
        }
    }
}

fn counter_of(block: &Mapping, place: usize) -> u64 {
    let word = block.words().get(offset_of!(Block, counters) / size_of::<u64>() + place);
    word.map_or(0, |word| word.load(Ordering::Relaxed))
}

fn hist_of(block: &Mapping, hist: Hist) -> LiveHist<'_> {
    LiveHist::within(block.words(), offset_of!(Block, hists) + hist as usize * size_of::<HistWords>())
}
