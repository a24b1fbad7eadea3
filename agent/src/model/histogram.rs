//! A histogram of durations: the slots in use, and what goes with them.

use inferscope_common::hist::{self, HistWords};

/// Counts by [`hist::slot`], kept only between the lowest and the highest slot in use.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Histogram {
    first: usize,
    counts: Vec<u64>,
    sum: u64,
    range: Option<(u64, u64)>,
    from_kernel: bool,
}

impl Histogram {
    /// Counts a duration in nanoseconds.
    pub fn record(&mut self, nanos: u64) {
        *self.slot_mut(hist::slot(nanos)) += 1;
        self.sum = self.sum.wrapping_add(nanos);
        let (low, high) = self.range.unwrap_or((nanos, nanos));
        self.range = Some((low.min(nanos), high.max(nanos)));
    }

    /// Adds what a kernel histogram has grown by since `before`, and makes `before` the reading. The
    /// slots are read one after the other while the kernel counts on, so the sum may be a value or two
    /// ahead of the counts; the next reading makes it up.
    pub fn grow(&mut self, now: &HistWords, before: &mut Self) {
        self.from_kernel = true;
        for (slot, count) in now.in_use() {
            let growth = count.wrapping_sub(before.count_at(slot) as u32);
            if growth != 0 {
                *self.slot_mut(slot) += u64::from(growth);
                *before.slot_mut(slot) = count.into();
            }
        }
        self.sum = self.sum.wrapping_add(grown(now.sum, before.sum));
        before.sum = now.sum;
    }

    /// As [`Self::grow`], for a kernel histogram whose slots wrap and that was empty when this one was: what it counted
    /// since the last call is added. `slots` may leave out those that are 0.
    pub fn follow(&mut self, slots: impl Iterator<Item = (usize, u32)>, sum: u64) {
        self.from_kernel = true;
        for (slot, count) in slots {
            let growth = count.wrapping_sub(self.count_at(slot) as u32);
            if growth != 0 {
                *self.slot_mut(slot) += u64::from(growth);
            }
        }
        self.sum = sum;
    }

    /// What this one has that `before`, an earlier reading of it, had not.
    pub fn since(&self, before: &Self) -> Self {
        let counts = self.counts.iter().enumerate();
        let counts = counts.map(|(at, count)| count.saturating_sub(before.count_at(self.first + at))).collect();
        let sum = self.sum.wrapping_sub(before.sum);
        Self { first: self.first, counts, sum, range: None, from_kernel: self.from_kernel }
    }

    /// Adds another histogram.
    pub fn merge(&mut self, other: &Self) {
        for (at, &count) in other.counts.iter().enumerate() {
            if count != 0 {
                *self.slot_mut(other.first + at) += count;
            }
        }
        self.sum = self.sum.wrapping_add(other.sum);
        self.from_kernel |= other.from_kernel;
        self.range = match (self.range, other.range) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (one, None) | (None, one) => one,
        };
    }

    /// Number of durations.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Sum of the durations in nanoseconds.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// Number of those in the lowest slot there is, which alone holds durations of 0.
    pub fn shortest(&self) -> u64 {
        self.count_at(0)
    }

    /// Shortest and longest duration in nanoseconds; `None` where the kernel counted, which keeps neither.
    pub fn range(&self) -> Option<(u64, u64)> {
        if self.from_kernel { None } else { self.range }
    }

    /// The lowest slot in use, and the counts from there to the highest one in use.
    pub fn slots(&self) -> (usize, &[u64]) {
        let skipped = self.counts.iter().take_while(|&&count| count == 0).count();
        let used = self.counts.iter().rposition(|&count| count != 0).map_or(skipped, |last| last + 1);
        (self.first + skipped, &self.counts[skipped..used])
    }

    /// The duration in seconds below which the share `quantile` (0 to 1) lies; `None` when empty.
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        let rank = (quantile.clamp(0.0, 1.0) * self.count() as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let at = self.counts.iter().position(|&count| {
            seen += count;
            seen >= rank
        })?;
        Some(hist::middle_seconds(self.first + at))
    }

    /// Forgets everything but the memory it has.
    pub fn clear(&mut self) {
        self.counts.fill(0);
        self.sum = 0;
        self.range = None;
    }

    fn count_at(&self, slot: usize) -> u64 {
        slot.checked_sub(self.first).and_then(|at| self.counts.get(at)).copied().unwrap_or(0)
    }

    fn slot_mut(&mut self, slot: usize) -> &mut u64 {
        if self.counts.is_empty() {
            self.first = slot;
        } else if slot < self.first {
            let missing = self.first - slot;
            self.counts.splice(0..0, std::iter::repeat_n(0, missing));
            self.first = slot;
        }
        let at = slot - self.first;
        if at >= self.counts.len() {
            self.counts.resize(at + 1, 0);
        }
        &mut self.counts[at]
    }
}

