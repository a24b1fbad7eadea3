//! Block I/O: requests, bytes, and the time that the device took, by the cgroup that the kernel charges.

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::btf_maps::Array;
use aya_ebpf::macros::{btf_map, btf_tracepoint};
use aya_ebpf::programs::BtfTracePointContext;
use core::ffi::c_void;
use inferscope_common::disk::{Direction, Disk};
use inferscope_common::watch::{blkio_key, key};

use crate::hist::{self, add};
use crate::host::cgroup::Cgroup;
use crate::host::{member, now, watch};
use crate::offsets::offsets;
use crate::probes::syscall::counts;

offsets! {
    /// `request.bio`
    REQUEST_BIO,
    /// `request.cmd_flags`
    REQUEST_FLAGS,
    /// `request.__data_len`
    REQUEST_LEFT,
    /// `request.io_start_time_ns`
    REQUEST_ISSUED,
    /// `bio.bi_blkg`
    BIO_GROUP,
    /// `blkcg_gq.blkcg`
    GROUP_CGROUP,
    /// `blkcg.css`
    BLKCG_CSS,
}

/// By slot.
#[btf_map]
static DISKS: Array<Disk, 1, { BPF_F_MMAPABLE as usize }> = Array::new();

const OPERATION: u32 = 0xff;

#[btf_tracepoint(function = "block_rq_complete")]
fn block_rq_complete(ctx: BtfTracePointContext) -> i32 {
    let request: *const c_void = ctx.arg(0);
    // SAFETY: a typed pointer and its members.
    let (flags, left, issued): (u32, u32, u64) =
        unsafe { (member(request, &REQUEST_FLAGS), member(request, &REQUEST_LEFT), member(request, &REQUEST_ISSUED)) };
    let direction = match flags & OPERATION {
        0 => Direction::Read,
        1 => Direction::Write,
        _ => return 0,
    };
    let Some(slot) = slot(request) else { return 0 };
    let Some(disk) = DISKS.get_ptr_mut(slot) else { return 0 };
    let (error, bytes): (u8, u32) = (ctx.arg::<u64>(1) as u8, ctx.arg(2));
    // SAFETY: words of a map value.
    unsafe {
        let way = &raw mut (*disk)[direction as usize];
        add(&raw mut (*way).bytes, bytes.into());
        // A request may complete in parts; the last one ends it.
        if bytes >= left {
            add(&raw mut (*way).requests, 1);
            if error != 0 {
                add(&raw mut (*way).errors, 1);
            }
            if issued != 0 {
                hist::record(&raw mut (*way).latency, now().saturating_sub(issued), 1);
            }
        }
    }
    // Last, since it says that the rest is there.
    if let Some(counts) = counts(slot) {
        // SAFETY: a word of a map value.
        unsafe { add(&raw mut (*counts).disk, 1) };
    }
    0
}

#[inline(always)]
fn slot(request: *const c_void) -> Option<u32> {
    // SAFETY: typed pointers and their members; the control group's state stands first in `struct blkcg`.
    let cgroup = unsafe {
        let bio: *const c_void = member(request, &REQUEST_BIO);
        if bio.is_null() {
            return None;
        }
        let group: *const c_void = member(bio, &BIO_GROUP);
        if group.is_null() {
            return None;
        }
        let blkcg: *const c_void = member(group, &GROUP_CGROUP);
        if blkcg.is_null() {
            return None;
        }
        Cgroup::of_css(blkcg.byte_add(BLKCG_CSS.load() as usize))?
    };
    watch::find(if cgroup.is_unified() { key(cgroup.id()) } else { blkio_key(cgroup.id()) })
}
