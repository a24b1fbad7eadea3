//! Calls that wait.

use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::thread::JoinHandleExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// Sleeps of a known length by the kernel's own timer; answers how long each took, in nanoseconds.
///
/// The length is what the system call took, seen from outside: a little more than the kernel's part.
pub(crate) fn sleep(pauses: &[(u64, u64)]) -> Result<String> {
    // Otherwise the kernel puts the end of a sleep off by up to 50 µs, to wake up less often.
    // SAFETY: plain numbers.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
    let mut took = Vec::new();
    for &(micros, times) in pauses {
        let pause = libc::timespec { tv_sec: 0, tv_nsec: micros as libc::c_long * 1000 };
        for _ in 0..times {
            let begun = Instant::now();
            // SAFETY: a pause that lives for the call.
            unsafe { libc::syscall(libc::SYS_nanosleep, &raw const pause, 0) };
            took.push(begun.elapsed().as_nanos().to_string());
        }
    }
    Ok(took.join(","))
}

/// Threads that queue for one lock, each of which holds it for a millisecond, `times` altogether; answers how long
/// they waited for it, and how long the first thread waited for them, in nanoseconds.
pub(crate) fn convoy(threads: u64, times: u64) -> Result<String> {
    let lock = Mutex::new(0u64);
    let begun = Instant::now();
    let waited = thread::scope(|scope| {
        let run = || {
            let mut waited = 0;
            loop {
                let begun = Instant::now();
                let Ok(mut done) = lock.lock() else { return waited };
                waited += begun.elapsed().as_nanos() as u64;
                if *done == times {
                    return waited;
                }
                *done += 1;
                let held = Instant::now();
                while held.elapsed() < Duration::from_millis(1) {}
            }
        };
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        handles.into_iter().filter_map(|handle| handle.join().ok()).sum::<u64>()
    });
    Ok(format!("{waited} {}", begun.elapsed().as_nanos()))
}

/// Threads that read from sockets on which nothing ever comes; left behind when the process ends.
pub(crate) fn hang(threads: u64) -> Result<String> {
    for _ in 0..threads {
        let (mut here, there) = UnixStream::pair()?;
        thread::spawn(move || {
            let _keep = there;
            // It ends with the process.
            drop(here.read(&mut [0]));
        });
    }
    Ok(threads.to_string())
}

/// Longest wait for a thread of this process.
const PATIENCE: Duration = Duration::from_secs(60);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_signal: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// A read that signals interrupt and the kernel begins again, `times` times, before a byte comes.
pub(crate) fn interrupted(times: u64) -> Result<String> {
    // SAFETY: a zeroed action is valid; the handler does one atomic store.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = note as extern "C" fn(libc::c_int) as usize;
        action.sa_flags = libc::SA_RESTART;
        ensure!(libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) == 0, "sigaction");
    }
    let (here, there) = UnixStream::pair()?;
    let descriptor = here.as_raw_fd();
    let (number, numbers) = std::sync::mpsc::channel();
    let reader = thread::spawn(move || {
        // SAFETY: asks for a number.
        let told = number.send(unsafe { libc::gettid() });
        let mut byte = 0u8;
        // SAFETY: room for one byte.
        let read = unsafe { libc::syscall(libc::SYS_read, descriptor, &raw mut byte, 1) };
        told.map(|()| read)
    });
    let number = numbers.recv()?;
    for _ in 0..times {
        INTERRUPTED.store(false, Ordering::Relaxed);
        // Before the thread sleeps in its read the signal interrupts nothing.
        until_asleep_in_read(number)?;
        // SAFETY: a thread that runs until the byte comes.
        unsafe { libc::pthread_kill(reader.as_pthread_t(), libc::SIGUSR1) };
        let begun = Instant::now();
        while !INTERRUPTED.load(Ordering::Relaxed) {
            ensure!(begun.elapsed() < PATIENCE, "the signal was not delivered");
            thread::yield_now();
        }
    }
    until_asleep_in_read(number)?;
    std::io::Write::write_all(&mut &there, b"x")?;
    let read = reader.join().map_err(|_panic| anyhow::anyhow!("the reader panicked"))??;
    ensure!(read == 1, "it read {read}");
    Ok(String::new())
}

/// Waits until a thread of this process sleeps in a read.
fn until_asleep_in_read(thread: libc::pid_t) -> Result<()> {
    let (file, read) = (format!("/proc/self/task/{thread}/syscall"), format!("{} ", libc::SYS_read));
    let begun = Instant::now();
    while !std::fs::read_to_string(&file)?.starts_with(&read) {
        ensure!(begun.elapsed() < PATIENCE, "the thread does not read");
        thread::yield_now();
    }
    Ok(())
}

/// Replaces the process by another from a thread that is not its first: the thread takes over the first one's
/// number while it is in the call. The new image does what `main` says.
pub(crate) fn execve_from_thread() -> Result<String> {
    let thread = thread::spawn(|| -> Result<()> {
        let own = std::ffi::CString::new(std::env::current_exe()?.into_os_string().into_encoded_bytes())?;
        let arguments = [own.as_ptr(), c"getppid".as_ptr(), c"10".as_ptr(), std::ptr::null()];
        // SAFETY: strings that end with zero, a list that ends with null.
        unsafe { libc::execve(own.as_ptr(), arguments.as_ptr(), [std::ptr::null()].as_ptr()) };
        bail!("execve: {}", std::io::Error::last_os_error())
    });
    // The first thread waits in a call of its own until it is gone.
    let (idle, _other) = UnixStream::pair()?;
    // SAFETY: a copy of a descriptor that is open.
    let copy = unsafe { OwnedFd::from_raw_fd(libc::dup(idle.as_raw_fd())) };
    drop(UnixStream::from(copy).read(&mut [0]));
    thread.join().map_err(|_panic| anyhow::anyhow!("the thread panicked"))?.context("still here")?;
    Ok(String::new())
}
