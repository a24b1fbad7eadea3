//! Many system calls, known in number.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

/// One call, made by number, so that no library turns it into another.
macro_rules! call {
    ($name:ident $(, $argument:expr)*) => {
        // SAFETY: arguments are plain numbers or point to what lives for the call.
        unsafe { libc::syscall(libc::$name $(, $argument as libc::c_long)*) }
    };
}

/// Calls of 43 kinds in a loop of `rounds` from each of `threads`.
pub(crate) fn closed(threads: u64, rounds: u64) -> Result<String> {
    let handles: Vec<_> = (0..threads).map(|_| thread::spawn(move || (0..rounds).try_for_each(|_| round()))).collect();
    for handle in handles {
        handle.join().map_err(|_panic| anyhow::anyhow!("a thread panicked"))??;
    }
    Ok(String::new())
}

/// Descriptors of a round.
struct Open {
    sockets: [RawFd; 2],
    pipe: [RawFd; 2],
    file: RawFd,
    poll: RawFd,
    event: RawFd,
}

fn round() -> Result<()> {
    let open = open()?;
    let result = network(&open).and_then(|()| files(&open)).and_then(|()| rest(&open));
    for fd in open.sockets.into_iter().chain(open.pipe).chain([open.file, open.poll, open.event]) {
        call!(SYS_close, fd);
    }
    result
}

fn open() -> Result<Open> {
    let (mut sockets, mut pipe) = ([0; 2], [0; 2]);
    let name = c"inferscope-test";
    ensure!(call!(SYS_socketpair, libc::AF_UNIX, libc::SOCK_STREAM, 0, sockets.as_mut_ptr()) == 0, "socketpair");
    ensure!(call!(SYS_pipe2, pipe.as_mut_ptr(), libc::O_NONBLOCK) == 0, "pipe2");
    let file = call!(SYS_memfd_create, name.as_ptr(), 0) as RawFd;
    let poll = call!(SYS_epoll_create1, 0) as RawFd;
    let event = call!(SYS_eventfd2, 0, 0) as RawFd;
    ensure!(file >= 0 && poll >= 0 && event >= 0, "no descriptors: {}", io::Error::last_os_error());
    Ok(Open { sockets, pipe, file, poll, event })
}

fn network(open: &Open) -> Result<()> {
    let mut buffer = [7u8; 64];
    let bytes = buffer.as_mut_ptr();
    let [here, there] = open.sockets;
    ensure!(call!(SYS_sendto, here, bytes, 64, 0, 0, 0) == 64, "sendto");
    ensure!(call!(SYS_recvfrom, there, bytes, 64, 0, 0, 0) == 64, "recvfrom");
    ensure!(call!(SYS_write, here, bytes, 64) == 64, "write to a socket");
    ensure!(call!(SYS_read, there, bytes, 64) == 64, "read from a socket");
    ensure!(call!(SYS_recvfrom, there, bytes, 64, libc::MSG_DONTWAIT, 0, 0) < 0, "nothing is there");
    let (mut value, mut length) = (0i32, 4u32);
    let (value, length) = (&raw mut value, &raw mut length);
    ensure!(call!(SYS_getsockopt, here, libc::SOL_SOCKET, libc::SO_TYPE, value, length) == 0, "getsockopt");
    call!(SYS_setsockopt, here, libc::SOL_SOCKET, libc::SO_SNDBUF, value, 4);
    ensure!(call!(SYS_shutdown, here, libc::SHUT_WR) == 0, "shutdown");
    Ok(())
}

fn files(open: &Open) -> Result<()> {
    let mut buffer = [7u8; 64];
    let bytes = buffer.as_mut_ptr();
    let mut vector = libc::iovec { iov_base: bytes.cast(), iov_len: 64 };
    let vector = &raw mut vector;
    let [from, to] = open.pipe;
    ensure!(call!(SYS_write, to, bytes, 64) == 64, "write to a pipe");
    ensure!(call!(SYS_read, from, bytes, 64) == 64, "read from a pipe");
    ensure!(call!(SYS_read, from, bytes, 64) < 0, "the pipe is empty");
    ensure!(call!(SYS_writev, open.file, vector, 1) == 64, "writev");
    ensure!(call!(SYS_pwrite64, open.file, bytes, 64, 64) == 64, "pwrite64");
    ensure!(call!(SYS_pread64, open.file, bytes, 64, 0) == 64, "pread64");
    ensure!(call!(SYS_lseek, open.file, 0, libc::SEEK_SET) == 0, "lseek");
    ensure!(call!(SYS_readv, open.file, vector, 1) == 64, "readv");
    ensure!(call!(SYS_ftruncate, open.file, 0) == 0, "ftruncate");
    ensure!(call!(SYS_fcntl, open.file, libc::F_GETFD, 0) >= 0, "fcntl");
    ensure!(call!(SYS_fsync, open.file) == 0, "fsync");
    let copy = call!(SYS_dup, open.file);
    ensure!(call!(SYS_close, copy) == 0, "close");
    ensure!(call!(SYS_close, 1 << 20) < 0, "there is no such descriptor");
    ensure!(call!(SYS_faccessat, libc::AT_FDCWD, c"/proc".as_ptr(), 0) == 0, "faccessat");
    let mut path = [0u8; 64];
    ensure!(call!(SYS_readlinkat, libc::AT_FDCWD, c"/proc/self".as_ptr(), path.as_mut_ptr(), 64) > 0, "readlinkat");
    ensure!(call!(SYS_openat, libc::AT_FDCWD, c"/no/such/file".as_ptr(), 0) < 0, "openat");
    let (mut status, mut one) = ([0u8; 512], 1u64);
    ensure!(call!(SYS_fstat, open.file, status.as_mut_ptr()) == 0, "fstat");
    ensure!(call!(SYS_write, open.event, &raw mut one, 8) == 8, "write to an event");
    ensure!(call!(SYS_read, open.event, &raw mut one, 8) == 8, "read from an event");
    Ok(())
}

