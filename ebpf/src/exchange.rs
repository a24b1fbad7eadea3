//! The exchange under way on a socket, and how it ends.

use inferscope_common::block::{Counter, Hist};
use inferscope_common::exchange::{CLOSED_HERE, CLOSED_THERE, Exchange, JOINED, RESET};
use inferscope_common::flow::{Endpoints, FLOW_BYTES, Header, Kind, Role};

use crate::block::Slot;
use crate::record;

/// Nothing on this connection is HTTP/1 that we follow.
pub(crate) const OPAQUE: u8 = 1 << 0;
/// Its sequence numbers are known, by direction: in, out.
pub(crate) const SEEN: [u8; 2] = [1 << 1, 1 << 2];
/// A request arrived and the application has not read of it yet.
pub(crate) const UNREAD: u8 = 1 << 3;

/// Bytes of a packet looked at in one piece: a streamed event is seldom longer.
pub(crate) const GLANCE: u32 = 512;

/// Room for them, and for a word that begins at the last one.
pub(crate) type Buffer = [u8; GLANCE as usize + 8];

/// State of a connection; zeroed it is new.
#[repr(C)]
pub(crate) struct Flow {
    pub(crate) exchange: Exchange,
    pub(crate) endpoints: Endpoints,
    /// The socket's cookie.
    pub(crate) cookie: u64,
    /// Since when the peer's receive window is shut; 0 = open.
    pub(crate) shut_since: u64,
    /// The next sequence number, by direction: in, out.
    pub(crate) next: [u32; 2],
    pub(crate) slot: u32,
    /// Exchanges so far.
    pub(crate) number: u32,
    /// The connection's retransmits when the exchange began.
    pub(crate) retransmits: u32,
    /// A [`Role`] as a number.
    pub(crate) role: u8,
    /// Of [`OPAQUE`] and its neighbours.
    pub(crate) flags: u8,
    /// Packets of the response passed on.
    pub(crate) pieces: u8,
    /// 1 from the moment that the exchange counts as a request, 2 once it has ended.
    pub(crate) counted: u8,
    /// The packet at hand, copied out of its fragments by one call instead of one for every look. The
    /// socket's packets pass one after the other; if two ever met here, the shape would not fit.
    pub(crate) glance: Buffer,
}

const _: () = assert!(size_of::<Flow>() == FLOW_BYTES);

/// What TCP says of a connection.
#[derive(Clone, Copy)]
pub(crate) struct Tcp {
    /// Smoothed round trip in microseconds.
    pub(crate) rtt: u32,
    /// Segments sent again since the connection began.
    pub(crate) retransmits: u32,
    /// What the peer sent in order so far.
    pub(crate) received: u32,
}

impl Flow {
    #[inline(always)]
    pub(crate) fn is_server(&self) -> bool {
        self.role == Role::Server as u8
    }

    #[inline(always)]
    pub(crate) fn header(&self, kind: Kind, time: u64) -> Header {
        Header {
            connection: self.cookie,
            time,
            exchange: self.number,
            slot: self.slot,
            kind: kind as u8,
            role: self.role,
            ..Header::default()
        }
    }

    /// A new exchange. `joined`: its request passed before anybody watched.
    #[inline(always)]
    pub(crate) fn begin(&mut self, joined: bool) {
        // In place: an exchange is too large for the stack.
        // SAFETY: zeroes are a valid exchange, the one that has not begun.
        unsafe { core::ptr::write_bytes(&raw mut self.exchange, 0, 1) };
        if joined {
            self.exchange.figures.flags = JOINED;
        }
        self.number = self.number.wrapping_add(1);
        self.pieces = 0;
        self.counted = 0;
        self.shut_since = 0;
        self.retransmits = u32::MAX;
        self.flags &= !UNREAD;
    }

    /// Counts the exchange as a request, once it has proven to be one.
    #[inline(always)]
    pub(crate) fn count_begun(&mut self, block: Slot) {
        if self.counted == 0 {
            self.counted = 1;
            let which = if self.is_server() { Counter::RequestsBegun } else { Counter::ClientRequestsBegun };
            block.count(which, 1);
        }
    }

    /// Takes a look at TCP.
    #[inline(always)]
    pub(crate) fn sample(&mut self, tcp: Tcp, block: Slot) {
        let figures = &mut self.exchange.figures;
        if self.retransmits == u32::MAX {
            self.retransmits = tcp.retransmits;
        }
        figures.retransmits = tcp.retransmits.wrapping_sub(self.retransmits);
        if tcp.rtt == 0 {
            return;
        }
        figures.rtt = tcp.rtt;
        if figures.rtt_min == 0 || tcp.rtt < figures.rtt_min {
            figures.rtt_min = tcp.rtt;
        }
        block.record(Hist::Rtt, u64::from(tcp.rtt) * 1000);
    }

    /// The peer's window opened, or it no longer matters.
    #[inline(always)]
    pub(crate) fn opened(&mut self, now: u64, block: Slot) {
        if self.shut_since != 0 {
            let stalled = now.saturating_sub(self.shut_since);
            self.shut_since = 0;
            self.exchange.figures.stalled += stalled;
            block.record(Hist::WriteStall, stalled);
        }
    }

    /// Ends the exchange where the connection cannot go on with it. `here`: the workload's side ended it.
    #[inline(always)]
    pub(crate) fn broken(&mut self, here: bool, reset: bool, now: u64, block: Slot) {
        let figures = &mut self.exchange.figures;
        figures.flags |= if here { CLOSED_HERE } else { CLOSED_THERE };
        if reset {
            figures.flags |= RESET;
        }
        self.end(now, block);
    }

    /// Ends the exchange: counts it and passes its summary on, once.
    #[inline(always)]
    pub(crate) fn end(&mut self, now: u64, block: Slot) {
        self.opened(now, block);
        if self.counted == 1 {
            self.counted = 2;
            let which = if self.is_server() { Counter::RequestsEnded } else { Counter::ClientRequestsEnded };
            block.count(which, 1);
            self.exchange.close();
            record::end(&self.header(Kind::End, now), &self.exchange.figures, &self.endpoints, block);
        }
    }

    /// True while an exchange that counts has not ended.
    #[inline(always)]
    pub(crate) fn is_open(&self) -> bool {
        self.counted == 1
    }
}
