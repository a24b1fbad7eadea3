//! Adds to histograms and counters in maps, in place and atomically.

use core::intrinsics::{AtomicOrdering, atomic_xadd};
use inferscope_common::hist::{self, HistWords, PER_OCTAVE};

/// Adds to a word of a map: one locked instruction.
///
/// # Safety
/// `word` must lie in a map value.
#[inline(always)]
pub(crate) unsafe fn add(word: *mut u64, amount: u64) {
    // SAFETY: the caller's.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(word, amount) };
}

/// Counts a duration `weight` times.
///
/// # Safety
/// `into` must be a histogram in a map value.
#[inline(always)]
pub(crate) unsafe fn record(into: *mut HistWords, nanos: u64, weight: u32) {
    let slot = hist::slot(nanos);
    // SAFETY: the caller's; a slot of `hist` is below its length. What says that there is something comes first, and the
    // sum, by which a reader sees that anything is new, last.
    unsafe {
        let touched = (&raw mut (*into).touched).cast::<u8>().add(slot / PER_OCTAVE);
        if *touched == 0 {
            *touched = 1;
        }
        let slot = (&raw mut (*into).slots).cast::<u32>().add(slot);
        atomic_xadd::<u32, u32, { AtomicOrdering::Relaxed }>(slot, weight);
        add(&raw mut (*into).sum, nanos * u64::from(weight));
    }
}
