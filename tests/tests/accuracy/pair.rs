//! One client of one server: what it asked, and how that compares.

use std::collections::{BTreeMap, HashMap};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use inferscope_tests::clients::{Client, Job, Seen};
use inferscope_tests::process::Process;
use inferscope_tests::received::Span;
use inferscope_tests::servers::Server;
use inferscope_tests::tools;
use inferscope_tests::unrelated::Passed;

use crate::figures::{self, Row};
use crate::scenarios::Scenario;

/// Rounds of every unrelated protocol for each measurement.
const ROUNDS: u32 = 20;
const UNRELATED_WITHIN: Duration = Duration::from_secs(60);

/// One client of one server.
pub(crate) struct Pair<'a> {
    server: &'a Server,
    client: Client,
    /// Every request of every measurement: all of them count.
    pub(crate) seen: Vec<Seen>,
    /// Where the latest measurement begins in `seen`.
    latest: usize,
    /// Scenarios to measure: numbers of all, then of those whose figures disagreed.
    due: Vec<usize>,
    /// By the scenario's number, the figures of its latest measurement.
    rows: BTreeMap<usize, Vec<Row>>,
}

impl<'a> Pair<'a> {
    pub(crate) fn new(server: &'a Server, client: Client, scenarios: &[Scenario]) -> Self {
        let due = (0..scenarios.len()).collect();
        Self { server, client, seen: Vec::new(), latest: 0, due, rows: BTreeMap::new() }
    }

    /// Asks what is due, beside traffic that is no inference; returns what of that passed.
    pub(crate) fn measure(&mut self, scenarios: &[Scenario]) -> Result<Passed> {
        self.latest = self.seen.len();
        if self.due.is_empty() {
            return Ok(Passed::default());
        }
        let unrelated = unrelated(self.server)?;
        let due = self.due.iter().filter_map(|number| scenarios.get(*number));
        let jobs = due.map(|scenario| Job::new(&scenario.ask, scenario.requests, scenario.at_once));
        let seen = self.client.start(self.server, jobs.collect(), None)?.finish()?;
        let failed = seen.iter().find(|seen| seen.error.is_some() || seen.status != 200);
        ensure!(failed.is_none(), "{} {}: {failed:?}", self.server.kind().name(), self.client.name());
        self.seen.extend(seen);
        let out = unrelated.wait(UNRELATED_WITHIN)?.well("unrelated traffic")?.out;
        Ok(serde_json::from_str(out.first().context("unrelated traffic said nothing")?)?)
    }

    /// Joins what was measured last with the agent's spans; what disagrees is due again.
    pub(crate) fn compare(&mut self, scenarios: &[Scenario], spans: &HashMap<&str, &Span>) -> Result<()> {
        for (job, number) in std::mem::take(&mut self.due).into_iter().enumerate() {
            let seen: Vec<&Seen> = self.seen[self.latest..].iter().filter(|seen| seen.job == job).collect();
            let of = |seen: &&Seen| spans.get(seen.id.as_deref()?).copied();
            let joined: Vec<&Span> = seen.iter().filter_map(of).collect();
            ensure!(joined.len() == seen.len(), "{} of {} responses have a span", joined.len(), seen.len());
            let (server, client) = (self.server.kind().name(), self.client.name());
            let mut rows = figures::rows(server, client, scenarios[number].name, &joined, &seen);
            let before = self.rows.get(&number).and_then(|rows| rows.first()).map_or(0, |row| row.measurements);
            rows.iter_mut().for_each(|row| row.measurements += before);
            if !rows.iter().all(Row::agrees) {
                self.due.push(number);
            }
            self.rows.insert(number, rows);
        }
        Ok(())
    }

    /// Whether every scenario's latest figures agree.
    pub(crate) fn agrees(&self) -> bool {
        self.due.is_empty()
    }

    pub(crate) fn serves(&self, server: &Server) -> bool {
        std::ptr::eq(self.server, server)
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.values().flatten()
    }
}

/// Traffic that is no inference, from and to sockets of the server's cgroup, while it serves.
fn unrelated(server: &Server) -> Result<Process> {
    let mut command = Command::new(tools::sibling("unrelated")?);
    command.arg(ROUNDS.to_string());
    Process::start("unrelated traffic", command, Some(server.cgroup()?))
}
