//! Segments that are lost, late, repeated or cut anew: every event counts once, and no request ends early.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use inferscope::model::request::Outcome;
use inferscope_common::block::{Counter, Hist};
use inferscope_common::exchange::{HOLES, JOINED};
use inferscope_common::flow::Role;
use inferscope_tests::affinity;

use crate::http::{DONE, REQUEST, SHORT, STREAM, event, prompt};
use crate::link::{Fate, Link, delayed, either};
use crate::pair::Maker;
use crate::rig::{Rig, wait_for};
use crate::segment::{ACK, RST, SYN, Segment};
use crate::wire::{EVENTS, FRAMING, PACE, Seen, TRIP, by_number, chance, connect, stream};

/// Events that come late, before their turn, or twice: each counts once.
#[test]
fn events_in_disorder_count_once() {
    let mut rig = Rig::new();
    for v6 in [false, true] {
        let watched = rig.watch(if v6 { "disorder6" } else { "disorder4" });
        let seen = Arc::default();
        let copies = Arc::new(Mutex::new(0));
        let count = Arc::clone(&copies);
        let link = Link::new(by_number(&seen, move |number, segment| match chance(number) {
            // Head and first events teach what events look like.
            _ if number < 6 => delayed(segment, TRIP),
            0..10 => delayed(segment, TRIP + 3 * PACE),
            10..20 => {
                *count.lock().unwrap() += 1;
                [delayed(segment, TRIP), delayed(segment, TRIP + 5 * PACE)].concat()
            }
            _ => delayed(segment, TRIP),
        }));
        let mut pair = connect(&link, &watched, Role::Client, v6);
        pair.ask(REQUEST);
        stream(&mut pair, EVENTS);
        let request = rig.one();
        assert_eq!(request.outcome, Outcome::Ok);
        let counts = rig.counts(&watched);
        assert_eq!(request.output_tokens, Some(counts.client_events()));
        // A connection remembers four runs that came early, each of whole segments of one event. Where this machine is
        // so late itself that there are more, what was not metered is called lost.
        let (lost, missing) = (counts.get(Counter::LostOrder), EVENTS - counts.client_events());
        assert!(missing * (event("x").len() as u64 - FRAMING) <= lost, "{missing} events, {lost} bytes");
        assert_eq!(counts.losses().len(), usize::from(lost > 0), "{:?}", counts.losses());
        assert_eq!(request.figures.flags & HOLES != 0, lost > 0);
        // Copies, and what TCP sent again because it took the late ones for lost.
        let known = seen.lock().unwrap().known(pair.server.local_addr().unwrap().port());
        let copies = *copies.lock().unwrap();
        rig.until(&watched, "every copy", |counts| counts.get(Counter::Duplicates) == copies + known);
    }
}

/// Segments that overlap: with what came before them, and with what came before its turn.
#[test]
fn overlapping_segments_count_once() {
    let mut rig = Rig::new();
    for role in [Role::Server, Role::Client] {
        let watched = rig.watch(if role == Role::Server { "overlap-s" } else { "overlap-c" });
        let seen = Arc::default();
        let (mut before, mut held): (HashMap<u16, Segment>, Option<Segment>) = Default::default();
        let one = event("x").into_bytes();
        let link = Link::new(by_number(&seen, move |number, segment| {
            let last = before.insert(segment.port(), segment.clone());
            let follows = |last: &Segment| last.seq() + last.payload().len() as u32 == segment.seq();
            // Events alone: one that is known from those before it can come before its turn.
            let is_event = segment.payload() == one;
            if let Some(first) = held.take() {
                return if is_event && follows(&first) {
                    [delayed(segment, TRIP), delayed(&first.joined(segment), TRIP)].concat()
                } else {
                    [delayed(&first, TRIP), delayed(segment, TRIP)].concat()
                };
            }
            let last = last.filter(|last| is_event && follows(last) && last.payload() == one);
            match (number % 6, last) {
                // Comes with what came before it.
                (0, Some(last)) => delayed(&last.joined(segment), TRIP),
                // Is held back, to come with what is before its turn then.
                (3, Some(_)) if number > 6 => {
                    held = Some(segment.clone());
                    Fate::new()
                }
                _ => delayed(segment, TRIP),
            }
        }));
        let mut pair = connect(&link, &watched, role, false);
        for _ in 0..2 {
            pair.ask(REQUEST);
            stream(&mut pair, EVENTS);
            let (request, lost) = (rig.one(), rig.counts(&watched).losses());
            assert_eq!((request.outcome, request.output_tokens), (Outcome::Ok, Some(EVENTS)), "{role:?} {lost:?}");
        }
        assert_eq!(rig.counts(&watched).losses(), [], "{role:?}");
    }
}

