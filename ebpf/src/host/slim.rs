//! Adds to slim histograms.

use core::intrinsics::{AtomicOrdering, atomic_xadd};
use inferscope_common::hist;
use inferscope_common::slim::SlimHist;

use super::add;

/// Counts a duration `weight` times.
///
/// # Safety
/// `into` must be a histogram in a map value.
#[inline(always)]
pub(crate) unsafe fn record(into: *mut SlimHist, nanos: u64, weight: u32) {
    let slot = hist::slot(nanos);
    // SAFETY: the caller's; a slot of `hist` is below its length. What says that there is something comes first, and the
    // sum, by which a reader sees that anything is new, last.
    unsafe {
        let touched = (&raw mut (*into).touched).cast::<u8>().add(slot / hist::PER_OCTAVE);
        if *touched == 0 {
            *touched = 1;
        }
        let slot = (&raw mut (*into).slots).cast::<u32>().add(slot);
        atomic_xadd::<u32, u32, { AtomicOrdering::Relaxed }>(slot, weight);
        add(&raw mut (*into).sum, nanos * u64::from(weight));
    }
}
