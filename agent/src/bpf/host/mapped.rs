//! Arrays of the kernel half, element by element.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use inferscope_common::watch::Bucket;
use inferscope_common::{disk, sched, syscall};

use crate::bpf::mapping::{Access, Mapping};
use crate::bpf::on_demand::OnDemand;

/// What arrays hold.
///
/// # Safety
/// Only for `repr(C)` numbers without padding, whose every bit pattern is a value and whose size is a multiple of 8.
pub(super) unsafe trait Words: Copy {}
// SAFETY: `repr(C)` numbers.
unsafe impl Words for Bucket {}
// SAFETY: as above.
unsafe impl Words for syscall::Counts {}
// SAFETY: as above.
unsafe impl Words for syscall::Latencies {}
// SAFETY: as above.
unsafe impl Words for sched::Row {}
// SAFETY: as above.
unsafe impl Words for sched::SlotRows {}
// SAFETY: as above.
unsafe impl Words for sched::Control {}
// SAFETY: as above.
unsafe impl Words for disk::Disk {}

/// The array, mapped for reading and writing: all of it, or the elements that are in use.
pub(super) struct Mapped<T> {
    array: OnDemand<T>,
    /// One piece for all elements, or one for each; `None` = nobody uses it.
    pieces: Vec<Option<Mapping>>,
}

impl<T: Words> Mapped<T> {
    const WORDS: usize = {
        assert!(size_of::<T>().is_multiple_of(size_of::<u64>()));
        size_of::<T>() / size_of::<u64>()
    };

    /// Maps all `count` elements of the array behind `array`.
    pub(super) fn whole(array: impl AsFd, count: u32) -> io::Result<Self> {
        let array = OnDemand::new(array, count, Access::ReadWrite)?;
        Ok(Self { pieces: vec![Some(array.all()?)], array })
    }

    /// Maps none of the `count` elements yet.
    pub(super) fn apart(array: impl AsFd, count: u32) -> io::Result<Self> {
        Ok(Self { array: OnDemand::new(array, count, Access::ReadWrite)?, pieces: (0..count).map(|_| None).collect() })
    }

    /// Elements that there are.
    pub(super) fn len(&self) -> u32 {
        self.array.len()
    }

    /// Maps an element and zeroes it.
    pub(super) fn hold(&mut self, index: u32) -> io::Result<()> {
        let Some(piece) = self.pieces.get_mut(index as usize) else { return Ok(()) };
        *piece = Some(self.array.element(index)?);
        self.clear(index);
        Ok(())
    }

    /// Unmaps an element; its words read as none.
    pub(super) fn release(&mut self, index: u32) {
        if let Some(piece) = self.pieces.get_mut(index as usize) {
            *piece = None;
        }
    }

    /// The words of an element; none beyond the end, or where nobody uses it.
    pub(super) fn words(&self, index: u32) -> &[AtomicU64] {
        let index = index as usize;
        // One piece for several elements is all of them.
        let (piece, at) = if self.pieces.len() < self.len() as usize { (0, index) } else { (index, 0) };
        let words = self.pieces.get(piece).and_then(Option::as_ref).map(Mapping::words).unwrap_or_default();
        words.get(at * Self::WORDS..(at + 1) * Self::WORDS).unwrap_or_default()
    }

    /// A half word of an element, at a multiple of 4 bytes.
    pub(super) fn half(&self, index: u32, at: usize) -> Option<&AtomicU32> {
        let word = self.words(index).get(at / size_of::<u64>())?;
        // SAFETY: one half of a word that is there; nobody writes the whole word while halves are in use.
        Some(unsafe { AtomicU32::from_ptr(word.as_ptr().byte_add(at % size_of::<u64>()).cast()) })
    }

    /// Copies an element. The kernel goes on adding: each word is whole, the words are not of one instant.
    pub(super) fn read(&self, index: u32, into: &mut T) {
        let into = std::ptr::from_mut(into).cast::<u64>();
        for (at, word) in self.words(index).iter().enumerate() {
            // SAFETY: `into` has as many words as an element.
            unsafe { into.add(at).write(word.load(Ordering::Relaxed)) };
        }
    }

    /// Zeroes the word at a byte of an element.
    pub(super) fn clear_word(&self, index: u32, at: usize) {
        if let Some(word) = self.words(index).get(at / size_of::<u64>()) {
            word.store(0, Ordering::Relaxed);
        }
    }

    /// Zeroes an element.
    pub(super) fn clear(&self, index: u32) {
        self.words(index).iter().for_each(|word| word.store(0, Ordering::Relaxed));
    }
}
