//! What an exchange may look like on its way, and what is made of it.

use std::io::{Read, Write};
use std::process::Command;
use std::time::Duration;

use inferscope::model::request::{Operation, Outcome};
use inferscope_common::block::Counter;
use inferscope_common::exchange::{HOLES, JOINED};
use inferscope_common::flow::Role;

use crate::http::{DONE, REQUEST, SHORT, STREAM, chunk, event, prompt};
use crate::link::{Link, delayed, either};
use crate::pair::{Family, Maker, Pair};
use crate::rig::Rig;

/// The same exchange is a request served by one workload and a request made by another.
#[test]
fn both_ends_may_be_watched() {
    let mut rig = Rig::new();
    let (front, engine) = (rig.watch("front"), rig.watch("engine"));
    let mut pair = Maker::new(Family::V4, Some(&engine.cgroup), Some(&front.cgroup), 1).connect();
    pair.ask(REQUEST);
    pair.answer(STREAM);
    for text in ["a", "b", "c"] {
        pair.answer(event(text));
    }
    pair.answer(DONE);
    let mut requests = rig.take(2);
    requests.sort_by_key(|request| request.role as u8);
    for (request, (role, watched)) in requests.iter().zip([(Role::Server, &engine), (Role::Client, &front)]) {
        assert_eq!((request.role, request.workload), (role, watched.id));
        assert_eq!((request.outcome.clone(), request.output_tokens), (Outcome::Ok, Some(3)));
        let (local, remote) = (request.endpoints.local_port, request.endpoints.remote_port);
        let server = pair.server.local_addr().unwrap().port();
        assert_eq!(if role == Role::Server { local } else { remote }, server);
    }
    assert!(requests[1].figures.request_first <= requests[0].figures.request_first, "it left before it arrived");
    let (served, asked) = (rig.counts(&engine), rig.counts(&front));
    assert_eq!((served.events(), served.client_events()), (3, 0));
    assert_eq!((asked.events(), asked.client_events()), (0, 3));
    assert_eq!((served.get(Counter::RequestsEnded), asked.get(Counter::ClientRequestsEnded)), (1, 1));
}

/// Both ends in one cgroup: two requests of one workload, told apart by their part.
#[test]
fn a_workload_may_talk_to_itself() {
    let mut rig = Rig::new();
    let watched = rig.watch("both");
    let mut pair = Maker::new(Family::V4, Some(&watched.cgroup), Some(&watched.cgroup), 1).connect();
    pair.ask(REQUEST);
    pair.answer(SHORT);
    let mut roles: Vec<Role> = rig.take(2).iter().map(|request| request.role).collect();
    roles.sort_by_key(|role| *role as u8);
    assert_eq!(roles, [Role::Server, Role::Client]);
}

/// The endpoints are those of the socket, IPv4 mapped into IPv6.
#[test]
fn endpoints_are_the_sockets_own() {
    let mut rig = Rig::new();
    let watched = rig.watch("endpoints");
    for family in Family::ALL {
        let mut pair = Maker::new(family, Some(&watched.cgroup), None, 1).connect();
        pair.ask(REQUEST);
        pair.answer(SHORT);
        let ends = rig.one().endpoints;
        let (local, remote) = (pair.server.local_addr().unwrap(), pair.server.peer_addr().unwrap());
        let mapped = |address: std::net::SocketAddr| match address.ip() {
            std::net::IpAddr::V4(four) => four.to_ipv6_mapped().octets(),
            std::net::IpAddr::V6(six) => six.octets(),
        };
        assert_eq!((ends.local, ends.local_port), (mapped(local), local.port()), "{family:?}");
        assert_eq!((ends.remote, ends.remote_port), (mapped(remote), remote.port()), "{family:?}");
    }
}

