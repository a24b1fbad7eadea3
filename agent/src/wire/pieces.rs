//! The bytes that were passed on of one message: its beginning, its end, some of what lies between.

use std::ops::Range;

use inferscope_common::body::Body;

/// Bytes kept of one message: what the kernel passes on at most, and a little over.
const MOST_BYTES: usize = 32 * 1024;
/// Separate stretches kept of one message.
const MOST_SPANS: usize = 64;

const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

#[derive(Clone, Copy)]
struct Span {
    offset: u64,
    start: usize,
    len: usize,
}

impl Span {
    fn end(&self) -> u64 {
        self.offset.saturating_add(self.len as u64)
    }
}

/// Pieces of a message in whatever order they came. Holds text of requests: it has no `Debug`.
#[derive(Default)]
pub struct Pieces {
    bytes: Vec<u8>,
    spans: Vec<Span>,
    sorted: bool,
    ended: bool,
}

/// A stretch without gaps, and where in its message it begins.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// Offset of its first byte.
    pub offset: u64,
    /// Its bytes.
    pub bytes: &'a [u8],
}

impl Run<'_> {
    /// Offset behind its last byte.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.bytes.len() as u64)
    }
}

impl Pieces {
    /// Takes a piece; false where it was beyond the bounds and is lost.
    pub fn add(&mut self, offset: u64, piece: &[u8]) -> bool {
        if piece.is_empty() {
            return true;
        }
        if self.bytes.len() + piece.len() > MOST_BYTES {
            return false;
        }
        let (start, full) = (self.bytes.len(), self.spans.len() == MOST_SPANS);
        match self.spans.last_mut() {
            Some(last) if last.end() == offset => last.len += piece.len(),
            _ if full => return false,
            _ => self.spans.push(Span { offset, start, len: piece.len() }),
        }
        self.bytes.extend_from_slice(piece);
        self.sorted = false;
        true
    }

    /// Bytes held.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True where nothing is held.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Forgets everything, and keeps at most `capacity` bytes of memory for the next message.
    pub fn clear(&mut self, capacity: usize) {
        self.bytes.clear();
        self.bytes.shrink_to(capacity);
        self.spans.clear();
        self.sorted = false;
        self.ended = false;
    }

    /// Brings the pieces into the order of the message, and drops what came twice.
    pub fn sort(&mut self) {
        if self.sorted {
            return;
        }
        self.sorted = true;
        if self.spans.windows(2).all(|pair| pair[0].end() < pair[1].offset) {
            return;
        }
        self.spans.sort_by_key(|span| span.offset);
        let mut bytes = Vec::with_capacity(self.bytes.len());
        let mut merged: Vec<Span> = Vec::with_capacity(self.spans.len());
        for span in &self.spans {
            let known = merged.last().map_or(0, Span::end);
            let skip = usize::try_from(known.saturating_sub(span.offset)).unwrap_or(usize::MAX).min(span.len);
            if skip == span.len {
                continue;
            }
            let (offset, len, start) = (span.offset.saturating_add(skip as u64), span.len - skip, bytes.len());
            bytes.extend_from_slice(&self.bytes[span.start + skip..span.start + span.len]);
            match merged.last_mut() {
                Some(last) if last.end() == offset => last.len += len,
                _ => merged.push(Span { offset, start, len }),
            }
        }
        self.bytes = bytes;
        self.spans = merged;
    }

    /// Takes the framing out of a chunked body that begins at `start`. Offsets stay those of the message.
    pub fn dechunk(&mut self, start: u64) {
        let Self { bytes, spans, ended, .. } = self;
        let mut kept = 0;
        for span in spans {
            let end = span.start + span.len;
            let skip = usize::try_from(start.saturating_sub(span.offset)).unwrap_or(usize::MAX).min(span.len);
            bytes.copy_within(span.start..span.start + skip, kept);
            let body = span.start + skip..end;
            span.start = kept;
            *ended = bytes[body.clone()].ends_with(LAST_CHUNK);
            let content =
                if span.offset <= start { exact(bytes, body, kept + skip) } else { guessed(bytes, body, kept) };
            span.len = content - kept;
            kept = content;
        }
        bytes.truncate(kept);
    }

    /// True where [`Self::dechunk`] found the chunked body's end.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Every stretch without gaps, in order; [`Self::sort`] goes before.
    pub fn runs(&self) -> impl DoubleEndedIterator<Item = Run<'_>> {
        self.spans.iter().map(|span| Run { offset: span.offset, bytes: &self.bytes[span.start..span.start + span.len] })
    }

    /// The stretch that begins with the message, empty where the beginning is missing.
    pub fn beginning(&self) -> Run<'_> {
        self.runs().next().filter(|run| run.offset == 0).unwrap_or(Run { offset: 0, bytes: &[] })
    }
}

/// Moves the content of chunks to `to`, where the first one begins with the range; returns its end.
fn exact(bytes: &mut [u8], range: Range<usize>, mut to: usize) -> usize {
    let mut body = Body::chunked();
    let mut at = range.start;
    while at < range.end && !body.is_done() {
        let content = body.skippable((range.end - at) as u64) as usize;
        if content == 0 {
            body.step(bytes[at]);
            at += 1;
            continue;
        }
        body.skip(content as u64);
        bytes.copy_within(at..at + content, to);
        at += content;
        to += content;
    }
    to
}

/// The same from the middle of a body, where chunks show by a size between two line breaks, as nothing in JSON does.
fn guessed(bytes: &mut [u8], range: Range<usize>, mut to: usize) -> usize {
    let mut at = range.start;
    while at < range.end {
        let rest = &bytes[at..range.end];
        let end = memchr::memmem::find(rest, b"\r\n").unwrap_or(rest.len());
        let size = rest.get(end + 2..).unwrap_or_default();
        let digits = size.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let framing = if (1..=8).contains(&digits) && size[digits..].starts_with(b"\r\n") { digits + 4 } else { 0 };
        let copied = if framing > 0 { end } else { (end + 2).min(rest.len()) };
        bytes.copy_within(at..at + copied, to);
        at += copied + framing;
        to += copied;
    }
    to
}
