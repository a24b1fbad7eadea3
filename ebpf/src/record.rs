//! Passes records to the agent.

use aya_ebpf::bindings::{__sk_buff, BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP, BPF_RB_RING_SIZE};
use aya_ebpf::helpers::generated::{bpf_ringbuf_query, bpf_skb_load_bytes};
use inferscope_common::block::Counter;
use inferscope_common::exchange::Figures;
use inferscope_common::flow::{CAPTURE_SIZES, Endpoints, Header, Listen, Summary};

use crate::block::Slot;
use crate::maps::RECORDS;
use crate::packet::Packet;

#[repr(C)]
struct Record<T> {
    header: Header,
    rest: T,
}

/// The agent looks by itself from time to time: waking it for each record would cost more than the record. It is called
/// when half of the ring is full, and has the rest of it to get there.
#[inline(always)]
fn quietly() -> u64 {
    let ring = (&raw const RECORDS).cast_mut().cast();
    // SAFETY: the map is there as long as the program.
    let (filled, size) = unsafe {
        (bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA.into()), bpf_ringbuf_query(ring, BPF_RB_RING_SIZE.into()))
    };
    let full = filled > size / 2;
    u64::from(if full { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP })
}

/// The end of an exchange.
#[inline(always)]
pub(crate) fn end(header: &Header, figures: &Figures, endpoints: &Endpoints, block: Slot) {
    let Some(mut entry) = RECORDS.reserve_untyped::<Record<Summary>>(0) else {
        return block.count(Counter::LostRing, 1);
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the record is reserved; field by field, since a summary is too large for the stack.
    unsafe {
        (&raw mut (*record).header).write(*header);
        (&raw mut (*record).rest.figures).copy_from_nonoverlapping(figures, 1);
        (&raw mut (*record).rest.endpoints).copy_from_nonoverlapping(endpoints, 1);
    }
    entry.submit(quietly());
}

/// A socket that began or ceased to listen: the agent looks at once. Loss is harmless, since it also looks for itself.
#[inline(always)]
pub(crate) fn listen(header: &Header, listen: &Listen) {
    if let Some(mut entry) = RECORDS.reserve_untyped::<Record<Listen>>(0) {
        entry.write(Record { header: *header, rest: *listen });
        entry.submit(BPF_RB_FORCE_WAKEUP.into());
    }
}

/// `header.captured` bytes of payload from `from` on.
#[inline(always)]
pub(crate) fn piece(packet: &Packet, from: u32, header: &Header, block: Slot) {
    // SAFETY: the context of this program, and a header that lives for the call.
    if unsafe { pass_piece(packet.skb(), core::ptr::from_ref(header).cast_mut(), packet.base + from) } == 0 {
        block.count(Counter::LostRing, 1);
    }
}

/// A function of its own for the verifier, which checks it once and not again for every caller.
/// 0 = the ring was full.
///
/// # Safety
/// Both pointers must be valid for the call.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn pass_piece(skb: *mut __sk_buff, header: *mut Header, at: u32) -> u32 {
    // SAFETY: the caller's; the verifier assumes that it may be null.
    let Some(header) = (unsafe { header.as_ref() }) else { return 0 };
    let captured = header.captured;
    let passed = if captured <= CAPTURE_SIZES[0] {
        copy::<{ CAPTURE_SIZES[0] as usize }>(skb, at, header)
    } else if captured <= CAPTURE_SIZES[1] {
        copy::<{ CAPTURE_SIZES[1] as usize }>(skb, at, header)
    } else {
        copy::<{ CAPTURE_SIZES[2] as usize }>(skb, at, header)
    };
    u32::from(passed)
}

#[inline(always)]
fn copy<const SIZE: usize>(skb: *mut __sk_buff, at: u32, header: &Header) -> bool {
    let Some(mut entry) = RECORDS.reserve_untyped::<Record<[u8; SIZE]>>(0) else { return false };
    let record = entry.as_mut_ptr();
    // A power of two, so that the verifier sees 1..=SIZE.
    let count = ((header.captured.wrapping_sub(1)) & (SIZE as u32 - 1)) + 1;
    // SAFETY: the record is reserved and SIZE bytes long; a failed copy zeroes it.
    unsafe {
        (&raw mut (*record).header).write(*header);
        let bytes = (&raw mut (*record).rest).cast();
        bpf_skb_load_bytes(skb.cast(), at, bytes, count);
    }
    entry.submit(quietly());
    true
}
