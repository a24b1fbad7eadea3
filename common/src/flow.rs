//! Records that the flow programs pass to the agent, and the limits both sides keep.
//!
//! A record is a [`Header`], followed by `captured` bytes of payload, by a [`Summary`] or by a [`Listen`]. All times
//! are nanoseconds of `CLOCK_MONOTONIC`.

use crate::exchange::Figures;

/// Bytes of a request passed on from its start.
pub const REQUEST_CAPTURE: u32 = 4096;
/// Bytes of a response passed on from its start where it is no stream.
pub const RESPONSE_CAPTURE: u32 = 2048;
/// Bytes of a packet passed on from a stream, and from the end of a body too long to be passed on whole.
pub const PIECE_CAPTURE: u32 = 1024;
/// Packets of one stream passed on: its beginning until the first content, and errors inside it.
pub const STREAM_PIECES: u8 = 24;

/// Sizes of payload that a record is reserved for; the smallest that fits is taken.
pub const CAPTURE_SIZES: [u32; 3] = [256, 1024, 4096];

/// Bytes of what the kernel half keeps for a connection; what they mean is its own affair.
pub const FLOW_BYTES: usize = 952;

/// What follows a record's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// `captured` bytes of the request, from `offset`.
    Request = 1,
    /// `captured` bytes of the response, from `offset`.
    Response = 2,
    /// A [`Summary`]: the exchange is over.
    End = 3,
    /// A [`Listen`]: a socket anywhere on the machine began or ceased to listen.
    Listen = 4,
}

impl Kind {
    /// From a record's number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Request),
            2 => Some(Self::Response),
            3 => Some(Self::End),
            4 => Some(Self::Listen),
            _ => None,
        }
    }
}

/// The workload's part in an exchange.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Role {
    /// It was asked.
    Server = 0,
    /// It asked.
    Client = 1,
}

/// Begins every record.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Header {
    /// The socket's cookie: unique while the machine runs.
    pub connection: u64,
    /// When the packet passed.
    pub time: u64,
    /// Where in its message the payload begins, in bytes.
    pub offset: u64,
    /// Counts the exchanges of this connection, from 1.
    pub exchange: u32,
    /// The workload's slot.
    pub slot: u32,
    /// Bytes of payload that follow.
    pub captured: u32,
    /// A [`Kind`] as a number.
    pub kind: u8,
    /// A [`Role`] as a number.
    pub role: u8,
    /// Zero.
    pub reserved: u16,
}

/// The two ends of a connection, as the workload's socket names them.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// IPv6, or IPv4 mapped into it, in network order.
    pub local: [u8; 16],
    /// As `local`.
    pub remote: [u8; 16],
    /// Port of the workload's end.
    pub local_port: u16,
    /// Port of the other end.
    pub remote_port: u16,
    /// 4 or 6.
    pub family: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

/// Follows the header of [`Kind::Listen`]; there the header's other fields are zero.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The socket's cgroup.
    pub cgroup: u64,
    /// Its port.
    pub port: u32,
    /// 1 = it listens now, 0 = no longer.
    pub listening: u32,
}

/// Finds the slot of a workload: by cgroup and listening port, or by cgroup alone (port 0).
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct SlotKey {
    /// Inode of the cgroup's directory.
    pub cgroup: u64,
    /// Port of the workload's end, or 0 for every port.
    pub port: u32,
    /// Zero.
    pub reserved: u32,
}

/// Follows the header of [`Kind::End`].
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Summary {
    /// What was metered.
    pub figures: Figures,
    /// Between whom.
    pub endpoints: Endpoints,
}

const _: () = assert!(size_of::<Header>() == 40);
const _: () = assert!(size_of::<Endpoints>() == 40);
const _: () = assert!(size_of::<Summary>() == size_of::<Figures>() + 40);
