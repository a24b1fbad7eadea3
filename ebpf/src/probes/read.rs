//! Read delay: from a request's arrival in the kernel to the application's first read of it.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use core::ffi::c_void;
use inferscope_common::block::Hist;

use crate::maps::FLOWS;
use crate::sock::watched;

/// Runs once for each read of a TCP socket; a socket without a flow is rejected at once.
#[btf_tracepoint(function = "tcp_rcv_space_adjust")]
fn tcp_rcv_space_adjust(ctx: BtfTracePointContext) -> i32 {
    let Some(flow) = FLOWS.get(ctx.arg::<*const c_void>(0)) else { return 0 };
    if flow.unread == 0 {
        return 0;
    }
    flow.unread = 0;
    // SAFETY: reads a clock.
    let delay = unsafe { bpf_ktime_get_ns() }.saturating_sub(flow.exchange.figures.request_first);
    flow.exchange.figures.read_delay = delay;
    if let Some(block) = watched(flow) {
        block.record(Hist::ReadDelay, delay);
    }
    0
}
