//! The texts that tests exchange.

/// A chat completion request, asking for a stream.
pub(crate) const REQUEST: &str = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 30\r\n\r\n\
{\"model\":\"m\",\"stream\":true   }";

/// The head of a response that streams in chunks.
pub(crate) const STREAM: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

/// A whole response that is no stream.
pub(crate) const SHORT: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";

/// One event with content, in a chunk of its own.
pub(crate) fn event(text: &str) -> String {
    let data = format!(
        "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"model\":\"m\",\"choices\":[{{\"index\":0,\
\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}]}}\n\n"
    );
    chunk(&data)
}

pub(crate) fn chunk(data: &str) -> String {
    format!("{:x}\r\n{data}\r\n", data.len())
}

/// What ends a stream.
pub(crate) const DONE: &str = "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";

/// A request with a prompt of `bytes` bytes.
pub(crate) fn prompt(bytes: usize) -> String {
    let body = format!("{{\"model\":\"m\",\"stream\":true,\"prompt\":\"{}\"}}", "a".repeat(bytes));
    format!("POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}
