//! Block I/O of a workload.

use crate::hist::HistWords;

/// Which way the bytes go.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From the device.
    Read = 0,
    /// To the device.
    Write,
}

impl Direction {
    /// Both, by number.
    pub const ALL: [Self; 2] = [Self::Read, Self::Write];
}

/// One direction.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Way {
    /// Requests that the device completed.
    pub requests: u64,
    /// Of them, those that failed.
    pub errors: u64,
    /// Bytes that passed.
    pub bytes: u64,
    /// From issue to completion.
    pub latency: HistWords,
}

/// By [`Direction`].
pub type Disk = [Way; 2];

/// Nothing counted.
pub const ZERO: Disk = [Way { requests: 0, errors: 0, bytes: 0, latency: HistWords::ZERO }; 2];
