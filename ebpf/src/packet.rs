//! A TCP segment as the flow programs see it.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::{bpf_ktime_get_ns, bpf_skb_load_bytes, bpf_tcp_sock};
use core::arch::asm;
use core::ffi::c_void;
use inferscope_common::shape::Payload;

use crate::exchange::{Buffer, GLANCE, Tcp};

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;

const TCP: u8 = 6;
const IPV6_HEADER: usize = 40;
/// Stands before TCP in IPv6 packets of more than 64 KiB, eight bytes long.
const HOP_BY_HOP: u8 = 0;
const JUMBO: usize = 8;

/// A segment's header facts and where its payload lies.
#[derive(Clone, Copy)]
pub(crate) struct Packet {
    skb: *mut __sk_buff,
    /// The socket, which the verifier knows not to be null.
    pub(crate) sock: *const c_void,
    /// Where the payload begins in the packet.
    pub(crate) base: u32,
    /// Bytes of payload.
    pub(crate) len: u32,
    pub(crate) seq: u32,
    pub(crate) flags: u8,
    /// The peer's receive window is shut.
    pub(crate) shut: bool,
}

/// The bytes of a payload that have not passed before.
#[derive(Clone, Copy)]
pub(crate) struct Fresh {
    pub(crate) from: u32,
    /// At least one.
    pub(crate) len: u32,
}

impl Packet {
    /// Reads the headers; `None` for what is not TCP over IP on a socket.
    #[inline(always)]
    pub(crate) fn parse(skb: *mut __sk_buff) -> Option<Self> {
        // SAFETY: fields of the program's own context; the packet is read within its checked bounds.
        unsafe {
            let (data, end) = ((*skb).data as usize, (*skb).data_end as usize);
            if data + 20 > end {
                return None;
            }
            let first = *(data as *const u8);
            let (mut at, mut protocol) = match first >> 4 {
                4 => (usize::from(first & 15) * 4, *((data + 9) as *const u8)),
                6 if data + IPV6_HEADER <= end => (IPV6_HEADER, *((data + 6) as *const u8)),
                _ => return None,
            };
            if at == IPV6_HEADER && protocol == HOP_BY_HOP && data + IPV6_HEADER + JUMBO <= end {
                (at, protocol) = (IPV6_HEADER + JUMBO, *((data + IPV6_HEADER) as *const u8));
            }
            let tcp = data + at;
            if protocol != TCP || tcp + 20 > end {
                return None;
            }
            // One load: the compiler's four, for an address that may not be aligned, are four times as dear.
            let seq = u32::from_be((tcp as *const u32).byte_add(4).read_volatile());
            let offset = u32::from(*((tcp + 12) as *const u8) >> 4) * 4;
            let flags = *((tcp + 13) as *const u8);
            let window = ((tcp + 14) as *const u16).read_unaligned();
            let base = at as u32 + offset;
            let len = (*skb).len.saturating_sub(base);
            let sock: *const c_void = (*skb).__bindgen_anon_2.sk.cast_const().cast();
            if sock.is_null() {
                return None;
            }
            Some(Self { skb, sock, base, len, seq, flags, shut: window == 0 })
        }
    }

    #[inline(always)]
    pub(crate) fn skb(&self) -> *mut __sk_buff {
        self.skb
    }

    /// When the segment left or arrived. On the way out TCP has stamped it already, so the clock costs nothing.
    #[inline(always)]
    pub(crate) fn time(&self, egress: bool) -> u64 {
        // SAFETY: a field of the context.
        let stamp = if egress { unsafe { (*self.skb).tstamp } } else { 0 };
        // SAFETY: reads a clock.
        if stamp != 0 { stamp } else { unsafe { bpf_ktime_get_ns() } }
    }

    /// The first of the fresh bytes, as many as there are of eight (little-endian).
    #[inline(always)]
    pub(crate) fn start(&self, fresh: Fresh) -> u64 {
        let mut word = 0u64;
        let count = if fresh.len >= 8 { 8 } else { (fresh.len.wrapping_sub(1) & 7) + 1 };
        // SAFETY: between one and eight bytes; a failed copy leaves zeroes.
        unsafe { bpf_skb_load_bytes(self.skb.cast(), self.base + fresh.from, (&raw mut word).cast(), count) };
        word
    }

    /// What TCP says of the connection.
    #[inline(always)]
    pub(crate) fn tcp(&self) -> Option<Tcp> {
        // SAFETY: the helper answers null for what is no TCP socket; the fields are translated by the verifier.
        unsafe {
            let tcp = bpf_tcp_sock(self.sock.cast_mut().cast()).as_ref()?;
            Some(Tcp { rtt: tcp.srtt_us >> 3, retransmits: tcp.total_retrans, received: tcp.rcv_nxt })
        }
    }
}

/// A number of which the compiler knows nothing: comparisons with it stay where the verifier needs them.
#[inline(always)]
fn opaque(number: u32) -> u64 {
    let mut number = u64::from(number);
    // SAFETY: moves a register onto itself.
    unsafe { asm!("{0} = {0}", inout(reg) number, options(pure, nomem, nostack, preserves_flags)) };
    number
}

/// A packet's payload, held in a flow.
pub(crate) struct Glance<'a> {
    bytes: &'a Buffer,
    len: u32,
}

impl<'a> Glance<'a> {
    /// Copies the payload into the flow's buffer; `None` when it is longer than that.
    #[inline(always)]
    pub(crate) fn take(packet: &Packet, bytes: &'a mut Buffer) -> Option<Self> {
        // The compiler must leave the comparison where the verifier sees it. The verifiers of older kernels learn
        // nothing from `len != 0`: one less than the length has both bounds in one comparison.
        let last = opaque(packet.len.wrapping_sub(1));
        if last >= u64::from(GLANCE) {
            return None;
        }
        let to = bytes.as_mut_ptr().cast();
        // SAFETY: between one byte and as many as there is room for.
        let copied = unsafe { bpf_skb_load_bytes(packet.skb.cast(), packet.base, to, last as u32 + 1) };
        (copied == 0).then_some(Self { bytes, len: packet.len })
    }
}

impl Payload for Glance<'_> {
    #[inline(always)]
    fn word(&self, offset: u32) -> Option<u64> {
        let at = opaque(offset);
        if at >= u64::from(GLANCE) || at + 8 > u64::from(self.len) {
            return None;
        }
        // SAFETY: the buffer goes on for eight bytes after GLANCE. One load, aligned or not: the verifier
        // allows that where the machine does, and eight single bytes would cost eight times as much.
        Some(unsafe { self.bytes.as_ptr().add(at as usize).cast::<u64>().read_volatile() })
    }
}
