//! Streams as servers write them, for tests.

use proptest::prelude::*;

use crate::exchange::walk;
use crate::message::{Kind, Message};

const OLLAMA: usize = 4;

pub(crate) const RESPONSE: Kind = Kind::Response { bodyless: false };

/// Servers that [`event`] knows.
pub(crate) const SERVERS: usize = 5;

/// A server's response before its first event.
pub(crate) fn stream(server: usize, chunked: bool) -> Message {
    let mut message = Message::default();
    let kind = if server == OLLAMA { "application/x-ndjson" } else { "text/event-stream" };
    let framing = if chunked { "transfer-encoding: chunked\r\n" } else { "" };
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n{framing}\r\n");
    walk(&mut message, head.as_bytes(), RESPONSE);
    assert!(message.between_events());
    message
}

pub(crate) fn framed(data: &str, chunked: bool, upper: bool) -> Vec<u8> {
    match (chunked, upper) {
        (false, _) => data.to_owned(),
        (true, false) => format!("{:x}\r\n{data}\r\n", data.len()),
        (true, true) => format!("{:X}\r\n{data}\r\n", data.len()),
    }
    .into_bytes()
}

/// Events of several servers around a text that stands where a JSON string may.
pub(crate) fn event(server: usize, text: &str) -> String {
    match server {
        0 => format!(
            "data: {{\"id\":\"chatcmpl-8f3c1b2a\",\"object\":\"chat.completion.chunk\",\"model\":\"m\",\
             \"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"logprobs\":null,\
             \"finish_reason\":null,\"token_ids\":null}}]}}\n\n"
        ),
        1 => format!(
            "data: {{\"id\":\"chatcmpl-8f3c1b2a\",\"choices\":[{{\"delta\":{{\"tool_calls\":[{{\"index\":0,\
             \"function\":{{\"arguments\":\"{text}\"}}}}]}},\"finish_reason\":null}}],\"model\":\"m\"}}\n\n"
        ),
        2 => format!(
            "event: content_block_delta\r\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\
             \"delta\":{{\"type\":\"text_delta\",\"text\":\"{text}\"}}}}\r\n\r\n"
        ),
        OLLAMA => format!(
            "{{\"model\":\"m\",\"created_at\":\"2026-11-24T10:00:00Z\",\"message\":{{\"role\":\"assistant\",\
             \"content\":\"{text}\"}},\"done\":false}}\n"
        ),
        _ => format!(
            "event: response.output_text.delta\ndata: {{\"type\":\"response.output_text.delta\",\"item_id\":\
             \"msg_1234567890\",\"output_index\":0,\"delta\":\"{text}\",\"logprobs\":[],\"sequence_number\":7}}\n\n"
        ),
    }
}

pub(crate) fn text() -> impl Strategy<Value = String> {
    // As it stands between the quotes of a JSON string.
    prop_oneof!["[a-z ]{0,12}", "\\PC{0,40}", "[\"\\\\\\]\\[{}:,\n\r]{0,8}"].prop_map(|text: String| {
        let quoted = serde_json::to_string(&text).unwrap();
        quoted[1..quoted.len() - 1].to_owned()
    })
}
