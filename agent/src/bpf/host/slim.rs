//! A histogram of the kernel half, read where it stands.

use std::sync::atomic::{AtomicU64, Ordering};

use inferscope_common::hist::SLOTS;
use inferscope_common::slim::SlimHist;

/// Two slots to a word, and the sum behind them.
#[derive(Clone, Copy, Debug)]
pub struct Slim<'a>(&'a [AtomicU64]);

const WORDS: usize = size_of::<SlimHist>() / size_of::<u64>();

impl<'a> Slim<'a> {
    /// The histogram at a byte of an element; an empty one where the element does not exist.
    pub(crate) fn within(words: &'a [AtomicU64], at: usize) -> Self {
        let at = at / size_of::<u64>();
        Self(words.get(at..at + WORDS).unwrap_or_default())
    }

    /// Sum of its values in nanoseconds. It moves with every value but 0, which [`Self::shortest`] counts: while neither
    /// moves, the slots need not be read.
    pub fn sum(self) -> u64 {
        self.0.last().map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// The count of slot 0 as it stands.
    pub fn shortest(self) -> u32 {
        self.0.first().map_or(0, |word| halves(word.load(Ordering::Relaxed))[0])
    }

    /// Slots in use, with their counts as they stand.
    pub fn slots(self) -> impl Iterator<Item = (usize, u32)> + 'a {
        let words = self.0.iter().take(SLOTS / 2).enumerate();
        let pairs = words.map(|(at, word)| (at, word.load(Ordering::Relaxed))).filter(|&(_, pair)| pair != 0);
        pairs.flat_map(|(at, pair)| {
            let [even, odd] = halves(pair);
            [(2 * at, even), (2 * at + 1, odd)]
        })
    }
}

/// The two slots of a word.
fn halves(pair: u64) -> [u32; 2] {
    let halves = [pair as u32, (pair >> 32) as u32];
    if cfg!(target_endian = "big") { [halves[1], halves[0]] } else { halves }
}
