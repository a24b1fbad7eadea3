//! The inside of a JSON object: strings, what a key announces, and the values that count.

use super::{
    AFTER_STRING, ARRAY, CONTENT, ENDED, ERROR, ESCAPE, FIRST, Finish, Lexer, NUMBER, OUT, REPEATS, SEEN, STRING,
    TERMINAL, USAGE, VALUE,
};
use crate::words::{self, Key, Value};

impl Lexer {
    #[inline(always)]
    pub(super) fn open_string(&mut self, key: Key) {
        self.key = key as u8;
        self.hash = words::SEED;
        self.state = STRING;
    }

    #[inline(always)]
    pub(super) fn string(&mut self, byte: u8, lines: bool) -> u32 {
        match byte {
            b'"' => return self.close_string(),
            // The escape counts, too: `"\text"` is not `"text"`.
            b'\\' => {
                self.hash = words::hash(self.hash, byte);
                self.state = ESCAPE;
            }
            // JSON allows no bare newline in a string: a broken event ends here.
            b'\n' => return self.line_end(lines),
            _ => self.hash = words::hash(self.hash, byte),
        }
        0
    }

    #[inline(always)]
    fn close_string(&mut self) -> u32 {
        self.state = AFTER_STRING;
        if self.event & (SEEN | ENDED) == SEEN {
            self.content_end = offset(self.at);
        }
        let key = self.key;
        if key != Key::Type as u8 && key != Key::Finish as u8 {
            return 0;
        }
        // A value, so no colon follows; `AFTER_STRING` sees the comma and moves on.
        if key == Key::Type as u8 {
            return self.kind();
        }
        if self.hash != words::SEED {
            self.finish = match words::value(self.hash) {
                Value::Stop => Finish::Stop,
                Value::Length => Finish::Length,
                Value::ToolCalls => Finish::ToolCalls,
                Value::ContentFilter => Finish::ContentFilter,
                _ => Finish::Other,
            } as u8;
        }
        0
    }

    /// The word behind `event:` or of a type has been read.
    #[inline(always)]
    pub(super) fn kind(&mut self) -> u32 {
        let (signals, finish) = match words::value(self.hash) {
            Value::Terminal => (TERMINAL, Finish::None),
            Value::Completed => (TERMINAL, Finish::Stop),
            Value::Incomplete => (TERMINAL, Finish::Length),
            Value::Failed => (TERMINAL | ERROR, Finish::None),
            Value::Repeats => (0, Finish::None),
            Value::Error => return ERROR,
            // SGLang wraps the reason in an object whose type it is.
            Value::Stop => {
                self.finish = Finish::Stop as u8;
                return 0;
            }
            Value::Length => {
                self.finish = Finish::Length as u8;
                return 0;
            }
            _ => return 0,
        };
        self.event |= REPEATS;
        if finish != Finish::None {
            self.finish = finish as u8;
        }
        signals
    }

    #[inline(always)]
    pub(super) fn after_string(&mut self, byte: u8) -> u32 {
        match byte {
            b' ' | b'\t' | b'\r' => 0,
            b':' => {
                self.key = words::key(self.hash) as u8;
                self.state = VALUE;
                0
            }
            _ => {
                if self.event & SEEN != 0 {
                    self.event |= ENDED;
                }
                self.out(byte)
            }
        }
    }

    #[inline(always)]
    pub(super) fn value(&mut self, byte: u8) -> u32 {
        if byte == b' ' || byte == b'\t' {
            return 0;
        }
        let key = self.key;
        if byte == b'"' {
            if key == Key::Content as u8 {
                self.state = FIRST;
                return 0;
            }
            let is_error = key == Key::Error as u8 && self.event & REPEATS == 0;
            let kept = if key == Key::Type as u8 {
                Key::Type
            } else if key == Key::Finish as u8 {
                Key::Finish
            } else {
                Key::Unknown
            };
            self.open_string(kept);
            if key == Key::Whole as u8 {
                return TERMINAL;
            }
            return if is_error { ERROR } else { 0 };
        }
        if byte.is_ascii_digit() && (Key::InputTokens as u8..=Key::OutputTokensTimed as u8).contains(&key) {
            self.number = u32::from(byte - b'0');
            self.state = NUMBER;
            return 0;
        }
        if byte == b'[' && key == Key::Tools as u8 {
            self.state = ARRAY;
            return 0;
        }
        self.state = OUT;
        match byte {
            // An event that repeats the request may hold a tool with a parameter of this name.
            b'{' if key == Key::Error as u8 && self.event & REPEATS == 0 => ERROR,
            b't' if key == Key::Done as u8 => TERMINAL,
            _ => 0,
        }
    }

    #[inline(always)]
    pub(super) fn first(&mut self, byte: u8) -> u32 {
        if byte == b'"' {
            self.state = OUT;
            return 0;
        }
        self.open_string(Key::Unknown);
        if byte == b'\\' {
            self.state = ESCAPE;
        }
        self.content()
    }

    #[inline(always)]
    pub(super) fn array(&mut self, byte: u8) -> u32 {
        if byte == b' ' || byte == b'\t' {
            return 0;
        }
        if byte == b'{' {
            self.state = OUT;
            return self.content();
        }
        self.out(byte)
    }

    #[inline(always)]
    fn content(&mut self) -> u32 {
        if self.event & (SEEN | REPEATS) != 0 {
            return 0;
        }
        self.event |= SEEN;
        self.content_at = offset(self.at);
        CONTENT
    }

    #[inline(always)]
    pub(super) fn number(&mut self, byte: u8, lines: bool) -> u32 {
        if byte.is_ascii_digit() {
            // Saturates far above any real count and below overflow.
            if self.number < 100_000_000 {
                self.number = self.number * 10 + u32::from(byte - b'0');
            }
            return 0;
        }
        let (key, number) = (self.key, self.number);
        // Timings never exceed the real count, so they may come before or after it, and grow along the stream.
        if key == Key::InputTokens as u8 || (key == Key::InputTokensTimed as u8 && number > self.input_tokens) {
            self.input_tokens = number;
        } else if key == Key::OutputTokens as u8 || (key == Key::OutputTokensTimed as u8 && number > self.output_tokens)
        {
            self.output_tokens = number;
        }
        USAGE | if byte == b'\n' { self.line_end(lines) } else { self.out(byte) }
    }
}

/// Offset of the byte that was taken last.
#[inline(always)]
fn offset(taken: u32) -> u16 {
    if taken > u32::from(u16::MAX) { u16::MAX } else { taken.wrapping_sub(1) as u16 }
}
