//! Meters a stream of JSON events (SSE or one object to a line) byte by byte, without building anything.
//!
//! The lexer knows strings from keys by the colon that follows, so text that merely looks like a key
//! inside generated content moves nothing. It needs no nesting depth: the words it looks for
//! ([`crate::words`]) mean the same at every depth of the formats that it reads.

use crate::words::{self, Key, Value};

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

/// Stands for the hash where the last byte outside strings was an opening bracket.
const BRACKET: u64 = 1;

const SEEN: u8 = 1; // this event's content was counted
const REPEATS: u8 = 2; // this event repeats earlier content
const TEXT: u8 = 4; // this event has had at least one line with something in it

/// State of the lexer; zeroed it stands at the start of a stream.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct Lexer {
    hash: u64,
    /// Bytes since the event began.
    at: u32,
    /// Where in its event the last content began (offset of its first character).
    pub content_at: u32,
    number: u32,
    /// Tokens by the server's own count; 0 until [`USAGE`].
    pub input_tokens: u32,
    /// As `input_tokens`.
    pub output_tokens: u32,
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

    /// Stands between two events again, whatever was there; what was counted stays.
    #[inline(always)]
    pub fn reset(&mut self) {
        self.state = LINE;
        self.event = 0;
        self.at = 0;
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

    #[inline(always)]
    fn open_string(&mut self, key: Key) {
        self.key = key as u8;
        self.hash = words::SEED;
        self.state = STRING;
    }

    #[inline(always)]
    fn string(&mut self, byte: u8, lines: bool) -> u32 {
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
    fn kind(&mut self) -> u32 {
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
    fn after_string(&mut self, byte: u8) -> u32 {
        match byte {
            b' ' | b'\t' | b'\r' => 0,
            b':' => {
                self.key = words::key(self.hash) as u8;
                self.state = VALUE;
                0
            }
            _ => self.out(byte),
        }
    }

    #[inline(always)]
    fn value(&mut self, byte: u8) -> u32 {
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
    fn first(&mut self, byte: u8) -> u32 {
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
    fn array(&mut self, byte: u8) -> u32 {
        if byte == b' ' || byte == b'\t' {
            return 0;
        }
        self.state = OUT;
        if byte == b'{' { self.content() } else { 0 }
    }

    #[inline(always)]
    fn content(&mut self) -> u32 {
        if self.event & (SEEN | REPEATS) != 0 {
            return 0;
        }
        self.event |= SEEN;
        self.content_at = self.at.wrapping_sub(1);
        CONTENT
    }

    #[inline(always)]
    fn number(&mut self, byte: u8, lines: bool) -> u32 {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The lexer behind a stream, every signal raised, and the number of contents.
    fn run(stream: &str, lines: bool) -> (Lexer, u32, u32) {
        let (mut lexer, mut signals, mut contents) = (Lexer::default(), 0, 0);
        for byte in stream.bytes() {
            let now = lexer.step(byte, lines);
            signals |= now;
            contents += now & CONTENT;
        }
        (lexer, signals, contents)
    }

    fn sse(data: &str) -> (Lexer, u32, u32) {
        run(&format!("data: {data}\n\n"), false)
    }

    #[test]
    fn counts_that_grow_along_the_stream_end_at_the_last() {
        let event = |n: u32| format!("data: {{\"content\":\"a\",\"tokens_predicted\":{n},\"tokens_evaluated\":9}}\n\n");
        let (lexer, signals, _) = run(&(event(1) + &event(2) + &event(3)), false);
        assert_eq!((lexer.input_tokens, lexer.output_tokens), (9, 3));
        assert_eq!(signals & USAGE, USAGE);
    }

    #[test]
    fn timings_yield_to_usage_whichever_comes_first() {
        let (usage, timings) = ("\"prompt_tokens\":31,\"completion_tokens\":4", "\"prompt_n\":1,\"predicted_n\":4");
        for data in [format!("{{{usage},{timings}}}"), format!("{{{timings},{usage}}}")] {
            let (lexer, ..) = sse(&data);
            assert_eq!((lexer.input_tokens, lexer.output_tokens), (31, 4), "{data}");
        }
    }

    #[test]
    fn an_escape_makes_another_word() {
        assert_eq!(sse(r#"{"\text":"a","er\ror":{}}"#).1 & (CONTENT | ERROR), 0);
        assert_eq!(sse(r#"{"text":"\"a"}"#).1 & CONTENT, CONTENT);
    }

    #[test]
    fn a_broken_string_ends_with_its_line() {
        for broken in ["{\"response\":\"a\n", "{\"response\":\"a\\\n"] {
            let (lexer, signals, contents) = run(&(broken.to_owned() + "{\"response\":\"b\",\"done\":true}\n"), true);
            assert_eq!((contents, signals), (2, CONTENT | EVENT | TERMINAL), "{broken}");
            assert!(lexer.idle());
        }
    }

    #[test]
    fn plain_text_is_no_end() {
        assert_eq!(sse("[DONE]").1, TERMINAL | EVENT);
        assert_eq!(sse("Dear reader").1, EVENT);
        assert_eq!(sse("[\"x\",D]").1, EVENT);
    }

    #[test]
    fn an_event_is_known_by_its_name_before_its_type() {
        let done =
            "event: response.output_text.done\ndata: {\"text\":\"all\",\"type\":\"response.output_text.done\"}\n\n";
        assert_eq!(run(done, false).1, EVENT);
        let crlf = done.replace('\n', "\r\n");
        assert_eq!(run(&crlf, false).1, EVENT);
        assert_eq!(run("event:message_stop\ndata: {}\n\n", false).1, TERMINAL | EVENT);
    }

    #[test]
    fn a_tool_named_error_is_no_error() {
        let tool = r#""tools":[{"parameters":{"properties":{"error":{"type":"string"}}}}]"#;
        assert_eq!(sse(&format!(r#"{{"type":"response.created","response":{{{tool}}}}}"#)).1, EVENT);
        assert_eq!(sse(&format!(r#"{{"type":"response.completed","response":{{{tool}}}}}"#)).1, EVENT | TERMINAL);
    }

    #[test]
    fn errors_come_in_every_form() {
        assert_eq!(sse(r#"{"error":{"message":"m"}}"#).1 & ERROR, ERROR);
        assert_eq!(sse(r#"{"error":"m"}"#).1 & ERROR, ERROR);
        assert_eq!(sse(r#"{"type":"error","code":"server_error"}"#).1 & ERROR, ERROR);
        assert_eq!(sse(r#"{"type":"response.failed","response":{"error":{"code":"x"}}}"#).1, ERROR | TERMINAL | EVENT);
        assert_eq!(sse(r#"{"error":null}"#).1 & ERROR, 0);
    }

    #[test]
    fn reasons_to_finish() {
        let finish = |data: &str| sse(data).0.finish;
        assert_eq!(finish(r#"{"finish_reason":"stop"}"#), Finish::Stop as u8);
        assert_eq!(finish(r#"{"finish_reason":{"type":"length","length":16}}"#), Finish::Length as u8);
        assert_eq!(finish(r#"{"stop_type":"limit"}"#), Finish::Length as u8);
        assert_eq!(finish(r#"{"type":"response.incomplete"}"#), Finish::Length as u8);
        assert_eq!(finish(r#"{"stop_reason":"tool_use"}"#), Finish::ToolCalls as u8);
        assert_eq!(finish(r#"{"finish_reason":"abort"}"#), Finish::Other as u8);
        assert_eq!(finish(r#"{"finish_reason":null}"#), 0);
        assert_eq!(finish(r#"{"finish_reason":""}"#), 0);
    }

    #[test]
    fn the_whole_text_ends_a_stream() {
        let event = |whole: &str| format!(r#"{{"token":{{"text":"a"}},"generated_text":{whole}}}"#);
        assert_eq!(sse(&event("null")).1, CONTENT | EVENT);
        assert_eq!(sse(&event(r#""aa""#)).1, CONTENT | EVENT | TERMINAL);
    }
}
