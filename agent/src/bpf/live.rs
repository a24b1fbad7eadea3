//! A histogram of the kernel half, read where it stands.

use std::mem::offset_of;
use std::sync::atomic::{AtomicU64, Ordering};

use inferscope_common::hist::{HistWords, OCTAVES, PER_OCTAVE};

/// Two slots to a word, behind them the sum, and then what was touched.
#[derive(Clone, Copy, Debug)]
pub struct LiveHist<'a>(&'a [AtomicU64]);

const WORDS: usize = size_of::<HistWords>() / size_of::<u64>();

impl<'a> LiveHist<'a> {
    /// The histogram at a byte of an element; an empty one where the element does not exist.
    pub(crate) fn within(words: &'a [AtomicU64], at: usize) -> Self {
        let at = at / size_of::<u64>();
        Self(words.get(at..at + WORDS).unwrap_or_default())
    }

    /// Sum of its values in nanoseconds. It moves with every value but 0, which [`Self::shortest`] counts: while neither
    /// moves, the slots need not be read.
    pub fn sum(self) -> u64 {
        self.0.get(offset_of!(HistWords, sum) / size_of::<u64>()).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// The count of slot 0 as it stands.
    pub fn shortest(self) -> u32 {
        self.0.first().map_or(0, |word| halves(word.load(Ordering::Relaxed))[0])
    }

    /// Copies it over an earlier copy, or over an empty one. The kernel goes on adding: each word is whole, the words are
    /// not of one instant.
    pub(super) fn copy(self, into: &mut HistWords) {
        into.sum = self.sum();
        for octave in 0..OCTAVES {
            let slots = &mut into.slots[octave * PER_OCTAVE..(octave + 1) * PER_OCTAVE];
            if self.is_touched(octave) {
                into.touched[octave] = 1;
                let pairs = slots.as_chunks_mut::<2>().0.iter_mut();
                pairs.zip(self.pairs(octave)).for_each(|(to, (_, pair))| *to = halves(pair));
            } else if into.touched[octave] != 0 {
                into.touched[octave] = 0;
                slots.fill(0);
            }
        }
    }

    /// Slots in use, with their counts as they stand.
    pub fn slots(self) -> impl Iterator<Item = (usize, u32)> + 'a {
        let octaves = (0..OCTAVES).filter(move |&octave| self.is_touched(octave));
        let pairs = octaves.flat_map(move |octave| self.pairs(octave)).filter(|&(_, pair)| pair != 0);
        pairs.flat_map(|(at, pair)| {
            let [even, odd] = halves(pair);
            [(2 * at, even), (2 * at + 1, odd)]
        })
    }

    /// The words of a doubling, with their places.
    fn pairs(self, octave: usize) -> impl Iterator<Item = (usize, u64)> + 'a {
        let places = octave * PER_OCTAVE / 2..(octave + 1) * PER_OCTAVE / 2;
        places.filter_map(move |at| Some((at, self.0.get(at)?.load(Ordering::Relaxed))))
    }

    fn is_touched(self, octave: usize) -> bool {
        let word = self.0.get((offset_of!(HistWords, touched) + octave) / size_of::<u64>());
        word.is_some_and(|word| word.load(Ordering::Relaxed).to_ne_bytes()[octave % size_of::<u64>()] != 0)
    }
}

/// The two slots of a word.
fn halves(pair: u64) -> [u32; 2] {
    let halves = [pair as u32, (pair >> 32) as u32];
    if cfg!(target_endian = "big") { [halves[1], halves[0]] } else { halves }
}