/// A connection serves one request after the other, and each is a request of its own.
#[test]
fn a_connection_serves_many_requests() {
    let mut rig = Rig::new();
    let watched = rig.watch("keepalive");
    let mut pair = Pair::served_by(&watched.cgroup);
    for tokens in 1..=20 {
        pair.ask(REQUEST);
        pair.answer(STREAM);
        for _ in 0..tokens {
            pair.answer(event("x"));
        }
        pair.answer(DONE);
        let request = rig.one();
        assert_eq!((request.outcome, request.output_tokens), (Outcome::Ok, Some(tokens)));
    }
    assert_eq!(rig.counts(&watched).losses(), []);
}

/// Long prompts come in packets of up to 64 KiB; only their size is metered.
#[test]
fn a_prompt_of_a_megabyte() {
    let mut rig = Rig::new();
    let watched = rig.watch("prompt");
    for family in [Family::V4, Family::V6] {
        let mut pair = Maker::new(family, Some(&watched.cgroup), None, 1).connect();
        let request = prompt(1 << 20);
        pair.ask(&request);
        pair.answer(STREAM);
        pair.answer(event("x"));
        pair.answer(DONE);
        let got = rig.one();
        assert_eq!(got.figures.request_bytes, request.len() as u64);
        assert_eq!((got.operation, got.outcome), (Operation::TextCompletion, Outcome::Ok));
        assert_eq!(got.request_model.as_deref(), Some("m"));
    }
    assert_eq!(rig.counts(&watched).losses(), []);
}

/// A head that comes in two parts, cut at each of its bytes.
#[test]
fn a_head_may_be_cut_anywhere() {
    let mut rig = Rig::new();
    let watched = rig.watch("cuts");
    let mut pair = Pair::served_by(&watched.cgroup);
    for at in 1..REQUEST.len() {
        pair.ask(&REQUEST[..at]);
        pair.ask(&REQUEST[at..]);
        let at = at.min(STREAM.len() - 1);
        pair.answer(&STREAM[..at]);
        pair.answer(&STREAM[at..]);
        pair.answer(event("x"));
        pair.answer(DONE);
        let request = rig.one();
        assert_eq!((request.outcome, request.output_tokens, request.method), (Outcome::Ok, Some(1), "POST"), "{at}");
        assert!(request.started.is_some() && request.request_model.is_some(), "{at}");
    }
}

/// A server may answer before it has read the request, and close.
#[test]
fn an_answer_may_come_before_the_request_is_read() {
    let mut rig = Rig::new();
    let watched = rig.watch("early");
    let mut pair = Pair::served_by(&watched.cgroup);
    let refused = "HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let request = prompt(4 << 20);
    pair.client.set_nonblocking(true).unwrap();
    let written = pair.client.write(request.as_bytes()).unwrap();
    assert!(written < request.len(), "the whole request was taken");
    let mut start = [0; 64];
    pair.server.read_exact(&mut start).unwrap();
    pair.server.write_all(refused.as_bytes()).unwrap();
    drop(pair.server);
    let got = rig.one();
    assert_eq!((got.status, got.outcome), (413, Outcome::Status(413)));
    assert!(got.duration.is_some());
}

/// The first answer on a connection older than the agent belongs to a request that nobody saw.
#[test]
fn a_connection_may_be_older_than_the_agent() {
    let mut rig = Rig::new();
    let cgroup = inferscope_tests::cgroup::Cgroup::create("older").unwrap();
    let mut pair = Pair::served_by(&cgroup);
    pair.ask(REQUEST);
    let watched = rig.watch_port(cgroup, None);
    pair.answer(STREAM);
    pair.answer(event("x"));
    pair.answer(DONE);
    let joined = rig.one();
    assert_eq!(joined.figures.flags & JOINED, JOINED);
    assert_eq!((joined.started, joined.time_to_first_token, joined.duration), (None, None, None));
    assert_eq!((joined.operation, joined.output_tokens), (Operation::Chat, Some(1)));
    pair.ask(REQUEST);
    pair.answer(SHORT);
    assert!(rig.one().started.is_some(), "the next one is seen whole");
    assert_eq!(rig.counts(&watched).losses(), []);
}

