//! What tracing programs read of a socket.

use aya_ebpf::Global;
use aya_ebpf::helpers::generated::bpf_skc_to_tcp_sock;
use core::ffi::c_void;
use inferscope_common::flow::SlotKey;

use crate::block::Slot;
use crate::exchange::Flow;
use crate::maps::{FLOWS, SLOTS};
use crate::offsets;

/// A `struct sock` that the verifier trusts.
#[derive(Clone, Copy)]
pub(crate) struct Sock(pub *const c_void);

impl Sock {
    /// Reads a field at an offset that the agent took from BTF.
    #[inline(always)]
    fn field<T: Copy>(base: *const c_void, offset: &Global<u32>) -> T {
        // SAFETY: a typed pointer and a known offset: the verifier checks the access, and a fault reads zero.
        unsafe { *base.byte_add(offset.load() as usize).cast::<T>() }
    }

    /// Id of the socket's cgroup.
    #[inline(always)]
    pub(crate) fn cgroup(self) -> u64 {
        let cgroup: *const c_void = Self::field(self.0, &offsets::SOCK_CGROUP);
        if cgroup.is_null() {
            return 0;
        }
        let node: *const c_void = Self::field(cgroup, &offsets::CGROUP_KN);
        if node.is_null() {
            return 0;
        }
        Self::field(node, &offsets::KERNFS_ID)
    }

    /// The port at this end.
    #[inline(always)]
    pub(crate) fn local_port(self) -> u16 {
        Self::field(self.0, &offsets::SOCK_LOCAL_PORT)
    }

    /// The pending error, an `errno`.
    #[inline(always)]
    pub(crate) fn error(self) -> i32 {
        Self::field(self.0, &offsets::SOCK_ERROR)
    }

    /// TCP's smoothed round trip in nanoseconds, 0 = none yet.
    #[inline(always)]
    pub(crate) fn smoothed_rtt(self) -> u64 {
        // SAFETY: the verifier knows the pointer as a socket; the helper answers null for what is no TCP socket.
        let tcp: *const c_void = unsafe { bpf_skc_to_tcp_sock(self.0.cast_mut()).cast() };
        if tcp.is_null() {
            return 0;
        }
        // The kernel keeps eighths of microseconds.
        u64::from(Self::field::<u32>(tcp, &offsets::TCP_SRTT)) * 125
    }

    /// The block of the workload that the socket belongs to.
    #[inline(always)]
    pub(crate) fn block(self) -> Option<Slot> {
        match FLOWS.get(self.0) {
            Some(flow) => watched(flow),
            None => Slot::get(find(self.cgroup(), self.local_port().into())?.1),
        }
    }
}

/// The block of a flow's workload; `None` once that is no longer watched, when the slot may be another's.
#[inline(always)]
pub(crate) fn watched(flow: &Flow) -> Option<Slot> {
    // A copy on the stack: older kernels take no key from the memory that a function of its own was given.
    // SAFETY: values are plain numbers, written by the agent alone.
    if *unsafe { SLOTS.get(flow.key) }? != flow.slot {
        return None;
    }
    Slot::get(flow.slot)
}

/// The slot of a cgroup, and under which name: by port, else as a whole.
#[inline(always)]
#[expect(clippy::needless_borrows_for_generic_args, reason = "the key is looked up where it lies, not copied first")]
pub(crate) fn find(cgroup: u64, port: u32) -> Option<(SlotKey, u32)> {
    let mut key = SlotKey { cgroup, port, reserved: 0 };
    // SAFETY: values are plain numbers, written by the agent alone.
    if let Some(slot) = unsafe { SLOTS.get(&key) } {
        return Some((key, *slot));
    }
    key.port = 0;
    // SAFETY: as above.
    unsafe { SLOTS.get(&key) }.map(|slot| (key, *slot))
}
