//! What a real OpenTelemetry Collector receives, however it travels and whatever befalls either side.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use inferscope::model::metrics::{Instrument, METRICS};
use inferscope_tests::agent::{Agent, OFTEN, Setup};
use inferscope_tests::ask::{Api, Ask};
use inferscope_tests::cgroup::Cgroup;
use inferscope_tests::clients::{Client, Job, Raw, Seen};
use inferscope_tests::collector::Place;
use inferscope_tests::received::{MetricShape, Received, Span};
use inferscope_tests::servers::{Kind, Server};
use inferscope_tests::turn::Turn;

const ARRIVED_WITHIN: Duration = Duration::from_secs(30);
/// The agent is told to wait this long for a collector when it ends, and may take this much longer.
const SHUTDOWN: Duration = Duration::from_secs(2);
const SLACK: Duration = Duration::from_secs(5);

/// `count` streams of four tokens each.
fn ask(server: &Server, count: u32) -> Result<Vec<Seen>> {
    Client::Hyper.run(server, &Ask::stream(Api::Chat, 4).paced(5.0, 1.0), count, 4)
}

fn agent(server: &Server, place: &Place, config: &str) -> Result<Agent> {
    Setup::new()?.config(config)?.grpc(&place.grpc()).cgroup(server.cgroup()?.path()).start()
}

/// Everything of `requests` streams arrived: spans, and in the metrics requests and tokens.
fn is_whole(received: &Received, requests: u64) -> bool {
    let counted = received.total("gen_ai.server.request.duration", &[]).count;
    let tokens = received.total("inferscope.tokens", &[("gen_ai.token.type", "output")]).count;
    (counted, tokens, received.generative().len() as u64) == (requests, 4 * requests, requests)
}

fn check_whole(received: &Received, requests: u64) -> Result<()> {
    let counted = received.total("gen_ai.server.request.duration", &[]).count;
    let spans = received.generative().len();
    ensure!(is_whole(received, requests), "{requests} requests, {counted} counted, {spans} spans");
    Ok(())
}

/// Names, units, types and attributes are those of the one table, and of the semantic conventions.
#[test]
fn names_are_those_of_the_conventions() -> Result<()> {
    let _turn = Turn::take()?;
    let (server, asking) = (Server::start(Kind::Axum)?, Cgroup::create("asking")?);
    let place = Place::new()?;
    let collector = place.start()?;
    let setup = Setup::new()?.config(OFTEN)?.grpc(&place.grpc());
    let agent = setup.cgroup(server.cgroup()?.path()).cgroup(asking.path()).start()?;
    let jobs = [
        Ask::stream(Api::Chat, 5).paced(5.0, 1.0),
        Ask::whole(Api::Embeddings, 0),
        Ask::stream(Api::Chat, 5).with(|pace| pace.status = Some(503)),
        Ask::stream(Api::Messages, 5).with(|pace| pace.error_after = Some(2)),
    ];
    let jobs = jobs.iter().map(|ask| Job::new(ask, 4, 2)).collect();
    Client::Hyper.start(&server, jobs, Some(&asking))?.finish()?;
    let mut raw = Raw::connect(server.address())?;
    let head = raw.head("GET", "/health", "", 0);
    raw.write(&head)?;
    raw.finish()?;
    agent.stop()?;
    collector.stop()?;
    let received = place.received()?;
    let shapes = received.shapes();
    for shape in &shapes {
        check_row(shape)?;
    }
    // What does not depend on how TCP fares.
    let steady = |shape: &&MetricShape| {
        let prefixes = ["gen_ai.", "http.", "inferscope.requests", "inferscope.stream", "inferscope.tokens"];
        prefixes.iter().any(|prefix| shape.name.starts_with(prefix))
    };
    let line = |shape: &MetricShape| {
        let keys: Vec<_> = shape.attributes.iter().map(String::as_str).collect();
        format!("{} [{}] {}, {}: {}", shape.name, shape.unit, shape.kind, shape.temporality, keys.join(" "))
    };
    let lines: Vec<_> = shapes.iter().filter(steady).map(line).collect();
    insta::assert_snapshot!(lines.join("\n"));
    let keys: Vec<_> = received.resource_keys("inferscope.workload.cgroup").into_iter().collect();
    insta::assert_snapshot!(keys.join("\n"));
    drop(asking);
    Ok(())
}

