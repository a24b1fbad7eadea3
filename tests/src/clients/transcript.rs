//! What a client read, byte by byte with its time of arrival, and what it means. Shares no code with the agent.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// When bytes came, in nanoseconds of `CLOCK_MONOTONIC`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Arrival {
    /// When the kernel received them for the client's socket (`SO_TIMESTAMPNS`).
    pub socket: u64,
    /// When the client's read returned them.
    pub read: u64,
}

/// Bytes of one response.
#[derive(Clone, Default)]
pub struct Transcript {
    bytes: Vec<u8>,
    /// Where each read ended, and when it came.
    reads: Vec<(usize, Arrival)>,
}

impl Transcript {
    /// Appends what one read brought.
    pub fn push(&mut self, bytes: &[u8], arrival: Arrival) {
        self.bytes.extend_from_slice(bytes);
        self.reads.push((self.bytes.len(), arrival));
    }

    /// When the byte at `offset` came.
    fn arrival(&self, offset: usize) -> Option<Arrival> {
        self.reads.iter().find(|(end, _)| offset < *end).map(|(_, arrival)| *arrival)
    }

    /// The bytes as they came.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Reads the response at the beginning; `None` while it is not whole. `closed`: nothing more will come.
    pub fn response(&self, closed: bool) -> Result<Option<Response>> {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut head = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(start) = head.parse(&self.bytes).context("the response's head")? else {
            return Ok(None);
        };
        let header = |name: &str| {
            let found = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
            found.map(|header| String::from_utf8_lossy(header.value).to_ascii_lowercase())
        };
        let status = head.code.context("no status")?;
        let (offsets, whole) = if header("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
            self.chunks(start)?
        } else if let Some(length) = header("content-length") {
            let end = start + length.parse::<usize>().context("the response's length")?;
            ((start..end.min(self.bytes.len())).collect(), self.bytes.len() >= end)
        } else {
            ((start..self.bytes.len()).collect::<Vec<_>>(), closed)
        };
        if !whole && !closed {
            return Ok(None);
        }
        let kind = header("content-type").unwrap_or_default();
        let encoded = header("content-encoding").is_some();
        let text: Vec<u8> = offsets.iter().map(|offset| self.bytes[*offset]).collect();
        let arrivals = offsets.iter().map(|offset| self.arrival(*offset)).collect::<Option<Vec<_>>>();
        let arrivals = arrivals.context("bytes without a time")?;
        Ok(Some(Response { status, kind, encoded, whole, text, arrivals }))
    }

    /// Offsets of a chunked body's bytes, and whether its last chunk is there.
    fn chunks(&self, start: usize) -> Result<(Vec<usize>, bool)> {
        let (mut offsets, mut at) = (Vec::new(), start);
        loop {
            let rest = self.bytes.get(at..).unwrap_or_default();
            let Some(line) = rest.windows(2).position(|pair| pair == b"\r\n") else { return Ok((offsets, false)) };
            let size = std::str::from_utf8(&rest[..line])?.trim();
            let size = usize::from_str_radix(size, 16).with_context(|| format!("a chunk of size {size:?}"))?;
            at += line + 2;
            if size == 0 {
                return Ok((offsets, self.bytes[at..].starts_with(b"\r\n")));
            }
            offsets.extend(at..(at + size).min(self.bytes.len()));
            at += size + 2;
            ensure!(self.bytes.len() < at || self.bytes[..at].ends_with(b"\r\n"), "a chunk without an end");
        }
    }
}

/// A response and when each byte of its body came.
pub struct Response {
    /// Status code.
    pub status: u16,
    /// `content-type`.
    pub kind: String,
    /// It is compressed.
    pub encoded: bool,
    /// It came to the end that its framing names.
    pub whole: bool,
    /// The body.
    pub text: Vec<u8>,
    arrivals: Vec<Arrival>,
}

/// An event of a stream, or a body that is one object.
pub struct Event {
    /// Its data; a plain word such as `[DONE]` is a string.
    pub data: Value,
    /// When its last byte came.
    pub arrival: Arrival,
}

impl Response {
    /// When the body's last byte came.
    pub fn last(&self) -> Option<Arrival> {
        self.arrivals.last().copied()
    }

    /// It comes as events.
    pub fn is_stream(&self) -> bool {
        self.kind.starts_with("text/event-stream") || self.kind.starts_with("application/x-ndjson")
    }

    /// The events of a stream in order; a body of JSON is one event.
    pub fn events(&self) -> Result<Vec<Event>> {
        if self.encoded {
            bail!("the response is compressed");
        }
        if self.kind.starts_with("text/event-stream") {
            return self.lines(Some(b"data:"));
        }
        if self.kind.starts_with("application/x-ndjson") {
            return self.lines(None);
        }
        let Some(arrival) = self.last().filter(|_| self.kind.starts_with("application/json")) else {
            return Ok(Vec::new());
        };
        let data = serde_json::from_slice(&self.text).context("the response's body")?;
        Ok(vec![Event { data, arrival }])
    }

    /// Lines that begin so; every event of ours is one line of data.
    fn lines(&self, prefix: Option<&[u8]>) -> Result<Vec<Event>> {
        let (mut events, mut begin) = (Vec::new(), 0);
        for line in self.text.split_inclusive(|byte| *byte == b'\n') {
            begin += line.len();
            let line = line.trim_ascii();
            let data = match prefix {
                Some(prefix) => line.strip_prefix(prefix),
                None => Some(line).filter(|line| !line.is_empty()),
            };
            let Some(data) = data.map(<[u8]>::trim_ascii) else { continue };
            let word = || Value::String(String::from_utf8_lossy(data).into_owned());
            let data = serde_json::from_slice(data).unwrap_or_else(|_| word());
            events.push(Event { data, arrival: self.arrivals[begin - 1] });
        }
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(time: u64) -> Arrival {
        Arrival { socket: time, read: time + 1 }
    }

    #[test]
    fn an_event_came_with_its_last_byte() {
        let mut transcript = Transcript::default();
        transcript.push(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n", arrival(1));
        transcript.push(b"Transfer-Encoding: chunked\r\n\r\n9\r\ndata: \"a", arrival(2));
        assert!(transcript.response(false).unwrap().is_none());
        transcript.push(b"\"\r\n2\r\n\n\n\r\n", arrival(3));
        transcript.push(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n", arrival(4));
        let response = transcript.response(false).unwrap().unwrap();
        let events = response.events().unwrap();
        let seen: Vec<_> = events.iter().map(|event| (event.data.as_str().unwrap(), event.arrival.socket)).collect();
        assert_eq!(seen, [("a", 3), ("[DONE]", 4)]);
        assert!(response.whole);
    }

    #[test]
    fn a_body_has_its_length() {
        let mut transcript = Transcript::default();
        transcript.push(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{", arrival(1));
        assert!(transcript.response(false).unwrap().is_none());
        transcript.push(b"}", arrival(2));
        let response = transcript.response(false).unwrap().unwrap();
        assert_eq!((response.status, response.last()), (400, Some(arrival(2))));
    }
}
