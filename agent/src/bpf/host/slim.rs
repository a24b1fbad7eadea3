//! A histogram of the kernel half, read where it stands.

use std::mem::offset_of;
use std::sync::atomic::{AtomicU64, Ordering};

use inferscope_common::hist::PER_OCTAVE;
use inferscope_common::slim::{OCTAVES, SlimHist};

/// Two slots to a word, behind them the sum, and then what was touched.
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
        self.0.get(offset_of!(SlimHist, sum) / size_of::<u64>()).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// The count of slot 0 as it stands.
    pub fn shortest(self) -> u32 {
        self.0.first().map_or(0, |word| halves(word.load(Ordering::Relaxed))[0])
    }

    /// Slots in use, with their counts as they stand.
    pub fn slots(self) -> impl Iterator<Item = (usize, u32)> + 'a {
        let octaves = (0..OCTAVES).filter(move |&octave| self.is_touched(octave));
        let words = octaves.flat_map(|octave| octave * PER_OCTAVE / 2..(octave + 1) * PER_OCTAVE / 2);
        let words = words.filter_map(move |at| Some((at, self.0.get(at)?.load(Ordering::Relaxed))));
        words.filter(|&(_, pair)| pair != 0).flat_map(|(at, pair)| {
            let [even, odd] = halves(pair);
            [(2 * at, even), (2 * at + 1, odd)]
        })
    }

    fn is_touched(self, octave: usize) -> bool {
        let word = self.0.get((offset_of!(SlimHist, touched) + octave) / size_of::<u64>());
        word.is_some_and(|word| word.load(Ordering::Relaxed).to_ne_bytes()[octave % size_of::<u64>()] != 0)
    }
}

/// The two slots of a word.
fn halves(pair: u64) -> [u32; 2] {
    let halves = [pair as u32, (pair >> 32) as u32];
    if cfg!(target_endian = "big") { [halves[1], halves[0]] } else { halves }
}
