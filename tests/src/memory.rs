//! A limit of memory, and what the kernel does when it is reached.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::wait;

/// Longest wait for a killed process to leave.
const EMPTY_WITHIN: Duration = Duration::from_secs(5);

/// A cgroup of the memory controller, of whichever version has it; removed when dropped, after its processes.
#[derive(Debug)]
pub struct MemoryLimit {
    path: PathBuf,
}

impl MemoryLimit {
    /// A cgroup that may use `bytes`.
    pub fn new(name: &str, bytes: u64) -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let of_kind = |line: &&str| {
            let mut fields = line.split(' ').skip(2);
            match (fields.next(), fields.next()) {
                (Some("cgroup"), Some(options)) => options.split(',').any(|option| option == "memory"),
                (Some("cgroup2"), _) => !mounts.contains(",memory "),
                _ => false,
            }
        };
        let line = mounts.lines().find(of_kind).context("no memory controller is mounted")?;
        let mount = PathBuf::from(line.split(' ').nth(1).context("no mount point")?);
        // In version 2 children have a controller when their parent says so; in version 1 there is no such file.
        drop(fs::write(mount.join("cgroup.subtree_control"), "+memory"));
        let limit = Self { path: mount.join(format!("inferscope-test-{}-{name}", std::process::id())) };
        fs::create_dir_all(&limit.path).context("cannot create a cgroup (run as root)")?;
        let (soft, swap) = if limit.path.join("memory.max").exists() {
            ("memory.max", "memory.swap.max")
        } else {
            ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
        };
        fs::write(limit.path.join(soft), bytes.to_string()).context("cannot limit memory")?;
        // Without swap there is nothing to limit.
        drop(fs::write(limit.path.join(swap), if swap == "memory.swap.max" { "0".into() } else { bytes.to_string() }));
        Ok(limit)
    }

    /// Lets what `command` starts be born in it.
    pub fn adopt(&self, command: &mut Command) -> Result<()> {
        let mut members = OpenOptions::new().write(true).open(self.path.join("cgroup.procs"))?;
        // SAFETY: between fork and exec it only calls `write`, on a file that is open.
        unsafe { command.pre_exec(move || members.write_all(b"0")) };
        Ok(())
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        let gone = wait::until(EMPTY_WITHIN, "the end of its processes", || fs::remove_dir(&self.path).ok());
        if let Err(error) = gone {
            eprintln!("cannot remove the cgroup {}: {error:#}", self.path.display());
        }
    }
}
