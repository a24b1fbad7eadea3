//! Base-2 exponential histograms of durations, with OTLP's own buckets.
//!
//! A bucket `i` of an OTLP exponential histogram at scale 5 holds the seconds in
//! `(2^(i/32), 2^((i+1)/32)]`. Here a *slot* is such a bucket counted from [`MIN_INDEX`], and a value
//! is a whole number of nanoseconds, so the kernel's counts go into OTLP as they are and no
//! conversion loses anything. The relative error of a quantile is at most 1.083 %.

/// OTLP scale: 32 buckets to a doubling.
pub const SCALE: u32 = 5;
/// Buckets in one doubling.
pub const PER_OCTAVE: usize = 1 << SCALE;
/// OTLP bucket index of slot 0, whose lower bound is 2^-24 s (59.6 ns).
pub const MIN_INDEX: i32 = -24 * PER_OCTAVE as i32;
/// Doublings in a histogram.
pub const OCTAVES: usize = 32;
/// Number of slots; the last one's upper bound is 2^8 s (256 s). Values outside are clamped.
pub const SLOTS: usize = OCTAVES * PER_OCTAVE;

/// A histogram as the kernel half keeps it: counts by slot, the sum of all values, and where to look.
///
/// A slot is 32 bits wide and wraps. Whoever reads takes wrapping differences, and reads before any slot can have gone
/// round once: at ten million values a second in one slot that takes seven minutes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct HistWords {
    /// Values counted, by [`slot`].
    pub slots: [u32; SLOTS],
    /// Sum of the values in nanoseconds.
    pub sum: u64,
    /// Doublings of the duration in which anything was ever counted, a byte each and 1 for those: whoever reads looks at
    /// their slots alone, which are few of all.
    pub touched: [u8; OCTAVES],
}

const _: () = assert!(size_of::<HistWords>() == 4 * SLOTS + 8 + OCTAVES && OCTAVES.is_multiple_of(8));

impl HistWords {
    /// A histogram in which nothing was counted.
    pub const ZERO: Self = Self { slots: [0; SLOTS], sum: 0, touched: [0; OCTAVES] };

    /// Counts a duration in nanoseconds, where nobody else does.
    pub fn record(&mut self, nanos: u64) {
        let slot = slot(nanos);
        self.slots[slot] = self.slots[slot].wrapping_add(1);
        self.touched[slot / PER_OCTAVE] = 1;
        self.sum = self.sum.wrapping_add(nanos);
    }

    /// The slots in use, with their counts.
    pub fn in_use(&self) -> impl Iterator<Item = (usize, u32)> + '_ {
        let octaves = (0..OCTAVES).filter(|&octave| self.touched[octave] != 0);
        let slots = octaves.flat_map(|octave| octave * PER_OCTAVE..(octave + 1) * PER_OCTAVE);
        slots.map(|slot| (slot, self.slots[slot])).filter(|&(_, count)| count != 0)
    }
}

const NANOS: u128 = 1_000_000_000;
/// `UPPER[s]` is the largest whole number of nanoseconds that belongs in slot `s`.
static UPPER: [u64; SLOTS] = upper_bounds();
/// First candidate slot for a value, by the position of its highest bit and the six bits below it.
static FIRST: [u16; 64 << STEP_BITS] = first_slots();
/// Bits of a value that choose among the candidates of one doubling: one more than buckets need, so that a step spans
/// at most 0.72 of a bucket, and one correction is enough.
const STEP_BITS: u32 = SCALE + 1;

/// The slot of a duration. Exact: never a neighbouring bucket, whatever the value.
///
/// Durations that differ by a nanosecond lie on either side of a bound by chance, which no processor predicts: hence
/// the comparison without a branch.
#[inline(always)]
pub fn slot(nanos: u64) -> usize {
    // What lies beyond belongs into the last slot like this.
    let nanos = nanos.clamp(1, i64::MAX as u64);
    let (exponent, top) = normalised(nanos);
    // The bits after the leading one.
    let step = (top >> (63 - STEP_BITS)) & ((1 << STEP_BITS) - 1);
    let slot = FIRST[((exponent as usize) << STEP_BITS | step as usize) & (FIRST.len() - 1)] as usize & (SLOTS - 1);
    let beyond = UPPER[slot].wrapping_sub(nanos) >> 63;
    (slot + beyond as usize).min(SLOTS - 1)
}

/// Position of the highest bit, and the value shifted so that this bit is the topmost.
///
/// By halves rather than `leading_zeros`, which the BPF target computes in more steps and whose range
/// the kernel's verifier cannot see.
#[inline(always)]
fn normalised(mut value: u64) -> (u32, u64) {
    let mut exponent = 63;
    let mut half = 32;
    while half > 0 {
        if value >> (64 - half) == 0 {
            value <<= half;
            exponent -= half;
        }
        half /= 2;
    }
    (exponent, value)
}

/// The largest whole number of nanoseconds that belongs in `slot`.
pub fn upper_nanos(slot: usize) -> u64 {
    UPPER[slot & (SLOTS - 1)]
}

