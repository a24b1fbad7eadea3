//! Segments sent again.

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use core::ffi::c_void;
use inferscope_common::block::Counter;

use crate::sock::Sock;

#[btf_tracepoint(function = "tcp_retransmit_skb")]
fn tcp_retransmit_skb(ctx: BtfTracePointContext) -> i32 {
    if let Some(block) = Sock(ctx.arg::<*const c_void>(0)).block() {
        block.count(Counter::Retransmits, 1);
    }
    0
}
