//! Keeps track of what belongs to a workload: cgroups that come up below its own, children of its processes.

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use core::ffi::c_void;
use inferscope_common::watch::{BY_PROCESS, key};

use crate::hist::add;
use crate::host::cgroup::Cgroup;
use crate::host::storage::MARKS;
use crate::host::task::Task;
use crate::host::{running, watch};

#[btf_tracepoint(function = "cgroup_mkdir")]
fn cgroup_mkdir(ctx: BtfTracePointContext) -> i32 {
    let Some(cgroup) = Cgroup::new(ctx.arg::<*const c_void>(0)) else { return 0 };
    if !cgroup.is_unified() {
        return 0;
    }
    let Some(parent) = cgroup.parent() else { return 0 };
    if let Some(slot) = watch::find(key(parent.id())) {
        // What lies below a cgroup that several workloads share is nobody's before the agent says so.
        if slot != BY_PROCESS && !watch::inherit(cgroup, slot) {
            lost();
        }
    }
    0
}

#[inline(always)]
fn lost() {
    if let Some(control) = running::control_mut() {
        // SAFETY: a word of a map value.
        unsafe { add(&raw mut (*control).lost_nested, 1) };
    }
}

#[btf_tracepoint(function = "cgroup_rmdir")]
fn cgroup_rmdir(ctx: BtfTracePointContext) -> i32 {
    if let Some(cgroup) = Cgroup::new(ctx.arg::<*const c_void>(0))
        && cgroup.is_unified()
    {
        watch::disown(cgroup);
    }
    0
}

#[btf_tracepoint(function = "sched_process_fork")]
fn sched_process_fork(ctx: BtfTracePointContext) -> i32 {
    let (parent, child) = (Task(ctx.arg::<*const c_void>(0)), Task(ctx.arg::<*const c_void>(1)));
    let leader = parent.leader();
    if leader.is_null() {
        return 0;
    }
    let Some(mark) = MARKS.get(Task(leader)).map(|mark| *mark) else { return 0 };
    if let Some(of_child) = MARKS.get_or_create(child) {
        *of_child = mark;
    }
    0
}

/// A process, or a thread, has another cgroup. It may be running while it is moved.
#[btf_tracepoint(function = "cgroup_attach_task")]
fn cgroup_attach_task(_ctx: BtfTracePointContext) -> i32 {
    running::moved();
    0
}

/// All tasks of a cgroup have another one.
#[btf_tracepoint(function = "cgroup_transfer_tasks")]
fn cgroup_transfer_tasks(_ctx: BtfTracePointContext) -> i32 {
    running::moved();
    0
}
