//! Bytes that never come: what passes behind them is metered as soon as its place is known.

use inferscope::model::request::{Outcome, Request};
use inferscope::model::workload::WorkloadId;
use inferscope::wire::meter::Link;
use inferscope::wire::{Assembler, Direction, Limits, Meter, Segment};
use inferscope_common::exchange::{HOLES, JOINED};
use inferscope_common::flow::{Endpoints, Role};

const ASK: &str =
    "POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 30\r\n\r\n{\"model\":\"m\",\"stream\":true   }";
const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
const EVENT: &str = "2f\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n\r\n";
const DONE: &str = "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";
const SHORT: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";

/// A connection to a server that is watched.
struct Connection {
    meter: Meter,
    assembler: Assembler,
    offsets: [u64; 2],
    time: u64,
    requests: Vec<Request>,
}

impl Connection {
    fn new() -> Self {
        let (mut meter, mut assembler) = (Meter::default(), Assembler::new(Limits::default()));
        meter.open(7, 0, Link { slot: 3, role: Role::Server, endpoints: Endpoints::default() });
        assembler.bind(3, WorkloadId(1));
        Self { meter, assembler, offsets: [0; 2], time: 1_000_000, requests: Vec::new() }
    }

    fn pass(&mut self, direction: Direction, text: &str) -> &mut Self {
        let offset = &mut self.offsets[direction as usize];
        self.time += 1_000;
        let segment =
            Segment { connection: 7, stream: 0, direction, offset: *offset, time: self.time, bytes: text.as_bytes() };
        *offset += text.len() as u64;
        let Self { meter, assembler, requests, .. } = self;
        meter.feed(&segment, |header, record| requests.extend(assembler.take(header, record)));
        self
    }

    fn ask(&mut self, text: &str) -> &mut Self {
        self.pass(Direction::In, text)
    }

    fn answer(&mut self, text: &str) -> &mut Self {
        self.pass(Direction::Out, text)
    }

    /// These bytes never come.
    fn miss(&mut self, direction: Direction, text: &str) -> &mut Self {
        self.offsets[direction as usize] += text.len() as u64;
        self
    }

    /// One exchange more, of which nothing is missing and whose request is told whole; those before it.
    fn then_whole(&mut self) -> Vec<Request> {
        self.ask(ASK).answer(SHORT);
        let next = self.requests.pop().unwrap();
        assert_eq!((next.outcome, next.status, next.figures.flags & (HOLES | JOINED)), (Outcome::Ok, 200, 0));
        assert_eq!(next.figures.response_bytes, SHORT.len() as u64);
        assert!(next.duration.is_some());
        std::mem::take(&mut self.requests)
    }
}

#[test]
fn of_a_torn_head_the_rest_is_lost() {
    let mut connection = Connection::new();
    let (first, rest) = STREAM.split_at(20);
    connection.ask(ASK).answer(first).miss(Direction::Out, rest).answer(EVENT).answer(DONE);
    let before = connection.then_whole();
    let [torn] = &before[..] else { panic!("{before:?}") };
    assert_eq!((torn.outcome.clone(), torn.figures.flags & HOLES, torn.output_tokens), (Outcome::Ok, HOLES, None));
    assert_eq!(torn.figures.response_bytes, (STREAM.len() + EVENT.len() + DONE.len()) as u64);
    assert_eq!(connection.meter.lost(), (EVENT.len() + DONE.len()) as u64);
}

#[test]
fn a_head_whose_beginning_is_missing_is_torn() {
    let mut connection = Connection::new();
    // Where a direction begins, its first bytes tell.
    connection.ask(ASK).answer(SHORT).ask(ASK).miss(Direction::Out, &SHORT[..30]).answer(&SHORT[30..]);
    assert_eq!(connection.then_whole().len(), 2);
    assert_eq!(connection.meter.lost(), SHORT.len() as u64 - 30);
}

#[test]
fn events_behind_missing_ones_count() {
    let mut connection = Connection::new();
    connection.ask(ASK).answer(STREAM).answer(EVENT).miss(Direction::Out, EVENT).answer(EVENT).answer(DONE);
    let before = connection.then_whole();
    let [request] = &before[..] else { panic!("{before:?}") };
    assert_eq!((request.outcome.clone(), request.output_tokens), (Outcome::Ok, Some(2)));
    assert_eq!((request.figures.flags & HOLES, connection.meter.lost()), (HOLES, 0));
}

#[test]
fn a_request_may_lack_part_of_its_body() {
    let mut connection = Connection::new();
    let (first, rest) = ASK.split_at(ASK.len() - 20);
    connection.ask(first).miss(Direction::In, &rest[..10]).ask(&rest[10..]).answer(SHORT);
    assert_eq!(connection.then_whole().len(), 1);
    // And be answered before its end.
    connection.ask(first).answer(SHORT).miss(Direction::In, &rest[..10]).ask(&rest[10..]);
    assert_eq!(connection.then_whole().len(), 1);
}

#[test]
fn whole_exchanges_may_be_missing() {
    let mut connection = Connection::new();
    connection.ask(ASK).answer(SHORT).miss(Direction::In, ASK).miss(Direction::Out, SHORT);
    assert_eq!(connection.then_whole().len(), 1);
}
