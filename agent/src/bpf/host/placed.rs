//! Programs in place, and what the kernel says of each.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use aya::programs::ProgramFd;

/// `BPF_OBJ_GET_INFO_BY_FD`.
const INFO: libc::c_long = 15;

/// A program and the link that holds it in place; it goes when this is dropped.
pub(super) struct Placed<L> {
    pub(super) _link: L,
    pub(super) program: ProgramFd,
}

/// What a program has done so far.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Done {
    /// How long it has run while the kernel took times.
    pub(super) run_time: Duration,
    /// How often it did not run since it was running on that CPU already; 0 on kernels before 5.12.
    pub(super) missed: u64,
}

/// The part of `struct bpf_prog_info` that is read here; the words before are the program's form.
#[repr(C)]
#[derive(Clone, Copy)]
struct Info {
    form: [u64; 24],
    run_time_ns: u64,
    run_count: u64,
    recursion_misses: u64,
}

/// `union bpf_attr` for the command above.
#[repr(C)]
struct Attributes {
    program: u32,
    length: u32,
    info: u64,
}

/// Asks the kernel of a program. Half a microsecond; the same read as text from `/proc/self/fdinfo` takes six times that.
pub(super) fn done(program: &ProgramFd) -> Option<Done> {
    let mut info = MaybeUninit::<Info>::zeroed();
    let attributes = Attributes {
        program: program.as_fd().as_raw_fd().cast_unsigned(),
        length: size_of::<Info>() as u32,
        info: info.as_mut_ptr() as u64,
    };
    // SAFETY: the command writes no more than so many bytes into the place, which lives for the call. Zeroes ask it to
    // write nothing elsewhere.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, INFO, &raw const attributes, size_of::<Attributes>()) };
    // SAFETY: zeroes, or what the kernel wrote; numbers alone.
    let info = unsafe { info.assume_init() };
    let done = || Done { run_time: Duration::from_nanos(info.run_time_ns), missed: info.recursion_misses };
    (answer == 0).then(done)
}
