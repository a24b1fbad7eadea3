//! Meters a stream of JSON events (SSE or one object to a line) byte by byte, without building anything.
//!
//! The lexer knows strings from keys by the colon that follows, so text that merely looks like a key
//! inside generated content moves nothing. It needs no nesting depth: the words it looks for
//! ([`crate::words`]) mean the same at every depth of the formats that it reads.

mod value;

use crate::words::{self, Key};

/// An event with generated content began: the first character of a non-empty value.
pub const CONTENT: u32 = 1 << 0;
/// An event ended (a blank line in SSE, a line otherwise).
pub const EVENT: u32 = 1 << 1;
/// The stream said that it is complete.
pub const TERMINAL: u32 = 1 << 2;
/// The stream carried an error.
pub const ERROR: u32 = 1 << 3;
/// A token count of the server's own was read.
pub const USAGE: u32 = 1 << 4;
/// The rest of a line ended whose beginning is missing: nothing of it counts.
pub const TORN: u32 = 1 << 5;

/// Why generation ended, in the fewest words that fit all servers. 0 = not said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Finish {
    /// Not said.
    None = 0,
    /// The model came to an end or a stop sequence.
    Stop = 1,
    /// The token limit was reached.
    Length = 2,
    /// The model called a tool.
    ToolCalls = 3,
    /// Content was withheld.
    ContentFilter = 4,
    /// Another reason was given.
    Other = 5,
}

const LINE: u8 = 0; // at the start of a line: must stay 0, the state of a zeroed lexer
const SKIP: u8 = 1; // a line that carries no JSON: comment, event name, id, retry
const OUT: u8 = 2; // between tokens
const STRING: u8 = 3;
const ESCAPE: u8 = 4;
const AFTER_STRING: u8 = 5; // a colon makes the string a key
const VALUE: u8 = 6; // after the colon
const FIRST: u8 = 7; // the first character of a content string
const ARRAY: u8 = 8; // inside the opening bracket of the tool calls
const NUMBER: u8 = 9;
const NAME: u8 = 10; // a line that names its event
const RESUMED: u8 = 11; // behind missing bytes: perhaps at the start of a line
const REST: u8 = 12; // in a line whose beginning is missing

/// Stands for the hash where the last byte outside strings was an opening bracket.
const BRACKET: u64 = 1;

/// What a line begins with that can be told where its place cannot: none of it stands inside JSON like this.
const DATA: u64 = words::hash_of("data:");
const NAMED: u64 = words::hash_of("event:");
const OBJECT: u64 = words::hash_of("{\"");
/// The longest of them.
const BEGINNING: u32 = 6;

const SEEN: u8 = 1; // this event's content was counted
const REPEATS: u8 = 2; // this event repeats earlier content
const TEXT: u8 = 4; // this event has had at least one line with something in it
const ENDED: u8 = 8; // the end of this event's content is known

/// State of the lexer; zeroed it stands at the start of a stream.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct Lexer {
    hash: u64,
    /// Bytes since the event began.
    at: u32,
    number: u32,
    /// Tokens by the server's own count; 0 until [`USAGE`].
    pub input_tokens: u32,
    /// As `input_tokens`.
    pub output_tokens: u32,
    /// Where in its event the last content began: the offset of its first character, `u16::MAX` for any
    /// beyond that.
    pub content_at: u16,
    /// Where the first string from there on ended that is no key: the offset of its closing quote.
    pub content_end: u16,
    state: u8,
    key: u8,
    event: u8,
    /// A [`Finish`] as a number.
    pub finish: u8,
}

impl Lexer {
    /// True between two events: what comes next starts a new one.
    #[inline(always)]
    pub fn idle(&self) -> bool {
        self.state == LINE && self.event == 0
    }

    /// Goes on behind missing bytes, in whatever follows; what was counted stays. Returns how many bytes of
    /// an event are torn off from a content that had not come yet.
    #[inline(always)]
    pub fn resume(&mut self) -> u32 {
        let torn = if self.event & SEEN == 0 { self.at } else { 0 };
        self.state = RESUMED;
        self.hash = words::SEED;
        self.event = 0;
        self.at = 0;
        torn
    }

