//! The agent's figures beside the client's own, for real servers and clients.
//!
//! What the client's figures are: from right before the request's first byte is written to when the kernel received
//! the response's bytes for the client's socket, both by `CLOCK_MONOTONIC`. Neither the client's scheduling nor its
//! parser has a share in them; the agent has none either.

mod figures;
mod pair;
mod scenarios;
mod written;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use anyhow::{Result, ensure};
use inferscope_tests::agent::{OFTEN, Setup};
use inferscope_tests::clients::Client;
use inferscope_tests::collector::Place;
use inferscope_tests::received::{Received, Span};
use inferscope_tests::servers::Server;
use inferscope_tests::turn::Turn;
use inferscope_tests::unrelated::Passed;

use figures::{Counts, Row};
use pair::Pair;

const SHIPPED_WITHIN: Duration = Duration::from_secs(60);

/// How often a scenario is measured before its disagreement counts. Where the machine stops one side between an event
/// and its time stamp, the next measurement has none of it; what the agent gets wrong, every one has.
const MEASUREMENTS: usize = 5;

/// Medians and 99th percentiles agree within 1 % or 200 µs, counts agree exactly, and nothing unrelated is counted.
#[test]
fn the_agent_agrees_with_the_client() -> Result<()> {
    let _turn = Turn::take()?;
    let (servers, scenarios) = (Server::start_all()?, scenarios::all());
    let place = Place::new()?;
    let collector = place.start()?;
    let mut setup = Setup::new()?.config(OFTEN)?.grpc(&place.grpc());
    for server in &servers {
        setup = setup.cgroup(server.cgroup()?.path());
    }
    let agent = setup.start()?;
    let mut pairs: Vec<Pair> =
        servers.iter().flat_map(|server| Client::ALL.map(|client| Pair::new(server, client, &scenarios))).collect();
    let mut passed = Passed::default();
    for _ in 0..MEASUREMENTS {
        for pair in &mut pairs {
            passed += pair.measure(&scenarios)?;
        }
        let asked: usize = pairs.iter().map(|pair| pair.seen.len()).sum();
        let all = |received: &Received| Some(received.generative()).filter(|spans| spans.len() >= asked);
        let spans = place.until(SHIPPED_WITHIN, "a span of every request", all)?;
        let by_id: HashMap<&str, &Span> = spans.iter().filter_map(|span| Some((span.response_id()?, span))).collect();
        for pair in &mut pairs {
            pair.compare(&scenarios, &by_id)?;
        }
        if pairs.iter().all(Pair::agrees) {
            break;
        }
    }
    agent.stop()?;
    collector.stop()?;
    judge(&servers, &pairs, passed, &place.received()?)
}

fn judge(servers: &[Server], pairs: &[Pair], passed: Passed, received: &Received) -> Result<()> {
    let mut counts = Vec::new();
    for server in servers {
        let seen = pairs.iter().filter(|pair| pair.serves(server)).flat_map(|pair| &pair.seen);
        counts.push(Counts::new(server, seen, received)?);
    }
    let known: HashSet<&str> = pairs.iter().flat_map(|pair| &pair.seen).filter_map(|seen| seen.id.as_deref()).collect();
    let stranger = |span: &Span| span.response_id().is_none_or(|id| !known.contains(id));
    let strangers = received.generative().into_iter().filter(stranger).count() as u64;
    // Counted in the kernel, before anybody looks at what it was. Both ends of the plain HTTP are in the cgroup.
    let metered = |role| received.total("inferscope.requests", &[("inferscope.role", role)]).count;
    let served = metered("server").abs_diff(known.len() as u64 + passed.http);
    let false_requests = strangers + served + metered("client").abs_diff(passed.http);
    let rows: Vec<Row> = pairs.iter().flat_map(Pair::rows).cloned().collect();
    let verdict = check(&rows, &counts, false_requests);
    written::write(&rows, &counts, false_requests, passed.connections, verdict.is_ok())?;
    verdict
}

fn check(rows: &[Row], counts: &[Counts], false_requests: u64) -> Result<()> {
    let off: Vec<String> = rows.iter().filter(|row| !row.agrees()).map(|row| format!("{row:?}")).collect();
    ensure!(off.is_empty(), "agent and client disagree:\n{}", off.join("\n"));
    let off: Vec<String> = counts.iter().filter(|row| !row.agrees()).map(|row| format!("{row:?}")).collect();
    ensure!(off.is_empty(), "agent and client count differently:\n{}", off.join("\n"));
    ensure!(false_requests == 0, "{false_requests} requests that nobody made");
    Ok(())
}
