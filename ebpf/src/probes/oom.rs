//! Kills for want of memory.

use aya_ebpf::btf_maps::RingBuf;
use aya_ebpf::macros::{btf_map, btf_tracepoint};
use aya_ebpf::programs::BtfTracePointContext;
use core::ffi::c_void;
use inferscope_common::oom::OomKill;
use inferscope_common::watch::binding;

use crate::host::task::Task;
use crate::host::{now, watch};
use crate::probes::sched;

/// One record for each kill in a watched workload. A multiple of every page size.
#[btf_map]
static OOM_KILLS: RingBuf<OomKill, { 1 << 16 }> = RingBuf::new();

#[btf_tracepoint(function = "mark_victim")]
fn mark_victim(ctx: BtfTracePointContext) -> i32 {
    let victim = Task(ctx.arg::<*const c_void>(0));
    let Some(slot) = watch::slot(victim) else { return 0 };
    let Some(owner) = sched::owner(slot) else { return 0 };
    // A full ring loses the record; the cgroup's own counter has it all the same.
    if let Some(mut entry) = OOM_KILLS.reserve_untyped::<OomKill>(0) {
        entry.write(OomKill {
            time: now(),
            binding: binding(slot, owner),
            process: victim.process(),
            name: victim.name(),
        });
        entry.submit(0);
    }
    0
}