/// The middle of a slot in seconds: the estimate with the smallest worst relative error.
#[cfg(any(test, feature = "user"))]
pub fn middle_seconds(slot: usize) -> f64 {
    let bound = |i: i32| f64::from(i).exp2_over(PER_OCTAVE as f64);
    let index = MIN_INDEX + slot as i32;
    (bound(index) + bound(index + 1)) / 2.0
}

#[cfg(any(test, feature = "user"))]
trait Exp2Over {
    fn exp2_over(self, divisor: f64) -> f64;
}

#[cfg(any(test, feature = "user"))]
impl Exp2Over for f64 {
    fn exp2_over(self, divisor: f64) -> f64 {
        extern crate std;
        (self / divisor).exp2()
    }
}

/// 2^(j/32) for j in 0..=32, as fixed point with 62 fractional bits, by repeated square roots.
const fn roots() -> [u128; PER_OCTAVE + 1] {
    let one: u128 = 1 << 62;
    let mut step = one * 2;
    let mut i = 0;
    while i < SCALE {
        step = (step << 62).isqrt();
        i += 1;
    }
    let mut table = [one; PER_OCTAVE + 1];
    let mut j = 1;
    while j <= PER_OCTAVE {
        // Every second entry as the square of an earlier one: errors do not add up along the octave.
        table[j] = if j % 2 == 0 { (table[j / 2] * table[j / 2]) >> 62 } else { (table[j - 1] * step) >> 62 };
        j += 1;
    }
    table[PER_OCTAVE] = one * 2;
    table
}

const fn upper_bounds() -> [u64; SLOTS] {
    let roots = roots();
    let mut table = [0; SLOTS];
    let mut s = 0;
    while s < SLOTS {
        // Slot s ends at 2^(k + j/32) seconds, where k runs from -24.
        let (octave, j) = ((s + 1) / PER_OCTAVE, (s + 1) % PER_OCTAVE);
        // roots < 2^63 and NANOS < 2^30: the product stays below 2^93, shifted up by 8 at most.
        table[s] = if octave >= 24 {
            (((roots[j] * NANOS) << (octave - 24)) >> 62) as u64
        } else {
            ((roots[j] * NANOS) >> (62 + 24 - octave)) as u64
        };
        s += 1;
    }
    table
}

const fn first_slots() -> [u16; 64 << STEP_BITS] {
    let upper = upper_bounds();
    let mut table = [0; 64 << STEP_BITS];
    let (mut i, mut s) = (0, 0);
    while i < table.len() {
        let (exponent, step) = (i >> STEP_BITS, (i & ((1 << STEP_BITS) - 1)) as u128);
        // The smallest value with this leading bit and these bits below it; monotonic in `i`.
        let smallest = (((1 << STEP_BITS) + step) << exponent) >> STEP_BITS;
        while s < SLOTS - 1 && smallest > upper[s] as u128 {
            s += 1;
        }
        table[i] = s as u16;
        i += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use num_bigint::BigUint;
    use proptest::prelude::*;

    /// `nanos <= 2^(index/32) s`, decided in whole numbers: nanos^32 <= 2^index * 10^(9*32).
    fn at_most(nanos: u64, index: i32) -> bool {
        let left = BigUint::from(nanos).pow(32);
        let right = BigUint::from(10u32).pow(9 * 32);
        if index >= 0 { left <= right << index } else { (left << -index) <= right }
    }

    #[test]
    fn every_bound_is_the_exact_floor() {
        for (s, &upper) in UPPER.iter().enumerate() {
            let index = MIN_INDEX + s as i32 + 1;
            assert!(at_most(upper, index), "slot {s}: {upper} is beyond its bound");
            assert!(!at_most(upper + 1, index), "slot {s}: {upper} is not the largest");
        }
    }

    #[test]
    fn ends_are_clamped() {
        assert_eq!(slot(0), 0);
        assert_eq!(slot(1), 0);
        assert_eq!(slot(u64::MAX), SLOTS - 1);
        assert_eq!(slot(NANOS as u64), 24 * PER_OCTAVE - 1, "one second is the upper, inclusive end of bucket -1");
        assert_eq!(slot(NANOS as u64 + 1), 24 * PER_OCTAVE);
    }

    #[test]
    fn bounds_fall_into_their_own_slot() {
        for (s, &upper) in UPPER.iter().enumerate() {
            assert_eq!(slot(upper), s);
            assert_eq!(slot(upper + 1), (s + 1).min(SLOTS - 1));
        }
    }

    proptest! {
        #[test]
        fn a_value_lies_within_its_slot(nanos in 60u64..256_000_000_000) {
            let s = slot(nanos);
            prop_assert!(nanos <= UPPER[s]);
            prop_assert!(s == 0 || nanos > UPPER[s - 1]);
        }

        #[test]
        fn the_middle_is_within_the_stated_error(nanos in 1_000u64..200_000_000_000) {
            let seconds = nanos as f64 / 1e9;
            let error = (middle_seconds(slot(nanos)) - seconds).abs() / seconds;
            prop_assert!(error <= 0.01095, "{error}");
        }
    }
}
