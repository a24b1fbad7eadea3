//! What a response says of itself: its model, its id, its tokens, its error. Never its text.

use inferscope_common::head::Content;

use crate::wire::asked::{after, body_end};
use crate::wire::head::Framing;
use crate::wire::pieces::Pieces;
use crate::wire::scan::{Value, members, members_back};

/// The fields of a response that matter. Slices of the body: it has no `Debug`.
#[derive(Clone, Copy, Default)]
pub struct Answered<'a> {
    /// Name of the model, escapes as they stand.
    pub model: Option<&'a [u8]>,
    /// The server's id of the response.
    pub id: Option<&'a [u8]>,
    /// What kind of object it says it is (`chat.completion.chunk`, `message_start` …).
    pub object: Option<&'a [u8]>,
    /// Input tokens by the server's own count.
    pub input_tokens: Option<u64>,
    /// Output tokens by the server's own count.
    pub output_tokens: Option<u64>,
    /// Why generation ended, in the server's words.
    pub finish: Option<&'a [u8]>,
    /// There is an error.
    pub failed: bool,
    /// Its type or code.
    pub error: Option<&'a [u8]>,
    /// Type of the event being read, and the code beside it.
    event: (Option<&'a [u8]>, Option<&'a [u8]>),
    /// Tokens by a server's timings, which leave cached ones out: only where no other count came.
    timed: (Option<u64>, Option<u64>),
}

impl<'a> Answered<'a> {
    /// Reads a response. `failed`: the stream is known to carry an error, so that all pieces are read.
    pub fn read(pieces: &'a Pieces, framing: Framing, content: Content, failed: bool) -> Self {
        let mut answered = Self::default();
        if framing.start == 0 || framing.encoded {
            return answered;
        }
        match content {
            Content::Sse | Content::NdJson => answered.stream(pieces, framing, failed),
            Content::Json => answered.body(pieces, framing),
            Content::Other => {}
        }
        keep(&mut answered.input_tokens, answered.timed.0);
        keep(&mut answered.output_tokens, answered.timed.1);
        answered
    }

    fn body(&mut self, pieces: &'a Pieces, framing: Framing) {
        let body = after(pieces.beginning(), framing.start);
        // TGI answers with an array of one object.
        let body = body.strip_prefix(b"[").unwrap_or(body);
        if members(body, |key, value| self.take(key, value)) {
            return;
        }
        if let Some(end) = body_end(pieces, framing) {
            let end = end.strip_suffix(b"]").unwrap_or(end);
            members_back(end, |depth, key, value| match (depth, key) {
                (1, _) => self.take(key, value),
                (_, b"finish_reason") => self.finish = self.finish.or(value.string()),
                _ => {}
            });
        }
    }

    /// Lines that begin an event's JSON; sizes of chunks stand on lines of their own and are passed over.
    fn stream(&mut self, pieces: &'a Pieces, framing: Framing, failed: bool) {
        for run in pieces.runs() {
            let mut rest = after(run, framing.start);
            while !rest.is_empty() {
                let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
                let line = rest[..end].trim_ascii();
                rest = rest.get(end + 1..).unwrap_or_default();
                let json = line.strip_prefix(b"data:").unwrap_or(line).trim_ascii_start();
                if json.first() == Some(&b'{') {
                    members(json, |key, value| self.take(key, value));
                    self.end_event();
                }
                if !failed && self.model.is_some() && self.id.is_some() || self.error.is_some() {
                    return;
                }
            }
        }
    }

    fn take(&mut self, key: &'a [u8], value: Value<'a>) {
        match key {
            b"model" | b"model_name" => keep(&mut self.model, value.string()),
            b"id" => keep(&mut self.id, value.string()),
            b"object" => keep(&mut self.object, value.string()),
            b"type" => {
                self.event.0 = value.string();
                keep(&mut self.object, value.string());
            }
            b"code" => self.event.1 = value.string(),
            b"stop_reason" | b"done_reason" | b"finish_reason" | b"stop_type" => keep(&mut self.finish, value.string()),
            b"prompt_eval_count" | b"tokens_evaluated" => keep(&mut self.input_tokens, value.number()),
            b"eval_count" | b"tokens_predicted" => keep(&mut self.output_tokens, value.number()),
            b"error" => self.take_error(value),
            b"usage" | b"details" | b"meta_info" => self.inside(value, Self::take_usage),
            b"timings" => self.inside(value, |answered, key, value| match key {
                b"prompt_n" => answered.timed.0 = value.number(),
                b"predicted_n" => answered.timed.1 = value.number(),
                _ => {}
            }),
            b"choices" | b"message" | b"response" => self.inside(value, Self::take_nested),
            _ => {}
        }
    }

    /// An error event of the Responses API has its code beside its type.
    fn end_event(&mut self) {
        let (kind, code) = std::mem::take(&mut self.event);
        if kind == Some(b"error") {
            self.failed = true;
            keep(&mut self.error, code);
        }
    }

    fn inside(&mut self, value: Value<'a>, take: fn(&mut Self, &'a [u8], Value<'a>)) {
        if let Some(text) = value.object() {
            members(text, |key, value| take(self, key, value));
        }
    }

    /// Members of `usage` and of what other servers call it.
    fn take_usage(&mut self, key: &'a [u8], value: Value<'a>) {
        match key {
            b"prompt_tokens" | b"input_tokens" | b"input_length" => {
                keep(&mut self.input_tokens, value.number());
            }
            b"completion_tokens" | b"output_tokens" | b"generated_tokens" => {
                keep(&mut self.output_tokens, value.number());
            }
            b"id" => keep(&mut self.id, value.string()),
            b"finish_reason" => {
                keep(&mut self.finish, value.string());
                self.inside(value, |answered, key, value| {
                    if key == b"type" {
                        keep(&mut answered.finish, value.string());
                    }
                });
            }
            _ => {}
        }
    }

    /// Members of the first choice, of Anthropic's message, of the Responses API's response.
    fn take_nested(&mut self, key: &'a [u8], value: Value<'a>) {
        match key {
            b"model" => keep(&mut self.model, value.string()),
            b"id" => keep(&mut self.id, value.string()),
            b"finish_reason" | b"stop_reason" => keep(&mut self.finish, value.string()),
            b"error" => self.take_error(value),
            b"usage" => self.inside(value, Self::take_usage),
            _ => {}
        }
    }

    fn take_error(&mut self, value: Value<'a>) {
        let Some(text) = value.object() else {
            self.failed |= value.string().is_some();
            return;
        };
        self.failed = true;
        let mut code = None;
        members(text, |key, value| match key {
            b"type" => keep(&mut self.error, value.string()),
            b"code" => code = value.string(),
            _ => {}
        });
        keep(&mut self.error, code);
    }
}

fn keep<T>(slot: &mut Option<T>, value: Option<T>) {
    if slot.is_none() {
        *slot = value;
    }
}
