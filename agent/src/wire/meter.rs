//! Meters byte streams in user space as the kernel meters packets: same machines, same records.

use std::collections::HashMap;

use inferscope_common::exchange::{CLOSED_HERE, CLOSED_THERE, COMPLETE, Exchange, HOLES, JOINED, RESET, Step, walk};
use inferscope_common::flow::{
    Endpoints, Header, Kind, PIECE_CAPTURE, REQUEST_CAPTURE, RESPONSE_CAPTURE, Role, STREAM_PIECES, Summary,
};
use inferscope_common::json::ERROR;
use inferscope_common::message::{HEAD_END, Kind as MessageKind, MESSAGE_END, NOT_HTTP, TUNNEL};
use inferscope_common::sniff::{self, Start};

/// Which way bytes pass, as the workload sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// Towards the workload.
    In,
    /// From the workload.
    Out,
}

/// Bytes of a connection. Holds text: it has no `Debug`.
#[derive(Clone, Copy)]
pub struct Segment<'a> {
    /// The connection, unique while the machine runs.
    pub connection: u64,
    /// The stream within it; 0 where the protocol has none.
    pub stream: u32,
    /// Which way they pass.
    pub direction: Direction,
    /// Where they begin in the bytes of this direction of the stream.
    pub offset: u64,
    /// When they passed, in nanoseconds of `CLOCK_MONOTONIC`.
    pub time: u64,
    /// The bytes.
    pub bytes: &'a [u8],
}

/// What a meter says: what follows a record's header.
pub enum Record<'a> {
    /// Bytes of a message.
    Piece(&'a [u8]),
    /// The exchange is over.
    End(&'a Summary),
}

/// Whose connection it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// The workload's slot.
    pub slot: u32,
    /// The workload's part.
    pub role: Role,
    /// Between whom.
    pub endpoints: Endpoints,
}

/// One stream of a connection.
struct Flow {
    link: Link,
    exchange: Exchange,
    /// The next byte, by direction: in, out; `None` before the first.
    next: [Option<u64>; 2],
    /// Exchanges so far.
    number: u32,
    /// Pieces of the response passed on.
    pieces: u8,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first exchange, or in the head of a request.
    Waiting,
    /// In an exchange that counts as a request.
    Open,
    /// Behind an exchange, of whose request bytes may still come.
    Over,
    /// Nothing here is HTTP/1 that can be followed.
    Opaque,
}

/// Meters any number of connections.
#[derive(Default)]
pub struct Meter {
    flows: HashMap<(u64, u32), Flow>,
    lost: u64,
}

impl Meter {
    /// Begins a stream of a connection; until then its bytes mean nothing.
    pub fn open(&mut self, connection: u64, stream: u32, link: Link) {
        let flow =
            Flow { link, exchange: Exchange::default(), next: [None; 2], number: 0, pieces: 0, state: State::Waiting };
        self.flows.insert((connection, stream), flow);
    }

