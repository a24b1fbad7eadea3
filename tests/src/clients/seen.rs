//! What a client saw of one exchange.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clients::transcript::{Arrival, Event, Response};

/// One exchange as its client saw it: a line of JSON from every client. Instants are nanoseconds of
/// `CLOCK_MONOTONIC`; `*_socket_ns` is when the kernel received the bytes for the client's socket, `*_read_ns` when
/// the client's read returned them, `*_seen_ns` when its caller had the parsed event.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Seen {
    /// Place of its job in the plan.
    #[serde(default)]
    pub job: usize,
    /// The server's id of the response.
    pub id: Option<String>,
    /// Status code; 0 where none came.
    pub status: u16,
    /// Right before the request's first byte was written.
    pub start_ns: u64,
    /// First event with content.
    #[serde(default)]
    pub first_socket_ns: Option<u64>,
    /// The same, at the read.
    #[serde(default)]
    pub first_read_ns: Option<u64>,
    /// The same, at the caller.
    #[serde(default)]
    pub first_seen_ns: Option<u64>,
    /// End of the stream, or last byte of the body.
    pub end_socket_ns: u64,
    /// The same, at the read.
    pub end_read_ns: u64,
    /// The same, at the caller.
    #[serde(default)]
    pub end_seen_ns: Option<u64>,
    /// Output tokens by `usage`.
    #[serde(default)]
    pub tokens: Option<u64>,
    /// Input tokens by `usage`.
    #[serde(default)]
    pub prompt_tokens: Option<u64>,
    /// Events with content.
    pub events: u64,
    /// The server's error, or the client's own.
    #[serde(default)]
    pub error: Option<String>,
}

impl Seen {
    /// Reads a response.
    pub fn of(response: &Response, start_ns: u64) -> Result<Self> {
        let last = response.last().unwrap_or(Arrival { socket: start_ns, read: start_ns });
        let mut seen = Self { status: response.status, start_ns, ..Self::default() };
        seen.end(last);
        if response.encoded {
            return Ok(seen);
        }
        for event in response.events()? {
            seen.take(&event, response.is_stream());
        }
        if !response.whole {
            seen.error.get_or_insert_with(|| "the stream broke off".to_owned());
        }
        Ok(seen)
    }

    fn end(&mut self, arrival: Arrival) {
        (self.end_socket_ns, self.end_read_ns) = (arrival.socket, arrival.read);
    }

    fn take(&mut self, event: &Event, streamed: bool) {
        let data = &event.data;
        let text = |pointer: &str| data.pointer(pointer).and_then(Value::as_str);
        let number = |pointers: [&str; 3]| pointers.iter().find_map(|pointer| data.pointer(pointer)?.as_u64());
        if let Some(id) = text("/id").or(text("/message/id")).or(text("/response/id")) {
            self.id.get_or_insert_with(|| id.to_owned());
        }
        if let Some(tokens) = number(["/usage/completion_tokens", "/usage/output_tokens", "/eval_count"]) {
            self.tokens = Some(tokens);
        }
        self.tokens = data.pointer("/response/usage/output_tokens").and_then(Value::as_u64).or(self.tokens);
        let prompt = number(["/usage/prompt_tokens", "/message/usage/input_tokens", "/prompt_eval_count"])
            .or(number(["/usage/input_tokens", "/response/usage/input_tokens", "/response/usage/input_tokens"]));
        self.prompt_tokens = self.prompt_tokens.or(prompt);
        if let Some(error) = data.get("error").filter(|error| !error.is_null()) {
            self.error = Some(error.to_string());
        }
        if text("/type") == Some("error") {
            self.error = Some(data.to_string());
        }
        if streamed && has_content(data) {
            self.events += 1;
            if self.events == 1 {
                (self.first_socket_ns, self.first_read_ns) = (Some(event.arrival.socket), Some(event.arrival.read));
            }
        }
        if is_end(data) {
            self.end(event.arrival);
        }
    }

    /// Time to the first event with content: at the socket.
    pub fn first_token(&self) -> Option<u64> {
        Some(self.first_socket_ns?.saturating_sub(self.start_ns))
    }

    /// Whole duration: at the socket.
    pub fn duration(&self) -> u64 {
        self.end_socket_ns.saturating_sub(self.start_ns)
    }

    /// (duration − time to first token) / (tokens − 1).
    pub fn per_token(&self) -> Option<u64> {
        let more = self.tokens.unwrap_or(self.events).checked_sub(1).filter(|more| *more > 0)?;
        Some((self.duration() - self.first_token()?) / more)
    }
}

/// An event that carries some of the answer.
fn has_content(data: &Value) -> bool {
    let filled = |value: &Value, key: &str| value[key].as_str().is_some_and(|text| !text.is_empty());
    let choices = data["choices"].as_array().into_iter().flatten();
    let mut deltas = choices.flat_map(|choice| [choice, &choice["delta"]]);
    let openai = deltas.any(|delta| filled(delta, "content") || filled(delta, "text") || filled(delta, "reasoning"));
    let kind = data["type"].as_str().unwrap_or_default();
    let responses = kind.ends_with("_text.delta") && filled(data, "delta");
    let anthropic = kind == "content_block_delta" && filled(&data["delta"], "text");
    let ollama = data.get("done").is_some() && filled(&data["message"], "content");
    openai || responses || anthropic || ollama
}

/// The event after which nothing of the answer follows.
fn is_end(data: &Value) -> bool {
    let kind = data["type"].as_str().unwrap_or_default();
    data == "[DONE]" || data["done"] == true || matches!(kind, "response.completed" | "message_stop")
}
