//! Takes a packet's payload through a message, a window at a time.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::{bpf_loop, bpf_skb_load_bytes};
use core::ffi::c_void;
use inferscope_common::exchange::Step;
use inferscope_common::message::{Kind, MESSAGE_END, Message};

use crate::packet::{Fresh, Packet};

/// Bytes copied out of the packet at a time.
const WINDOW: u32 = 32;
/// Bytes looked at in one packet: as many as one can hold.
const BYTES: u32 = 1 << 17;

struct Walk {
    skb: *mut __sk_buff,
    message: *mut Message,
    at: u32,
    end: u32,
    /// Where in the packet the window begins, and how many bytes it holds. The place in it is reckoned from
    /// that: of a counter the verifier would follow every value.
    from: u32,
    filled: u32,
    step: Step,
    kind: Kind,
    window: [u8; WINDOW as usize],
}

/// What a walk found, and how many bytes it left.
pub(crate) struct Walked {
    pub step: Step,
    pub left: u32,
}

/// Takes fresh bytes through `message`, to the message's end at most.
#[inline(always)]
pub(crate) fn walk(packet: &Packet, fresh: Fresh, message: &mut Message, kind: Kind) -> Walked {
    let mut step = Step::default();
    let kind = match kind {
        Kind::Request => REQUEST,
        Kind::Response { bodyless } => RESPONSE + u32::from(bodyless),
    };
    let at = packet.base + fresh.from;
    let end = at + fresh.len;
    // SAFETY: all three point to what lives for the call.
    let left =
        unsafe { take_payload(packet.skb(), message, &raw mut step, u64::from(at) << 32 | u64::from(end), kind) };
    Walked { step, left }
}

const REQUEST: u32 = 0;
const RESPONSE: u32 = 1;

/// A function of its own for the verifier, which checks it once and not again for every state of its callers.
/// `range`: where to begin in the packet, and in its lower half where to end. Answers the bytes left.
///
/// # Safety
/// All pointers must be valid for the call.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn take_payload(
    skb: *mut __sk_buff,
    message: *mut Message,
    step: *mut Step,
    range: u64,
    kind: u32,
) -> u32 {
    // The verifier assumes that the pointers may be null.
    if message.is_null() || step.is_null() {
        return 0;
    }
    let mut state = Walk {
        skb,
        message,
        at: (range >> 32) as u32,
        end: range as u32,
        from: 0,
        filled: 0,
        step: Step::default(),
        kind: if kind == REQUEST { Kind::Request } else { Kind::Response { bodyless: kind > RESPONSE } },
        window: [0; WINDOW as usize],
    };
    let callback: unsafe extern "C" fn(u32, *mut Walk) -> i64 = one_byte;
    // SAFETY: the callback takes what is passed here, and both live for the call.
    unsafe { bpf_loop(BYTES, callback as *mut c_void, (&raw mut state).cast(), 0) };
    if state.at == state.end {
        // SAFETY: the caller's.
        state.step.add(unsafe { &mut *message }.pause());
    }
    // SAFETY: the caller's.
    unsafe { *step = state.step };
    state.end.wrapping_sub(state.at)
}

/// Takes one byte, or passes over many; 1 stops the loop.
///
/// One byte to a call, since the verifier follows every path of the machine through each turn of a loop
/// of its own, but only once through a callback's.
unsafe extern "C" fn one_byte(_index: u32, state: *mut Walk) -> i64 {
    // SAFETY: `walk` passes a live state.
    let state = unsafe { &mut *state };
    let (at, end) = (state.at, state.end);
    if at >= end {
        return 1;
    }
    // SAFETY: a message inside a map value, which lives until the program ends.
    let message = unsafe { &mut *state.message };
    let mut next = at.wrapping_sub(state.from);
    if next >= state.filled {
        let left = end - at;
        let skip = message.skippable(left.into()) as u32;
        if skip > 0 {
            let signals = message.skip(skip.into());
            state.step.add(signals);
            state.at = at + skip;
            return i64::from(signals & MESSAGE_END != 0);
        }
        let count = if left >= WINDOW { WINDOW } else { ((left - 1) & (WINDOW - 1)) + 1 };
        let window = state.window.as_mut_ptr().cast();
        // SAFETY: between 1 and WINDOW bytes into a buffer of WINDOW bytes.
        if unsafe { bpf_skb_load_bytes(state.skb.cast(), at, window, count) } != 0 {
            return 1;
        }
        state.filled = count;
        state.from = at;
        next = 0;
    }
    let byte = state.window[next as usize & (WINDOW as usize - 1)];
    state.at = at + 1;
    let signals = message.step(byte, state.kind);
    state.step.add(signals);
    i64::from(signals & MESSAGE_END != 0)
}
