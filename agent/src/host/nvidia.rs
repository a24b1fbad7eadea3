//! What the kernel module of NVIDIA's GPUs tells in `/proc`: files, which no call into the driver holds up.

use std::fs;
use std::path::{Path, PathBuf};

use super::{SMALL, read_text};

/// `driver/nvidia` below `/proc`.
#[derive(Debug)]
pub struct Module(PathBuf);

impl Module {
    /// `proc` is where `/proc` is mounted.
    pub fn new(proc: &Path) -> Self {
        Self(proc.join("driver/nvidia"))
    }

    /// True where it tells anything.
    pub fn is_loaded(&self) -> bool {
        self.0.join("version").exists()
    }

    /// Its version: of `NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 …` the first word that is one.
    pub fn version(&self) -> Option<String> {
        let text = read_text(&self.0.join("version"), SMALL)?;
        let is_version =
            |word: &&str| word.contains('.') && word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        text.split_whitespace().find(is_version).map(str::to_owned)
    }

    /// PCI addresses of the GPUs that it knows, in order; `None` where it does not tell.
    pub fn addresses(&self) -> Option<Vec<String>> {
        let folders = fs::read_dir(self.0.join("gpus")).ok()?;
        let mut all: Vec<_> =
            folders.flatten().map(|folder| folder.file_name().to_string_lossy().into_owned()).collect();
        all.sort();
        Some(all)
    }
}
