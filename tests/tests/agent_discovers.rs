//! An agent that is told nothing finds the servers of this machine by itself.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use inferscope_tests::agent::{Agent, OFTEN, Setup};
use inferscope_tests::ask::{Api, Ask};
use inferscope_tests::clients::{Raw, Seen};
use inferscope_tests::receiver::Receiver;
use inferscope_tests::scene::SHIPPED_WITHIN;
use inferscope_tests::servers::{Kind, Server};
use inferscope_tests::turn::Turn;

/// From listening to being watched, as promised.
const PROMISED: Duration = Duration::from_secs(1);

/// Waits until a server is watched, no longer than promised since `listening`.
fn watched(agent: &mut Agent, name: &str, listening: Instant) -> Result<()> {
    let left = PROMISED.saturating_sub(listening.elapsed());
    agent.until_logged(left, name).with_context(|| format!("{name} was not watched within {PROMISED:?}"))?;
    Ok(())
}

/// Requests of a server with these ids have spans.
fn told(receiver: &Receiver, all: &[Seen]) -> Result<()> {
    let ids = || all.iter().filter_map(|seen| seen.id.as_deref());
    receiver.until(SHIPPED_WITHIN, "a span of each request", |received| {
        let spans = received.generative();
        ids().all(|id| spans.iter().any(|span| span.response_id() == Some(id))).then_some(())
    })
}

/// Servers that come after the agent, in a cgroup of their own and in the root cgroup, are found at once.
#[test]
fn servers_are_found_as_they_come() -> Result<()> {
    let _turn = Turn::take()?;
    let receiver = Receiver::start()?;
    let mut agent = Setup::new()?.config(OFTEN)?.grpc(&receiver.endpoint()).start()?;
    let own = Server::start(Kind::UvicornUvloop)?;
    watched(&mut agent, &own.cgroup()?.path().display().to_string(), own.listening())?;
    let root = Server::start_in(Kind::Axum, Ipv4Addr::LOCALHOST.into(), None)?;
    watched(&mut agent, &root.address().port().to_string(), root.listening())?;
    let mut all = Vec::new();
    for server in [&own, &root] {
        let mut raw = Raw::connect(server.address())?;
        for _ in 0..3 {
            all.push(raw.ask(&Ask::stream(Api::Chat, 5).paced(10.0, 2.0))?);
        }
    }
    told(&receiver, &all)?;
    agent.stop()?;
    let port = root.address().port().to_string();
    let counted = receiver.received().total("gen_ai.server.request.duration", &[("server.port", &port)]);
    assert_eq!(counted.count, 3);
    Ok(())
}

/// What a server did last is shipped although it is gone.
#[test]
fn the_last_interval_is_shipped() -> Result<()> {
    let _turn = Turn::take()?;
    let receiver = Receiver::start()?;
    // An interval that is not over when the server ends.
    let config = "[metrics]\ninterval = \"3s\"\n[spans]\nwait = \"3s\"\n";
    let mut agent = Setup::new()?.config(config)?.grpc(&receiver.endpoint()).start()?;
    let server = Server::start(Kind::Axum)?;
    let port = server.address().port().to_string();
    watched(&mut agent, &server.cgroup()?.path().display().to_string(), server.listening())?;
    let mut raw = Raw::connect(server.address())?;
    let all = (0..20).map(|_| raw.ask(&Ask::stream(Api::Chat, 3))).collect::<Result<Vec<_>>>()?;
    drop(server);
    agent.until_logged(SHIPPED_WITHIN, "gone")?;
    told(&receiver, &all)?;
    receiver.until(SHIPPED_WITHIN, "the count of every request", |received| {
        let counted = received.total("gen_ai.server.request.duration", &[("server.port", &port)]).count;
        (counted == all.len() as u64).then_some(())
    })?;
    agent.stop()?;
    Ok(())
}
