//! Facts of this machine, read where they stand and injectable in tests.
//!
//! Everything under `/proc` belongs to somebody else: it vanishes while it is read, and says what it likes.
//! Reads are bounded, and what is not there is `None`.

pub mod btf;
pub mod caps;
pub mod cgroup;
pub mod diag;
pub mod kernel;
#[cfg(test)]
pub(crate) mod made_up;
pub mod nvidia;
pub mod own;
pub mod patience;
pub mod place;
pub mod process;
pub mod sockets;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The machine as seen through its `/proc` and `/sys`; in tests a made-up tree.
#[derive(Clone, Debug)]
pub struct Host {
    root: PathBuf,
}

impl Default for Host {
    fn default() -> Self {
        Self::at("/")
    }
}

impl Host {
    /// A machine whose `proc` and `sys` stand below `root`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// True for the machine that this process runs on: what the kernel says of itself elsewhere than in files holds.
    pub(crate) fn is_real(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Where an absolute path of the machine is found.
    pub fn path(&self, absolute: impl AsRef<Path>) -> PathBuf {
        let absolute = absolute.as_ref();
        self.root.join(absolute.strip_prefix("/").unwrap_or(absolute))
    }

    /// A file of a process.
    pub(crate) fn of_process(&self, pid: u32, file: &str) -> PathBuf {
        self.root.join(format!("proc/{pid}/{file}"))
    }

    /// A small file of the machine as text without the white space around it, if it reads.
    pub(crate) fn text(&self, absolute: &str) -> Option<String> {
        read_text(&self.path(absolute), SMALL).map(|text| text.trim().to_owned())
    }

    /// Ids of the processes there are, ascending.
    pub fn pids(&self) -> Vec<u32> {
        let entries = std::fs::read_dir(self.path("/proc")).into_iter().flatten().flatten();
        let mut pids: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        pids.sort_unstable();
        pids
    }
}

/// Bytes of a file that holds a value or two.
const SMALL: u64 = 4096;

/// Bytes of the longest lists: the processes of a cgroup, the mounts of a machine.
pub(crate) const LIST: u64 = 4 << 20;

/// The first `limit` bytes of a file.
pub(crate) fn read_bytes(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    // These files do not tell their size; without room for most of them, they would be read in pieces of 32 bytes at first.
    let mut bytes = Vec::with_capacity(limit.min(SMALL) as usize);
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The first `limit` bytes of a file as text, whatever they are; `None` where it does not read.
pub(crate) fn read_text(path: &Path, limit: u64) -> Option<String> {
    let bytes = read_bytes(path, limit).ok()?;
    Some(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}
