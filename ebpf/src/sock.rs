//! What tracing programs read of a socket.

use aya_ebpf::Global;
use aya_ebpf::helpers::generated::bpf_skc_to_tcp_sock;
use core::ffi::c_void;
use inferscope_common::flow::SlotKey;

use crate::block::Slot;
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
        if let Some(flow) = FLOWS.get(self.0) {
            return Slot::get(flow.slot);
        }
        Slot::get(slot(self.cgroup(), self.local_port().into())?)
    }
}

/// The slot of a cgroup: by port, else as a whole.
#[inline(always)]
pub(crate) fn slot(cgroup: u64, port: u32) -> Option<u32> {
    let mut key = SlotKey { cgroup, port, reserved: 0 };
    // SAFETY: values are plain numbers, written by the agent alone.
    if let Some(slot) = unsafe { SLOTS.get(&key) } {
        return Some(*slot);
    }
    key.port = 0;
    // SAFETY: as above.
    unsafe { SLOTS.get(&key) }.copied()
}
