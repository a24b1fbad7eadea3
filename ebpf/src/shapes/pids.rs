//! As Rezolus does it: classic tracepoints, the start in an array by thread, the result in a histogram that all CPUs share.

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::btf_maps::Array;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use aya_ebpf::macros::{btf_map, tracepoint};
use aya_ebpf::programs::TracePointContext;

use crate::add;

const PIDS: usize = 1 << 22;
const CALLS: u32 = 512;

#[btf_map]
static PID_STARTS: Array<u64, PIDS> = Array::new();

/// A class for each call.
#[btf_map]
static CLASSES: Array<u32, { CALLS as usize }> = Array::new();

#[btf_map]
static BUCKETS: Array<u64, 8192, { BPF_F_MMAPABLE as usize }> = Array::new();

#[tracepoint]
fn pids_enter(_ctx: TracePointContext) -> u32 {
    let task = bpf_get_current_pid_tgid() as u32;
    // SAFETY: reads a clock.
    let now = unsafe { bpf_ktime_get_ns() };
    PID_STARTS.set(task, now, 0).unwrap_or(());
    0
}

#[tracepoint]
fn pids_exit(ctx: TracePointContext) -> u32 {
    let task = bpf_get_current_pid_tgid() as u32;
    // SAFETY: the call's number stands behind the record's common header.
    let number = unsafe { ctx.read_at::<i64>(8).unwrap_or(-1) };
    if number < 0 {
        return 0;
    }
    let Some(start) = PID_STARTS.get_ptr_mut(task) else { return 0 };
    // SAFETY: a map value that only this thread writes; reads a clock.
    let took = unsafe {
        if *start == 0 {
            return 0;
        }
        let took = bpf_ktime_get_ns().wrapping_sub(*start);
        *start = 0;
        took
    };
    let place = bucket(took);
    let class = CLASSES.get(number as u32 & (CALLS - 1)).copied().unwrap_or(0) & 15;
    // Each class has a map of its own there; one of all is no dearer.
    if let Some(count) = BUCKETS.get_ptr_mut(class * 496 + place) {
        // SAFETY: a word of a map value.
        unsafe { add(count, 1) };
    }
    0
}

/// Base 2, eight buckets to a doubling.
#[inline(always)]
fn bucket(nanos: u64) -> u32 {
    if nanos < 16 {
        return nanos as u32;
    }
    let (mut power, mut rest, mut half) = (0u32, nanos, 32u32);
    while half > 0 {
        if rest >> half != 0 {
            rest >>= half;
            power += half;
        }
        half /= 2;
    }
    (power << 3) + ((nanos >> (power - 3)) & 7) as u32
}
