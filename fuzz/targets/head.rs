//! Heads by the kernel's lexer, by the agent's reader, and by httparse: what one is sure of the others say, too.
//!
//! Input: a byte, even for a request and odd for a response, then the head.
#![no_main]

use httparse::{Header, Request, Response, Status};
use inferscope::wire::head::{RequestHead, ResponseHead};
use inferscope_common::head::{CHUNKED, Content, ENCODED, Head, SIZED};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&first, bytes)) = input.split_first() else { return };
    let mut fields = [httparse::EMPTY_HEADER; 64];
    // Line breaks before a message belong to no line of it: httparse passes over them, the lexer is not given any.
    let begins = bytes.first().is_some_and(u8::is_ascii_alphabetic);
    if first & 1 == 0 {
        let mut request = Request::new(&mut fields);
        let parsed = request.parse(bytes);
        let head = RequestHead::parse(bytes);
        assert!(head.is_none_or(|head| head.framing.start <= bytes.len() as u64));
        if let (Ok(Status::Complete(end)), true) = (parsed, begins) {
            let head = head.expect("httparse reads it");
            assert_eq!(head.framing.start, end as u64);
            compare(&lex(bytes, end), request.headers);
        }
        return;
    }
    let mut response = Response::new(&mut fields);
    let parsed = response.parse(bytes);
    let framing = ResponseHead::parse(bytes).framing;
    assert!(framing.start <= bytes.len() as u64);
    if let (Ok(Status::Complete(end)), true) = (parsed, begins) {
        let head = lex(bytes, end);
        assert_eq!(Some(head.status), response.code);
        compare(&head, response.headers);
        if !matches!(response.code, Some(100 | 102..=199)) {
            assert_eq!(framing.start, end as u64);
        }
    }
});

/// The lexer behind a head, which must end where httparse says.
fn lex(bytes: &[u8], end: usize) -> Head {
    let mut head = Head::default();
    let found = bytes.iter().position(|&byte| head.step(byte));
    assert_eq!(found, Some(end - 1), "{}", String::from_utf8_lossy(bytes));
    head
}

/// Compares what the lexer took note of with the fields, where these leave no doubt.
fn compare(head: &Head, fields: &[Header<'_>]) {
    let only = |name: &str| {
        let mut values = fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value);
        match (values.next(), values.next()) {
            (None, _) => Field::Absent,
            (Some(value), None) if is_plain(value) => Field::Plain(value.to_ascii_lowercase()),
            _ => Field::Odd,
        }
    };
    let length = only("content-length");
    match &length {
        Field::Absent => assert_eq!(head.flags & SIZED, 0),
        Field::Plain(digits) if digits.len() <= 17 && digits.iter().all(u8::is_ascii_digit) => {
            let expected: u64 = digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
            assert_eq!((head.flags & SIZED, head.length), (SIZED, expected));
        }
        _ => {}
    }
    let (transfer, encoding) = (only("transfer-encoding"), only("content-encoding"));
    match &transfer {
        Field::Absent => assert_eq!(head.flags & CHUNKED, 0),
        Field::Plain(coding) => assert_eq!(head.flags & CHUNKED != 0, coding == b"chunked"),
        Field::Odd => {}
    }
    if let (Field::Absent, Field::Plain(coding)) = (&transfer, &encoding) {
        assert_eq!(head.flags & ENCODED != 0, coding != b"identity");
    }
    if let (Field::Absent, Field::Absent) = (&transfer, &encoding) {
        assert_eq!(head.flags & ENCODED, 0);
    }
    match &only("content-type") {
        Field::Absent => assert_eq!(head.content, Content::Other as u8),
        Field::Plain(kind) => assert_eq!(head.content, content(kind) as u8),
        Field::Odd => {}
    }
}

/// A field's value.
enum Field {
    Absent,
    /// One word, in lower case.
    Plain(Vec<u8>),
    /// Anything else, about which readers may differ.
    Odd,
}

fn is_plain(value: &[u8]) -> bool {
    !value.is_empty() && value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"/-+._".contains(byte))
}

fn content(kind: &[u8]) -> Content {
    match kind {
        b"application/json" => Content::Json,
        b"text/event-stream" => Content::Sse,
        b"application/x-ndjson" | b"application/ndjson" | b"application/jsonl" => Content::NdJson,
        _ => Content::Other,
    }
}