    /// Bytes since the event began.
    #[inline(always)]
    pub fn taken(&self) -> u32 {
        self.at
    }

    /// Takes one byte. `lines`: an event ends with its line (NDJSON) rather than at a blank line (SSE).
    #[inline(always)]
    pub fn step(&mut self, byte: u8, lines: bool) -> u32 {
        self.at = self.at.wrapping_add(1);
        match self.state {
            STRING => self.string(byte, lines),
            ESCAPE if byte != b'\n' => {
                self.hash = words::hash(self.hash, byte);
                self.state = STRING;
                0
            }
            SKIP if byte != b'\n' => 0,
            LINE => self.line_start(byte, lines),
            NUMBER => self.number(byte, lines),
            NAME => self.name(byte),
            RESUMED => self.resumed(byte, lines),
            REST if byte != b'\n' => 0,
            REST => self.torn(),
            _ if byte == b'\n' => self.line_end(lines),
            AFTER_STRING => self.after_string(byte),
            VALUE => self.value(byte),
            FIRST => self.first(byte),
            ARRAY => self.array(byte),
            _ => self.out(byte),
        }
    }

    #[inline(always)]
    fn line_start(&mut self, byte: u8, lines: bool) -> u32 {
        match byte {
            b'\n' if self.event & TEXT != 0 => self.event_end(),
            b'\n' | b'\r' => {
                if self.event == 0 {
                    self.at = 0;
                }
                0
            }
            // `event:`; a line of JSON starts with none of these letters.
            b'e' if !lines => {
                self.event |= TEXT;
                self.hash = words::SEED;
                self.state = NAME;
                0
            }
            // `: comment`, `id:`, `retry:`.
            b':' | b'i' | b'r' if !lines => {
                self.event |= TEXT;
                self.state = SKIP;
                0
            }
            _ => {
                self.event |= TEXT;
                self.state = OUT;
                self.out(byte)
            }
        }
    }

    /// Behind missing bytes: a line that begins here is known by its first bytes.
    #[inline(always)]
    fn resumed(&mut self, byte: u8, lines: bool) -> u32 {
        if byte == b'\n' {
            return self.torn();
        }
        self.hash = words::hash(self.hash, byte);
        self.event = TEXT;
        match self.hash {
            OBJECT if lines => self.open_string(Key::Unknown),
            DATA if !lines => self.state = OUT,
            NAMED if !lines => {
                self.hash = words::SEED;
                self.state = NAME;
            }
            _ if self.at >= BEGINNING => {
                self.event = 0;
                self.state = REST;
            }
            _ => {}
        }
        0
    }

    #[inline(always)]
    fn torn(&mut self) -> u32 {
        self.state = LINE;
        self.event = 0;
        self.at = 0;
        TORN
    }

    /// The name of the event: servers that put the type last in its JSON tell it here before.
    #[inline(always)]
    fn name(&mut self, byte: u8) -> u32 {
        match byte {
            b':' => self.hash = words::SEED,
            b' ' | b'\r' => {}
            b'\n' => {
                self.state = LINE;
                return self.kind();
            }
            _ => self.hash = words::hash(self.hash, byte),
        }
        0
    }

    #[inline(always)]
    fn line_end(&mut self, lines: bool) -> u32 {
        self.state = LINE;
        if lines { self.event_end() } else { 0 }
    }

    #[inline(always)]
    fn event_end(&mut self) -> u32 {
        self.event = 0;
        self.at = 0;
        EVENT
    }

    #[inline(always)]
    fn out(&mut self, byte: u8) -> u32 {
        self.state = OUT;
        match byte {
            b'"' => self.open_string(Key::Unknown),
            // `[DONE]`: nothing else has a letter behind a bracket.
            b'D' if self.hash == BRACKET => return TERMINAL,
            _ => self.hash = if byte == b'[' { BRACKET } else { 0 },
        }
        0
    }
}

#[cfg(test)]
mod tests;
