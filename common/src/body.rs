//! Where an HTTP/1 body ends: by length, by chunks, or by the connection's close.

/// The framing of a body; zeroed it is complete.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Body {
    /// Bytes left of the body or of the chunk; the size while it is being read.
    remaining: u64,
    mode: u8,
}

const DONE: u8 = 0;
const LENGTH: u8 = 1;
const SIZE: u8 = 2; // reading a chunk's size
const EXTENSION: u8 = 3; // the rest of a chunk's first line
const CHUNK: u8 = 4;
const CHUNK_END: u8 = 5; // the line break after a chunk
const TRAILER: u8 = 6; // at the start of a trailer line
const TRAILER_LINE: u8 = 7;
const CLOSE: u8 = 8;

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
}

impl Body {
    /// A body of a known length.
    pub const fn length(bytes: u64) -> Self {
        Self { remaining: bytes, mode: if bytes == 0 { DONE } else { LENGTH } }
    }

    /// A chunked body.
    pub const fn chunked() -> Self {
        Self { remaining: 0, mode: SIZE }
    }

    /// A body that ends with its connection.
    pub const fn until_close() -> Self {
        Self { remaining: 0, mode: CLOSE }
    }

    /// True when nothing more belongs to the body.
    #[inline(always)]
    pub fn is_done(&self) -> bool {
        self.mode == DONE
    }

    /// True for a chunked body.
    #[inline(always)]
    pub fn is_chunked(&self) -> bool {
        (SIZE..=TRAILER_LINE).contains(&self.mode)
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
        (self.mode == SIZE && self.remaining == 0) || self.mode == CLOSE
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
        match self.mode {
            LENGTH => {
                self.remaining = self.remaining.saturating_sub(bytes);
                if self.remaining == 0 {
                    self.mode = DONE;
                }
            }
            CHUNK => {
                self.remaining = self.remaining.saturating_sub(bytes);
                if self.remaining == 0 {
                    self.mode = CHUNK_END;
                }
            }
            _ => {}
        }
        self.mode == DONE
    }

    /// Takes one byte.
    #[inline(always)]
    pub fn step(&mut self, byte: u8) -> Part {
        match self.mode {
            LENGTH | CHUNK => return if self.skip(1) { Part::DataEnd } else { Part::Data },
            CLOSE => return Part::Data,
            SIZE => self.size(byte),
            EXTENSION if byte == b'\n' => self.mode = if self.remaining == 0 { TRAILER } else { CHUNK },
            CHUNK_END if byte == b'\n' => {
                self.mode = SIZE;
                self.remaining = 0;
            }
            TRAILER => match byte {
                b'\n' => {
                    self.mode = DONE;
                    return Part::End;
                }
                b'\r' => {}
                _ => self.mode = TRAILER_LINE,
            },
            TRAILER_LINE if byte == b'\n' => self.mode = TRAILER,
            _ => {}
        }
        Part::Frame
    }

    #[inline(always)]
    fn size(&mut self, byte: u8) {
        let lower = byte | 0x20;
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            _ if (b'a'..=b'f').contains(&lower) => lower - b'a' + 10,
            b'\n' => {
                self.mode = if self.remaining == 0 { TRAILER } else { CHUNK };
                return;
            }
            _ => {
                self.mode = EXTENSION;
                return;
            }
        };
        // A size beyond 2^60 is nonsense; keeping the low bits bounds it.
        self.remaining = (self.remaining << 4 | u64::from(digit)) & ((1 << 60) - 1);
    }
}
