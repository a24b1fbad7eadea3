//! For benchmarks: lets the kernel's test run show the programs one packet again and again.
//!
//! A test run has a socket of its own, without a past, and its packets repeat their sequence number.
//! With `REPLAY` unset, as everywhere else, the verifier removes all of this.

use aya_ebpf::Global;
use aya_ebpf::btf_maps::Array;
use aya_ebpf::macros::{btf_map, cgroup_skb};
use aya_ebpf::programs::SkBuffContext;
use core::ffi::c_void;

use crate::exchange::Flow;
use crate::maps::FLOWS;

/// 1 = sequence numbers are not looked at, and sockets without a flow begin with [`SEED`].
#[unsafe(no_mangle)]
static REPLAY: Global<u32> = Global::new(0);

/// What a socket's flow begins with; a zeroed one stands for none.
#[btf_map]
static SEED: Array<Flow, 1> = Array::new();

#[inline(always)]
pub(crate) fn is_on() -> bool {
    REPLAY.load() != 0
}

/// A flow as the seed has it.
#[inline(always)]
pub(crate) fn flow(sk: *const c_void) -> Option<&'static mut Flow> {
    if !is_on() {
        return None;
    }
    let seed = SEED.get(0)?;
    if seed.number == 0 {
        return None;
    }
    let flow = FLOWS.get_or_create(sk)?;
    // SAFETY: two values of two maps, each of one flow.
    unsafe { core::ptr::copy_nonoverlapping(seed, flow, 1) };
    Some(flow)
}

/// Costs what running any program costs; what a real one costs beyond it is its own.
#[cgroup_skb]
fn empty(_ctx: SkBuffContext) -> i32 {
    1
}
