//! The agent's figures beside the clients' own.

use anyhow::Result;
use inferscope_tests::clients::Seen;
use inferscope_tests::quantile::quantile;
use inferscope_tests::received::{Received, Span};
use inferscope_tests::report;
use inferscope_tests::servers::Server;

const HEAD: [&str; 9] =
    ["server", "told by", "requests", "errors", "TTFT p50", "TTFT p99", "per token p50", "p99", "output tokens"];

/// What one side tells of one server. Times in nanoseconds.
struct Side {
    requests: u64,
    errors: u64,
    times: [Option<u64>; 4],
    tokens: u64,
}

pub(crate) fn table(servers: &[Server], seen: &[Vec<Seen>], received: &Received) -> Result<String> {
    let mut rows = Vec::new();
    for (server, seen) in servers.iter().zip(seen) {
        let (agent, client) = (agent(server, received)?, client(seen));
        rows.push([vec![server.kind().name().to_owned(), "inferscope".to_owned()], agent.cells()].concat());
        rows.push([vec![String::new(), "its clients".to_owned()], client.cells()].concat());
        rows.push([vec![String::new(), "difference".to_owned()], differences(&agent, &client)].concat());
    }
    Ok(report::table(&HEAD, &rows))
}

/// Counts come from metrics, quantiles from spans.
fn agent(server: &Server, received: &Received) -> Result<Side> {
    let cgroup = server.cgroup()?.path().display().to_string();
    let own = ("inferscope.workload.cgroup", cgroup.as_str());
    let count = |name, more: &[_]| received.total(name, &[&[own], more].concat()).count;
    let all = received.generative();
    let spans = || all.iter().filter(|span| span.resource.get(own.0).map(String::as_str) == Some(own.1));
    Ok(Side {
        requests: count("gen_ai.server.request.duration", &[]),
        errors: count("gen_ai.server.request.duration", &[("error.type", "503")]),
        times: times(
            &spans().filter_map(Span::first_token).collect::<Vec<_>>(),
            &spans().filter_map(Span::per_token).collect::<Vec<_>>(),
        ),
        tokens: count("inferscope.tokens", &[("gen_ai.token.type", "output")]),
    })
}

fn client(seen: &[Seen]) -> Side {
    Side {
        requests: seen.len() as u64,
        errors: seen.iter().filter(|seen| seen.error.is_some()).count() as u64,
        times: times(
            &seen.iter().filter_map(Seen::first_token).collect::<Vec<_>>(),
            &seen.iter().filter_map(Seen::per_token).collect::<Vec<_>>(),
        ),
        tokens: seen.iter().filter_map(|seen| seen.tokens).sum(),
    }
}

fn times(first: &[u64], per_token: &[u64]) -> [Option<u64>; 4] {
    [quantile(first, 0.5), quantile(first, 0.99), quantile(per_token, 0.5), quantile(per_token, 0.99)]
}

impl Side {
    fn cells(&self) -> Vec<String> {
        let time = |nanos: &Option<u64>| match nanos {
            Some(nanos) => format!("{:.2} ms", *nanos as f64 / 1e6),
            None => "–".to_owned(),
        };
        let counts = vec![self.requests.to_string(), self.errors.to_string()];
        [counts, self.times.iter().map(time).collect(), vec![self.tokens.to_string()]].concat()
    }
}

fn differences(agent: &Side, client: &Side) -> Vec<String> {
    let counts = |agent: u64, client: u64| if agent == client { "0".to_owned() } else { percent(agent, client) };
    let times = agent.times.iter().zip(client.times).map(|(agent, client)| match (agent, client) {
        (Some(agent), Some(client)) => percent(*agent, client),
        _ => "–".to_owned(),
    });
    let mut cells = vec![counts(agent.requests, client.requests), counts(agent.errors, client.errors)];
    cells.extend(times);
    cells.push(counts(agent.tokens, client.tokens));
    cells
}

fn percent(agent: u64, client: u64) -> String {
    format!("{:+.2} %", (agent as f64 - client as f64) / (client.max(1) as f64) * 100.0)
}
