//! Adds to a workload's block, in place and atomically.

use inferscope_common::block::{Block, COUNTERS, Counter, Hist};

use crate::hist::{self, add};
use crate::maps::BLOCKS;

/// A workload's block.
#[derive(Clone, Copy)]
pub(crate) struct Slot(*mut Block);

impl Slot {
    /// The block of a slot; slots that do not exist have none.
    #[inline(always)]
    pub(crate) fn get(slot: u32) -> Option<Self> {
        BLOCKS.get_ptr_mut(slot).map(Self)
    }

    /// Adds to a counter.
    #[inline(always)]
    pub(crate) fn count(self, counter: Counter, amount: u64) {
        // SAFETY: a word of a map value: the counter's number is below COUNTERS, which `common` asserts.
        unsafe { add((&raw mut (*self.0).counters).cast::<u64>().add(counter as usize & (COUNTERS - 1)), amount) };
    }

    /// Adds a duration to a histogram, without a call.
    #[inline(always)]
    pub(crate) fn record_here(self, which: Hist, nanos: u64) {
        // SAFETY: the block is a map value; `Hist` names a histogram that is there.
        unsafe { hist::record(&raw mut (*self.0).hists[which as usize], nanos, 1) };
    }

    /// Adds a duration to a histogram.
    #[inline(always)]
    pub(crate) fn record(self, which: Hist, nanos: u64) {
        // SAFETY: the block is a map value.
        unsafe { record_duration(self.0, which as u64, nanos) };
    }
}

/// A function of its own for the verifier, which checks it once and not again for every caller.
///
/// # Safety
/// `block` must be a block or null.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn record_duration(block: *mut Block, which: u64, nanos: u64) -> u32 {
    let which = which as usize;
    if block.is_null() || which >= Hist::ALL.len() {
        return 0;
    }
    // SAFETY: the caller's, and a histogram that is there.
    unsafe { hist::record(&raw mut (*block).hists[which], nanos, 1) };
    1
}
