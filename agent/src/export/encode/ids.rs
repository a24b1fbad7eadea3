//! Random ids of traces and spans.

use std::hash::{BuildHasher, RandomState};

use crate::export::encode::span::Ids;

/// Makes ids. Two generators with seeds of their own, for a trace id has more random bits than one generator's state.
#[derive(Debug)]
pub(super) struct IdSource {
    high: fastrand::Rng,
    low: fastrand::Rng,
}

impl Default for IdSource {
    fn default() -> Self {
        // Its keys come from the system's source of randomness.
        let keys = RandomState::new();
        let rng = |half: u8| fastrand::Rng::with_seed(keys.hash_one(half));
        Self { high: rng(0), low: rng(1) }
    }
}

impl IdSource {
    /// The next ids; none is all zeros, which would mean no id.
    pub(super) fn next(&mut self) -> Ids {
        let trace = u128::from(self.high.u64(..)) << 64 | u128::from(self.low.u64(1..));
        Ids { trace: trace.to_be_bytes(), span: self.high.u64(1..).to_be_bytes() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_do_not_repeat_and_differ_from_source_to_source() {
        let (mut one, mut other) = (IdSource::default(), IdSource::default());
        let ids: Vec<Ids> = (0..10_000).flat_map(|_| [one.next(), other.next()]).collect();
        assert_eq!(ids.iter().map(|ids| ids.trace).collect::<HashSet<_>>().len(), ids.len());
        assert_eq!(ids.iter().map(|ids| ids.span).collect::<HashSet<_>>().len(), ids.len());
    }

    #[test]
    fn every_bit_of_a_trace_id_is_random() {
        let mut source = IdSource::default();
        let traces: Vec<u128> = (0..10_000).map(|_| u128::from_be_bytes(source.next().trace)).collect();
        for bit in 0..128 {
            let ones = traces.iter().filter(|trace| *trace >> bit & 1 == 1).count();
            // Eight standard deviations.
            assert!((4_600..5_400).contains(&ones), "bit {bit}: {ones} of {}", traces.len());
        }
    }
}
