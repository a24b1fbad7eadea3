//! One HTTP/1 message, taken byte by byte: head, framing, and the events of a streamed body.

use crate::body::{Body, Part};
use crate::head::{CHUNKED, Content, ENCODED, Head, SIZED};
use crate::json::Lexer;

pub use crate::json::{CONTENT, ERROR, EVENT, TERMINAL, USAGE};

/// The head ended (an interim response's head does not count).
pub const HEAD_END: u32 = 1 << 8;
/// The message ended; what follows belongs to another.
pub const MESSAGE_END: u32 = 1 << 9;
/// The connection became a tunnel (`101 Switching Protocols`): nothing after it is HTTP/1.
pub const TUNNEL: u32 = 1 << 10;

const HEAD: u8 = 0; // must stay 0, the state of a zeroed message
const BODY: u8 = 1;
const DONE: u8 = 2;

/// Which message it is: decides what an absent length means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A request: without a length it has no body.
    Request,
    /// A response; `bodyless` when it answers `HEAD`.
    Response {
        /// The request was `HEAD`: there is a head only, whatever it says.
        bodyless: bool,
    },
}

/// State of a message; zeroed it stands before the first byte.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct Message {
    /// The head's facts, final after [`HEAD_END`].
    pub head: Head,
    /// The body's framing.
    pub body: Body,
    /// The meter of a streamed body.
    pub events: Lexer,
    phase: u8,
}

impl Message {
    /// True when every byte of the message has passed.
    #[inline(always)]
    pub fn is_done(&self) -> bool {
        self.phase == DONE
    }

    /// True once the head is complete.
    #[inline(always)]
    pub fn has_head(&self) -> bool {
        self.phase != HEAD
    }

    /// What the content is.
    #[inline(always)]
    pub fn content(&self) -> Content {
        Content::from_number(self.head.content)
    }

    /// True for a body that is metered event by event.
    #[inline(always)]
    pub fn is_stream(&self) -> bool {
        self.content().is_stream() && self.head.flags & ENCODED == 0
    }

    /// True between two events of a stream, where a packet that follows starts an event of its own.
    #[inline(always)]
    pub fn between_events(&self) -> bool {
        self.phase == BODY && self.body.between_chunks() && self.events.idle() && self.is_stream()
    }

    /// Goes on after `bytes` that never passed: exactly where the framing allows, else as if the next
    /// packet began a chunk and an event of its own.
    #[inline(always)]
    pub fn resume_after(&mut self, bytes: u64) -> u32 {
        if self.phase != BODY {
            return 0;
        }
        self.events.reset();
        if self.body.skippable(bytes) == bytes {
            return self.skip(bytes);
        }
        if self.body.is_chunked() {
            self.body = Body::chunked();
            return 0;
        }
        self.skip(bytes)
    }

    /// How many of the next `limit` bytes may be passed over by [`Self::skip`].
    #[inline(always)]
    pub fn skippable(&self, limit: u64) -> u64 {
        if self.phase == BODY && !self.is_stream() { self.body.skippable(limit) } else { 0 }
    }

    /// Passes over bytes that [`Self::skippable`] allowed.
    #[inline(always)]
    pub fn skip(&mut self, bytes: u64) -> u32 {
        if self.body.skip(bytes) { self.end() } else { 0 }
    }

    /// Takes one byte and says what it meant: a set of the signals above.
    #[inline(always)]
    pub fn step(&mut self, byte: u8, kind: Kind) -> u32 {
        match self.phase {
            HEAD => {
                if self.head.step(byte) {
                    self.head_end(kind)
                } else {
                    0
                }
            }
            BODY => match self.body.step(byte) {
                Part::Frame => 0,
                Part::Data => self.data(byte),
                Part::End => self.end(),
                Part::DataEnd => self.data(byte) | self.end(),
            },
            _ => 0,
        }
    }

    #[inline(always)]
    fn data(&mut self, byte: u8) -> u32 {
        if self.is_stream() { self.events.step(byte, matches!(self.content(), Content::NdJson)) } else { 0 }
    }

    #[inline(always)]
    fn head_end(&mut self, kind: Kind) -> u32 {
        let (flags, status) = (self.head.flags, self.head.status);
        let bodyless = match kind {
            Kind::Request => flags & (CHUNKED | SIZED) == 0,
            Kind::Response { .. } if status == 101 => {
                self.phase = DONE;
                return HEAD_END | MESSAGE_END | TUNNEL;
            }
            Kind::Response { .. } if (100..200).contains(&status) => {
                // An interim response: the real one follows.
                self.head = Head::default();
                return 0;
            }
            Kind::Response { bodyless } => bodyless || status == 204 || status == 304,
        };
        self.body = if bodyless {
            Body::length(0)
        } else if flags & CHUNKED != 0 {
            Body::chunked()
        } else if flags & SIZED != 0 {
            Body::length(self.head.length)
        } else {
            Body::until_close()
        };
        self.phase = BODY;
        if self.body.is_done() { HEAD_END | self.end() } else { HEAD_END }
    }

    #[inline(always)]
    fn end(&mut self) -> u32 {
        self.phase = DONE;
        MESSAGE_END
    }
}