/// The agent's own metrics and log arrive too, under a resource of their own, and say what happened.
#[test]
fn the_agent_tells_of_itself() -> Result<()> {
    let _turn = Turn::take()?;
    let server = Server::start(Kind::Axum)?;
    let place = Place::new()?;
    let collector = place.start()?;
    let agent = agent(&server, &place, OFTEN)?;
    let asked = ask(&server, 10)?.len() as u64;
    let own = |received: &Received, name: &str, wanted: &[(&str, &str)]| {
        let all = [&[("service.name", "inferscope")], wanted].concat();
        received.total(&format!("inferscope.agent.{name}"), &all).count
    };
    // That the spans were delivered is told after they were.
    let delivered = |received: &Received| own(received, "export.items", &[("inferscope.agent.signal", "traces")]);
    place.until(ARRIVED_WITHIN, "word of every span", |received| (delivered(received) == asked).then_some(()))?;
    agent.stop()?;
    collector.stop()?;
    let received = place.received()?;
    assert_eq!(received.generative().len() as u64, asked);
    let own = |name, wanted: &[(&str, &str)]| own(&received, name, wanted);
    assert_eq!((own("requests", &[]), own("workloads", &[])), (asked, 1));
    assert_eq!((own("orphans", &[]), own("loss", &[]), own("export.loss", &[])), (0, 0, 0));
    for hook in ["tcp_rcv_space_adjust", "tcp_retransmit_skb", "tcp_send_reset", "tcp_receive_reset"] {
        assert_eq!(own("hook.up", &[("inferscope.agent.hook", hook)]), 1, "{hook}");
    }
    ensure!(received.records().iter().any(|record| record.body.starts_with("watching")), "no log of what is watched");
    Ok(())
}

fn check_row(shape: &MetricShape) -> Result<()> {
    let row = METRICS.iter().find(|row| row.name == shape.name);
    let row = row.with_context(|| format!("{} stands in no table", shape.name))?;
    let kind = match row.instrument {
        Instrument::Counter => "sum monotonic",
        Instrument::UpDownCounter => "sum",
        Instrument::Histogram => "exponential histogram",
        Instrument::Gauge => "gauge",
    };
    assert_eq!((shape.unit.as_str(), shape.kind), (row.unit, kind), "{}", shape.name);
    let known = |key: &String| row.attributes.contains(&key.as_str()) || key == "otel.metric.overflow";
    let strange: Vec<_> = shape.attributes.iter().filter(|key| !known(key)).collect();
    ensure!(strange.is_empty(), "{}: {strange:?}", shape.name);
    Ok(())
}

/// Four agents watch the same requests: however they ship, all of them arrives.
#[test]
fn protocols_and_temporalities_agree() -> Result<()> {
    let _turn = Turn::take()?;
    let server = Server::start(Kind::Axum)?;
    let place = Place::new()?;
    let collector = place.start()?;
    let ways = [("grpc", "delta"), ("grpc", "cumulative"), ("http/protobuf", "delta"), ("http/protobuf", "cumulative")];
    let mut agents = Vec::new();
    for (protocol, temporality) in ways {
        let endpoint = if protocol == "grpc" { place.grpc() } else { place.http() };
        let setup = Setup::new()?.config(OFTEN)?.otlp(&endpoint, protocol).temporality(temporality);
        let setup = setup.env("OTEL_RESOURCE_ATTRIBUTES", &format!("test.way={protocol} {temporality}"));
        agents.push(setup.cgroup(server.cgroup()?.path()).start()?);
    }
    let seen = ask(&server, 60)?;
    // Another interval begins.
    let more = |received: &Received| (received.generative().len() >= 4 * seen.len()).then_some(());
    place.until(ARRIVED_WITHIN, "spans of every agent", more)?;
    let all = seen.len() + ask(&server, 30)?.len();
    for agent in agents {
        agent.stop()?;
    }
    collector.stop()?;
    let received = place.received()?;
    for (protocol, temporality) in ways {
        let way = format!("{protocol} {temporality}");
        check_way(&received, &way, all as u64).context(way)?;
    }
    Ok(())
}