    /// Takes bytes and says what they bring.
    pub fn feed(&mut self, segment: &Segment<'_>, mut say: impl FnMut(&Header, Record<'_>)) {
        let Some(flow) = self.flows.get_mut(&(segment.connection, segment.stream)) else {
            self.lost += segment.bytes.len() as u64;
            return;
        };
        self.lost += flow.feed(segment, &mut say);
    }

    /// Ends a stream. `by`: the side that closes, [`Direction::Out`] for the workload's; `reset`: without courtesy.
    pub fn close(
        &mut self,
        (connection, stream): (u64, u32),
        by: Direction,
        reset: bool,
        time: u64,
        mut say: impl FnMut(&Header, Record<'_>),
    ) {
        let Some(mut flow) = self.flows.remove(&(connection, stream)) else { return };
        if flow.state != State::Open {
            return;
        }
        let figures = &mut flow.exchange.figures;
        let responder = (by == Direction::Out) == (flow.link.role == Role::Server);
        let response = &flow.exchange.response;
        if responder && !reset && (response.body.is_until_close() || response.is_headless()) {
            figures.flags |= COMPLETE;
        } else {
            figures.flags |= if by == Direction::Out { CLOSED_HERE } else { CLOSED_THERE };
            figures.flags |= if reset { RESET } else { 0 };
        }
        flow.end(connection, stream, time, &mut say);
    }

    /// Bytes that could not be metered: of unknown connections, behind gaps, of requests sent too early.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}

type Say<'a> = &'a mut dyn FnMut(&Header, Record<'_>);

impl Flow {
    /// Returns the bytes that were lost.
    fn feed(&mut self, segment: &Segment<'_>, say: Say<'_>) -> u64 {
        let len = segment.bytes.len() as u64;
        if self.state == State::Opaque || len == 0 {
            return 0;
        }
        let next = &mut self.next[usize::from(segment.direction == Direction::Out)];
        let expected = next.unwrap_or(segment.offset);
        let known = expected.saturating_sub(segment.offset);
        if known >= len {
            return 0;
        }
        *next = Some(segment.offset.saturating_add(len));
        let is_response = (segment.direction == Direction::Out) == (self.link.role == Role::Server);
        let torn = match segment.offset.saturating_sub(expected) {
            0 => 0,
            gap => self.bridge(is_response, gap),
        };
        // In bounds: `known` is less than the length.
        let fresh = Segment { bytes: &segment.bytes[known as usize..], ..*segment };
        torn + if is_response { self.response(&fresh, say) } else { self.request(&fresh, say) }
    }

    /// Goes on after bytes that never came. Returns how many before them are lost with them.
    fn bridge(&mut self, is_response: bool, gap: u64) -> u64 {
        let Exchange { request, response, figures, .. } = &mut self.exchange;
        if is_response {
            figures.flags |= HOLES;
            figures.response_bytes = figures.response_bytes.saturating_add(gap);
            // Whether bytes before the first one are of this response, its first one will tell.
            if response.has_begun() {
                response.lose_head();
            }
            response.resume_after(gap);
            return response.take_lost().into();
        }
        figures.request_bytes = figures.request_bytes.saturating_add(gap);
        request.resume_after(gap);
        if self.state == State::Over {
            // What comes next may well be another request.
            request.abandon();
        }
        request.take_lost().into()
    }

    /// Ends an exchange whose response has no end that can be told; false where it has one.
    fn settle(&mut self, segment: &Segment<'_>, say: Say<'_>) -> bool {
        if !self.exchange.response.is_headless() {
            return false;
        }
        self.exchange.figures.flags |= COMPLETE | HOLES;
        self.end(segment.connection, segment.stream, segment.time, say);
        true
    }

    fn begin(&mut self) {
        self.exchange = Exchange::default();
        self.number = self.number.wrapping_add(1);
        self.pieces = 0;
        self.state = State::Waiting;
    }

    fn request(&mut self, segment: &Segment<'_>, say: Say<'_>) -> u64 {
        let len = segment.bytes.len() as u64;
        let over = self.exchange.request.is_done() || self.exchange.figures.flags & JOINED != 0;
        if self.state == State::Open && over && !self.settle(segment, say) {
            return len;
        }
        let joined = self.exchange.figures.request_first == 0;
        if self.state == State::Over && !joined && !self.exchange.request.is_done() {
            let (_, used) = walk(&mut self.exchange.request, segment.bytes, MessageKind::Request);
            return len - used as u64;
        }
        if self.state == State::Over || joined {
            self.begin();
        }
        let offset = self.exchange.figures.request_bytes;
        if offset < 4 && !self.judge_start(offset as u32, segment.bytes) {
            return len;
        }
        let (step, used) = walk(&mut self.exchange.request, segment.bytes, MessageKind::Request);
        if step.signals & NOT_HTTP != 0 {
            self.state = State::Opaque;
            return len;
        }
        self.exchange.requested(used as u64, segment.time);
        if step.signals & HEAD_END != 0 {
            self.state = State::Open;
        }
        // What follows the message's end is another request.
        self.capture_request(&Segment { bytes: &segment.bytes[..used], ..*segment }, offset, say);
        len - used as u64 + u64::from(self.exchange.request.take_lost())
    }

    /// Looks at a request's first four bytes, however they come.
    fn judge_start(&mut self, offset: u32, bytes: &[u8]) -> bool {
        let mut word = [0; 8];
        word.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        match sniff::request(offset, u64::from_le_bytes(word), len) {
            Start::Request { bodyless } => self.exchange.bodyless |= u8::from(bodyless),
            Start::Undecided => {}
            // The rest of a request of which bytes are missing.
            Start::Response | Start::Other if self.number > 1 => {
                self.exchange.request.abandon();
                return false;
            }
            Start::Response | Start::Other => {
                self.state = State::Opaque;
                return false;
            }
        }
        true
    }

    fn capture_request(&self, segment: &Segment<'_>, offset: u64, say: Say<'_>) {
        let mut header = self.header(segment, Kind::Request);
        let capture = u64::from(REQUEST_CAPTURE);
        if offset < capture {
            self.piece(&mut header, offset, start(segment.bytes, capture - offset), say);
            if offset + segment.bytes.len() as u64 <= capture {
                return;
            }
        }
        let request = &self.exchange.request;
        if request.is_done() || request.body.left().is_some_and(|left| left <= u64::from(PIECE_CAPTURE)) {
            self.tail(&mut header, offset, segment.bytes, say);
        }
    }

    fn response(&mut self, segment: &Segment<'_>, say: Say<'_>) -> u64 {
        let len = segment.bytes.len() as u64;
        if self.state != State::Open {
            if !segment.bytes.starts_with(b"HTTP/1.") {
                return len;
            }
            self.begin();
            self.exchange.figures.flags = JOINED;
            self.state = State::Open;
        }
        self.begin_behind_gap(segment.bytes);
        if self.exchange.response.is_headless() {
            self.exchange.responded(len, segment.time, Step::default());
            return len;
        }
        let offset = self.exchange.figures.response_bytes;
        let kind = self.exchange.response_kind();
        let (step, used) = walk(&mut self.exchange.response, segment.bytes, kind);
        let early = self.exchange.figures.first_content == 0;
        // What follows the message's end belongs to nobody.
        let bytes = &segment.bytes[..used];
        self.exchange.responded(used as u64, segment.time, step);
        if early || step.signals & ERROR != 0 {
            self.capture_response(&Segment { bytes, ..*segment }, offset, say);
        }
        if step.signals & MESSAGE_END != 0 {
            self.end(segment.connection, segment.stream, segment.time, say);
        }
        if step.signals & TUNNEL != 0 {
            self.state = State::Opaque;
        }
        len - used as u64 + u64::from(self.exchange.response.take_lost())
    }

    /// Where bytes are missing before the first of a response: they were of one before it, or its own beginning.
    fn begin_behind_gap(&mut self, bytes: &[u8]) {
        let Exchange { response, figures, .. } = &mut self.exchange;
        if figures.flags & HOLES == 0 || response.has_begun() {
            return;
        }
        if !bytes.starts_with(b"HTTP/1.") {
            response.lose_head();
        } else if figures.response_first == 0 {
            figures.flags &= !HOLES;
            figures.response_bytes = 0;
        }
    }

    fn capture_response(&mut self, segment: &Segment<'_>, offset: u64, say: Say<'_>) {
        let mut header = self.header(segment, Kind::Response);
        let response = &self.exchange.response;
        if response.is_stream() {
            if self.pieces < STREAM_PIECES {
                self.pieces += 1;
                self.piece(&mut header, offset, start(segment.bytes, PIECE_CAPTURE.into()), say);
            }
            return;
        }
        let capture = u64::from(RESPONSE_CAPTURE);
        if offset < capture {
            self.piece(&mut header, offset, start(segment.bytes, capture - offset), say);
        }
        let near = response.is_done() || response.body.left().is_some_and(|left| left <= u64::from(PIECE_CAPTURE));
        if near && offset + segment.bytes.len() as u64 > capture {
            self.tail(&mut header, offset, segment.bytes, say);
        }
    }

    fn tail(&self, header: &mut Header, offset: u64, bytes: &[u8], say: Say<'_>) {
        let skip = bytes.len().saturating_sub(PIECE_CAPTURE as usize);
        self.piece(header, offset + skip as u64, &bytes[skip..], say);
    }

    fn piece(&self, header: &mut Header, offset: u64, bytes: &[u8], say: Say<'_>) {
        header.offset = offset;
        header.captured = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        say(header, Record::Piece(bytes));
    }

    fn header(&self, segment: &Segment<'_>, kind: Kind) -> Header {
        self.header_at(segment.connection, segment.stream, segment.time, kind)
    }

    fn header_at(&self, connection: u64, stream: u32, time: u64, kind: Kind) -> Header {
        Header {
            connection,
            time,
            // A stream of its own carries one exchange, and its number names it.
            exchange: if stream == 0 { self.number } else { stream },
            slot: self.link.slot,
            kind: kind as u8,
            role: self.link.role as u8,
            ..Header::default()
        }
    }

    fn end(&mut self, connection: u64, stream: u32, time: u64, say: Say<'_>) {
        self.state = State::Over;
        let header = self.header_at(connection, stream, time, Kind::End);
        let summary = Summary { figures: *self.exchange.close(), endpoints: self.link.endpoints };
        say(&header, Record::End(&summary));
    }
}

/// The first `limit` bytes, or as many as there are.
fn start(bytes: &[u8], limit: u64) -> &[u8] {
    &bytes[..usize::try_from(limit).unwrap_or(usize::MAX).min(bytes.len())]
}
