//! What stands behind a file descriptor: `task->files->fdt->fd[n]->f_inode`.

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::btf_maps::Array;
use aya_ebpf::helpers::bpf_probe_read_kernel;
use aya_ebpf::macros::btf_map;
use core::arch::asm;
use core::ffi::c_void;
use inferscope_common::syscall::MAJORS;

use super::member;
use super::task::Task;
use crate::offsets::offsets;

offsets! {
    /// `files_struct.fdt`
    FILES_TABLE,
    /// `files_struct.fd_array`
    FILES_ARRAY,
    /// `fdtable.max_fds`
    FD_MAX,
    /// `fdtable.fd`
    FD_ARRAY,
    /// `file.f_inode`
    FILE_INODE,
    /// `inode.i_mode`
    INODE_MODE,
    /// `inode.i_rdev`
    INODE_DEVICE,
    /// The type `files_struct` in the kernel's BTF; 0 = the kernel has no `bpf_rdonly_cast`.
    FILES_TYPE,
}

/// A bit for each major number whose devices are GPUs. Written by the agent.
#[btf_map]
static GPU_MAJORS: Array<[u64; MAJORS / 64], 1, { BPF_F_MMAPABLE as usize }> = Array::new();

const TYPE: u16 = 0o170_000;
const SOCKET: u16 = 0o140_000;
const REGULAR: u16 = 0o100_000;
const BLOCK: u16 = 0o060_000;
const DIRECTORY: u16 = 0o040_000;
const CHARACTER: u16 = 0o020_000;

/// What a descriptor stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Socket,
    Gpu,
    /// A file, a directory or a block device: to sleep in it is the disk's work.
    Storage,
    /// A pipe, a terminal, an event: to sleep in it is to wait for somebody.
    Stream,
}

/// What `descriptor` stands for in `task`; `None` where it is not open.
#[inline(always)]
pub(crate) fn kind(task: Task, descriptor: u32) -> Option<Kind> {
    let files = task.files();
    if files.is_null() {
        return None;
    }
    // SAFETY: typed pointers and their members; what `entry` answers is one, or null.
    unsafe {
        let table: *const c_void = member(files, &FILES_TABLE);
        if table.is_null() || descriptor >= member::<u32>(table, &FD_MAX) {
            return None;
        }
        let place: u64 = member::<u64>(table, &FD_ARRAY) + u64::from(descriptor) * 8;
        let (mode, device) = if FILES_TYPE.load() != 0 { typed(place)? } else { untyped(place)? };
        Some(match mode & TYPE {
            SOCKET => Kind::Socket,
            CHARACTER if is_gpu(device >> 20) => Kind::Gpu,
            REGULAR | DIRECTORY | BLOCK => Kind::Storage,
            _ => Kind::Stream,
        })
    }
}

/// The inode's mode and device behind the `struct file *` at an address, by plain loads. The verifier would not
/// follow a pointer out of an array of variable length; taken for the array that every `files_struct` begins with,
/// it does.
#[inline(always)]
unsafe fn typed(place: u64) -> Option<(u16, u32)> {
    // SAFETY: the offset leads back to `place`; a fault reads zero.
    unsafe {
        let files = cast(place.wrapping_sub(u64::from(FILES_ARRAY.load())), FILES_TYPE.load());
        let file: *const c_void = member(files, &FILES_ARRAY);
        if file.is_null() {
            return None;
        }
        let inode: *const c_void = member(file, &FILE_INODE);
        if inode.is_null() {
            return None;
        }
        Some((member(inode, &INODE_MODE), member(inode, &INODE_DEVICE)))
    }
}

/// The same on kernels before 6.2, by four calls that copy.
#[inline(always)]
unsafe fn untyped(place: u64) -> Option<(u16, u32)> {
    // SAFETY: the helper reads whatever address it is given, or fails.
    unsafe {
        let file = bpf_probe_read_kernel(place as *const u64).ok().filter(|&file| file != 0)?;
        let inode = bpf_probe_read_kernel((file + u64::from(FILE_INODE.load())) as *const u64).ok()?;
        let mode = bpf_probe_read_kernel((inode + u64::from(INODE_MODE.load())) as *const u16).ok()?;
        let device = bpf_probe_read_kernel((inode + u64::from(INODE_DEVICE.load())) as *const u32).ok()?;
        Some((mode, device))
    }
}

/// `bpf_rdonly_cast`: tells the verifier what an address points to, and costs nothing at run time.
///
/// A call of a kernel function by its BTF id, which neither the compiler nor the loader can write: the agent looks
/// for this very instruction and puts the id in (`bpf/host/object.rs` there). With id 0 it is never reached.
#[inline(always)]
unsafe fn cast(address: u64, to: u32) -> *const c_void {
    let answer: u64;
    // SAFETY: the calling convention of the kernel: arguments in r1 and r2, the answer in r0, r1 to r5 lost.
    unsafe {
        asm!(
            ".byte 0x85, 0x20, 0x00, 0x00, 0xc5, 0xa5, 0xc5, 0xa5",
            inlateout("r1") address => _,
            inlateout("r2") u64::from(to) => _,
            lateout("r0") answer,
            lateout("r3") _,
            lateout("r4") _,
            lateout("r5") _,
            options(nostack),
        );
    }
    answer as *const c_void
}

#[inline(always)]
fn is_gpu(major: u32) -> bool {
    if major >= MAJORS as u32 {
        return false;
    }
    let Some(majors) = GPU_MAJORS.get_ptr(0) else { return false };
    // SAFETY: within the array, by the check above.
    unsafe { *majors.cast::<u64>().add((major / 64) as usize & 7) >> (major % 64) & 1 != 0 }
}
