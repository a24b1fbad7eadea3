//! Where an HTTP/1 body ends: by length, by chunks, or by the connection's close.

/// The framing of a body; zeroed it is complete.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Body {
    /// Bytes left of the body or of the chunk; the size while it is being read.
    remaining: u64,
    /// Bytes in search of the framing that may prove to be it.
    undecided: u32,
    // A whole word, so that a body has no gap to fill.
    mode: u32,
}

const DONE: u32 = 0;
const LENGTH: u32 = 1;
const CLOSE: u32 = 2;
// Chunked are those from here on.
const NEXT: u32 = 3; // between two chunks
const SIZE: u32 = 4; // behind a digit of a chunk's size
const EXTENSION: u32 = 5; // the rest of a chunk's first line
const CHUNK: u32 = 6;
const CHUNK_END: u32 = 7; // behind a chunk
const CHUNK_BREAK: u32 = 8; // in the line break there
const TRAILER: u32 = 9; // at the start of a trailer line
const TRAILER_LINE: u32 = 10;
// Where bytes are missing, the next size line is looked for: a line of digits alone, which no event has.
const SEEK: u32 = 11; // inside any line
const SEEK_LINE: u32 = 12; // at the start of one
const SEEK_SIZE: u32 = 13; // behind digits alone
const SEEK_BREAK: u32 = 14; // behind their carriage return
// The end is believed where nothing follows it, trailers neither: what is left of a size may look like a zero.
const SEEK_END: u32 = 15; // behind a line that says zero
const SEEK_END_BREAK: u32 = 16; // behind a carriage return after that
const SEEK_OVER: u32 = 17; // behind the line break

/// Sizes above it are not believed where they had to be looked for.
const LARGEST_FOUND: u64 = 1 << 28;

/// What a byte was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// Content.
    Data,
    /// Framing.
    Frame,
    /// The last byte of the body, and framing.
    End,
    /// The last byte of the body, and content.
    DataEnd,
    /// It and those before it, so many together, are content or framing: nobody knows which.
    Lost(u32),
}

impl Body {
    const fn new(mode: u32, remaining: u64) -> Self {
        Self { remaining, undecided: 0, mode }
    }

    /// A body of a known length.
    pub const fn length(bytes: u64) -> Self {
        Self::new(if bytes == 0 { DONE } else { LENGTH }, bytes)
    }

    /// A chunked body.
    pub const fn chunked() -> Self {
        Self::new(NEXT, 0)
    }

    /// A body that ends with its connection.
    pub const fn until_close() -> Self {
        Self::new(CLOSE, 0)
    }

    /// True when nothing more belongs to the body.
    #[inline(always)]
    pub fn is_done(&self) -> bool {
        self.mode == DONE
    }

    /// True for a chunked body.
    #[inline(always)]
    pub fn is_chunked(&self) -> bool {
        self.mode >= NEXT
    }

    /// Goes on in a chunked body where bytes are missing: at a size line, or at the next one that comes.
    #[inline(always)]
    pub fn seek(&mut self) {
        *self = Self::new(SEEK_LINE, 0);
    }

    /// True for a body that ends with its connection.
    #[inline(always)]
    pub fn is_until_close(&self) -> bool {
        self.mode == CLOSE
    }

    /// True between two chunks, or anywhere in a body that ends with its connection: where a packet of
    /// known content leaves the framing as it was.
    #[inline(always)]
    pub fn between_chunks(&self) -> bool {
        self.mode == NEXT || self.mode == CLOSE
    }

    /// Bytes left of a body of known length, none for the others.
    #[inline(always)]
    pub fn left(&self) -> Option<u64> {
        match self.mode {
            LENGTH => Some(self.remaining),
            DONE => Some(0),
            _ => None,
        }
    }

    /// How many of the next `limit` bytes are content whose bytes need not be looked at one by one.
    #[inline(always)]
    pub fn skippable(&self, limit: u64) -> u64 {
        match self.mode {
            LENGTH | CHUNK => self.remaining.min(limit),
            CLOSE => limit,
            _ => 0,
        }
    }

    /// Passes over bytes that [`Self::skippable`] allowed; true when they were the body's last.
    #[inline(always)]
    pub fn skip(&mut self, bytes: u64) -> bool {
        if self.mode == LENGTH || self.mode == CHUNK {
            self.remaining = self.remaining.saturating_sub(bytes);
            if self.remaining == 0 {
                self.mode = if self.mode == LENGTH { DONE } else { CHUNK_END };
            }
        }
        self.mode == DONE
    }

    /// Takes one byte. Framing that is none is looked for from there on.
    #[inline(always)]
    pub fn step(&mut self, byte: u8) -> Part {
        match (self.mode, byte) {
            (LENGTH | CHUNK, _) => return if self.skip(1) { Part::DataEnd } else { Part::Data },
            (CLOSE, _) => return Part::Data,
            (NEXT | SIZE, _) if digit(byte) < 16 => {
                // A size beyond 2^60 is nonsense; keeping the low bits bounds it.
                self.remaining = (self.remaining << 4 | u64::from(digit(byte))) & ((1 << 60) - 1);
                self.mode = SIZE;
            }
            (SIZE | EXTENSION, b'\n') => self.mode = if self.remaining == 0 { TRAILER } else { CHUNK },
            (SIZE, b'\r' | b';' | b' ' | b'\t') => self.mode = EXTENSION,
            (CHUNK_END, b'\r') => self.mode = CHUNK_BREAK,
            (CHUNK_BREAK, b'\n') => self.mode = NEXT,
            (TRAILER, b'\n') => {
                self.mode = DONE;
                return Part::End;
            }
            (TRAILER_LINE, b'\n') => self.mode = TRAILER,
            (TRAILER, b'\r') | (EXTENSION | TRAILER_LINE, _) => {}
            (TRAILER, _) => self.mode = TRAILER_LINE,
            _ => return self.find(byte),
        }
        Part::Frame
    }

