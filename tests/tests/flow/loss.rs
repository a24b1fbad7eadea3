//! Segments that are lost: what is sent again counts once, and what never passes in its place is told.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};

use inferscope::model::request::Outcome;
use inferscope_common::block::Counter;
use inferscope_common::exchange::HOLES;
use inferscope_common::flow::Role;

use crate::http::{DONE, REQUEST, SHORT, STREAM, event};
use crate::link::{Fate, Link, delayed};
use crate::rig::{Rig, wait_for};
use crate::tcp::tcp_info;
use crate::wire::{EVENTS, FRAMING, PACE, Seen, TRIP, by_number, chance, connect, stream};

/// Loss on the way from a watched server: what leaves again is known, and TCP's own count of it is ours.
#[test]
fn what_a_server_sends_again_counts_once() {
    let mut rig = Rig::new();
    for v6 in [false, true] {
        let watched = rig.watch(if v6 { "lossy6" } else { "lossy4" });
        let seen = Arc::default();
        let lossy =
            by_number(&seen, |number, segment| if chance(number) < 8 { Fate::new() } else { delayed(segment, TRIP) });
        let link = Link::new(lossy);
        let mut pair = connect(&link, &watched, Role::Server, v6);
        pair.ask(REQUEST);
        stream(&mut pair, EVENTS);
        let request = rig.one();
        assert_eq!((request.outcome, request.output_tokens), (Outcome::Ok, Some(EVENTS)));
        assert_eq!(request.figures.flags & HOLES, 0);
        let info =
            wait_for("the last acknowledgement", || Some(tcp_info(&pair.server)).filter(|info| info.tcpi_unacked == 0));
        let (counts, port) = (rig.counts(&watched), pair.server.local_addr().unwrap().port());
        assert_eq!(counts.events(), EVENTS);
        assert!(info.tcpi_total_retrans > 5, "nothing was lost");
        assert_eq!(counts.get(Counter::Retransmits), u64::from(info.tcpi_total_retrans));
        assert_eq!(counts.get(Counter::Duplicates), seen.lock().unwrap().known(port));
        assert_eq!(counts.losses(), []);
        let before_last = request.figures.retransmits;
        assert!(before_last > 0 && before_last <= info.tcpi_total_retrans, "{before_last}");
    }
}

/// Loss on the way to a watched client: what was metered and what is called lost are all that was sent.
#[test]
fn what_a_client_misses_is_counted() {
    let mut rig = Rig::new();
    let watched = rig.watch("missing");
    let seen = Arc::default();
    let link = Link::new(by_number(&seen, |number, segment| match chance(number) {
        0..8 if number > 5 => Fate::new(),
        8..16 => delayed(segment, TRIP + 2 * PACE),
        _ => delayed(segment, TRIP),
    }));
    let mut pair = connect(&link, &watched, Role::Client, false);
    for _ in 0..3 {
        pair.ask(REQUEST);
        stream(&mut pair, EVENTS);
    }
    pair.ask(REQUEST);
    pair.answer(SHORT);
    let requests = rig.take(4);
    assert!(requests.iter().all(|request| request.outcome == Outcome::Ok), "{requests:#?}");
    let counts = rig.counts(&watched);
    let (lost, one) = (counts.get(Counter::LostOrder), event("x").len() as u64);
    let missing = 3 * EVENTS - counts.client_events();
    // All but the framing of a chunk: of an event that is torn the size line may have been read.
    assert!(missing * (one - FRAMING) <= lost, "{missing} events, {lost} bytes");
    let whole = (STREAM.len() + DONE.len()) as u64 + EVENTS * one;
    for request in &requests[..3] {
        assert_eq!(request.figures.response_bytes, whole, "bytes are metered or lost");
        let (events, has_holes) = (u64::from(request.figures.events), request.figures.flags & HOLES != 0);
        assert!(if has_holes { events <= EVENTS } else { events == EVENTS }, "{events}");
    }
    assert_eq!(requests.iter().map(|request| u64::from(request.figures.events)).sum::<u64>(), 3 * EVENTS - missing);
    // Early events are metered where they are. Lost are those that a busy sender put into one segment.
    assert!(missing < EVENTS, "{missing} {:?}", counts.losses());
}

