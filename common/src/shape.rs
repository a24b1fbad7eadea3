//! The shape that a stream's events share, learned from one event and proven for the next ones.
//!
//! In the steady state of a stream one packet is one chunk is one event, alike up to the text in it.
//! A packet whose framing, the bytes before its content and its end match the shape is exactly one
//! event with content and nothing else of note, so that its bytes need not be looked at one by one.

/// What is known of the events of a stream; zeroed nothing is.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The eight bytes before the content.
    pub before: u64,
    /// The packet's last eight bytes.
    pub tail: u64,
    /// Where in its event the content begins; 0 = no shape.
    pub content_at: u32,
    /// 1 where each packet is a chunk.
    pub chunked: u32,
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

/// Content at an offset beyond this is not worth a shape: the fast path proves one event only up to
/// twice the offset.
const FARTHEST: u32 = 2048;

impl Shape {
    /// True when the payload of `len` bytes, standing between two events, is exactly one event with content.
    #[inline(always)]
    pub fn fits<P: Payload>(&self, payload: &P, len: u32) -> bool {
        if self.content_at == 0 || len < 16 || len > 2 * FARTHEST {
            return false;
        }
        let data = match self.chunked {
            0 => Some((0, len)),
            _ => payload.word(0).and_then(|word| whole_chunk(word, len)),
        };
        let Some((at, size)) = data else { return false };
        // Two events with content would be at least twice as long as what precedes the content.
        if size >= 2 * self.content_at || self.content_at < 8 {
            return false;
        }
        let content = at + self.content_at;
        if content >= len {
            return false;
        }
        if payload.word(len - 8) != Some(self.tail) || payload.word(content - 8) != Some(self.before) {
            return false;
        }
        match payload.word(content) {
            // An empty string, or an empty array of tool calls.
            Some(word) => word as u8 != b'"' && word as u8 != b']',
            None => false,
        }
    }

    /// Learns from a payload that was found to be exactly one event, whose content begins at `content_at`.
    #[inline(always)]
    pub fn learn<P: Payload>(&mut self, payload: &P, len: u32, content_at: u32, chunked: bool) {
        self.content_at = 0;
        if len < 16 || len > 2 * FARTHEST || !(8..FARTHEST).contains(&content_at) {
            return;
        }
        let at = if chunked {
            match payload.word(0).and_then(|word| whole_chunk(word, len)) {
                Some((at, _)) => at,
                None => return,
            }
        } else {
            0
        };
        let Some(before) = payload.word(at + content_at - 8) else { return };
        let Some(tail) = payload.word(len - 8) else { return };
        *self = Self { before, tail, content_at, chunked: u32::from(chunked) };
    }
}

/// Where the data of a chunk begins and how long it is, if the packet is that one chunk and nothing else.
#[inline(always)]
fn whole_chunk(word: u64, len: u32) -> Option<(u32, u32)> {
    let mut size = 0;
    let mut digits = 0;
    while digits < 4 {
        let byte = (word >> (8 * digits)) as u8;
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            _ => break,
        };
        size = size << 4 | u32::from(digit);
        digits += 1;
    }
    let at = digits + 2;
    let line_break = (word >> (8 * digits)) as u16 == u16::from_le_bytes(*b"\r\n");
    (digits > 0 && line_break && at + size + 2 == len).then_some((at, size))
}
