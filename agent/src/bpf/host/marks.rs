//! Storage of single tasks, written from outside.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, RawFd};

/// `BPF_MAP_UPDATE_ELEM`.
const UPDATE: libc::c_long = 2;
/// `BPF_MAP_DELETE_ELEM`.
const DELETE: libc::c_long = 3;

/// `union bpf_attr` for the commands above.
#[repr(C)]
struct Attributes {
    map: u32,
    reserved: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// Descriptor of a thread, not of its process (`PIDFD_THREAD`).
const OF_THREAD: libc::c_long = libc::O_EXCL as libc::c_long;

/// Marks a process in a map of task storage, and its threads, any of which may come to stand for the process by an
/// `execve`. The marks go when the threads do.
pub(super) fn set(map: BorrowedFd<'_>, process: u32, mark: u32) -> io::Result<()> {
    command(map, UPDATE, &open(process, 0)?, &mark)?;
    for thread in threads(process) {
        // Kernels before 6.9 have no descriptors of threads; the process's own mark stands for them.
        drop(open(thread, OF_THREAD).and_then(|thread| command(map, UPDATE, &thread, &mark)));
    }
    Ok(())
}

/// Takes the marks away.
pub(super) fn clear(map: BorrowedFd<'_>, process: u32) -> io::Result<()> {
    for thread in threads(process) {
        // As above.
        drop(open(thread, OF_THREAD).and_then(|thread| command(map, DELETE, &thread, &0)));
    }
    command(map, DELETE, &open(process, 0)?, &0)
}

fn threads(process: u32) -> Vec<u32> {
    let entries = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter(|&thread| thread != process).collect()
}

fn command(map: BorrowedFd<'_>, command: libc::c_long, task: &File, value: &u32) -> io::Result<()> {
    let key: RawFd = task.as_raw_fd();
    let attributes = Attributes {
        map: map.as_raw_fd().cast_unsigned(),
        reserved: 0,
        key: std::ptr::from_ref(&key) as u64,
        value: std::ptr::from_ref(value) as u64,
        flags: 0,
    };
    // SAFETY: the command reads the key and the value, which live for the call.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, &raw const attributes, size_of::<Attributes>()) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A descriptor of the process or thread, which no other one can take the number of.
fn open(number: u32, flags: libc::c_long) -> io::Result<File> {
    // SAFETY: takes two numbers and answers a descriptor or an error.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, libc::c_long::from(number), flags) };
    let fd = RawFd::try_from(fd).ok().filter(|&fd| fd >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { File::from_raw_fd(fd) })
}
