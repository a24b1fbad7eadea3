//! Reads from a socket with the kernel's own time of arrival: exact however late this process wakes up.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, RawFd};

use inferscope::clock::monotonic_nanos;

use crate::clients::transcript::Arrival;

/// Room for one control message with a `timespec`, aligned as `cmsghdr` wants it.
type Control = [u64; 8];

/// Asks the kernel to note when packets arrive.
pub fn enable(socket: &impl AsRawFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option's value is one `int`, which lives through the call.
    let set = unsafe {
        let size = size_of_val(&on) as libc::socklen_t;
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, (&raw const on).cast(), size)
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reads once; the arrival is that of the last byte read.
pub fn read(socket: RawFd, buffer: &mut [u8]) -> io::Result<(usize, Arrival)> {
    let mut control: Control = [0; 8];
    let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all zeroes is a valid `msghdr`.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    // SAFETY: every pointer in `message` is valid for the length beside it.
    let got = unsafe { libc::recvmsg(socket, &raw mut message, 0) };
    let Ok(got) = usize::try_from(got) else { return Err(io::Error::last_os_error()) };
    let read = monotonic_nanos();
    let socket = received(&message).map_or(read, |wall| read.saturating_sub(wall_nanos().saturating_sub(wall)));
    Ok((got, Arrival { socket, read }))
}

/// The kernel's stamp, in nanoseconds of wall time. It is missing until the kernel has switched stamps on.
fn received(message: &libc::msghdr) -> Option<u64> {
    // SAFETY: the kernel filled in the control messages of `message`, whose buffer is alive.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(message).as_ref()?;
        if (header.cmsg_level, header.cmsg_type) != (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) {
            return None;
        }
        let time: libc::timespec = libc::CMSG_DATA(header).cast::<libc::timespec>().read_unaligned();
        Some(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
    }
}

fn wall_nanos() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    now.as_nanos() as u64
}
