//! Splitting a whole number by weights.

/// Splits `total` in proportion to `weights`: the parts add up to it exactly, each is within 1 of its proportion, and what
/// weighs nothing gets nothing. `None` where nothing has weight. Weights are cut to so many of their highest bits that their
/// sum fits into 64.
pub fn split(total: u64, weights: &[u64]) -> Option<Vec<u64>> {
    let whole: u128 = weights.iter().map(|&weight| u128::from(weight)).sum();
    let cut = u128::BITS.saturating_sub(whole.leading_zeros()).saturating_sub(u64::BITS);
    let whole: u128 = weights.iter().map(|&weight| u128::from(weight >> cut)).sum();
    if whole == 0 {
        return None;
    }
    // Bounds between parts are rounded, not the parts: what one loses the next one gains.
    let bound = |below: u128| (u128::from(total) * below / whole) as u64;
    let mut below = 0;
    let part = |weight: &u64| {
        let lower = bound(below);
        below += u128::from(weight >> cut);
        bound(below) - lower
    };
    Some(weights.iter().map(part).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_add_up_exactly(total in any::<u64>(), weights in vec(any::<u64>(), 0..20)) {
            match split(total, &weights) {
                Some(parts) => prop_assert_eq!(parts.iter().map(|&part| u128::from(part)).sum::<u128>(), u128::from(total)),
                None => prop_assert!(weights.iter().all(|&weight| weight == 0)),
            }
        }

        #[test]
        fn parts_are_proportions(total in 0u64..1 << 40, weights in vec(0u64..1 << 40, 1..20)) {
            let whole: u128 = weights.iter().map(|&weight| u128::from(weight)).sum();
            prop_assume!(whole > 0);
            for (part, weight) in split(total, &weights).unwrap().into_iter().zip(&weights) {
                let exact = u128::from(total) * u128::from(*weight);
                let got = u128::from(part) * whole;
                prop_assert!(got.abs_diff(exact) < whole, "{part} of {total} for {weight} of {whole}");
                prop_assert!(*weight > 0 || part == 0);
            }
        }
    }

    #[test]
    fn a_split_by_hand() {
        assert_eq!(split(100, &[75, 25]), Some(vec![75, 25]));
        assert_eq!(split(10, &[1, 1, 1]), Some(vec![3, 3, 4]));
        assert_eq!(split(7, &[0, 5, 0]), Some(vec![0, 7, 0]));
        assert_eq!(split(7, &[0, 0]), None);
    }
}
