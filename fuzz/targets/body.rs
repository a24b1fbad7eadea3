//! A chunked body byte by byte, and by httparse with all of it at hand: the same content and the same end.
#![no_main]

use httparse::{Status, parse_chunk_size};
use inferscope_common::body::{Body, Part};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let (content, end) = lexed(input);
    assert!(end <= input.len());
    let Some((expected, expected_end)) = whole(input) else { return };
    assert_eq!(content, expected);
    assert_eq!(end, expected_end);
});

/// Content and end by the machine that kernel and agent share.
fn lexed(input: &[u8]) -> (Vec<u8>, usize) {
    let (mut body, mut content) = (Body::chunked(), Vec::new());
    for (at, &byte) in input.iter().enumerate() {
        match body.step(byte) {
            Part::Data => content.push(byte),
            // Broken framing is looked for; what is correct has none.
            Part::Frame | Part::Lost(_) => {}
            Part::End => return (content, at + 1),
            Part::DataEnd => unreachable!("a chunked body ends with its framing"),
        }
    }
    (content, input.len())
}

/// The same with everything at hand; `None` where the body is not complete and correct.
fn whole(input: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut content, mut at) = (Vec::new(), 0);
    loop {
        let Ok(Status::Complete((head, size))) = parse_chunk_size(&input[at..]) else { return None };
        // httparse takes a line without a number, and one with a line break in its extension.
        let line = &input[at..at + head];
        if !line[0].is_ascii_hexdigit() || line[..head - 2].iter().any(|byte| b"\r\n".contains(byte)) {
            return None;
        }
        at += head;
        if size == 0 {
            return Some((content, trailer_end(input, at)?));
        }
        let size = usize::try_from(size).ok()?;
        content.extend_from_slice(input.get(at..at.checked_add(size)?)?);
        at += size;
        if input.get(at..at + 2) != Some(b"\r\n") {
            return None;
        }
        at += 2;
    }
}

/// Behind the empty line that ends the trailers.
fn trailer_end(input: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let line = input.get(at..)?;
        let len = line.windows(2).position(|pair| pair == b"\r\n")?;
        if line[..len].iter().any(|byte| b"\r\n".contains(byte)) {
            return None;
        }
        at += len + 2;
        if len == 0 {
            return Some(at);
        }
    }
}
