//! As bcc's `runqlat` does it: the time of a wake-up in a hash by thread, taken out at the switch.

use aya_ebpf::btf_maps::{Array, HashMap};
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use aya_ebpf::macros::{btf_map, btf_tracepoint};
use aya_ebpf::programs::BtfTracePointContext;
use core::ffi::c_void;

use crate::add;

/// `task_struct.pid`, from BTF.
#[unsafe(no_mangle)]
static PID: aya_ebpf::Global<u32> = aya_ebpf::Global::new(0);

#[btf_map]
static WAITS: HashMap<u32, u64, 10240> = HashMap::new();

#[btf_map]
static DELAYS: Array<u64, 64> = Array::new();

#[btf_tracepoint(function = "sched_wakeup")]
fn runqueue_wakeup(ctx: BtfTracePointContext) -> i32 {
    queued(ctx.arg(0))
}

#[btf_tracepoint(function = "sched_switch")]
fn runqueue_switch(ctx: BtfTracePointContext) -> i32 {
    if ctx.arg::<u32>(3) == 0 {
        queued(ctx.arg(1));
    }
    let next = pid(ctx.arg(2));
    // SAFETY: values are plain numbers; reads a clock.
    let (since, now) = unsafe { (WAITS.get(&next).copied(), bpf_ktime_get_ns()) };
    let Some(since) = since else { return 0 };
    let mut waited = now.wrapping_sub(since) / 1000;
    let mut slot = 0;
    while waited > 0 && slot < 40 {
        waited >>= 1;
        slot += 1;
    }
    if let Some(count) = DELAYS.get_ptr_mut(slot) {
        // SAFETY: a word of a map value.
        unsafe { add(count, 1) };
    }
    WAITS.remove(&next).unwrap_or(());
    0
}

#[inline(always)]
fn queued(task: *const c_void) -> i32 {
    // SAFETY: reads a clock.
    WAITS.insert(pid(task), unsafe { bpf_ktime_get_ns() }, 0).unwrap_or(());
    0
}

#[inline(always)]
fn pid(task: *const c_void) -> u32 {
    // SAFETY: a typed pointer and its member.
    unsafe { *task.byte_add(PID.load() as usize).cast::<u32>() }
}
