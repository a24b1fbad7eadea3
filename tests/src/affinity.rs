//! Which CPU a thread runs on.

use std::io;

use anyhow::{Result, ensure};

/// Keeps a thread, and those it starts from now on, on a CPU; thread 0 is the one that asks.
pub fn pin(thread: u32, cpu: usize) -> Result<()> {
    // SAFETY: a zeroed set is empty, and the CPU lies within it.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(thread.cast_signed(), size_of::<libc::cpu_set_t>(), &raw const set)
    };
    ensure!(result == 0, "cannot keep thread {thread} on CPU {cpu}: {}", io::Error::last_os_error());
    Ok(())
}