/// A client's segment that begins inside a chunk, the bytes before it having come too early: the event is lost
/// as a whole, whatever its rest looks like, and the next one counts.
#[test]
fn a_segment_may_begin_inside_a_chunk() {
    let mut rig = Rig::new();
    // Its size ends with a zero: the rest of that line says what the last chunk's does.
    let torn = event(&"y".repeat(16 - (event("").len() - FRAMING as usize) % 16));
    assert!(torn.get(1..4) == Some("0\r\n"), "{torn}");
    for at in [1, 2, 3, 4, 5, 30, torn.len() - 20, torn.len() - 4, torn.len() - 1] {
        let watched = rig.watch(&format!("inside{at}"));
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let link = Link::new(by_number(&seen, |_, segment| delayed(segment, TRIP)));
        let mut pair = connect(&link, &watched, Role::Client, false);
        pair.ask(REQUEST);
        pair.answer(STREAM);
        pair.answer(event("x"));
        link.set(by_number(&seen, |_, segment| {
            let is_late = segment.payload() == event("x").as_bytes();
            delayed(segment, if is_late { 20 * TRIP } else { TRIP })
        }));
        pair.server.write_all(event("x").as_bytes()).unwrap();
        pair.server.write_all(&torn.as_bytes()[..at]).unwrap();
        pair.client.read_exact(&mut vec![0; event("x").len() + at]).unwrap();
        link.set(by_number(&seen, |_, segment| delayed(segment, TRIP)));
        pair.answer(&torn[at..]);
        pair.answer(event("x"));
        pair.answer(DONE);
        let request = rig.one();
        assert_eq!((request.outcome, request.output_tokens), (Outcome::Ok, Some(3)), "cut at {at}");
        assert_eq!(request.figures.flags & HOLES, HOLES);
        let lost = rig.counts(&watched).losses();
        let all = torn.len() as u64;
        assert!(
            matches!(lost[..], [(Counter::LostOrder, lost)] if (all - FRAMING..=all).contains(&lost)),
            "{at} {lost:?}"
        );
        let sent = STREAM.len() + 3 * event("x").len() + torn.len() + DONE.len();
        assert_eq!(request.figures.response_bytes, sent as u64, "bytes are metered or lost");
    }
}

/// Long answers leave in segments larger than a packet, and are sent again in such: TCP's count is ours.
#[test]
fn bulk_that_is_sent_again_is_counted_by_segment() {
    let mut rig = Rig::new();
    let watched = rig.watch("bulk");
    let seen = Arc::default();
    let lossy =
        by_number(&seen, |number, segment| if chance(number) < 4 { Fate::new() } else { delayed(segment, TRIP) });
    let link = Link::new(lossy);
    let mut pair = connect(&link, &watched, Role::Server, false);
    pair.ask(REQUEST);
    let body = "b".repeat(1 << 20);
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
    let length = head.len() + body.len();
    pair.answer(head + &body);
    let request = rig.one();
    assert_eq!((request.outcome, request.figures.response_bytes), (Outcome::Ok, length as u64));
    // What has not been acknowledged may be sent again between two looks.
    let info =
        wait_for("the last acknowledgement", || Some(tcp_info(&pair.server)).filter(|info| info.tcpi_unacked == 0));
    let counts = rig.counts(&watched);
    assert!(info.tcpi_total_retrans > 5, "nothing was lost");
    assert_eq!(counts.get(Counter::Retransmits), u64::from(info.tcpi_total_retrans));
    assert_eq!(counts.losses(), []);
}