/// A FIN that overtakes the last bytes ends nothing before they are there.
#[test]
fn a_fin_may_overtake_the_last_bytes() {
    let mut rig = Rig::new();
    let watched = rig.watch("fin");
    let seen = Arc::default();
    let link = Link::new(by_number(&seen, |_, segment| delayed(segment, TRIP)));
    let mut pair = connect(&link, &watched, Role::Client, false);
    pair.ask(REQUEST);
    pair.answer("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n");
    let data = "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n";
    pair.answer(data);
    pair.answer(data);
    link.set(by_number(&seen, |_, segment| delayed(segment, 20 * TRIP)));
    pair.server.write_all(data.as_bytes()).unwrap();
    pair.server.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    pair.client.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, data.as_bytes());
    let request = rig.one();
    assert_eq!((request.outcome, request.output_tokens), (Outcome::Ok, Some(3)));
    assert_eq!(rig.counts(&watched).losses(), []);
}

/// The end of a response that overtakes the bytes before it is not metered in place; the next request
/// says that the response was complete.
#[test]
fn the_end_of_a_response_may_come_early() {
    let mut rig = Rig::new();
    let watched = rig.watch("end");
    let seen = Arc::default();
    let plain = |seen: &Arc<Mutex<Seen>>| by_number(seen, |_, segment| delayed(segment, TRIP));
    let link = Link::new(plain(&seen));
    let mut pair = connect(&link, &watched, Role::Client, false);
    for closes in [false, true] {
        pair.ask(REQUEST);
        pair.answer(STREAM);
        pair.answer(event("x"));
        link.set(by_number(&seen, |_, segment| {
            let is_end = segment.payload() == DONE.as_bytes();
            delayed(segment, if is_end { TRIP } else { 20 * TRIP })
        }));
        pair.server.write_all(event("x").as_bytes()).unwrap();
        pair.server.write_all(DONE.as_bytes()).unwrap();
        pair.client.read_exact(&mut vec![0; event("x").len() + DONE.len()]).unwrap();
        link.set(plain(&seen));
        assert_eq!(rig.take(0), []);
        if closes {
            pair.client.shutdown(Shutdown::Both).unwrap();
        } else {
            pair.ask(REQUEST);
            pair.answer(SHORT);
        }
        let requests = rig.take(if closes { 1 } else { 2 });
        assert_eq!((requests[0].outcome.clone(), requests[0].output_tokens), (Outcome::Ok, Some(2)), "{closes}");
        assert_eq!(requests[0].figures.flags & HOLES, HOLES);
        assert!(requests.iter().all(|request| request.started.is_some()), "{closes}");
        let lost = rig.counts(&watched).losses();
        assert_eq!(lost, [(Counter::LostOrder, DONE.len() as u64 * if closes { 2 } else { 1 })]);
    }
}

/// A response of whose head a part came early tells neither its framing nor its end. It is over when the asking side
/// goes on or the answering side closes; its bytes are lost once, and the next exchange is whole.
#[test]
fn the_head_of_a_response_may_come_in_disorder() {
    let mut rig = Rig::new();
    let watched = rig.watch("head");
    let seen = Arc::default();
    let plain = |seen: &Arc<Mutex<Seen>>| by_number(seen, |_, segment| delayed(segment, TRIP));
    let link = Link::new(plain(&seen));
    let mut pair = connect(&link, &watched, Role::Client, false);
    let (first, rest) = STREAM.split_at(20);
    let behind = [rest, &event("x"), &event("y"), DONE].map(str::len);
    for round in 1..=3 {
        pair.ask(REQUEST);
        link.set(by_number(&seen, |_, segment| {
            let is_first = segment.payload().starts_with(b"HTTP/");
            delayed(segment, if is_first { 20 * TRIP } else { TRIP })
        }));
        pair.server.write_all(first.as_bytes()).unwrap();
        pair.server.write_all(rest.as_bytes()).unwrap();
        pair.client.read_exact(&mut vec![0; STREAM.len()]).unwrap();
        link.set(plain(&seen));
        pair.answer(event("x"));
        pair.answer(event("y"));
        pair.answer(DONE);
        assert_eq!(rig.take(0), []);
        let requests = if round < 3 {
            pair.ask(REQUEST);
            pair.answer(SHORT);
            rig.take(2)
        } else {
            pair.server.shutdown(Shutdown::Both).unwrap();
            rig.take(1)
        };
        let torn = &requests[0];
        assert_eq!((torn.outcome.clone(), torn.status, torn.output_tokens), (Outcome::Ok, 200, None), "{torn:?}");
        let length = (first.len() + behind.iter().sum::<usize>()) as u64;
        assert_eq!((torn.figures.flags & HOLES, torn.figures.response_bytes), (HOLES, length));
        for next in &requests[1..] {
            assert_eq!((next.outcome.clone(), next.figures.flags & (HOLES | JOINED)), (Outcome::Ok, 0));
            assert_eq!(next.figures.response_bytes, SHORT.len() as u64);
            assert!(next.duration.is_some());
        }
        let lost = rig.counts(&watched).losses();
        assert_eq!(lost, [(Counter::LostOrder, round * behind.iter().sum::<usize>() as u64)]);
    }
}

