//! Two views of the same requests, side by side.

use anyhow::Result;
use inferscope_tests::clients::Seen;
use inferscope_tests::quantile::quantile;
use inferscope_tests::received::{Received, Span};
use inferscope_tests::servers::Server;
use serde::Serialize;

/// What two quantiles may differ by: this much, or this share, whichever is more.
const US: f64 = 200.0;
const SHARE: f64 = 0.01;

/// One quantity of one scenario. Microseconds.
#[derive(Serialize, Debug, Clone)]
pub(crate) struct Row {
    pub(crate) server: &'static str,
    pub(crate) client: &'static str,
    pub(crate) scenario: &'static str,
    pub(crate) quantity: &'static str,
    pub(crate) requests: usize,
    /// How often it was measured; the figures are those of the last time.
    pub(crate) measurements: usize,
    pub(crate) p50_agent_us: f64,
    pub(crate) p50_client_us: f64,
    pub(crate) p99_agent_us: f64,
    pub(crate) p99_client_us: f64,
}

/// What one server served.
#[derive(Serialize, Debug)]
pub(crate) struct Counts {
    pub(crate) server: &'static str,
    pub(crate) requests_agent: u64,
    pub(crate) requests_client: u64,
    pub(crate) tokens_agent: u64,
    pub(crate) tokens_client: u64,
}

pub(crate) fn rows(
    server: &'static str,
    client: &'static str,
    scenario: &'static str,
    spans: &[&Span],
    seen: &[&Seen],
) -> Vec<Row> {
    let row = |quantity, agent: Vec<u64>, own: Vec<u64>| {
        let us = |values: &[u64], share| quantile(values, share).map(|nanos| nanos as f64 / 1000.0);
        Some(Row {
            server,
            client,
            scenario,
            quantity,
            requests: agent.len(),
            measurements: 1,
            p50_agent_us: us(&agent, 0.5)?,
            p50_client_us: us(&own, 0.5)?,
            p99_agent_us: us(&agent, 0.99)?,
            p99_client_us: us(&own, 0.99)?,
        })
    };
    let spans = || spans.iter().copied();
    let seen = || seen.iter().copied();
    let rows = [
        row("ttft", spans().filter_map(Span::first_token).collect(), seen().filter_map(Seen::first_token).collect()),
        row("duration", spans().map(Span::duration).collect(), seen().map(Seen::duration).collect()),
        row("tpot", spans().filter_map(Span::per_token).collect(), seen().filter_map(Seen::per_token).collect()),
    ];
    rows.into_iter().flatten().collect()
}

impl Row {
    pub(crate) fn agrees(&self) -> bool {
        let near = |agent: f64, client: f64| (agent - client).abs() <= (client * SHARE).max(US);
        near(self.p50_agent_us, self.p50_client_us) && near(self.p99_agent_us, self.p99_client_us)
    }
}

impl Counts {
    pub(crate) fn new<'a>(
        server: &Server,
        seen: impl Iterator<Item = &'a Seen> + Clone,
        received: &Received,
    ) -> Result<Self> {
        let cgroup = server.cgroup()?.path().display().to_string();
        let of = |name, more: &[(&str, &str)]| {
            let wanted = [&[("inferscope.workload.cgroup", cgroup.as_str())], more].concat();
            received.total(name, &wanted).count
        };
        Ok(Self {
            server: server.kind().name(),
            requests_agent: of("gen_ai.server.request.duration", &[]),
            requests_client: seen.clone().count() as u64,
            tokens_agent: of("inferscope.tokens", &[("gen_ai.token.type", "output")]),
            tokens_client: seen.filter_map(|seen| seen.tokens).sum(),
        })
    }

    pub(crate) fn agrees(&self) -> bool {
        (self.requests_agent, self.tokens_agent) == (self.requests_client, self.tokens_client)
    }
}