/// Metrics and spans of one agent agree to the nanosecond: two ways out of the same requests.
fn check_way(received: &Received, way: &str, requests: u64) -> Result<()> {
    let own = ("test.way", way);
    let spans: Vec<_> = received.generative().into_iter().filter(|span| span.resource[own.0] == own.1).collect();
    let seconds = |time: fn(&Span) -> Option<u64>| spans.iter().filter_map(time).sum::<u64>() as f64 / 1e9;
    let told = [
        ("gen_ai.server.request.duration", seconds(|span| Some(span.duration()))),
        ("gen_ai.server.time_to_first_token", seconds(Span::first_token)),
        ("gen_ai.server.time_per_output_token", seconds(Span::per_token)),
    ];
    for (name, told) in told {
        let totals = received.total(name, &[own]);
        assert_eq!(totals.count, requests, "{name}");
        assert!((totals.sum - told).abs() < 1e-9 * requests as f64, "{name}: {totals:?}, spans {told}");
    }
    let tokens = received.total("inferscope.tokens", &[own, ("gen_ai.token.type", "output")]).count;
    assert_eq!((tokens, spans.iter().filter_map(Span::tokens).sum()), (4 * requests, 4 * requests));
    assert_eq!(received.total("inferscope.requests", &[own]).count, requests);
    assert_eq!(received.total("inferscope.stream.event_gap", &[own]).count, 3 * requests);
    Ok(())
}

/// SIGTERM right behind the last response: with intervals of ten seconds nothing has been shipped before.
#[test]
fn what_is_there_is_shipped_at_the_end() -> Result<()> {
    let _turn = Turn::take()?;
    let server = Server::start(Kind::Axum)?;
    let place = Place::new()?;
    let collector = place.start()?;
    let agent = agent(&server, &place, "[spans]\nwait = \"10s\"\n")?;
    let seen = ask(&server, 50)?;
    agent.stop()?;
    collector.stop()?;
    check_whole(&place.received()?, seen.len() as u64)
}

/// A collector that comes late, and one that goes and comes again, miss nothing that the queue could hold.
#[test]
fn collectors_may_come_and_go() -> Result<()> {
    let _turn = Turn::take()?;
    let server = Server::start(Kind::Axum)?;
    let place = Place::new()?;
    let agent = agent(&server, &place, OFTEN)?;
    let mut asked = ask(&server, 40)?.len() as u64;
    let first = place.start()?;
    place.until(ARRIVED_WITHIN, "what was asked before it came", |received| is_whole(received, asked).then_some(()))?;
    first.stop()?;
    asked += ask(&server, 40)?.len() as u64;
    let second = place.start()?;
    place.until(ARRIVED_WITHIN, "what was asked meanwhile", |received| is_whole(received, asked).then_some(()))?;
    asked += ask(&server, 10)?.len() as u64;
    agent.stop()?;
    second.stop()?;
    check_whole(&place.received()?, asked)
}

/// With a collector that died and stays dead the agent ends when it said it would, and says what was lost.
#[test]
fn a_dead_collector_holds_nobody_up() -> Result<()> {
    let _turn = Turn::take()?;
    let server = Server::start(Kind::Axum)?;
    let place = Place::new()?;
    let collector = place.start()?;
    let config = format!("{OFTEN}[otlp]\nshutdown = \"{}s\"\n", SHUTDOWN.as_secs());
    let agent = agent(&server, &place, &config)?;
    ask(&server, 10)?;
    collector.kill();
    let seen = ask(&server, 10)?;
    assert_eq!(seen.len(), 10);
    let begun = Instant::now();
    let ended = agent.end(SHUTDOWN + SLACK)?;
    assert!(begun.elapsed() < SHUTDOWN + SLACK);
    assert_eq!(ended.status.code(), Some(1), "{:?}", ended.err);
    assert!(ended.err.iter().any(|line| line.contains("deliver")), "it says that something was lost: {:?}", ended.err);
    Ok(())
}
