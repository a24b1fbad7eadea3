//! Quantiles of what was measured.

/// The value below which `share` of all values lie, the nearest of them; `None` of nothing.
pub fn quantile(values: &[u64], share: f64) -> Option<u64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let last = sorted.len().checked_sub(1)?;
    sorted.get((last as f64 * share).round() as usize).copied()
}

#[cfg(test)]
mod tests {
    use super::quantile;

    #[test]
    fn is_one_of_the_values() {
        let values: Vec<u64> = (1..=101).rev().collect();
        assert_eq!([0.0, 0.5, 0.99, 1.0].map(|share| quantile(&values, share)), [1, 51, 100, 101].map(Some));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