/// A request whose beginning is the last of its segments to come begins then, and the next one is whole.
#[test]
fn a_request_may_come_in_disorder() {
    let mut rig = Rig::new();
    let watched = rig.watch("request");
    let seen = Arc::default();
    let plain = |seen: &Arc<Mutex<Seen>>| by_number(seen, |_, segment| delayed(segment, TRIP));
    let link = Link::new(plain(&seen));
    let mut pair = connect(&link, &watched, Role::Server, false);
    let long = prompt(8000);
    for _ in 0..3 {
        link.set(by_number(&seen, |_, segment| {
            let is_head = segment.payload().starts_with(b"POST ");
            delayed(segment, if is_head { 10 * TRIP } else { TRIP })
        }));
        let span = pair.ask(&long);
        link.set(plain(&seen));
        pair.answer(SHORT);
        let request = rig.one();
        assert_eq!((request.outcome, request.method), (Outcome::Ok, "POST"));
        let first = request.figures.request_first;
        assert!(first > span.begun + 10 * TRIP.as_nanos() as u64 && first < span.read, "{first} {span:?}");
        pair.ask(REQUEST);
        pair.answer(SHORT);
        let next = rig.one();
        assert_eq!(
            (next.outcome, next.method, next.figures.request_bytes),
            (Outcome::Ok, "POST", REQUEST.len() as u64)
        );
        assert!(next.started.is_some());
    }
    let lost = rig.counts(&watched).losses();
    assert!(matches!(lost[..], [(Counter::LostOrder, _)]), "{lost:?}");
}

/// A request that comes with the last acknowledgement of the handshake is shown with the listening socket:
/// its answer tells of it, and nothing sticks to that socket.
#[test]
fn a_request_may_complete_the_handshake() {
    let mut rig = Rig::new();
    let watched = rig.watch("handshake");
    let link = Link::new(Box::new(|segment| delayed(segment, TRIP)));
    let mut maker = Maker::over(&link, either(false, &link.near), Some(&watched.cgroup), None);
    for _ in 0..3 {
        // The acknowledgement alone is lost.
        let mut opening = None;
        link.set(Box::new(move |segment| {
            if segment.flags() == SYN {
                opening = Some(segment.port());
            } else if segment.flags() == ACK && opening == Some(segment.port()) {
                opening = None;
                return Fate::new();
            }
            delayed(segment, TRIP)
        }));
        maker.add_client(&link.far);
        let mut pair = maker.connect_with(|client| client.write_all(REQUEST.as_bytes()).unwrap());
        pair.server.read_exact(&mut vec![0; REQUEST.len()]).unwrap();
        pair.answer(SHORT);
        assert_eq!(rig.one().figures.flags & JOINED, JOINED);
        pair.ask(REQUEST);
        pair.answer(SHORT);
        assert!(rig.one().started.is_some());
    }
    let counts = rig.counts(&watched);
    assert_eq!((counts.get(Counter::RequestsBegun), counts.losses()), (6, vec![]));
}

/// A reset that TCP does not believe ends no exchange.
#[test]
fn a_reset_out_of_place_ends_nothing() {
    let mut rig = Rig::new();
    let watched = rig.watch("spoof");
    let last: Arc<Mutex<Option<Segment>>> = Arc::default();
    let note = Arc::clone(&last);
    let link = Link::new(Box::new(move |segment| {
        if segment.payload().starts_with(b"POST") {
            *note.lock().unwrap() = Some(segment.clone());
        }
        delayed(segment, TRIP)
    }));
    let mut pair = connect(&link, &watched, Role::Server, false);
    pair.ask(REQUEST);
    pair.answer(STREAM);
    let asked = last.lock().unwrap().clone().unwrap();
    let end = asked.seq().wrapping_add(asked.payload().len() as u32);
    for seq in [end.wrapping_add(1), end.wrapping_add(100_000_000), asked.seq()] {
        link.near.inject(&asked.with(RST, seq, b""));
    }
    pair.answer(event("x"));
    pair.answer(DONE);
    assert_eq!(rig.one().outcome, Outcome::Ok);
    pair.ask(REQUEST);
    pair.answer(STREAM);
    let asked = last.lock().unwrap().clone().unwrap();
    let end = asked.seq().wrapping_add(asked.payload().len() as u32);
    link.near.inject(&asked.with(RST, end, b""));
    assert_eq!(rig.one().outcome, Outcome::Aborted);
}

