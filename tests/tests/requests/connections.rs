//! Requests on connections of every kind, from either side.

use std::net::Ipv6Addr;

use anyhow::Result;
use inferscope_tests::ask::{Api, Ask};
use inferscope_tests::cgroup::Cgroup;
use inferscope_tests::clients::{Client, Job, Raw};
use inferscope_tests::received::Span;
use inferscope_tests::scene::{SHIPPED_WITHIN, Scene};
use inferscope_tests::servers::{Kind, Server};
use inferscope_tests::turn::Turn;

use crate::{CLIENT, SERVER, near, span_of};

/// One connection, many requests: each is one span, with its own times and its own parent.
#[test]
fn a_connection_is_used_again() -> Result<()> {
    let scene = Scene::of_all()?;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let mut all = Vec::new();
    for server in &scene.servers {
        let mut raw = Raw::connect(server.address())?;
        for first in [10.0, 60.0, 30.0] {
            all.push(raw.ask(&Ask::stream(Api::Chat, 5).paced(first, 4.0))?);
            all.push(raw.ask(&Ask::whole(Api::Completion, 3).paced(first, 0.0))?);
        }
        raw.send(&Ask::whole(Api::Chat, 3), &format!("traceparent: 00-{trace}-00f067aa0ba902b7-01\r\n"))?;
        all.push(raw.finish()?);
    }
    let spans = scene.spans(all.len())?;
    assert_eq!(spans.len(), all.len());
    for seen in &all {
        let span = span_of(&spans, seen)?;
        assert!(near(Some(span.duration()), Some(seen.duration())), "{span:?} {seen:?}");
        assert_eq!(span.first_token().is_some(), seen.first_token().is_some(), "{span:?}");
        assert!(seen.first_token().is_none() || near(span.first_token(), seen.first_token()), "{span:?} {seen:?}");
    }
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let children: Vec<_> = spans.iter().filter(|span| hex(&span.trace) == trace).collect();
    assert_eq!(children.len(), scene.servers.len());
    assert!(children.iter().all(|span| hex(&span.parent) == "00f067aa0ba902b7"));
    Ok(())
}

/// IPv6 is told as itself.
#[test]
fn addresses_may_be_of_version_six() -> Result<()> {
    let turn = Turn::take()?;
    let host = Ipv6Addr::LOCALHOST.into();
    let server = Server::start_in(Kind::UvicornUvloop, host, Some(Cgroup::create("v6")?))?;
    let scene = Scene::of(vec![server], turn, |setup| setup)?;
    let address = scene.server()?.address();
    let seen = Raw::connect(address)?.ask(&Ask::stream(Api::Chat, 4).paced(20.0, 2.0))?;
    let spans = scene.spans(1)?;
    let span = span_of(&spans, &seen)?;
    assert_eq!(span.text("server.address"), Some("::1"));
    assert_eq!(span.number("server.port"), Some(address.port()));
    assert!(near(span.first_token(), seen.first_token()), "{span:?} {seen:?}");
    Ok(())
}

/// Requests that were under way when the agent came: nothing is invented of what nobody saw.
#[test]
fn requests_older_than_the_agent_are_joined() -> Result<()> {
    /// Longer than an agent takes to start, in milliseconds.
    const LONG: f64 = 7000.0;
    let turn = Turn::take()?;
    let server = Server::start(Kind::UvicornUvloop)?;
    let connect = || Raw::connect(server.address());
    let (mut idle, mut waiting, mut streaming) = (connect()?, connect()?, connect()?);
    idle.ask(&Ask::whole(Api::Chat, 2))?;
    waiting.send(&Ask::whole(Api::Chat, 3).paced(LONG, 0.0), "")?;
    streaming.send(&Ask::stream(Api::Chat, 700).paced(10.0, LONG / 700.0), "")?;
    streaming.read_until(b"answer")?;
    let scene = Scene::of(vec![server], turn, |setup| setup)?;
    // A connection that lay idle is like a new one.
    let fresh = idle.ask(&Ask::stream(Api::Chat, 5).paced(30.0, 3.0))?;
    let (waited, streamed) = (waiting.finish()?, streaming.finish()?);
    assert_eq!((waited.tokens, streamed.tokens), (Some(3), Some(700)));
    // A connection is metered whole from its next request on.
    let next = streaming.ask(&Ask::stream(Api::Chat, 5).paced(30.0, 3.0))?;
    let spans = scene.receiver.until(SHIPPED_WITHIN, "a span of the next request", |received| {
        let spans = received.generative();
        spans.iter().any(|span| span.response_id() == next.id.as_deref()).then_some(spans)
    })?;
    for seen in [&fresh, &next] {
        let span = span_of(&spans, seen)?;
        assert!(near(span.first_token(), seen.first_token()), "{span:?} {seen:?}");
        assert_eq!(span.text("inferscope.joined"), None);
    }
    // Its response was seen whole, its request not.
    let joined = span_of(&spans, &waited)?;
    assert_eq!((joined.text("inferscope.joined"), joined.tokens()), (Some("true"), Some(3)), "{joined:?}");
    assert!(joined.duration() < 1_000_000_000, "{joined:?}");
    // Of the stream neither beginning was seen: what is told of it, if anything, has no time that it would need.
    let begun = |span: &&Span| span.first_token().is_some() || span.per_token().is_some();
    assert_eq!(spans.iter().filter(begun).count(), 2, "{spans:#?}");
    let (received, _) = scene.end()?;
    assert_eq!(received.total("gen_ai.server.time_to_first_token", &[]).count, 2);
    assert_eq!(received.total("gen_ai.server.request.duration", &[]).count, 2);
    Ok(())
}

/// A workload that asks is seen from its side.
#[test]
fn clients_are_workloads_too() -> Result<()> {
    let turn = Turn::take()?;
    let (server, asking) = (Server::start(Kind::Axum)?, Cgroup::create("asking")?);
    let scene = Scene::of(vec![server], turn, |setup| setup.cgroup(asking.path()))?;
    let ask = Ask::stream(Api::Chat, 10).paced(30.0, 3.0);
    let all = Client::Hyper.start(scene.server()?, vec![Job::new(&ask, 6, 2)], Some(&asking))?.finish()?;
    let spans = scene.spans(12)?;
    for seen in &all {
        let id = seen.id.as_deref();
        let both: Vec<_> = spans.iter().filter(|span| span.response_id() == id).collect();
        let (served, asked): (Vec<&Span>, Vec<&Span>) = both.iter().partition(|span| span.kind == SERVER);
        assert_eq!((served.len(), asked.len(), asked[0].kind), (1, 1, CLIENT), "{both:?}");
        assert!(near(asked[0].first_token(), seen.first_token()), "{asked:?} {seen:?}");
        assert_ne!(served[0].resource, asked[0].resource);
    }
    let (received, _) = scene.end()?;
    for name in ["gen_ai.server.request.duration", "gen_ai.client.operation.duration"] {
        assert_eq!(received.total(name, &[]).count, 6, "{name}");
    }
    assert_eq!(received.total("gen_ai.client.operation.time_per_output_chunk", &[]).count, 6 * 9);
    drop(asking);
    Ok(())
}
