//! By how much something moved, from pairs of runs, and how certain that is.

/// A mean with its 95 % interval, in percent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shift {
    pub(crate) mean: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Shift {
    /// Half of the interval.
    pub(crate) fn uncertainty(&self) -> f64 {
        (self.high - self.low) / 2.0
    }

    pub(crate) fn cell(&self) -> String {
        format!("{:+.2} % ({:+.2} … {:+.2})", self.mean, self.low, self.high)
    }
}

/// Of pairs, by resampling them. The sequence of draws is fixed.
pub(crate) fn of(pairs: &[f64]) -> Shift {
    let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / pairs.len() as f64;
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        pairs[(state >> 33) as usize % pairs.len()]
    };
    let mut means: Vec<f64> = (0..2000).map(|_| mean(&mut pairs.iter().map(|_| draw()))).collect();
    means.sort_unstable_by(f64::total_cmp);
    Shift { mean: mean(&mut pairs.iter().copied()), low: means[50], high: means[1950] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_that_of_the_mean() {
        let same = of(&[1.5; 8]);
        assert_eq!((same.mean, same.low, same.high), (1.5, 1.5, 1.5));
        // Of n pairs of ±1 the mean's deviation is one by the root of n.
        let n = 100;
        let wide = of(&(0..n).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect::<Vec<_>>());
        let expected = 1.96 / f64::from(n).sqrt();
        assert!(wide.mean.abs() < 1e-9 && (wide.uncertainty() / expected - 1.0).abs() < 0.1, "{wide:?}");
    }
}
