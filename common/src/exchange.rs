//! One request and its response: what the two messages, the clock and TCP say of it.

use crate::json::{CONTENT, ERROR, EVENT, TERMINAL, USAGE};
use crate::message::{Kind, MESSAGE_END, Message};
use crate::shape::Shape;

/// The response ended as its framing says.
pub const COMPLETE: u16 = 1 << 0;
/// The stream said itself that it was complete.
pub const TERMINATED: u16 = 1 << 1;
/// The stream carried an error.
pub const FAILED: u16 = 1 << 2;
/// `input_tokens` and `output_tokens` are the server's own.
pub const COUNTED: u16 = 1 << 3;
/// The request began before the agent watched: no time that starts with it is known.
pub const JOINED: u16 = 1 << 4;
/// The workload's side closed the connection.
pub const CLOSED_HERE: u16 = 1 << 5;
/// The other side closed the connection.
pub const CLOSED_THERE: u16 = 1 << 6;
/// The connection was reset.
pub const RESET: u16 = 1 << 7;
/// Part of the response passed out of order or unseen: counts of events are a lower bound.
pub const HOLES: u16 = 1 << 8;
/// The body is compressed: nothing inside it is known.
pub const ENCODED_BODY: u16 = 1 << 9;

/// What was metered of an exchange. Times are nanoseconds of `CLOCK_MONOTONIC`, 0 = did not happen.
///
/// What every packet of a response moves comes first, so that it lies together.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Figures {
    /// First byte of the response.
    pub response_first: u64,
    /// First event with content.
    pub first_content: u64,
    /// Last event with content.
    pub last_content: u64,
    /// Longest time between two events with content, in nanoseconds.
    pub longest_gap: u64,
    /// Last byte of the response.
    pub last: u64,
    /// Bytes of the response, head included.
    pub response_bytes: u64,
    /// Events with content.
    pub events: u32,
    /// Of [`COMPLETE`] and its neighbours.
    pub flags: u16,
    /// Status code, 0 if no response came.
    pub status: u16,
    /// The stream's own end (`[DONE]`, `message_stop` …).
    pub terminal: u64,
    /// First byte of the request.
    pub request_first: u64,
    /// Last byte of the request so far.
    pub request_last: u64,
    /// Bytes of the request, head included.
    pub request_bytes: u64,
    /// Nanoseconds for which the peer's receive window was shut during the response.
    pub stalled: u64,
    /// Nanoseconds from the request's arrival to the application's first read; 0 = not seen.
    pub read_delay: u64,
    /// The server's own count, where [`COUNTED`].
    pub input_tokens: u32,
    /// The server's own count, where [`COUNTED`].
    pub output_tokens: u32,
    /// TCP's smoothed round trip at the end, in microseconds.
    pub rtt: u32,
    /// Smallest smoothed round trip seen during the exchange, in microseconds.
    pub rtt_min: u32,
    /// Segments sent again during the exchange.
    pub retransmits: u32,
    /// A [`crate::json::Finish`] as a number.
    pub finish: u8,
    /// A [`crate::head::Content`] as a number, of the response.
    pub content: u8,
    /// Zero.
    pub reserved: [u8; 2],
}

const _: () = assert!(size_of::<Figures>() == 128);

/// What one packet of a response brought.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Step {
    /// Every signal raised in it ([`crate::message`]).
    pub signals: u32,
    /// Events with content that began in it.
    pub contents: u32,
    /// Events that ended in it.
    pub ends: u32,
}

impl Step {
    /// Adds the signals of a byte.
    #[inline(always)]
    pub fn add(&mut self, signals: u32) {
        self.signals |= signals;
        self.contents += signals & CONTENT;
        self.ends += u32::from(signals & EVENT != 0);
    }
}

/// Takes bytes through a message, to its end at most. Says what they meant and how many were taken.
///
/// The kernel has a loop of its own, a window of the packet at a time; this one is for bytes at hand.
pub fn walk(message: &mut Message, bytes: &[u8], kind: Kind) -> (Step, usize) {
    let mut step = Step::default();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let skip = message.skippable((bytes.len() - at) as u64) as usize;
        let signals = if skip > 0 { message.skip(skip as u64) } else { message.step(byte, kind) };
        at += skip.max(1);
        step.add(signals);
        if signals & MESSAGE_END != 0 {
            return (step, at);
        }
    }
    step.add(message.pause());
    (step, at)
}

/// State of an exchange; zeroed it stands before the first byte.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct Exchange {
    /// What the stream's events look like.
    pub shape: Shape,
    /// What was metered so far.
    pub figures: Figures,
    /// The request so far.
    pub request: Message,
    /// The response so far.
    pub response: Message,
    /// 1 when the request is `HEAD`.
    pub bodyless: u8,
    /// Zero.
    pub reserved: [u8; 7],
}

impl Exchange {
    /// True from the request's first byte to the response's last.
    #[inline(always)]
    pub fn is_open(&self) -> bool {
        (self.figures.request_first | self.figures.response_first) != 0 && !self.response.is_done()
    }

    /// Which message the response is.
    #[inline(always)]
    pub fn response_kind(&self) -> Kind {
        Kind::Response { bodyless: self.bodyless != 0 }
    }

    /// Notes bytes of the request.
    #[inline(always)]
    pub fn requested(&mut self, bytes: u64, now: u64) {
        let figures = &mut self.figures;
        if figures.request_first == 0 {
            figures.request_first = now;
        }
        figures.request_last = now;
        figures.request_bytes += bytes;
    }

    /// Notes bytes of the response and what they meant. Returns the time since the last event with
    /// content where this packet brought another one.
    #[inline(always)]
    pub fn responded(&mut self, bytes: u64, now: u64, step: Step) -> Option<u64> {
        let figures = &mut self.figures;
        if figures.response_first == 0 {
            figures.response_first = now;
        }
        figures.last = now;
        figures.response_bytes += bytes;
        if step.signals & TERMINAL != 0 && figures.terminal == 0 {
            figures.terminal = now;
            figures.flags |= TERMINATED;
        }
        if step.signals & ERROR != 0 {
            figures.flags |= FAILED;
        }
        if step.signals & USAGE != 0 {
            figures.flags |= COUNTED;
        }
        if step.signals & MESSAGE_END != 0 {
            figures.flags |= COMPLETE;
        }
        if step.contents == 0 {
            return None;
        }
        let before = figures.last_content;
        figures.events = figures.events.saturating_add(step.contents);
        figures.last_content = now;
        if figures.first_content == 0 {
            figures.first_content = now;
            return None;
        }
        let gap = now.saturating_sub(before);
        if gap > figures.longest_gap {
            figures.longest_gap = gap;
        }
        Some(gap)
    }

    /// The figures with what the messages know filled in.
    #[inline(always)]
    pub fn close(&mut self) -> &Figures {
        let (head, events) = (&self.response.head, &self.response.events);
        let figures = &mut self.figures;
        figures.status = head.status;
        figures.content = head.content;
        figures.finish = events.finish;
        figures.input_tokens = events.input_tokens;
        figures.output_tokens = events.output_tokens;
        if head.flags & crate::head::ENCODED != 0 {
            figures.flags |= ENCODED_BODY;
        }
        figures
    }
}
