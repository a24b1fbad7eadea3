//! Which calls are timed: one in 2^k, each by its own draw.
//!
//! Every call is chosen with the probability 2^-k exactly, whatever was chosen before and whatever pattern the calls
//! come in; with the weight 2^k its duration counts for all that were not. So every count and every sum that is made
//! from the chosen is unbiased.

/// The largest k: one in a million.
pub const MAX_K: u32 = 20;

/// The state after `state`. The multiplier and the addend are Knuth's (MMIX).
#[inline(always)]
pub fn step(state: u64) -> u64 {
    state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407)
}

/// True for one state in 2^k; by its highest bits, which have the longest period.
#[inline(always)]
pub fn chosen(state: u64, k: u32) -> bool {
    state >> 32 >> (32 - (k & 31)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Durations of a thousand calls in an order that a fixed stride would fall in with: every second one is long.
    fn durations() -> impl Iterator<Item = u64> {
        (0..1000u64).map(|i| if i % 2 == 0 { 1_000 } else { 1_000_000 + i })
    }

    /// Estimates of count and sum, from the calls that a seed chooses.
    fn estimate(seed: u64, k: u32) -> (f64, f64) {
        let mut state = step(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        durations().fold((0.0, 0.0), |(count, sum), nanos| {
            state = step(state);
            let weight = if chosen(state, k) { (1u64 << k) as f64 } else { 0.0 };
            (count + weight, sum + weight * nanos as f64)
        })
    }

    fn mean_and_error(values: &[f64]) -> (f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
        (mean, (variance / n).sqrt())
    }

    #[test]
    fn estimates_are_unbiased_over_many_seeds() {
        let (count, sum) = (1000.0, durations().sum::<u64>() as f64);
        for k in [1, 3, 6] {
            let estimates: Vec<_> = (0..2000).map(|seed| estimate(seed, k)).collect();
            let (counts, sums): (Vec<_>, Vec<_>) = estimates.into_iter().unzip();
            for (truth, values) in [(count, counts), (sum, sums)] {
                let (mean, error) = mean_and_error(&values);
                assert!((mean - truth).abs() <= 3.0 * error, "k {k}: {mean} ± {error}, truth {truth}");
                assert!(error > 0.0, "k {k}: nothing was left to chance");
            }
        }
    }

    #[test]
    fn one_in_two_to_the_k_is_chosen() {
        for k in 0..=MAX_K {
            let mut state = 7;
            let tries = 1u32 << 22;
            let hits = (0..tries).filter(|_| {
                state = step(state);
                chosen(state, k)
            });
            let (hits, expected) = (hits.count() as f64, f64::from(tries >> k));
            assert!((hits - expected).abs() <= 4.0 * expected.sqrt(), "k {k}: {hits} of {expected}");
        }
    }

    #[test]
    fn with_k_zero_all_are() {
        assert!(chosen(u64::MAX, 0) && chosen(0, 0));
    }
}
