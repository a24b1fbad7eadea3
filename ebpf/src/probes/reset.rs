//! Resets sent and received.

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use core::ffi::c_void;
use inferscope_common::block::Counter;

use crate::sock::Sock;

#[btf_tracepoint(function = "tcp_send_reset")]
fn tcp_send_reset(ctx: BtfTracePointContext) -> i32 {
    count(ctx.arg(0), Counter::ResetsSent)
}

#[btf_tracepoint(function = "tcp_receive_reset")]
fn tcp_receive_reset(ctx: BtfTracePointContext) -> i32 {
    count(ctx.arg(0), Counter::ResetsReceived)
}

#[inline(always)]
fn count(sk: *const c_void, which: Counter) -> i32 {
    // A reset that answers a segment for no socket has none.
    if !sk.is_null()
        && let Some(block) = Sock(sk).block()
    {
        block.count(which, 1);
    }
    0
}
