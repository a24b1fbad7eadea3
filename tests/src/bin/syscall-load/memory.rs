//! Memory and disks.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;

use anyhow::{Context, Result, ensure};

/// Reads a file to its end; answers its own books of storage.
pub(crate) fn read(path: &str) -> Result<String> {
    let mut file = File::open(path)?;
    forget(&file)?;
    let mut buffer = vec![0; 1 << 20];
    while file.read(&mut buffer)? > 0 {}
    books()
}

/// Reads a file by touching it in memory, without read-ahead: each page is a fault that waits for the disk. Answers its
/// own books.
pub(crate) fn fault(path: &str) -> Result<String> {
    let file = File::open(path)?;
    forget(&file)?;
    let length = file.metadata()?.len() as usize;
    // SAFETY: a new mapping of a file that nobody shortens; every byte read lies within it.
    unsafe {
        let base = libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0);
        ensure!(base != libc::MAP_FAILED, "mmap: {}", std::io::Error::last_os_error());
        libc::madvise(base, length, libc::MADV_RANDOM);
        let mut sum = 0u64;
        for at in (0..length).step_by(4096) {
            sum = sum.wrapping_add(u64::from(base.cast::<u8>().add(at).read_volatile()));
        }
        std::hint::black_box(sum);
    }
    books()
}

/// Takes memory, `mib` of it, and keeps it.
pub(crate) fn eat(mib: u64) -> Result<String> {
    let mut held = Vec::new();
    for _ in 0..mib {
        let mut piece = vec![0u8; 1 << 20];
        piece.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
        held.push(std::hint::black_box(piece));
    }
    Ok(held.len().to_string())
}

/// Takes a file's pages out of memory.
fn forget(file: &File) -> Result<()> {
    file.sync_all()?;
    // SAFETY: a descriptor that is open.
    let result = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    ensure!(result == 0, "posix_fadvise: {result}");
    Ok(())
}

/// Major faults of this process, and bytes that it caused to be read from storage.
fn books() -> Result<String> {
    // SAFETY: a zeroed record is valid.
    let faults = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage.ru_majflt
    };
    let io = std::fs::read_to_string("/proc/self/io")?;
    let bytes = io.lines().find_map(|line| line.strip_prefix("read_bytes: ")).context("no read_bytes")?;
    Ok(format!("{faults} {bytes}"))
}