/// Nothing is made of the rest of a response whose beginning nobody saw, nor of its close.
#[test]
fn a_response_under_way_is_left_alone() {
    let mut rig = Rig::new();
    let cgroup = inferscope_tests::cgroup::Cgroup::create("midstream").unwrap();
    let mut pair = Pair::served_by(&cgroup);
    pair.ask(REQUEST);
    pair.answer(STREAM);
    pair.answer(event("x"));
    let watched = rig.watch_port(cgroup, None);
    pair.answer(event("x"));
    pair.answer(DONE);
    pair.ask(REQUEST);
    pair.answer(SHORT);
    let request = rig.one();
    assert_eq!((request.started.is_some(), request.figures.events), (true, 0));
    assert_eq!(rig.counts(&watched).events(), 0);
}

/// HEAD, 204 and 304 have no body whatever their heads say; an interim answer is no answer.
#[test]
fn answers_without_a_body() {
    let mut rig = Rig::new();
    let watched = rig.watch("bodyless");
    let mut pair = Pair::served_by(&watched.cgroup);
    let get = "GET /health HTTP/1.1\r\nhost: x\r\n\r\n";
    let cases = [
        ("HEAD /health HTTP/1.1\r\nhost: x\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 400\r\n\r\n", 200),
        (get, "HTTP/1.1 204 No Content\r\n\r\n", 204),
        (get, "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", 304),
        (get, "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 200),
    ];
    for (ask, answer, status) in cases {
        pair.ask(ask);
        pair.answer(answer);
        let request = rig.one();
        assert_eq!((request.status, request.outcome), (status, Outcome::Ok));
    }
    // The body comes only when the server says so.
    let (head, body) = REQUEST.split_at(REQUEST.find("\r\n\r\n").unwrap() + 4);
    pair.ask(head);
    let interim = pair.answer("HTTP/1.1 100 Continue\r\n\r\n");
    pair.ask(body);
    pair.answer(SHORT);
    let request = rig.one();
    assert_eq!((request.status, request.figures.request_bytes), (200, REQUEST.len() as u64));
    assert!(request.ended > interim.read);
    assert_eq!(rig.counts(&watched).losses(), []);
}

/// Chunks may have extensions and a trailer, and a body without a length ends with its connection.
#[test]
fn every_framing() {
    let mut rig = Rig::new();
    let watched = rig.watch("framing");
    let mut pair = Pair::served_by(&watched.cgroup);
    pair.ask(REQUEST);
    pair.answer(STREAM);
    let data = "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n";
    for extension in ["", ";a=b", ";a=\"0\"", " ; x"] {
        pair.answer(format!("{:X}{extension}\r\n{data}\r\n", data.len()));
    }
    pair.answer("0;end\r\nx-trailer: 5\r\n\r\n");
    assert_eq!(rig.one().output_tokens, Some(4));

    pair.ask(REQUEST);
    pair.answer("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n");
    pair.answer(data);
    pair.answer(data);
    drop(pair.server);
    let request = rig.one();
    assert_eq!((request.output_tokens, request.outcome), (Some(2), Outcome::Ok));
}

/// A connection that becomes a tunnel answers one request, and nothing after it is HTTP.
#[test]
fn a_tunnel_is_followed_no_further() {
    let mut rig = Rig::new();
    let watched = rig.watch("tunnel");
    let mut pair = Pair::served_by(&watched.cgroup);
    pair.ask("GET /ws HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n");
    pair.answer("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n");
    let request = rig.one();
    assert_eq!((request.status, request.outcome), (101, Outcome::Ok));
    pair.ask(REQUEST);
    pair.answer(STREAM);
    assert_eq!(rig.take(0), []);
    assert_eq!(rig.counts(&watched).get(Counter::RequestsBegun), 1);
}

/// Other protocols make no request, also where they begin like HTTP.
#[test]
fn other_protocols_make_no_request() {
    let mut rig = Rig::new();
    let watched = rig.watch("others");
    let talks: [&[(&[u8], &[u8])]; 7] = [
        // HTTP/2, TLS, Redis in both forms, FTP, RTSP, and text without a blank line at first.
        &[(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\0\0\x12\x04\0\0\0\0\0"), (b"\0\0\0\x04\x01\0\0\0\0", b"HTTP/2 ok")],
        &[(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", b"\x16\x03\x03\0\x7a"), (b"\x17\x03\x03", b"\x17\x03\x03")],
        &[(b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n"), (b"GET key\r\n", b"$2\r\nab\r\n")],
        &[(b"GET key\r\n\r\n", b"$2\r\nab\r\n"), (b"GET key\r\n\r\n", b"$2\r\nab\r\n")],
        &[(b"DELE file\r\n", b"250 ok\r\n"), (b"OPTS UTF8 ON\r\n", b"200 ok\r\n")],
        &[(b"OPTIONS rtsp://x/ RTSP/1.0\r\nCSeq: 1\r\n\r\n", b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n")],
        &[(b"P", b"x"), (b"PUT", b"y"), (b"GET the thing\r\n", b"z")],
    ];
    for talk in talks {
        for role in [Role::Server, Role::Client] {
            let mut pair = match role {
                Role::Server => Pair::served_by(&watched.cgroup),
                Role::Client => Pair::asked_by(&watched.cgroup),
            };
            for (asked, answered) in talk {
                pair.ask(asked);
                pair.answer(answered);
            }
        }
    }
    assert_eq!(rig.take(0), []);
    let counts = rig.counts(&watched);
    assert_eq!((counts.get(Counter::RequestsBegun), counts.get(Counter::ClientRequestsBegun)), (0, 0));
    assert_eq!(counts.losses(), []);
}

/// Where HTTP is spoken a method may be any word, and paths and heads may be odd.
#[test]
fn odd_methods_and_paths() {
    let mut rig = Rig::new();
    let watched = rig.watch("odd");
    let mut pair = Pair::served_by(&watched.cgroup);
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(9000));
    let asked = [
        ("GET / HTTP/1.1\r\nhost: x\r\n\r\n", "GET"),
        ("PROPFIND /v1/chat/completions HTTP/1.1\r\nhost: x\r\n\r\n", "_OTHER"),
        ("M-SEARCH * HTTP/1.1\r\nhost: x\r\n\r\n", "_OTHER"),
        ("ACL /x HTTP/1.1\r\n\r\n", "_OTHER"),
        ("GET http://x:80/v1/models?a=b#c HTTP/1.0\r\n\r\n", "GET"),
        ("GET /%e2%82%ac/\u{20ac} HTTP/1.1\r\nhost: x\r\nx-empty:\r\n\r\n", "GET"),
        (&long, "GET"),
    ];
    for (ask, method) in asked {
        pair.ask(ask);
        pair.answer(SHORT);
        let request = rig.one();
        assert_eq!((request.method, request.status), (method, 200), "{}", &ask[..20.min(ask.len())]);
        assert_eq!(request.figures.request_bytes, ask.len() as u64);
    }
}

/// A request sent before the answer to the one before it is complete counts by its own answer.
#[test]
fn pipelined_requests_count_by_their_answers() {
    let mut rig = Rig::new();
    let watched = rig.watch("pipelined");
    let mut pair = Pair::served_by(&watched.cgroup);
    // In one packet, and the answers too.
    pair.ask([REQUEST, REQUEST, REQUEST].concat());
    pair.answer([SHORT, SHORT, SHORT].concat());
    let requests = rig.take(3);
    assert!(requests.iter().all(|request| request.outcome == Outcome::Ok), "{requests:#?}");
    let joined = |flags: u16| flags & JOINED != 0;
    assert_eq!(requests.iter().map(|r| joined(r.figures.flags)).collect::<Vec<_>>(), [false, true, true]);
    // One after the other, with a body that comes after the first answer.
    let (head, body) = REQUEST.split_at(REQUEST.find("\r\n\r\n").unwrap() + 4);
    pair.ask(REQUEST);
    pair.ask(head);
    pair.answer(SHORT);
    pair.ask(body);
    pair.answer(SHORT);
    rig.take(2);
    // And the connection is as good as any other afterwards.
    pair.ask(REQUEST);
    pair.answer(SHORT);
    let request = rig.one();
    assert!(request.started.is_some());
    let counts = rig.counts(&watched);
    assert_eq!((counts.get(Counter::RequestsBegun), counts.get(Counter::RequestsEnded)), (6, 6));
    assert_eq!(counts.losses(), [(Counter::LostPipelined, 2)]);
}

/// A client that asks on while the answer before it lies unread in its socket is no matter.
#[test]
fn an_answer_may_lie_unread() {
    let mut rig = Rig::new();
    let watched = rig.watch("unread");
    let mut pair = Pair::asked_by(&watched.cgroup);
    for _ in 0..3 {
        pair.ask(REQUEST);
        pair.server.write_all(SHORT.as_bytes()).unwrap();
        let request = rig.one();
        assert_eq!((request.role, request.outcome), (Role::Client, Outcome::Ok));
    }
    let mut answers = vec![0; 3 * SHORT.len()];
    pair.client.read_exact(&mut answers).unwrap();
    assert_eq!(rig.counts(&watched).losses(), []);
}

/// Events that share a packet, are cut over packets, are larger than a glance, or are mixed with comments:
/// every one counts once.
#[test]
fn events_count_once_however_they_come() {
    let mut rig = Rig::new();
    let watched = rig.watch("events");
    for (role, mut pair) in
        [(Role::Server, Pair::served_by(&watched.cgroup)), (Role::Client, Pair::asked_by(&watched.cgroup))]
    {
        pair.ask(REQUEST);
        pair.answer(STREAM);
        let mut events = 0;
        for round in 0..40 {
            // Texts of growing length: one digit of the chunk's size after the other, up to some kilobytes.
            let text = "t".repeat(1 + round * 37);
            pair.answer(event(&text));
            pair.answer(event("short"));
            pair.answer([event("two"), event("in one")].concat());
            let cut = event("cut in two");
            let (first, second) = cut.split_at(1 + round * (cut.len() - 2) / 40);
            pair.answer(first);
            pair.answer(second);
            pair.answer(chunk(": a comment\n\n"));
            pair.answer(event(""));
            events += 5;
        }
        pair.answer(DONE);
        let request = rig.one();
        assert_eq!((request.role, request.output_tokens), (role, Some(events)));
        assert_eq!(request.figures.flags & HOLES, 0);
        let counts = rig.counts(&watched);
        let counted = if role == Role::Server { counts.events() } else { counts.client_events() };
        assert_eq!(counted, events);
    }
}

/// IPv6 packets may be larger than 64 KiB, with a header of their own before TCP's.
#[test]
fn packets_may_be_larger_than_their_length_field() {
    let mut rig = Rig::new();
    let watched = rig.watch("jumbo");
    let link = Link::new(Box::new(|segment| delayed(segment, Duration::ZERO)));
    let large = "link set lo gso_max_size 190000 gro_max_size 190000";
    let set = link.near.inside(|| Command::new("ip").args(large.split(' ')).status().unwrap());
    assert!(set.success(), "ip {large}");
    let mut pair = Maker::within(&link.near, either(true, &link.near), Some(&watched.cgroup)).connect();
    let request = prompt(1 << 20);
    pair.ask(&request);
    let body = "b".repeat(1 << 20);
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
    let length = head.len() + body.len();
    pair.answer(head + &body);
    let figures = rig.one().figures;
    assert_eq!((figures.request_bytes, figures.response_bytes), (request.len() as u64, length as u64));
    assert_eq!(rig.counts(&watched).losses(), []);
}
