//! The exchange under way on a socket, and how it ends.
//!
//! Who writes what, since programs for one socket may run on several processors at once. Segments leave
//! under the socket's lock, so no two programs of that direction meet. Segments arrive without it: the
//! program holds [`Flow::enter`], and one that meets another leaves its bytes to be found missing. The two
//! directions go on side by side, each with words of its own: the request's or the response's machine,
//! its [`Order`], its instants. What both write is one byte or one word: a store, never a change of a bit
//! among others. An exchange begins on the asking side, when the one before is over: causality keeps the
//! answering side away, but for clients that pipeline, whose figures are then a guess and no more than
//! that. It ends once, whoever sees the end first: [`Flow::end`] takes the right to it by one exchange of
//! a word.

use core::intrinsics::{AtomicOrdering, atomic_xchg};
use inferscope_common::block::{Counter, Hist};
use inferscope_common::exchange::{CLOSED_HERE, CLOSED_THERE, COMPLETE, Exchange, HOLES, JOINED, RESET};
use inferscope_common::flow::{Endpoints, FLOW_BYTES, Header, Kind, Role, SlotKey};
use inferscope_common::order::Order;

use crate::block::Slot;
use crate::record;

/// Bytes of a packet looked at in one piece: a streamed event is seldom longer, and a flow takes 1 KiB of
/// the kernel's memory with it.
pub(crate) const GLANCE: u32 = 392;

/// Room for them, and for a word that begins at the last one.
pub(crate) type Buffer = [u8; GLANCE as usize + 8];

/// State of a connection; zeroed it is new.
///
/// The kernel puts it behind a word of its own at the beginning of a cache line, and between two tokens of a stream it
/// grows cold. So what the steady state looks at comes first: of a server's answer it is in three lines.
#[repr(C)]
pub(crate) struct Flow {
    /// 1 from the moment that the exchange counts as a request, 2 once it has ended.
    counted: u64,
    /// 1 while a program deals with a segment that arrived.
    entered: u64,
    /// Since when the peer's receive window is shut; 0 = open.
    pub(crate) shut_since: u64,
    pub(crate) slot: u32,
    /// Exchanges so far.
    pub(crate) number: u32,
    /// The connection's retransmits when the exchange began.
    retransmits: u32,
    /// A [`Role`] as a number.
    pub(crate) role: u8,
    /// 1 = nothing more on this connection is HTTP/1.
    pub(crate) opaque: u8,
    /// 1 = a request arrived and the application has not read of it yet.
    pub(crate) unread: u8,
    /// Packets of the response passed on.
    pub(crate) pieces: u8,
    /// 1 = the response streams, the shape of its events is known, and it stands between two of them.
    /// Written by the response's direction, and where an exchange begins.
    pub(crate) steady: u8,
    reserved: [u8; 7],
    /// What left.
    leaving: Order,
    /// What arrived.
    pub(crate) arriving: Order,
    pub(crate) exchange: Exchange,
    /// When the asking side closed its half of the connection during the exchange; 0 = it has not.
    pub(crate) asker_closed: u64,
    /// The socket's cookie.
    pub(crate) cookie: u64,
    /// Under which name the slot was found.
    pub(crate) key: SlotKey,
    pub(crate) endpoints: Endpoints,
    /// The packet at hand, copied out of its fragments by one call instead of one for every look. Of the
    /// response's direction alone.
    pub(crate) glance: Buffer,
}

const _: () = assert!(size_of::<Flow>() == FLOW_BYTES);
const _: () = assert!(size_of::<Exchange>().is_multiple_of(size_of::<u64>()));

/// What TCP says of a connection.
#[derive(Clone, Copy)]
pub(crate) struct Tcp {
    /// Smoothed round trip in microseconds.
    pub(crate) rtt: u32,
    /// Segments sent again since the connection began.
    pub(crate) retransmits: u32,
    /// What the peer sent in order so far: the sequence number that TCP waits for.
    pub(crate) received: u32,
}

#[inline(always)]
fn swap(word: *mut u64, value: u64) -> u64 {
    // SAFETY: `word` points into a map value.
    unsafe { atomic_xchg::<u64, { AtomicOrdering::SeqCst }>(word, value) }
}

