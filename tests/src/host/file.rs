//! Files that are read from a disk.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;

/// A file on a disk, removed when dropped.
#[derive(Debug)]
pub struct OnDisk(PathBuf);

impl OnDisk {
    /// Bytes in it.
    pub const BYTES: usize = 8 << 20;

    /// A new one, all of it written.
    pub fn new(name: &str) -> Result<Self> {
        // Where this test's binary lies is a disk; /tmp need not be.
        let own = std::env::current_exe()?.with_file_name(format!("inferscope-test-{}-{name}", std::process::id()));
        let mut file = File::create(&own)?;
        // Nothing that a file system could leave out or share.
        let bytes: Vec<u8> =
            (0..Self::BYTES as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
        file.write_all(&bytes)?;
        file.sync_all()?;
        Ok(Self(own))
    }

    /// Where it lies.
    pub fn path(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

impl Drop for OnDisk {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}