fn rest(open: &Open) -> Result<()> {
    let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
    let event = &raw mut event;
    ensure!(call!(SYS_epoll_ctl, open.poll, libc::EPOLL_CTL_ADD, open.event, event) == 0, "epoll_ctl");
    ensure!(call!(SYS_epoll_pwait, open.poll, event, 1, 0, 0, 8) == 0, "epoll_pwait");
    let pause = libc::timespec { tv_sec: 0, tv_nsec: 1 };
    let pause = &raw const pause;
    ensure!(call!(SYS_ppoll, 0, 0, pause, 0, 8) == 0, "ppoll");
    let mut word = 0u32;
    let word = &raw mut word;
    ensure!(call!(SYS_futex, word, libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1, 0, 0, 0) == 0, "futex wake");
    let wait = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
    ensure!(call!(SYS_futex, word, wait, 1, 0, 0, 0) < 0, "the word has another value");
    let (ways, kinds) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    let pages = call!(SYS_mmap, 0, 8192, ways, kinds, -1, 0);
    ensure!(pages > 0, "mmap");
    ensure!(call!(SYS_mprotect, pages, 4096, libc::PROT_READ) == 0, "mprotect");
    ensure!(call!(SYS_madvise, pages, 8192, libc::MADV_DONTNEED) == 0, "madvise");
    ensure!(call!(SYS_munmap, pages, 8192) == 0, "munmap");
    ensure!(call!(SYS_getppid) >= 0, "getppid");
    let (process, thread) = (call!(SYS_getpid), call!(SYS_gettid));
    ensure!(call!(SYS_tgkill, process, thread, 0) == 0, "tgkill");
    let mut limit = [0u64; 2];
    ensure!(call!(SYS_prlimit64, 0, libc::RLIMIT_NOFILE, 0, limit.as_mut_ptr()) == 0, "prlimit64");
    let mut random = [0u8; 16];
    ensure!(call!(SYS_getrandom, random.as_mut_ptr(), 16, 0) == 16, "getrandom");
    let mut name = [0u8; 512];
    ensure!(call!(SYS_uname, name.as_mut_ptr()) == 0, "uname");
    let mut mask = [0u64; 16];
    ensure!(call!(SYS_sched_getaffinity, 0, 128, mask.as_mut_ptr()) > 0, "sched_getaffinity");
    ensure!(call!(SYS_rt_sigprocmask, 0, 0, mask.as_mut_ptr(), 8) == 0, "rt_sigprocmask");
    call!(SYS_sched_yield);
    ensure!(call!(SYS_ioctl, open.pipe[0], libc::FIONREAD, mask.as_mut_ptr()) == 0, "ioctl on a pipe");
    ensure!(call!(SYS_ioctl, open.sockets[0], libc::FIONREAD, mask.as_mut_ptr()) == 0, "ioctl on a socket");
    let calls = [call!(SYS_getuid), call!(SYS_geteuid), call!(SYS_getgid), call!(SYS_getegid)];
    ensure!(calls.iter().all(|&id| id >= 0), "users");
    Ok(())
}

/// The cheapest call there is.
pub(crate) fn getppid(times: u64) -> Result<String> {
    for _ in 0..times {
        call!(SYS_getppid);
    }
    Ok(String::new())
}

/// Gives the CPU away again and again.
pub(crate) fn give_way(times: u64) -> Result<String> {
    for _ in 0..times {
        call!(SYS_sched_yield);
    }
    Ok(String::new())
}

/// Asks a device something that it does not understand.
pub(crate) fn ioctl(device: &str, times: u64) -> Result<String> {
    let path = CString::new(device)?;
    let fd = call!(SYS_openat, libc::AT_FDCWD, path.as_ptr(), libc::O_RDWR);
    ensure!(fd >= 0, "cannot open {device}: {}", io::Error::last_os_error());
    for _ in 0..times {
        ensure!(call!(SYS_ioctl, fd, 0x1234, 0) < 0, "{device} understands it");
    }
    Ok(String::new())
}

/// Bursts of `burst` calls that ask a pipe what it holds, from each of `threads`, each with a pause of a millisecond after it,
/// for `millis`. Answers how many such calls were made; nothing else here makes any of their class.
pub(crate) fn bursts(threads: u64, millis: u64, burst: u64) -> Result<String> {
    let begun = Instant::now();
    let run = move || -> Result<u64> {
        let (pipe, _other) = io::pipe()?;
        let (mut held, mut made) = (0i32, 0);
        while begun.elapsed() < Duration::from_millis(millis) {
            for _ in 0..burst {
                ensure!(call!(SYS_ioctl, pipe.as_raw_fd(), libc::FIONREAD, &raw mut held) == 0, "ioctl on a pipe");
            }
            made += burst;
            thread::sleep(Duration::from_millis(1));
        }
        Ok(made)
    };
    let handles: Vec<_> = (0..threads).map(|_| thread::spawn(run)).collect();
    let mut made = 0;
    for handle in handles {
        made += handle.join().map_err(|_panic| anyhow::anyhow!("a thread panicked"))??;
    }
    Ok(made.to_string())
}

/// Children that end at once, and their number.
pub(crate) fn fork(times: u64) -> Result<String> {
    for _ in 0..times {
        // SAFETY: the child does nothing but end.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: ends the child without running anything of the parent's.
            unsafe { libc::_exit(0) };
        }
        let mut status = 0;
        ensure!(call!(SYS_wait4, child, &raw mut status, 0, 0) == libc::c_long::from(child), "wait4");
    }
    Ok(times.to_string())
}
