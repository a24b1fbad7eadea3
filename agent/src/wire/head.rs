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
        let (method, target) = (method(request.method?), request.path?);
        let path = target.split(['?', '#']).next().unwrap_or_default();
        let mut head = Self { method, path, parent: None, framing: Framing::default() };
        if let Ok(Status::Complete(start)) = parsed {
            head.framing = Framing::of(start, request.headers);
            let parent = request.headers.iter().find(|field| field.name.eq_ignore_ascii_case("traceparent"));
            head.parent = parent.and_then(|field| traceparent(field.value));
        }
        Some(head)
    }
}

/// Framing of the response whose bytes these are; interim responses are passed over.
pub fn response_framing(bytes: &[u8]) -> Framing {
    let mut start = 0;
    loop {
        let mut fields = [MaybeUninit::uninit(); FIELDS];
        let mut response = Response::new(&mut []);
        let rest = bytes.get(start..).unwrap_or_default();
        let parsed = ParserConfig::default().parse_response_with_uninit_headers(&mut response, rest, &mut fields);
        let Ok(Status::Complete(len)) = parsed else { return Framing::default() };
        start += len;
        if !matches!(response.code, Some(100 | 102..=199)) {
            return Framing::of(start, response.headers);
        }
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