    /// No more bytes come with those taken: an end that had to be looked for is believed now. True if so.
    #[inline(always)]
    pub fn pause(&mut self) -> bool {
        let is_over = self.mode == SEEK_OVER;
        if is_over {
            *self = Self::new(DONE, 0);
        }
        is_over
    }

    /// Takes one byte in search of the framing.
    #[inline(always)]
    fn find(&mut self, byte: u8) -> Part {
        self.undecided = self.undecided.wrapping_add(1);
        match (self.mode, byte) {
            (SEEK_LINE | SEEK_SIZE, _) if digit(byte) < 16 && self.remaining < LARGEST_FOUND >> 4 => {
                self.remaining = self.remaining << 4 | u64::from(digit(byte));
                self.mode = SEEK_SIZE;
                return Part::Frame;
            }
            (SEEK_SIZE, b'\r') => {
                self.mode = SEEK_BREAK;
                return Part::Frame;
            }
            (SEEK_BREAK, b'\n') if self.remaining > 0 => {
                *self = Self::new(CHUNK, self.remaining);
                return Part::Frame;
            }
            (SEEK_BREAK, b'\n') => {
                self.mode = SEEK_END;
                return Part::Frame;
            }
            (SEEK_END, b'\r') => {
                self.mode = SEEK_END_BREAK;
                return Part::Frame;
            }
            (SEEK_END_BREAK, b'\n') => {
                self.mode = SEEK_OVER;
                return Part::Frame;
            }
            _ => {}
        }
        let lost = self.undecided;
        *self = Self::new(if byte == b'\n' { SEEK_LINE } else { SEEK }, 0);
        Part::Lost(lost)
    }
}

/// The value of a hexadecimal digit, 16 for anything else.
#[inline(always)]
fn digit(byte: u8) -> u8 {
    let lower = byte | 0x20;
    match byte {
        b'0'..=b'9' => byte - b'0',
        _ if (b'a'..=b'f').contains(&lower) => lower - b'a' + 10,
        _ => 16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a text: how many bytes of it were content, and how many were lost.
    fn take(body: &mut Body, text: &str) -> (usize, u32) {
        let (mut data, mut lost) = (0, 0);
        for byte in text.bytes() {
            match body.step(byte) {
                Part::Data | Part::DataEnd => data += 1,
                Part::Lost(bytes) => lost += bytes,
                Part::Frame | Part::End => {}
            }
        }
        body.pause();
        (data, lost)
    }

    #[test]
    fn a_chunked_body_ends_with_its_trailer() {
        let mut body = Body::chunked();
        assert_eq!(take(&mut body, "2;x=y\r\nab\r\n3 \r\nabc\r\n0\r\na: b\r\n\r"), (5, 0));
        assert!(!body.is_done());
        assert_eq!(body.step(b'\n'), Part::End);
        assert!(body.is_done());
    }

    /// Behind missing bytes: content, lost bytes, and whether the end was found.
    fn found(text: &str) -> (usize, u32, bool) {
        let mut body = Body::chunked();
        body.seek();
        let (data, lost) = take(&mut body, text);
        (data, lost, body.is_done())
    }

    #[test]
    fn the_framing_is_found_again_behind_missing_bytes() {
        // At a size line, in the middle of a chunk, in a line break, before the last chunk.
        assert_eq!(found("5\r\nhello\r\n0\r\n\r\n"), (5, 0, true));
        assert_eq!(found("ata: {\"a\":1}\n\n\r\n5\r\nhello\r\n0\r\n\r\n"), (5, 16, true));
        assert_eq!(found("\r\n5\r\nhello\r\n0\r\n\r\n"), (5, 2, true));
        assert_eq!(found("data: 0\n\n\r\n0\r\n\r\n"), (0, 11, true));
        // At an end that is there already.
        assert_eq!(found("0\r\n\r\n"), (0, 0, true));
    }

    #[test]
    fn an_event_holds_no_framing() {
        assert!(!found("0 is\r\n\r\ndata: 0\r\n\r\n").2);
        assert!(!found("123456789\r\n\r\n").2);
        assert!(!found("0\r\n\r\ndata: 0\r\n\r\n").2);
    }

    #[test]
    fn what_is_left_of_a_size_is_not_believed_for_long() {
        // Of 1a0 the last digit, then the last two; a line break follows neither.
        let data = format!("data: {}\n\n", "x".repeat(0x1a0 - 8));
        let rest = format!("{data}\r\n5\r\nhello\r\n0\r\n\r\n");
        assert_eq!(found(&format!("0\r\n{rest}")), (5, 3 + 0x1a0 + 2, true));
        assert_eq!(found(&format!("a0\r\n{rest}")), (0xa0 + 5, 0x100 + 2, true));
    }

    #[test]
    fn framing_that_is_none_is_looked_for() {
        let mut body = Body::chunked();
        assert_eq!(take(&mut body, "2\r\nabXYZ\r\n1\r\na\r\n\r\n\r\n2\r\nab\r\n0\r\n\r\n"), (5, 9));
        assert!(body.is_done());
    }
}
