//! A histogram of half the size, for signals of which a workload has many.

use crate::hist;

/// One histogram: counts by slot, and the sum of all values.
///
/// A slot is 32 bits wide and wraps. Whoever reads takes wrapping differences, and reads before any slot can have gone
/// round once: at ten million values a second in one slot that takes seven minutes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct SlimHist {
    /// Values counted, by [`hist::slot`].
    pub slots: [u32; hist::SLOTS],
    /// Sum of the values in nanoseconds.
    pub sum: u64,
    /// Doublings of the duration in which anything was ever counted, a byte each and 1 for those: whoever reads looks at
    /// their slots alone, which are few of all.
    pub touched: [u8; OCTAVES],
}

/// Doublings in a histogram.
pub const OCTAVES: usize = hist::SLOTS / hist::PER_OCTAVE;

impl SlimHist {
    /// A histogram in which nothing was counted.
    pub const ZERO: Self = Self { slots: [0; hist::SLOTS], sum: 0, touched: [0; OCTAVES] };
}

const _: () = assert!(size_of::<SlimHist>() == 4 * hist::SLOTS + 8 + OCTAVES);
const _: () = assert!(OCTAVES.is_multiple_of(8));
