//! One HTTP/1 message, taken byte by byte: head, framing, and the events of a streamed body.

use crate::body::{Body, Part};
use crate::head::{CHUNKED, Content, ENCODED, Head, REQUEST_LINE, SIZED};
use crate::json::{Lexer, TORN};

pub use crate::json::{CONTENT, ERROR, EVENT, TERMINAL, USAGE};

/// The head ended (an interim response's head does not count).
pub const HEAD_END: u32 = 1 << 8;
/// The message ended; what follows belongs to another.
pub const MESSAGE_END: u32 = 1 << 9;
/// What began like a request has no request line of HTTP/1: nothing of it counts.
pub const NOT_HTTP: u32 = 1 << 11;
/// The connection became a tunnel (`101 Switching Protocols`): nothing after it is HTTP/1.
pub const TUNNEL: u32 = 1 << 10;

const HEAD: u8 = 0; // must stay 0, the state of a zeroed message
const BODY: u8 = 1;
const DONE: u8 = 2;
const HEADLESS: u8 = 3;

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
    reserved: [u8; 3],
    lost: u32,
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

    /// True once a byte of the message has passed.
    #[inline(always)]
    pub fn has_begun(&self) -> bool {
        self.phase != HEAD || self.head.bytes > 0
    }

    /// True where part of the head is missing: how the body is framed, and where it ends, is not known.
    #[inline(always)]
    pub fn is_headless(&self) -> bool {
        self.phase == HEADLESS
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

    /// Expects nothing more.
    #[inline(always)]
    pub fn abandon(&mut self) {
        self.phase = DONE;
    }

    /// Gives the message up where bytes of its head never passed; once the head is complete this changes nothing.
    #[inline(always)]
    pub fn lose_head(&mut self) {
        if self.phase == HEAD {
            self.phase = HEADLESS;
        }
    }

    /// Goes on after `bytes` that never passed: exactly where the framing allows, else with the next chunk
    /// that can be told, and with the next event in either.
    #[inline(always)]
    pub fn resume_after(&mut self, bytes: u64) {
        if self.phase != BODY {
            return;
        }
        self.lose(0);
        if self.body.is_chunked() && self.body.skippable(bytes) < bytes {
            self.body.seek();
        } else if self.body.skip(bytes) {
            self.phase = DONE;
        }
    }

    /// Bytes that passed and whose place could not be told, since this was asked last: behind missing ones,
    /// of an event that they tear, or where the framing is broken.
    #[inline(always)]
    pub fn take_lost(&mut self) -> u32 {
        core::mem::take(&mut self.lost)
    }

    /// Notes lost bytes, and those of an event that will not be whole.
    #[inline(always)]
    fn lose(&mut self, bytes: u32) {
        self.lost = self.lost.wrapping_add(bytes).wrapping_add(self.events.resume());
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

    /// No more bytes come with those taken: as [`Self::step`], says what that means.
    #[inline(always)]
    pub fn pause(&mut self) -> u32 {
        if self.phase == BODY && self.body.pause() { self.end() } else { 0 }
    }

    /// Takes one byte and says what it meant: a set of the signals above.
    #[inline(always)]
    pub fn step(&mut self, byte: u8, kind: Kind) -> u32 {
        match self.phase {
            HEAD if self.head.step(byte) => self.head_end(kind),
            HEAD => 0,
            BODY => match self.body.step(byte) {
                Part::Frame => 0,
                Part::Data => self.data(byte),
                Part::End => self.end(),
                Part::DataEnd => self.data(byte) | self.end(),
                Part::Lost(bytes) => {
                    self.lose(bytes);
                    0
                }
            },
            _ => 0,
        }
    }

    #[inline(always)]
    fn data(&mut self, byte: u8) -> u32 {
        if !self.is_stream() {
            return 0;
        }
        let before = self.events.taken();
        let signals = self.events.step(byte, matches!(self.content(), Content::NdJson));
        if signals & TORN != 0 {
            self.lost = self.lost.wrapping_add(before).wrapping_add(1);
        }
        signals
    }

    #[inline(always)]
    fn head_end(&mut self, kind: Kind) -> u32 {
        let (flags, status) = (self.head.flags, self.head.status);
        let bodyless = match kind {
            Kind::Request if flags & REQUEST_LINE == 0 => {
                self.phase = DONE;
                return NOT_HTTP | MESSAGE_END;
            }
            Kind::Request => flags & (CHUNKED | SIZED) == 0,
            Kind::Response { .. } if status == 101 => {
                self.phase = DONE;
                return HEAD_END | MESSAGE_END | TUNNEL;
            }
            Kind::Response { .. } if (100..200).contains(&status) => {
                // An interim response: the real one follows.
                self.head.restart();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::walk;
    use crate::samples::{RESPONSE, SERVERS, event, framed, stream, text};
    use proptest::collection::vec;
    use proptest::prelude::*;

    const LAST: &[u8] = b"0\r\n\r\n";

    /// How a stream is framed.
    #[derive(Clone, Copy, Debug)]
    enum Framing {
        UntilClose,
        ChunkForEvent,
        /// In chunks of so many bytes, as a proxy may cut it.
        Cut(usize),
    }

    impl Framing {
        fn body(self, events: &[String]) -> Vec<u8> {
            match self {
                Self::UntilClose => events.concat().into_bytes(),
                Self::ChunkForEvent => {
                    let chunks = events.iter().flat_map(|event| framed(event, true, false));
                    chunks.chain(LAST.iter().copied()).collect()
                }
                Self::Cut(size) => {
                    let chunks = events.concat().into_bytes();
                    let chunks = chunks
                        .chunks(size)
                        .map(|chunk| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
                    chunks.flatten().chain(LAST.iter().copied()).collect()
                }
            }
        }
    }

    /// What was made of a body of which parts are missing.
    #[derive(Default, Debug)]
    struct Told {
        contents: u32,
        missing: usize,
        lost: usize,
        /// How many bytes had passed, seen or not, when the message ended.
        end: Option<usize>,
    }

    /// Takes a body through a message, but for the bytes in `gaps`.
    fn tell(message: &mut Message, body: &[u8], gaps: &[(usize, usize)]) -> Told {
        let (mut told, mut at) = (Told::default(), 0);
        for &(from, to) in gaps.iter().chain([&(body.len(), body.len())]) {
            let (step, used) = walk(message, &body[at..from], RESPONSE);
            told.contents += step.contents;
            told.lost += message.take_lost() as usize;
            if step.signals & MESSAGE_END != 0 {
                told.end = Some(at + used);
                break;
            }
            if to > from {
                message.resume_after((to - from) as u64);
                told.missing += to - from;
            }
            at = to;
        }
        told
    }

    fn framing() -> impl Strategy<Value = Framing> {
        let cut = (20usize..700).prop_map(Framing::Cut);
        prop_oneof![Just(Framing::UntilClose), Just(Framing::ChunkForEvent), Just(Framing::ChunkForEvent), cut]
    }

    /// Parts of a body that do not touch.
    fn gaps(body: &[u8], wanted: &[(prop::sample::Index, usize)]) -> Vec<(usize, usize)> {
        let mut gaps: Vec<_> = wanted.iter().map(|(at, len)| (at.index(body.len()), *len)).collect();
        gaps.sort_unstable();
        let mut end = 0;
        let apart = gaps.into_iter().filter_map(|(from, len)| {
            let gap = (from, (from + len).min(body.len()));
            (from > end || end == 0).then(|| {
                end = gap.1;
                gap
            })
        });
        apart.collect()
    }

    #[test]
    fn an_event_that_is_torn_is_lost_as_a_whole() {
        let event = event(0, "x");
        let body = [framed(&event, true, false), framed(&event, true, false), LAST.to_vec()].concat();
        // From inside the first event, before its content, to the middle of the second.
        let one = body.len() / 2;
        let told = tell(&mut stream(0, true), &body, &[(40, one + 20)]);
        assert_eq!((told.contents, told.end), (0, Some(body.len())));
        // All but the first size line and the last chunk.
        assert_eq!(told.missing + told.lost, body.len() - 4 - LAST.len());
    }

    #[test]
    fn an_event_cut_behind_its_content_counts() {
        let body = [framed(&event(0, "x"), true, false), framed(&event(0, "y"), true, false), LAST.to_vec()].concat();
        let cut = body.len() / 2 - 20;
        let told = tell(&mut stream(0, true), &body, &[(cut, cut + 10)]);
        assert_eq!((told.contents, told.end), (2, Some(body.len())));
    }

    proptest! {
        /// Whatever is missing of a stream: no event counts that was not there, those that do not count are
        /// covered by bytes that are called lost, and the message ends where it ends.
        #[test]
        fn what_is_missing_of_a_stream_is_told(
            server in 0..SERVERS,
            framing in framing(),
            texts in vec(text(), 2..12),
            wanted in vec((any::<prop::sample::Index>(), 1usize..900), 0..4),
        ) {
            let events: Vec<_> = texts.iter().map(|text| event(server, text)).collect();
            let body = framing.body(&events);
            let chunked = !matches!(framing, Framing::UntilClose);
            let whole = tell(&mut stream(server, chunked), &body, &[]);
            prop_assert_eq!(whole.end, chunked.then_some(body.len()));
            prop_assert_eq!(whole.lost, 0);
            let gaps = gaps(&body, &wanted);
            let told = tell(&mut stream(server, chunked), &body, &gaps);
            prop_assert!(told.contents <= whole.contents, "{:?}", told);
            prop_assert!(told.end.is_none_or(|end| end == body.len()), "{:?} of {}", told, body.len());
            let shortest = events.iter().map(String::len).min().unwrap_or_default();
            let uncounted = (whole.contents - told.contents) as usize;
            // Of a size line, what is left of one and what broken framing was taken for nothing tells.
            let covered = told.missing + told.lost + 8 * gaps.len();
            prop_assert!(uncounted * shortest <= covered, "{} of {}: {:?} {:?}", uncounted, whole.contents, told, gaps);
            if let (Framing::ChunkForEvent, Some(&(_, end))) = (framing, gaps.last())
                && let Some(last) = events.last()
                && end + framed(last, true, false).len() + LAST.len() < body.len()
            {
                prop_assert_eq!(told.end, Some(body.len()));
            }
        }
    }
}