/// Segments of one connection that arrive on two processors at once: one program leaves its bytes to be
/// found missing. Whole segments are metered or lost, and nothing counts twice.
#[test]
fn segments_may_arrive_on_two_processors() {
    const ROUNDS: u64 = 300;
    let mut rig = Rig::new();
    let watched = rig.watch("processors");
    // Two events: such a packet is looked at byte by byte, which takes long enough to be met.
    let two = [event("x".repeat(400).as_str()), event("y".repeat(400).as_str())].concat();
    let held: Arc<Mutex<Vec<Segment>>> = Arc::default();
    let (hold, wanted) = (Arc::clone(&held), two.clone());
    let mut last: u32 = 0;
    let link = Link::new(Box::new(move |segment| {
        // What TCP sends again, because nobody answers, goes its way.
        if segment.payload() == wanted.as_bytes() && (segment.seq().wrapping_sub(last) as i32 > 0 || last == 0) {
            last = segment.seq();
            hold.lock().unwrap().push(segment.clone());
            return Fate::new();
        }
        delayed(segment, Duration::ZERO)
    }));
    let mut pair = connect(&link, &watched, Role::Client, false);
    pair.ask(REQUEST);
    pair.answer(STREAM);
    let mut got = vec![0; 2 * two.len()];
    let barrier = Barrier::new(2);
    for _ in 0..ROUNDS {
        pair.server.write_all(two.as_bytes()).unwrap();
        wait_for("the first events on the wire", || (held.lock().unwrap().len() == 1).then_some(()));
        pair.server.write_all(two.as_bytes()).unwrap();
        let both = wait_for("the next events on the wire", || {
            let mut held = held.lock().unwrap();
            (held.len() > 1).then(|| std::mem::take(&mut *held))
        });
        std::thread::scope(|scope| {
            for processor in [0, 1] {
                let (segment, space, barrier) = (&both[processor], &link.far, &barrier);
                scope.spawn(move || {
                    // Where that fails the two merely meet less often.
                    drop(affinity::pin(0, processor));
                    barrier.wait();
                    space.inject(segment);
                });
            }
        });
        pair.client.read_exact(&mut got).unwrap();
    }
    pair.answer(DONE);
    let request = rig.one();
    assert_eq!(request.outcome, Outcome::Ok);
    let counts = rig.counts(&watched);
    assert_eq!(u64::from(request.figures.events), counts.client_events());
    let (lost, one) = (counts.get(Counter::LostOrder), two.len() as u64);
    println!("{} segments of {} met another one or overtook it", lost / one, 2 * ROUNDS);
    assert_eq!(lost % one, 0, "{lost}");
    assert_eq!(counts.client_events() + 2 * lost / one, 4 * ROUNDS);
}

/// Over a wire with a delay, connections and round trips take as long as the wire.
#[test]
fn delays_are_the_wires_own() {
    let mut rig = Rig::new();
    let (opener, acceptor) = (rig.watch("delay-o"), rig.watch("delay-a"));
    let trip = Duration::from_millis(15);
    let link = Link::new(Box::new(move |segment| delayed(segment, trip)));
    let mut pair = Maker::over(&link, either(true, &link.near), Some(&acceptor.cgroup), Some(&opener.cgroup)).connect();
    pair.ask(REQUEST);
    pair.answer(SHORT);
    let requests = rig.take(2);
    let least = 2 * trip.as_nanos() as u64;
    // How much later a busy machine lets the wire be.
    let most = least * 2;
    for (watched, hist) in [(&opener, Hist::Connect), (&acceptor, Hist::Handshake)] {
        let (count, sum) = rig.counts(watched).hist(hist);
        assert!(count == 1 && (least..most).contains(&sum), "{hist:?} {count} {sum}");
    }
    for request in requests {
        let rtt = u64::from(request.figures.rtt) * 1000;
        assert!((least..most).contains(&rtt), "{:?} {rtt}", request.role);
    }
}
