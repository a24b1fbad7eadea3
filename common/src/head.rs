//! Reads what framing needs from an HTTP/1 head, byte by byte: status, length, encoding, kind of content.

use crate::words::{self, hash_of};

/// What a message's content is, by its `Content-Type`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Content {
    /// Anything else, or not said.
    Other = 0,
    /// `application/json` and its suffix forms are not told apart: only this one.
    Json = 1,
    /// `text/event-stream`.
    Sse = 2,
    /// One JSON object to a line, as Ollama streams.
    NdJson = 3,
}

impl Content {
    /// From a record's number; unknown numbers are [`Content::Other`].
    pub const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Json,
            2 => Self::Sse,
            3 => Self::NdJson,
            _ => Self::Other,
        }
    }

    /// True where the content comes as events over time.
    pub const fn is_stream(self) -> bool {
        matches!(self, Self::Sse | Self::NdJson)
    }
}

/// The message is chunked.
pub const CHUNKED: u8 = 1;
/// The message has a length.
pub const SIZED: u8 = 2;
/// The content is compressed: its bytes mean nothing to a lexer.
pub const ENCODED: u8 = 4;
/// The first line is a request's and ends with `HTTP/1.0` or `HTTP/1.1`.
pub const REQUEST_LINE: u8 = 8;

const START: u8 = 0; // the first line: must stay 0, the state of a zeroed lexer
const NAME: u8 = 1;
const VALUE: u8 = 2;
const SKIP: u8 = 3; // the rest of a line
const LINE: u8 = 4; // at the start of a line

const LENGTH_HEADER: u8 = 1;
const TRANSFER_HEADER: u8 = 2;
const TYPE_HEADER: u8 = 3;
const ENCODING_HEADER: u8 = 4;

/// State of the lexer; zeroed it stands at the start of a message.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct Head {
    /// Of the name or value being read; of the first line its last eight bytes.
    hash: u64,
    /// `Content-Length`, where [`SIZED`].
    pub length: u64,
    /// Bytes of the head so far.
    pub bytes: u32,
    /// A response's status code, 0 in a request.
    pub status: u16,
    state: u8,
    header: u8,
    /// Of [`CHUNKED`] and its neighbours.
    pub flags: u8,
    /// A [`Content`] as a number.
    pub content: u8,
}

impl Head {
    /// Takes one byte; true when it was the head's last.
    #[inline(always)]
    pub fn step(&mut self, byte: u8) -> bool {
        let at = self.bytes;
        self.bytes = at.saturating_add(1);
        if byte == b'\n' {
            if self.state == LINE {
                return true;
            }
            if self.state == START {
                // Without its last byte, the minor version.
                const VERSION: u64 = u64::from_be_bytes(*b"\0HTTP/1.");
                self.flags = if self.hash >> 8 == VERSION { REQUEST_LINE } else { 0 };
            }
            self.end_value();
            self.state = LINE;
            return false;
        }
        match self.state {
            // `HTTP/1.1 200 OK`: the digits stand at 9, 10 and 11.
            START if byte != b'\r' => {
                if (9..12).contains(&at) && byte.is_ascii_digit() {
                    self.status = self.status * 10 + u16::from(byte - b'0');
                }
                self.hash = self.hash << 8 | u64::from(byte);
            }
            LINE if byte != b'\r' => {
                self.state = NAME;
                self.hash = words::hash(words::SEED, lower(byte));
            }
            NAME if byte == b':' => self.name(),
            NAME => self.hash = words::hash(self.hash, lower(byte)),
            VALUE => self.value(byte),
            _ => {}
        }
        false
    }

    /// Stands before the first byte again: another head follows. What a zeroed lexer has besides, no byte looks at
    /// before it is set; and zeroes for all of it would be a call, a byte at a time, in the kernel.
    #[inline(always)]
    pub(crate) fn restart(&mut self) {
        self.bytes = 0;
        self.status = 0;
        self.state = START;
        self.flags = 0;
        self.content = Content::Other as u8;
    }

    #[inline(always)]
    fn name(&mut self) {
        const LENGTH: u64 = hash_of("content-length");
        const TRANSFER: u64 = hash_of("transfer-encoding");
        const TYPE: u64 = hash_of("content-type");
        const ENCODING: u64 = hash_of("content-encoding");
        self.header = match self.hash {
            LENGTH => LENGTH_HEADER,
            TRANSFER => TRANSFER_HEADER,
            TYPE => TYPE_HEADER,
            ENCODING => ENCODING_HEADER,
            _ => 0,
        };
        self.state = if self.header == 0 { SKIP } else { VALUE };
        if self.header == LENGTH_HEADER {
            self.length = 0;
        }
        self.hash = words::SEED;
    }

