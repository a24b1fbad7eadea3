//! Every map of the kernel half.

use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, bpf_map_type::BPF_MAP_TYPE_SK_STORAGE};
use aya_ebpf::btf_maps::{Array, HashMap, RingBuf};
use aya_ebpf::helpers::generated::{bpf_sk_storage_delete, bpf_sk_storage_get};
use aya_ebpf::macros::btf_map;
use core::ffi::c_void;
use inferscope_common::block::Block;
use inferscope_common::flow::{Header, SlotKey};

use crate::exchange::Flow;

/// Records for the agent. The agent sets the size when it loads.
#[btf_map]
pub(crate) static RECORDS: RingBuf<Header, { 4 << 20 }> = RingBuf::new();

/// Counters and histograms by slot. The agent sets the number of slots when it loads.
#[btf_map]
pub(crate) static BLOCKS: Array<Block, 256, { BPF_F_MMAPABLE as usize }> = Array::new();

/// Which cgroups and ports are observed, and under which slot.
#[btf_map]
pub(crate) static SLOTS: HashMap<SlotKey, u32, 4096> = HashMap::new();

/// The exchange under way on a socket.
#[unsafe(link_section = ".maps")]
#[unsafe(export_name = "FLOWS")]
pub(crate) static FLOWS: SkStorage<Flow> = SkStorage::new();

/// When a socket sent its first SYN.
#[unsafe(link_section = ".maps")]
#[unsafe(export_name = "CONNECTS")]
pub(crate) static CONNECTS: SkStorage<u64> = SkStorage::new();

/// Socket storage for any program that holds a socket pointer; aya-ebpf's own is for socket-address programs alone.
#[repr(C)]
pub(crate) struct SkStorage<T> {
    r#type: *const [i32; BPF_MAP_TYPE_SK_STORAGE as usize],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; BPF_F_NO_PREALLOC as usize],
}

// SAFETY: the fields are a description for the loader and never dereferenced.
unsafe impl<T> Sync for SkStorage<T> {}

impl<T> SkStorage<T> {
    const fn new() -> Self {
        Self {
            r#type: core::ptr::null(),
            key: core::ptr::null(),
            value: core::ptr::null(),
            max_entries: core::ptr::null(),
            map_flags: core::ptr::null(),
        }
    }

    #[inline(always)]
    fn lookup(&self, sk: *const c_void, flags: u64) -> Option<&'static mut T> {
        let map = core::ptr::from_ref(self).cast_mut().cast();
        // SAFETY: `sk` is a socket that the verifier knows; what comes back is null or a value of this map,
        // which lives until the program ends.
        unsafe { bpf_sk_storage_get(map, sk.cast_mut().cast(), core::ptr::null_mut(), flags).cast::<T>().as_mut() }
    }

    /// The socket's value, if it has one.
    #[inline(always)]
    pub(crate) fn get(&self, sk: *const c_void) -> Option<&'static mut T> {
        self.lookup(sk, 0)
    }

    /// The socket's value, zeroed when new; `None` when there is no memory.
    #[inline(always)]
    pub(crate) fn get_or_create(&self, sk: *const c_void) -> Option<&'static mut T> {
        self.lookup(sk, 1)
    }

    /// Forgets the socket's value.
    #[inline(always)]
    pub(crate) fn delete(&self, sk: *const c_void) {
        let map = core::ptr::from_ref(self).cast_mut().cast();
        // SAFETY: as above. That there was nothing to delete is no error.
        unsafe { bpf_sk_storage_delete(map, sk.cast_mut().cast()) };
    }
}
