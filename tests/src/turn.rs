//! One at a time: two tests that measure would disturb each other on a small machine.

use std::fs::File;

use anyhow::{Context, Result};

use crate::process;

/// The turn of one test on this machine, given back when dropped.
#[derive(Debug)]
pub struct Turn {
    // The lock is the open file's.
    _file: File,
}

impl Turn {
    /// Waits for the turn. From then on this thread, which may be a client, runs at once whenever it can.
    pub fn take() -> Result<Self> {
        let path = std::env::temp_dir().join("inferscope-test.lock");
        let file = File::create(&path).with_context(|| format!("cannot open {}", path.display()))?;
        file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        process::run_at_once();
        Ok(Self { _file: file })
    }
}
