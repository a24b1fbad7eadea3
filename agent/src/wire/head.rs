//! HTTP/1 heads: what a request asks for, and where a body begins and how it is framed.

use std::mem::MaybeUninit;

use httparse::{Header, ParserConfig, Request, Response, Status};

use crate::model::request::Traceparent;
use crate::wire::labels::OTHER;

/// Most header fields of a head; one with more is read without its fields.
const FIELDS: usize = 96;

/// How a body is framed, as its head says.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Framing {
    /// Where the body begins in its message, in bytes; 0 = the head is not complete.
    pub start: u64,
    /// Length of the body, where given.
    pub length: Option<u64>,
    /// The body comes in chunks.
    pub chunked: bool,
    /// The body is compressed.
    pub encoded: bool,
}

impl Framing {
    /// Where the chunks of a chunked body begin.
    pub fn chunks(&self) -> Option<u64> {
        (self.chunked && self.start > 0).then_some(self.start)
    }

    fn of(start: usize, fields: &[Header<'_>]) -> Self {
        let mut framing = Self { start: start as u64, ..Self::default() };
        for field in fields {
            // The length tells most fields apart at no cost.
            match field.name.len() {
                14 if field.name.eq_ignore_ascii_case("content-length") => {
                    framing.length = std::str::from_utf8(field.value).ok().and_then(|text| text.trim().parse().ok());
                }
                16 if field.name.eq_ignore_ascii_case("content-encoding") => {
                    framing.encoded = !field.value.eq_ignore_ascii_case(b"identity") && !field.value.is_empty();
                }
                17 if field.name.eq_ignore_ascii_case("transfer-encoding") => {
                    framing.chunked = field.value.to_ascii_lowercase().ends_with(b"chunked");
                }
                _ => {}
            }
        }
        framing
    }
}

/// A request's head. Holds a path with its query: it has no `Debug`.
#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    /// Method, in the known set or [`OTHER`].
    pub method: &'static str,
    /// Version of HTTP.
    pub version: Option<&'static str>,
    /// Path without its query.
    pub path: &'a str,
    /// The caller's span.
    pub parent: Option<Traceparent>,
    /// How the body is framed.
    pub framing: Framing,
}

impl<'a> RequestHead<'a> {
    /// Reads a head; of an incomplete one what is there. `None` where the bytes begin no request.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut fields = [MaybeUninit::uninit(); FIELDS];
        let mut request = Request::new(&mut []);
        let parsed = ParserConfig::default().parse_request_with_uninit_headers(&mut request, bytes, &mut fields);
        let name = request.method?;
        let target = request.path.unwrap_or_else(|| cut_target(bytes, name));
        let (method, path) = (method(name), target.split(['?', '#']).next().unwrap_or_default());
        let version = request.version.and_then(version);
        let mut head = Self { method, version, path, parent: None, framing: Framing::default() };
        if let Ok(Status::Complete(start)) = parsed {
            head.framing = Framing::of(start, request.headers);
            let parent = request.headers.iter().find(|field| field.name.eq_ignore_ascii_case("traceparent"));
            head.parent = parent.and_then(|field| traceparent(field.value));
        }
        Some(head)
    }
}

/// What is there of a target that is longer than what was passed on; nothing where its path may go on.
fn cut_target<'a>(bytes: &'a [u8], method: &str) -> &'a str {
    let seen = bytes.get(method.len() + 1..).unwrap_or_default();
    let path = seen.iter().position(|byte| matches!(byte, b'?' | b'#')).map(|end| &seen[..end]);
    path.and_then(|path| std::str::from_utf8(path).ok()).unwrap_or_default()
}

/// A response's head.
#[derive(Clone, Copy, Default, Debug)]
pub struct ResponseHead {
    /// Version of HTTP.
    pub version: Option<&'static str>,
    /// How the body is framed.
    pub framing: Framing,
}

impl ResponseHead {
    /// Reads a head, interim responses passed over; of an incomplete one what is there.
    pub fn parse(bytes: &[u8]) -> Self {
        let mut start = 0;
        loop {
            let mut fields = [MaybeUninit::uninit(); FIELDS];
            let mut response = Response::new(&mut []);
            let rest = bytes.get(start..).unwrap_or_default();
            let parsed = ParserConfig::default().parse_response_with_uninit_headers(&mut response, rest, &mut fields);
            let version = response.version.and_then(version);
            let Ok(Status::Complete(len)) = parsed else { return Self { version, framing: Framing::default() } };
            start += len;
            if !matches!(response.code, Some(100 | 102..=199)) {
                return Self { version, framing: Framing::of(start, response.headers) };
            }
        }
    }
}

/// `network.protocol.version` by the minor version of HTTP/1.
fn version(minor: u8) -> Option<&'static str> {
    match minor {
        0 => Some("1.0"),
        1 => Some("1.1"),
        _ => None,
    }
}

/// The methods of `http.request.method`.
fn method(name: &str) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE"];
    KNOWN.into_iter().find(|known| *known == name).unwrap_or(OTHER)
}

/// W3C trace context, level 2; later versions are read as far as they agree with it.
fn traceparent(value: &[u8]) -> Option<Traceparent> {
    let version = hex::<1>(value.get(..2)?)?[0];
    let separators = [2, 35, 52].iter().all(|&at| value.get(at) == Some(&b'-'));
    let rest = value.get(55..)?;
    let ends = rest.is_empty() || version > 0 && rest[0] == b'-';
    if version == 0xff || !separators || !ends {
        return None;
    }
    let (trace_id, span_id) = (hex(&value[3..35])?, hex(&value[36..52])?);
    let flags = hex::<1>(&value[53..55])?[0];
    (trace_id != [0; 16] && span_id != [0; 8]).then_some(Traceparent { trace_id, span_id, flags })
}

fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_that_was_cut_tells_what_it_can() {
        let of = |text: &str| RequestHead::parse(text.as_bytes()).map(|head| (head.method, head.path.to_owned()));
        assert_eq!(of("GET /v1/mod"), Some(("GET", String::new())), "the path may go on");
        assert_eq!(of("GET /v1/models?a=b&c"), Some(("GET", "/v1/models".to_owned())));
        assert_eq!(of("GET /v1/models HTTP/1.1\r\nhost: x"), Some(("GET", "/v1/models".to_owned())));
        assert_eq!(of("GE"), None);
    }

    #[test]
    fn each_head_names_its_version() {
        let request = |text: &str| RequestHead::parse(text.as_bytes()).and_then(|head| head.version);
        assert_eq!(request("GET / HTTP/1.1\r\nhost: x"), Some("1.1"));
        assert_eq!(request("GET / HTTP/1.0\r\n\r\n"), Some("1.0"));
        assert_eq!(request("GET /long"), None, "the line may go on");
        let response = |text: &str| ResponseHead::parse(text.as_bytes()).version;
        assert_eq!(response("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\n\r\n"), Some("1.0"));
        assert_eq!(response("data: x"), None);
    }
}