/// Growth of a word; one that fell began anew.
pub(super) fn grown(now: u64, before: u64) -> u64 {
    now.checked_sub(before).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn of(values: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        values.iter().for_each(|&nanos| histogram.record(nanos));
        histogram
    }

    fn words(values: &[u64]) -> HistWords {
        let mut words = HistWords::ZERO;
        values.iter().for_each(|&nanos| words.record(nanos));
        words
    }

    fn durations() -> impl Strategy<Value = Vec<u64>> {
        vec(prop_oneof![0u64..1_000, 1_000_000u64..2_000_000, 0u64..1 << 40], 0..60)
    }

    proptest! {
        #[test]
        fn counts_what_was_recorded(values in durations()) {
            let histogram = of(&values);
            let (first, counts) = histogram.slots();
            let mut expected = vec![0; hist::SLOTS];
            values.iter().for_each(|&nanos| expected[hist::slot(nanos)] += 1);
            for (slot, &count) in expected.iter().enumerate() {
                let got = slot.checked_sub(first).and_then(|at| counts.get(at)).copied().unwrap_or(0);
                prop_assert_eq!(got, count);
            }
            prop_assert_eq!(histogram.sum(), values.iter().sum::<u64>());
            prop_assert_eq!(histogram.range().map(|r| r.0), values.iter().min().copied());
        }

        #[test]
        fn readings_of_the_kernel_add_up(parts in vec(durations(), 1..5)) {
            let (mut before, mut total, mut seen) = (Histogram::default(), Histogram::default(), Vec::new());
            for part in &parts {
                seen.extend_from_slice(part);
                let mut interval = Histogram::default();
                interval.grow(&words(&seen), &mut before);
                let expected = of(part);
                prop_assert_eq!(interval.slots(), expected.slots());
                prop_assert_eq!(interval.sum(), part.iter().sum::<u64>());
                total.merge(&interval);
            }
            let expected = of(&seen);
            prop_assert_eq!(total.slots(), expected.slots());
            prop_assert_eq!(total.sum(), seen.iter().sum::<u64>());
        }

        #[test]
        fn readings_add_up(parts in vec(durations(), 1..5)) {
            let (mut now, mut before, mut total) = (Histogram::default(), Histogram::default(), Histogram::default());
            for part in &parts {
                part.iter().for_each(|&nanos| now.record(nanos));
                let growth = now.since(&before);
                let expected = of(part);
                prop_assert_eq!(growth.slots().1, expected.slots().1);
                prop_assert_eq!(growth.sum(), part.iter().sum::<u64>());
                total.merge(&growth);
                before.clone_from(&now);
            }
            prop_assert_eq!(total.slots(), now.slots());
            prop_assert_eq!(total.sum(), now.sum());
        }

        #[test]
        fn quantiles_are_within_a_slot(mut values in vec(1_000u64..100_000_000_000, 1..50), q in 0.0f64..1.0) {
            values.sort_unstable();
            let rank = ((q * values.len() as f64).ceil() as usize).max(1);
            let exact = values[rank - 1] as f64 / 1e9;
            let estimate = of(&values).quantile(q).unwrap();
            prop_assert!((estimate - exact).abs() / exact < 0.011, "{estimate} {exact}");
        }
    }

    #[test]
    fn slots_that_wrap_are_followed() {
        let mut histogram = Histogram::default();
        for (count, sum) in [(u32::MAX - 1, 5), (3, 9), (3, 9), (2, 12)] {
            histogram.follow([(40, count)].into_iter(), sum);
        }
        assert_eq!(histogram.slots(), (40, &[(2u64 << 32) + 2][..]));
        assert_eq!((histogram.sum(), histogram.range()), (12, None));
    }

    #[test]
    fn a_word_that_fell_began_anew() {
        assert_eq!(grown(7, 5), 2);
        assert_eq!(grown(3, 5), 3);
    }
}
