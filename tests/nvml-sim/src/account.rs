//! What callers spent in the library: what they say of it can be held against this.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use crate::hardware::tally;

/// Calls that returned, and the nanoseconds that they took, in a file that others can read.
#[derive(Debug)]
pub(crate) struct Account {
    spent: Spent,
    file: Option<File>,
}

/// What was spent so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spent {
    /// Calls that returned.
    pub calls: u64,
    /// Nanoseconds that they took, whatever they waited for included.
    pub nanos: u64,
}

impl Account {
    /// One that is not kept.
    pub(crate) const fn new() -> Self {
        Self { spent: Spent { calls: 0, nanos: 0 }, file: None }
    }

    /// Begins to be kept in a file.
    pub(crate) fn open(&mut self, file: &Path) -> io::Result<()> {
        self.file = Some(File::create(file)?);
        Ok(())
    }

    fn add(&mut self, nanos: u64) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        self.spent.calls += 1;
        self.spent.nanos += nanos;
        let [calls, nanos] = [self.spent.calls, self.spent.nanos].map(u64::to_le_bytes);
        file.write_all_at(&[calls, nanos].concat(), 0)
    }
}

impl Spent {
    /// What a file says.
    pub(crate) fn read(file: &Path) -> io::Result<Self> {
        let mut words = [[0; 8]; 2];
        File::open(file)?.read_exact_at(words.as_flattened_mut(), 0)?;
        let [calls, nanos] = words.map(u64::from_le_bytes);
        Ok(Self { calls, nanos })
    }
}

/// A call, from its beginning until it is dropped.
pub(crate) struct Timed(Instant);

impl Timed {
    pub(crate) fn begin() -> Self {
        Self(Instant::now())
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        let nanos = self.0.elapsed().as_nanos() as u64;
        if let Err(error) = tally(|account| account.add(nanos)) {
            eprintln!("nvml-sim: cannot keep the account: {error}");
        }
    }
}
