//! A task, read through its kernel's types.

use aya_ebpf::helpers::generated::bpf_get_current_task_btf;
use core::ffi::c_void;
use inferscope_common::sched::Name;

use super::cgroup::Cgroup;
use super::member;
use crate::offsets::offsets;

offsets! {
    /// `task_struct.cgroups`
    TASK_CGROUPS,
    /// `css_set.dfl_cgrp`
    CSS_SET_UNIFIED,
    /// `task_struct.tgid`
    TASK_TGID,
    /// `task_struct.group_leader`
    TASK_LEADER,
    /// `task_struct.comm`
    TASK_COMM,
    /// `task_struct.bpf_storage`
    TASK_STORAGE,
    /// `task_struct.files`
    TASK_FILES,
    /// `task_struct.nvcsw`
    TASK_VOLUNTARY,
    /// `task_struct.nivcsw`
    TASK_INVOLUNTARY,
    /// `task_struct.maj_flt`
    TASK_MAJOR_FAULTS,
    /// `task_struct.se.nr_migrations`
    TASK_MIGRATIONS,
    /// `task_struct.sched_info.run_delay`
    TASK_RUN_DELAY,
    /// `task_struct.sched_info.pcount`
    TASK_RUNS,
    /// `task_struct.ioac.read_bytes`
    TASK_READ_BYTES,
    /// `task_struct.ioac.write_bytes`
    TASK_WRITE_BYTES,
}

/// A `struct task_struct` that the verifier trusts.
#[derive(Clone, Copy)]
pub(crate) struct Task(pub *const c_void);

macro_rules! members {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $offset:ident,)*) => {
        $($(#[$doc])* #[inline(always)] pub(crate) fn $name(self) -> $type {
            // SAFETY: a typed pointer and its member.
            unsafe { member(self.0, &$offset) }
        })*
    };
}

impl Task {
    /// The task that runs here.
    #[inline(always)]
    pub(crate) fn current() -> Self {
        // SAFETY: reads a register or a per-CPU variable.
        Self(unsafe { bpf_get_current_task_btf() }.cast_const().cast())
    }

    members! {
        /// Its process.
        process: u32 = TASK_TGID,
        /// Its name.
        name: Name = TASK_COMM,
        /// The first thread of its process.
        leader: *const c_void = TASK_LEADER,
        /// Its open files, a `files_struct`, or null.
        files: *const c_void = TASK_FILES,
        /// How often it gave the CPU up by itself.
        voluntary: u64 = TASK_VOLUNTARY,
        /// How often the CPU was taken from it.
        involuntary: u64 = TASK_INVOLUNTARY,
        /// Faults that waited for a disk.
        major_faults: u64 = TASK_MAJOR_FAULTS,
        /// How often it was moved to another CPU.
        migrations: u64 = TASK_MIGRATIONS,
        /// Nanoseconds for which it was runnable and did not run.
        run_delay: u64 = TASK_RUN_DELAY,
        /// How often it got a CPU.
        runs: u64 = TASK_RUNS,
        /// Bytes that it caused to be read from storage.
        read_bytes: u64 = TASK_READ_BYTES,
        /// Bytes that it caused to be written to storage.
        write_bytes: u64 = TASK_WRITE_BYTES,
    }

    /// False where no program ever kept anything for it.
    #[inline(always)]
    pub(crate) fn has_storage(self) -> bool {
        // SAFETY: a typed pointer and its member.
        !unsafe { member::<*const c_void>(self.0, &TASK_STORAGE) }.is_null()
    }

    /// Its cgroup of version 2.
    #[inline(always)]
    pub(crate) fn cgroup(self) -> Option<Cgroup> {
        // SAFETY: typed pointers and their members.
        unsafe {
            let set: *const c_void = member(self.0, &TASK_CGROUPS);
            if set.is_null() {
                return None;
            }
            Cgroup::new(member(set, &CSS_SET_UNIFIED))
        }
    }
}