impl Flow {
    /// The right to deal with a segment that arrived, until [`Self::leave`].
    #[inline(always)]
    pub(crate) fn enter(&mut self) -> bool {
        swap(&raw mut self.entered, 1) == 0
    }

    #[inline(always)]
    pub(crate) fn leave(&mut self) {
        swap(&raw mut self.entered, 0);
    }

    /// What passed in a direction.
    #[inline(always)]
    pub(crate) fn order(&mut self, egress: bool) -> &mut Order {
        if egress { &mut self.leaving } else { &mut self.arriving }
    }

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
        // SAFETY: a live flow.
        unsafe { begin_exchange(self, joined.into()) };
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
        // A side that closes because the asking side has gone away ends nothing: that was over by then.
        let (here, since) = if self.asker_closed == 0 { (here, now) } else { (!self.is_server(), self.asker_closed) };
        let figures = &mut self.exchange.figures;
        figures.flags |= if here { CLOSED_HERE } else { CLOSED_THERE };
        if reset {
            figures.flags |= RESET;
        }
        self.end(since, block);
    }

    /// Ends the exchange as well as its framing lets us know: its last bytes passed out of order, and what
    /// came after them says that it was complete.
    #[inline(always)]
    pub(crate) fn end_unseen(&mut self, now: u64, block: Slot) {
        self.exchange.figures.flags |= COMPLETE | HOLES;
        self.end(now, block);
    }

    /// Ends the exchange: counts it and passes its summary on, once.
    #[inline(always)]
    pub(crate) fn end(&mut self, now: u64, block: Slot) {
        self.opened(now, block);
        if self.counted == 1 && swap(&raw mut self.counted, 2) == 1 {
            // SAFETY: a live flow.
            unsafe { pass_end(self, now) };
        }
    }

    /// True while an exchange that counts has not ended.
    #[inline(always)]
    pub(crate) fn is_open(&self) -> bool {
        self.counted == 1
    }

    /// True from an exchange's end to the next one's head.
    #[inline(always)]
    pub(crate) fn has_ended(&self) -> bool {
        self.counted == 2
    }
}

/// A function of its own for the verifier, which checks it once and not again for every caller.
///
/// # Safety
/// `flow` must be valid or null.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn pass_end(flow: *mut Flow, now: u64) -> u32 {
    // SAFETY: the caller's.
    let Some(flow) = (unsafe { flow.as_mut() }) else { return 0 };
    let Some(block) = Slot::get(flow.slot) else { return 0 };
    let which = if flow.is_server() { Counter::RequestsEnded } else { Counter::ClientRequestsEnded };
    block.count(which, 1);
    flow.exchange.close();
    record::end(&flow.header(Kind::End, now), &flow.exchange.figures, &flow.endpoints, block);
    1
}

/// Zeroes what belongs to an exchange. A function of its own, as [`pass_end`].
///
/// # Safety
/// `flow` must be valid or null.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn begin_exchange(flow: *mut Flow, joined: u32) -> u32 {
    // SAFETY: the caller's.
    let Some(flow) = (unsafe { flow.as_mut() }) else { return 0 };
    // A server's events look like those of its answer before.
    let shape = flow.exchange.shape;
    let words = (&raw mut flow.exchange).cast::<u64>();
    let mut at = 0;
    while at < size_of::<Exchange>() / size_of::<u64>() {
        // In place, since an exchange is too large for the stack; volatile, since the compiler's own way goes by bytes.
        // SAFETY: inside the exchange, of which zeroes are a valid one: that which has not begun.
        unsafe { words.add(at).write_volatile(0) };
        at += 1;
    }
    flow.exchange.shape = shape;
    if joined != 0 {
        flow.exchange.figures.flags = JOINED;
    }
    flow.number = flow.number.wrapping_add(1);
    flow.pieces = 0;
    flow.counted = 0;
    flow.shut_since = 0;
    flow.asker_closed = 0;
    flow.retransmits = u32::MAX;
    flow.unread = 0;
    flow.steady = 0;
    1
}
