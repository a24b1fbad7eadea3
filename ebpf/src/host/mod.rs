//! What the probes of the host share: tasks and cgroups through typed pointers, the table of who is watched.

pub(crate) mod cgroup;
pub(crate) mod descriptor;
pub(crate) mod running;
pub(crate) mod storage;
pub(crate) mod task;
pub(crate) mod watch;

use aya_ebpf::Global;
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use core::ffi::c_void;

/// Reads a member at an offset that the agent took from BTF.
///
/// # Safety
/// `base` must be a pointer whose type the verifier knows, and the offset one of a member of that type: then the
/// verifier checks the access, and a fault reads zero.
#[inline(always)]
pub(crate) unsafe fn member<T: Copy>(base: *const c_void, offset: &Global<u32>) -> T {
    // SAFETY: the caller's.
    unsafe { *base.byte_add(offset.load() as usize).cast::<T>() }
}

/// The machine's clock, in nanoseconds.
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: reads a clock.
    unsafe { bpf_ktime_get_ns() }
}
