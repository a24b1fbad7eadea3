//! The shapes that benchmarks compare the probes of the host with: the way in which others do the same.
#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![expect(internal_features, reason = "the target has no stable atomic addition")]

mod empty;
mod hashes;
mod pids;
mod runqueue;

use core::intrinsics::{AtomicOrdering, atomic_xadd};

/// Adds to a word of a map, atomically.
///
/// # Safety
/// `word` must lie in a map value.
#[inline(always)]
pub(crate) unsafe fn add(word: *mut u64, amount: u64) {
    // SAFETY: the caller's.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(word, amount) };
}

/// The kernel asks for a GPL-compatible licence before it lends its GPL-only helpers.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
