//! The shape that a stream's events share, learned from one event and proven for the next ones.
//!
//! In the steady state of a stream one packet is one chunk is one event, alike up to the text in it. A
//! packet that is framed like the learned one, leads to its content and goes on behind it in the same way
//! is exactly one event with content and nothing else of note, so that its bytes need not be looked at one
//! by one. What follows the content matters as much as what leads to it: a last event that carries both
//! text and the reason to finish may begin and end like all others.

/// What is known of the events of a stream; zeroed nothing is.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The seven bytes before the content, in the lower bytes.
    before: u64,
    /// The eight bytes from the content's closing quote on, as far as the packet goes.
    after: u64,
    /// The packet's last eight bytes, from the closing quote on.
    tail: u64,
    /// Where in its event the content begins; 0 = no shape.
    content_at: u16,
    /// Bytes from the content's closing quote to the packet's end.
    rest: u16,
    /// How many of the bits of `after` and `tail` are content, where the rest is shorter than a word.
    ignored: u8,
    /// 1 where each packet is a chunk.
    chunked: u8,
    reserved: [u8; 2],
}

/// Payload of a packet, read eight bytes at a time (little-endian).
pub trait Payload {
    /// The eight bytes at `offset`, or `None` where they are not all there.
    fn word(&self, offset: u32) -> Option<u64>;
}

impl Payload for &[u8] {
    fn word(&self, offset: u32) -> Option<u64> {
        let bytes = self.get(offset as usize..)?.first_chunk::<8>()?;
        Some(u64::from_le_bytes(*bytes))
    }
}

/// Content at an offset beyond this is not worth a shape.
const FARTHEST: u32 = 2048;

const SEVEN_BYTES: u64 = u64::MAX >> 8;

/// Where the content of an event that was found byte by byte begins and ends ([`crate::json::Lexer`]).
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// Offset of its first character in the event.
    pub content_at: u16,
    /// Offset of its closing quote.
    pub content_end: u16,
    /// The event is a chunk.
    pub chunked: bool,
}

impl Shape {
    /// True once something is known.
    #[inline(always)]
    pub fn is_known(&self) -> bool {
        self.content_at != 0
    }

    /// True when the payload of `len` bytes, standing between two events, is exactly one event with content.
    #[inline(always)]
    pub fn fits<P: Payload>(&self, payload: &P, len: u32) -> bool {
        let (content_at, rest) = (u32::from(self.content_at), u32::from(self.rest));
        let at = if self.chunked != 0 { payload.word(0).map_or(0, |word| chunk_start(word, len)) } else { 0 };
        // Two events would hold what leads to the content and what follows it twice.
        if len >= at + 2 * content_at + rest || at == 0 && self.chunked != 0 {
            return false;
        }
        let content = at + content_at;
        if content + rest >= len {
            return false;
        }
        let Some(before) = payload.word(content - 7) else { return false };
        // An empty string, or an empty array of tool calls.
        let first = (before >> 56) as u8;
        let ends = |at, like: u64| payload.word(at).is_some_and(|word| (word ^ like) >> self.ignored == 0);
        before & SEVEN_BYTES == self.before
            && first != b'"'
            && first != b']'
            && ends(len - rest.max(8), self.after)
            && ends(len - 8, self.tail)
    }

    /// Learns from a payload that was found to be exactly one event.
    #[inline(always)]
    pub fn learn<P: Payload>(&mut self, payload: &P, len: u32, found: Found) {
        self.content_at = 0;
        let (content_at, content_end) = (u32::from(found.content_at), u32::from(found.content_end));
        if !(8..FARTHEST).contains(&content_at) || content_end <= content_at || len > 2 * FARTHEST {
            return;
        }
        let at = if found.chunked { payload.word(0).map_or(0, |word| chunk_start(word, len)) } else { 0 };
        let rest = len.wrapping_sub(at + content_end);
        if at == 0 && found.chunked || !(1..len).contains(&rest) || len < 16 {
            return;
        }
        let words = (payload.word(at + content_at - 7), payload.word(len - rest.max(8)), payload.word(len - 8));
        if let (Some(before), Some(after), Some(tail)) = words {
            *self = Self {
                before: before & SEVEN_BYTES,
                after,
                tail,
                content_at: found.content_at,
                rest: rest as u16,
                ignored: 8 * (8 - rest.min(8)) as u8,
                chunked: u8::from(found.chunked),
                reserved: [0; 2],
            };
        }
    }
}

