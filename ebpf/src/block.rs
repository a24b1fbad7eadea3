//! Adds to a workload's block, in place and atomically.

use core::intrinsics::{AtomicOrdering, atomic_xadd};
use inferscope_common::block::{Block, COUNTERS, Counter, Hist};
use inferscope_common::hist;

use crate::maps::BLOCKS;

#[inline(always)]
fn add(word: *mut u64, amount: u64) {
    // SAFETY: `word` points into a map value; the addition is one locked instruction.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(word, amount) };
}

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
        // SAFETY: the counter's number is below COUNTERS, which `common` asserts.
        add(unsafe { (&raw mut (*self.0).counters).cast::<u64>().add(counter as usize & (COUNTERS - 1)) }, amount);
    }

    /// Adds a duration to a histogram, without a call.
    #[inline(always)]
    pub(crate) fn record_here(self, which: Hist, nanos: u64) {
        // SAFETY: the block is a map value; `Hist` names a histogram that is there.
        unsafe { add_duration(self.0, which as usize, nanos) };
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
    unsafe { add_duration(block, which, nanos) };
    1
}

/// # Safety
/// `block` must be a block, and `which` one of its histograms.
#[inline(always)]
unsafe fn add_duration(block: *mut Block, which: usize, nanos: u64) {
    // SAFETY: the caller's; a slot of `hist` is below its length.
    unsafe {
        let words = &raw mut (*block).hists[which];
        add((&raw mut (*words).slots).cast::<u64>().add(hist::slot(nanos)), 1);
        add(&raw mut (*words).sum, nanos);
    }
}
