//! The table, for people and for programs.

use std::fs;
use std::io::{self, Write};

use anyhow::{Context, Result};
use inferscope_tests::machine::Header;
use inferscope_tests::{report, tools};
use serde::Serialize;

use crate::figures::{Counts, Row};

const CONFIG: &str = "Agent watching five servers' cgroups, shipping to an OpenTelemetry Collector; clients and servers \
on the same machine, over loopback";

const METHOD: &str = "\
Real servers, real clients, one machine. Every request is made by a client program that keeps its own times, and is \
joined with the agent's span by the response's id.

- **Client**: from right before the request's first byte is written to the time at which the kernel received the \
response's bytes for the client's socket (`SO_TIMESTAMPNS`, read beside the bytes). So neither the client's waits for a \
CPU nor its parser count. Bytes of two events that lie unread together have one time, the later one; clients therefore \
run with real-time priority (`SCHED_FIFO`). A stream's first token is the first event with content, its end \
`data: [DONE]`.
- **Agent**: from the request's first byte at the server's socket to the response's bytes leaving it, out of the spans \
that a collector received.
- **TPOT**: (duration − TTFT) / (tokens − 1). Counts come from the metrics (`gen_ai.server.request.duration`, \
`inferscope.tokens`), not from the spans.
- The tables show the client's quantiles, and behind each by how much the agent's differs.
- Quantiles of agent and client must agree within 1 % or 200 µs, whichever is more; counts must be equal. A \
scenario whose figures disagree is measured again, four times at most: a busy machine stops one side between an event and \
its time stamp now and then, but what the agent gets wrong, it gets wrong every time. `measured` says how often a scenario was; `n` requests are those of the last time, whose figures \
these are. All measurements count as requests.
- Meanwhile Redis, PostgreSQL, memcached, SMTP, NATS, HTTP/2, TLS, random bytes, prose about an endpoint and plain HTTP \
pass through sockets of the same cgroups: none of it may count as a request for inference.

Made by `cargo test -p inferscope-tests --test accuracy`, which `cargo xtask test` runs.
";

#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    header: Header,
    rows: &'a [Row],
    servers: &'a [Counts],
    false_requests: u64,
    unrelated_connections: u64,
}

/// Prints the table and writes the report; `docs` too, where what is said there is true.
pub(crate) fn write(
    rows: &[Row],
    counts: &[Counts],
    false_requests: u64,
    unrelated_connections: u64,
    docs: bool,
) -> Result<()> {
    let header = Header::now(CONFIG)?;
    let times = times(rows);
    let counted = counted(counts);
    let falsely =
        format!("Of {unrelated_connections} unrelated connections {false_requests} were taken for inference.");
    // Not through `println!`, which is shown for failed tests alone.
    writeln!(io::stdout(), "\n{times}\n{counted}\n{falsely}")?;
    let text = format!(
        "# Accuracy\n\n{}\n\n{METHOD}\n## Times\n\n{times}\n## Counts\n\n{counted}\n{falsely}\n",
        header.line()
    );
    let path = tools::root().join("docs/accuracy.md");
    if docs {
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    report::write_json("accuracy", &Report { header, rows, servers: counts, false_requests, unrelated_connections })
}

/// One line for each scenario: what the client saw, and behind it by how much the agent's figure differs.
fn times(rows: &[Row]) -> String {
    let mut head = vec!["server", "client", "scenario", "n", "measured"];
    for quantity in ["TTFT p50 ms", "duration p50 ms", "TPOT p50 ms"] {
        head.extend([quantity, "agent", "p99 ms", "agent"]);
    }
    let mut lines: Vec<Vec<String>> = Vec::new();
    for line in rows.chunk_by(|a, b| (a.server, a.client, a.scenario) == (b.server, b.client, b.scenario)) {
        let first = &line[0];
        let mut cells = vec![
            first.server.to_owned(),
            first.client.to_owned(),
            first.scenario.to_owned(),
            first.requests.to_string(),
            first.measurements.to_string(),
        ];
        for quantity in ["ttft", "duration", "tpot"] {
            match line.iter().find(|row| row.quantity == quantity) {
                Some(row) => {
                    cells.extend(pair(row.p50_client_us, row.p50_agent_us));
                    cells.extend(pair(row.p99_client_us, row.p99_agent_us));
                }
                None => cells.extend(std::iter::repeat_n("–".to_owned(), 4)),
            }
        }
        lines.push(cells);
    }
    report::table(&head, &lines)
}

fn pair(client_us: f64, agent_us: f64) -> [String; 2] {
    [format!("{:.2}", client_us / 1000.0), format!("{:+.0} µs", agent_us - client_us)]
}

fn counted(counts: &[Counts]) -> String {
    let head = ["server", "requests: agent", "client", "output tokens: agent", "client"];
    let line = |row: &Counts| {
        let counts = [row.requests_agent, row.requests_client, row.tokens_agent, row.tokens_client];
        std::iter::once(row.server.to_owned()).chain(counts.map(|count| count.to_string())).collect()
    };
    report::table(&head, &counts.iter().map(line).collect::<Vec<_>>())
}