/// Where the data of a chunk begins, if a packet of `len` bytes that begins with `word` is that one chunk
/// and nothing else; 0 if not. For data of 16 to 4,095 bytes.
///
/// The size line is written anew and compared, which takes a fraction of reading it.
#[inline(always)]
fn chunk_start(word: u64, len: u32) -> u32 {
    // Two line breaks, and two or three digits.
    let digits = if len < 0x100 + 6 { 2 } else { 3 };
    let size = u64::from(len.wrapping_sub(digits + 4));
    let at = digits + 2;
    if !(16..=0xfff).contains(&size) {
        return 0;
    }
    // A digit to a byte, the highest first.
    let nibbles =
        if digits == 2 { size >> 4 | (size & 15) << 8 } else { size >> 8 | (size >> 4 & 15) << 8 | (size & 15) << 16 };
    let letters = (nibbles + 0x06_0606) >> 4 & 0x01_0101;
    let (text, mask, line_break) = if digits == 2 {
        (nibbles + 0x3030, (1 << 32) - 1, 0x0a0d << 16)
    } else {
        (nibbles + 0x30_3030, (1 << 40) - 1, 0x0a0d << 24)
    };
    let lower = (text + letters * 0x27) | line_break;
    let here = word & mask;
    if here == lower || here == lower - letters * 0x20 { at } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::{Step, walk};
    use crate::message::{CONTENT, EVENT, Message};
    use crate::samples::{RESPONSE, SERVERS, event, framed, stream, text};
    use proptest::prelude::*;

    const ONE_EVENT: Step = Step { signals: CONTENT | EVENT, contents: 1, ends: 1 };

    /// A shape learned from one event, byte by byte.
    fn learned(server: usize, chunked: bool, upper: bool) -> (Shape, Message) {
        let (mut shape, mut message) = (Shape::default(), stream(server, chunked));
        let packet = framed(&event(server, " token"), chunked, upper);
        assert_eq!(walk(&mut message, &packet, RESPONSE), (ONE_EVENT, packet.len()));
        let events = &message.events;
        let found = Found { content_at: events.content_at, content_end: events.content_end, chunked };
        shape.learn(&&packet[..], packet.len() as u32, found);
        assert!(shape.content_at > 0);
        (shape, message)
    }

    #[test]
    fn size_lines_are_told_by_their_length() {
        for size in 0..5000usize {
            let whole = |line: String| {
                let mut packet = format!("{line}\r\n{}\r\n", "x".repeat(size)).into_bytes();
                packet.resize(packet.len().max(8), 0);
                chunk_start(u64::from_le_bytes(*packet.first_chunk().unwrap()), (line.len() + size + 4) as u32)
            };
            let digits = format!("{size:x}").len() as u32;
            let wanted = if (16..4096).contains(&size) { digits + 2 } else { 0 };
            assert_eq!(whole(format!("{size:x}")), wanted, "{size}");
            assert_eq!(whole(format!("{size:X}")), wanted, "{size}");
            assert_eq!(whole(format!("{:x}", size + 1)), 0, "{size}");
            assert_eq!(whole(format!("{size:x};")), 0, "{size}");
        }
    }

    #[test]
    fn the_next_events_fit() {
        for server in 0..SERVERS {
            for (chunked, upper) in [(false, false), (true, false), (true, true)] {
                let (shape, _) = learned(server, chunked, upper);
                for text in [" x", "a", "\\n", "\u{20ac}", "somewhat longer text \\\" in it"] {
                    let packet = framed(&event(server, text), chunked, upper);
                    assert!(shape.fits(&&packet[..], packet.len() as u32), "{server} {chunked} {upper} {text}");
                }
            }
        }
    }

    #[test]
    fn a_last_event_with_text_is_looked_at() {
        let (shape, _) = learned(0, true, false);
        let last = event(0, "end").replace("\"finish_reason\":null", "\"finish_reason\":\"stop\",\"stop_reason\":null");
        let packet = framed(&last, true, false);
        assert!(!shape.fits(&&packet[..], packet.len() as u32));
    }

    proptest! {
        /// Whatever fits is one event to the byte machine too, and leaves it between two events.
        #[test]
        fn what_fits_is_one_event(
            server in 0..SERVERS,
            other in 0..SERVERS,
            framing in 0usize..3,
            texts in (text(), text()),
            change in 0usize..10,
            at in any::<prop::sample::Index>(),
        ) {
            let (chunked, upper) = [(false, false), (true, false), (true, true)][framing];
            let (shape, mut message) = learned(server, chunked, upper);
            let plain = event(server, &texts.0);
            let packet = match change {
                0..3 => framed(&plain, chunked, upper),
                3 => framed(&event(other, &texts.0), chunked, upper),
                4 => framed(&(plain + &event(other, &texts.1)), chunked, upper),
                5 => [framed(&plain, chunked, upper), framed(&event(other, &texts.1), chunked, upper)].concat(),
                6 => framed(&plain.replace("_reason\":null", "_reason\":\"stop\",\"stop_reason\":null"), chunked, upper),
                7 => framed(&plain.replace("}]}\n", "}],\"usage\":{\"prompt_tokens\":3}}\n"), chunked, upper),
                8 => framed(&format!(": comment\n\n{plain}"), chunked, upper),
                _ => {
                    let mut packet = framed(&plain, chunked, upper);
                    packet.truncate(at.index(packet.len()) + 1);
                    packet
                }
            };
            if shape.fits(&&packet[..], packet.len() as u32) {
                prop_assert_eq!(walk(&mut message, &packet, RESPONSE), (ONE_EVENT, packet.len()));
                prop_assert!(message.between_events());
            } else if change == 0 && !texts.0.is_empty() && texts.0.len() < 12 {
                // The fast path is worth having: plain events take it.
                let (step, _) = walk(&mut message, &packet, RESPONSE);
                prop_assert!(step != ONE_EVENT || texts.0.starts_with(']'), "{:?}", texts.0);
            }
        }
    }
}
