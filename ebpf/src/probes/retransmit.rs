//! Segments sent again.

use aya_ebpf::helpers::bpf_probe_read_kernel;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use core::ffi::c_void;
use inferscope_common::block::Counter;

use crate::offsets::{SKB_CONTROL, TCP_SEGMENTS};
use crate::sock::Sock;

#[btf_tracepoint(function = "tcp_retransmit_skb")]
fn tcp_retransmit_skb(ctx: BtfTracePointContext) -> i32 {
    if let Some(block) = Sock(ctx.arg::<*const c_void>(0)).block() {
        block.count(Counter::Retransmits, segments(ctx.arg::<*const c_void>(1)));
    }
    0
}

/// As TCP counts: what leaves in one piece may be several segments, as many as TCP notes in its part of the buffer.
#[inline(always)]
fn segments(skb: *const c_void) -> u64 {
    let at = (SKB_CONTROL.load() + TCP_SEGMENTS.load()) as usize;
    // SAFETY: the helper reads from anywhere, or says that it cannot.
    let noted: Result<u16, _> = unsafe { bpf_probe_read_kernel(skb.wrapping_byte_add(at).cast()) };
    noted.map_or(1, |segments| u64::from(segments.max(1)))
}
