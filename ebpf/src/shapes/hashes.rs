//! As bcc's `syscount -L` does it: classic tracepoints, the start in a hash by thread, the result in a per-CPU hash.

use aya_ebpf::btf_maps::{HashMap, PerCpuHashMap};
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use aya_ebpf::macros::{btf_map, tracepoint};
use aya_ebpf::programs::TracePointContext;

#[repr(C)]
#[derive(Clone, Copy)]
struct Sum {
    count: u64,
    nanos: u64,
}

#[btf_map]
static STARTS: HashMap<u64, u64, 10240> = HashMap::new();

#[btf_map]
static SUMS: PerCpuHashMap<u32, Sum, 10240> = PerCpuHashMap::new();

#[tracepoint]
fn hashes_enter(_ctx: TracePointContext) -> u32 {
    // SAFETY: reads a clock.
    let now = unsafe { bpf_ktime_get_ns() };
    // A full map loses the call, as there.
    STARTS.insert(bpf_get_current_pid_tgid(), now, 0).unwrap_or(());
    0
}

#[tracepoint]
fn hashes_exit(ctx: TracePointContext) -> u32 {
    let task = bpf_get_current_pid_tgid();
    // SAFETY: values are plain numbers; the call's number stands behind the record's common header.
    let (began, number) = unsafe { (STARTS.get(&task).copied(), ctx.read_at::<i64>(8).unwrap_or(0) as u32) };
    let Some(began) = began else { return 0 };
    STARTS.remove(&task).unwrap_or(());
    // SAFETY: reads a clock.
    let took = unsafe { bpf_ktime_get_ns() }.wrapping_sub(began);
    if let Some(sum) = SUMS.get_ptr_mut(&number) {
        // SAFETY: this CPU's value.
        unsafe {
            (*sum).count += 1;
            (*sum).nanos += took;
        }
    } else {
        SUMS.insert(number, Sum { count: 1, nanos: took }, 0).unwrap_or(());
    }
    0
}
