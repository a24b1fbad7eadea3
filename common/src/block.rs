//! The block of counters and histograms that the kernel keeps for each workload.
//!
//! One element of one memory-mapped array: the kernel adds in place, the agent reads without a
//! system call. Words only grow; the agent subtracts what it read before.

use crate::hist::HistWords;

/// Counters of a workload. The number is the word's place in the block.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counter {
    /// Requests that the workload began to receive.
    RequestsBegun = 0,
    /// Requests that it received and that ended, in whatever way.
    RequestsEnded,
    /// Requests that the workload began to send.
    ClientRequestsBegun,
    /// Requests that it sent and that ended.
    ClientRequestsEnded,
    /// Events with content that the workload streamed to its clients, without those that
    /// [`Hist::EventGap`] counts: the sum of both is all of them.
    Events,
    /// Events with content that it received from servers, without those that [`Hist::ClientEventGap`] counts.
    ClientEvents,
    /// Outgoing connections that failed: refused.
    ConnectRefused,
    /// Outgoing connections that failed: timed out.
    ConnectTimedOut,
    /// Outgoing connections that failed for another reason.
    ConnectFailed,
    /// Resets that the workload's sockets sent.
    ResetsSent,
    /// Resets that they received.
    ResetsReceived,
    /// Segments sent again.
    Retransmits,
    /// Segments that arrived or left a second time, and were not counted twice.
    Duplicates,
    /// Loss: records that found the ring full.
    LostRing,
    /// Loss: payload not passed on because the exchange had used up its allowance.
    LostBudget,
    /// Loss: bytes of a stream in one packet beyond what one program run scans.
    LostScan,
    /// Loss: bytes that arrived out of order and could not be metered in place, those behind them whose
    /// meaning was lost with them, and those of an event that they tear before its content.
    LostOrder,
    /// Loss: a request sent before the answer to the one before it was complete.
    LostPipelined,
    /// Loss: no memory for a connection's state.
    LostState,
}

impl Counter {
    /// Every counter, in the order of the words.
    pub const ALL: [Self; 19] = [
        Self::RequestsBegun,
        Self::RequestsEnded,
        Self::ClientRequestsBegun,
        Self::ClientRequestsEnded,
        Self::Events,
        Self::ClientEvents,
        Self::ConnectRefused,
        Self::ConnectTimedOut,
        Self::ConnectFailed,
        Self::ResetsSent,
        Self::ResetsReceived,
        Self::Retransmits,
        Self::Duplicates,
        Self::LostRing,
        Self::LostBudget,
        Self::LostScan,
        Self::LostOrder,
        Self::LostPipelined,
        Self::LostState,
    ];
}

/// Histograms of a workload, in nanoseconds ([`hist`]).
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hist {
    /// Time between two events with content that the workload streamed.
    EventGap = 0,
    /// Time between two events with content that it received.
    ClientEventGap,
    /// TCP's smoothed round trip, sampled at the start and end of exchanges and along streams.
    Rtt,
    /// From a request's arrival in the kernel to the application's first read of it.
    ReadDelay,
    /// From the first SYN to the connection, for connections that the workload opened.
    Connect,
    /// From SYN-ACK to its acknowledgement, for connections that it accepted.
    Handshake,
    /// How long a peer kept its receive window shut during a response.
    WriteStall,
}

impl Hist {
    /// Every histogram, in the order of the block.
    pub const ALL: [Self; 7] = [
        Self::EventGap,
        Self::ClientEventGap,
        Self::Rtt,
        Self::ReadDelay,
        Self::Connect,
        Self::Handshake,
        Self::WriteStall,
    ];
}

/// Words of counters; some are spare.
pub const COUNTERS: usize = 32;

/// Everything that the kernel counts for a workload.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Block {
    /// By [`Counter`].
    pub counters: [u64; COUNTERS],
    /// By [`Hist`].
    pub hists: [HistWords; Hist::ALL.len()],
}

impl Block {
    /// A block in which nothing was counted.
    pub const fn zeroed() -> Self {
        Self { counters: [0; COUNTERS], hists: [HistWords::ZERO; Hist::ALL.len()] }
    }
}

const _: () = assert!(Counter::ALL.len() <= COUNTERS);
const _: () = assert!(size_of::<Block>() == 8 * COUNTERS + Hist::ALL.len() * size_of::<HistWords>());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_follow_the_numbers() {
        assert!(Counter::ALL.iter().enumerate().all(|(i, &c)| c as usize == i));
        assert!(Hist::ALL.iter().enumerate().all(|(i, &h)| h as usize == i));
    }
}