    #[inline(always)]
    fn value(&mut self, byte: u8) {
        match byte {
            b' ' | b'\t' | b'\r' => {}
            b'0'..=b'9' if self.header == LENGTH_HEADER => {
                self.flags |= SIZED;
                // A length beyond 10^17 is nonsense; it stays where it is.
                if self.length < 100_000_000_000_000_000 {
                    self.length = self.length * 10 + u64::from(byte - b'0');
                }
            }
            // Parameters and further codings: what stood before has been said.
            b';' | b',' => {
                self.end_value();
                if self.header == TYPE_HEADER || self.header == LENGTH_HEADER {
                    self.state = SKIP;
                }
            }
            _ => self.hash = words::hash(self.hash, lower(byte)),
        }
    }

    #[inline(always)]
    fn end_value(&mut self) {
        const CHUNKED_CODING: u64 = hash_of("chunked");
        const IDENTITY: u64 = hash_of("identity");
        const JSON: u64 = hash_of("application/json");
        const SSE: u64 = hash_of("text/event-stream");
        const NDJSON: u64 = hash_of("application/x-ndjson");
        const NDJSON_PLAIN: u64 = hash_of("application/ndjson");
        const JSONL: u64 = hash_of("application/jsonl");
        if self.state != VALUE {
            return;
        }
        match (self.header, self.hash) {
            (TRANSFER_HEADER, CHUNKED_CODING) => self.flags |= CHUNKED,
            (TRANSFER_HEADER | ENCODING_HEADER, IDENTITY | words::SEED) => {}
            (TRANSFER_HEADER | ENCODING_HEADER, _) => self.flags |= ENCODED,
            (TYPE_HEADER, JSON) => self.content = Content::Json as u8,
            (TYPE_HEADER, SSE) => self.content = Content::Sse as u8,
            (TYPE_HEADER, NDJSON | NDJSON_PLAIN | JSONL) => self.content = Content::NdJson as u8,
            _ => {}
        }
        self.hash = words::SEED;
    }
}

#[inline(always)]
fn lower(byte: u8) -> u8 {
    if byte.is_ascii_uppercase() { byte | 0x20 } else { byte }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &str) -> Head {
        let mut head = Head::default();
        let text = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
        let ends: Vec<bool> = text.bytes().map(|byte| head.step(byte)).collect();
        assert_eq!(ends.iter().position(|end| *end), Some(text.len() - 1), "{text}");
        head
    }

    #[test]
    fn fields_are_read_in_any_case_and_form() {
        assert_eq!(head("").status, 200);
        assert_eq!(head("CONTENT-LENGTH:  17 \r\n").length, 17);
        assert_eq!(head("Content-Type: Text/Event-Stream;charset=utf-8\r\n").content, Content::Sse as u8);
        assert_eq!(head("content-type:application/x-ndjson\r\n").content, Content::NdJson as u8);
        assert_eq!(head("content-type: application/json-seq\r\n").content, Content::Other as u8);
        assert_eq!(head("x-content-length: 5\r\n").flags, 0);
        assert_eq!(head("Transfer-Encoding: Chunked\r\n").flags, CHUNKED);
    }

    #[test]
    fn a_request_says_that_it_is_http() {
        let first_line = |line: &str| {
            let mut head = Head::default();
            line.bytes().chain(*b"\r\n").for_each(|byte| assert!(!head.step(byte)));
            head.flags
        };
        assert_eq!(first_line("POST /v1/chat/completions HTTP/1.1"), REQUEST_LINE);
        assert_eq!(first_line("GET / HTTP/1.0"), REQUEST_LINE);
        assert_eq!(first_line("GET x"), 0);
        assert_eq!(first_line("OPTIONS rtsp://x/HTTP/1. RTSP/1.0"), 0);
        assert_eq!(first_line("GET / HTTP/2.0"), 0);
        assert_eq!(head("").flags, 0, "a response's first line is none");
    }

    #[test]
    fn a_length_said_twice_is_no_other_length() {
        assert_eq!(head("content-length: 5\r\ncontent-length: 5\r\n").length, 5);
        assert_eq!(head("content-length: 5, 5\r\n").length, 5);
    }

    #[test]
    fn compression_is_noticed_in_either_field() {
        assert_eq!(head("content-encoding: gzip\r\n").flags, ENCODED);
        assert_eq!(head("content-encoding: identity\r\n").flags, 0);
        assert_eq!(head("transfer-encoding: gzip, chunked\r\n").flags, ENCODED | CHUNKED);
    }
}
