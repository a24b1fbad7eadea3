//! How exchanges end that do not end well, and when.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use inferscope::clock::monotonic_nanos;
use inferscope::model::request::Outcome;
use inferscope_common::block::Counter;
use inferscope_common::exchange::{CLOSED_HERE, CLOSED_THERE, RESET};
use inferscope_common::flow::Role;

use crate::http::{DONE, REQUEST, STREAM, event};
use crate::pair::{Pair, reset};
use crate::rig::{Rig, Watched, wait_for};

/// A stream under way: three events have passed.
fn in_stream(watched: &Watched, role: Role) -> Pair {
    let mut pair = match role {
        Role::Server => Pair::served_by(&watched.cgroup),
        Role::Client => Pair::asked_by(&watched.cgroup),
    };
    pair.ask(REQUEST);
    pair.answer(STREAM);
    for text in ["a", "b", "c"] {
        pair.answer(event(text));
    }
    pair
}

/// Writes until the connection breaks under it, as a server does that nobody told.
fn write_until_broken(stream: &mut TcpStream) {
    wait_for("a broken connection", || match stream.write(event("d").as_bytes()) {
        Ok(_) => None,
        Err(error) => matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset).then_some(()),
    });
}

/// A client that closes mid-stream has aborted when it closed, not when the server's next write found out.
#[test]
fn a_client_that_closes_aborts_then() {
    for role in [Role::Server, Role::Client] {
        let mut rig = Rig::new();
        let watched = rig.watch("abort");
        let mut pair = in_stream(&watched, role);
        let before = monotonic_nanos();
        drop(pair.client);
        let after = monotonic_nanos();
        std::thread::sleep(std::time::Duration::from_millis(50));
        write_until_broken(&mut pair.server);
        let request = rig.one();
        assert_eq!(request.outcome, Outcome::Aborted, "{role:?}");
        let closed = if role == Role::Server { CLOSED_THERE } else { CLOSED_HERE };
        assert_eq!(request.figures.flags & (CLOSED_HERE | CLOSED_THERE), closed, "{role:?}");
        // The server's writes after the close have left all the same.
        let last = request.figures.last;
        let ended = if last > after { (last, last) } else { (before, after) };
        assert!(ended.0 <= request.ended && request.ended <= ended.1, "{role:?}: {} in {ended:?}", request.ended);
    }
}

/// A server that notices the client's close and closes too: the client's counts, and its time.
#[test]
fn a_server_that_closes_after_its_client_is_not_to_blame() {
    for role in [Role::Server, Role::Client] {
        let mut rig = Rig::new();
        let watched = rig.watch("both-close");
        let mut pair = in_stream(&watched, role);
        let before = monotonic_nanos();
        drop(pair.client);
        let after = monotonic_nanos();
        assert_eq!(pair.server.read(&mut [0; 8]).unwrap(), 0);
        std::thread::sleep(std::time::Duration::from_millis(50));
        drop(pair.server);
        let request = rig.one();
        assert_eq!((request.outcome, request.figures.events), (Outcome::Aborted, 3), "{role:?}");
        assert!((before..=after).contains(&request.ended), "{role:?}");
    }
}

/// A reset by either side, at the time of the reset.
#[test]
fn resets_end_an_exchange_at_once() {
    for (role, by_client) in [(Role::Server, true), (Role::Server, false), (Role::Client, true), (Role::Client, false)]
    {
        let mut rig = Rig::new();
        let watched = rig.watch("reset");
        let pair = in_stream(&watched, role);
        let before = monotonic_nanos();
        let kept = if by_client {
            reset(pair.client);
            pair.server
        } else {
            reset(pair.server);
            pair.client
        };
        let request = rig.one();
        let case = format!("{role:?}, by the client: {by_client}");
        assert_eq!(request.outcome, if by_client { Outcome::Aborted } else { Outcome::Broken }, "{case}");
        assert_eq!(request.figures.flags & RESET, RESET, "{case}");
        assert!((before..=monotonic_nanos()).contains(&request.ended), "{case}");
        drop(kept);
        let counts = rig.counts(&watched);
        // A workload's own reset is one sent, the other side's is one received.
        let sent = (role == Role::Client) == by_client;
        let resets = (counts.get(Counter::ResetsSent), counts.get(Counter::ResetsReceived));
        assert_eq!(resets, if sent { (1, 0) } else { (0, 1) }, "{case}");
    }
}

/// A server that closes mid-stream broke the answer off.
#[test]
fn a_server_that_closes_breaks_off() {
    for role in [Role::Server, Role::Client] {
        let mut rig = Rig::new();
        let watched = rig.watch("break");
        let pair = in_stream(&watched, role);
        let before = monotonic_nanos();
        drop(pair.server);
        let request = rig.one();
        assert_eq!((request.outcome, request.figures.events), (Outcome::Broken, 3), "{role:?}");
        assert!((before..=monotonic_nanos()).contains(&request.ended), "{role:?}");
    }
}

/// A client may close its half of the connection and read on: that is no abort.
#[test]
fn a_half_closed_client_reads_on() {
    for role in [Role::Server, Role::Client] {
        let mut rig = Rig::new();
        let watched = rig.watch("half");
        let mut pair = in_stream(&watched, role);
        pair.client.shutdown(Shutdown::Write).unwrap();
        pair.answer(event("d"));
        assert_eq!(rig.take(0), [], "{role:?}");
        pair.answer(DONE);
        let request = rig.one();
        assert_eq!((request.outcome, request.output_tokens), (Outcome::Ok, Some(4)), "{role:?}");
    }
}

/// A client that closes with unread bytes in its socket resets, without a FIN before it.
#[test]
fn a_close_with_unread_bytes_is_a_reset() {
    let mut rig = Rig::new();
    let watched = rig.watch("unread-close");
    let mut pair = in_stream(&watched, Role::Server);
    pair.server.write_all(event("unread").as_bytes()).unwrap();
    wait_for("the event to arrive", || (pair.client.peek(&mut [0; 1]).unwrap() == 1).then_some(()));
    drop(pair.client);
    let request = rig.one();
    assert_eq!((request.outcome, request.figures.events), (Outcome::Aborted, 4));
    assert_eq!(request.figures.flags & RESET, RESET);
}

/// A process that dies takes its exchanges with it.
#[test]
fn requests_begun_are_requests_ended() {
    let mut rig = Rig::new();
    let watched = rig.watch("balance");
    let pairs: Vec<Pair> = (0..5).map(|_| in_stream(&watched, Role::Server)).collect();
    let counts = rig.counts(&watched);
    assert_eq!((counts.get(Counter::RequestsBegun), counts.get(Counter::RequestsEnded)), (5, 0));
    drop(pairs);
    rig.take(5);
    let counts = rig.counts(&watched);
    assert_eq!((counts.get(Counter::RequestsBegun), counts.get(Counter::RequestsEnded)), (5, 5));
}
