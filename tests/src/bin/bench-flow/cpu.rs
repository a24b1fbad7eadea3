//! CPU of the agent for a request and for a token, and what watching does to the workload: paired runs with and without.

use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::Result;
use inferscope_tests::agent::{Agent, Setup};
use inferscope_tests::cgroup::Cgroup;
use inferscope_tests::cpu_time::{Sampled, UserTime};
use serde::Serialize;

use crate::FLOWS_ALONE;
use crate::length::Length;
use crate::load::{Load, Outcome, Parameters};
use crate::shift::{self, Shift};

/// Within this a server that begins to listen is found.
const NOTICED: Duration = Duration::from_secs(1);
/// Requests a second and tokens in each. Two rows of one rate tell a token's cost from a request's.
const RATES: [(u32, u32); 4] = [(20, 20), (100, 20), (100, 100), (300, 60)];

#[derive(Serialize, Clone, Copy, Default)]
pub(crate) struct Row {
    pub(crate) requests_per_s: u32,
    pub(crate) tokens_per_s: u32,
    /// User time of the agent, beyond what it needs without requests.
    pub(crate) agent_us_per_request: f64,
    /// How far that may be off, by the chance of sampling.
    pub(crate) agent_us_per_request_resolution: f64,
    /// User and system time of the agent, likewise.
    pub(crate) agent_cpu_us_per_request: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) agent_us_per_token: Option<f64>,
    pub(crate) node_cpu_added_pct: f64,
    pub(crate) workload_p50_shift_pct: f64,
    pub(crate) workload_p50_shift_pct_ci_low: f64,
    pub(crate) workload_p50_shift_pct_ci_high: f64,
    pub(crate) workload_p99_shift_pct: f64,
    pub(crate) workload_p99_shift_pct_ci_low: f64,
    pub(crate) workload_p99_shift_pct_ci_high: f64,
    /// The clients' median time to the first token without an agent.
    pub(crate) first_token_p50_us: f64,
    pub(crate) first_token_p50_shift_us: f64,
    pub(crate) first_token_p50_shift_pct: f64,
    pub(crate) first_token_p50_shift_pct_ci_low: f64,
    pub(crate) first_token_p50_shift_pct_ci_high: f64,
    pub(crate) rounds: usize,
    /// No further round began, though the median's shift was not known as well as wanted.
    pub(crate) cut_short: bool,
}

/// What [`Row::cells`] are.
pub(crate) const HEAD: [&str; 10] = [
    "requests/s",
    "tokens/s",
    "agent user µs per request",
    "per token",
    "user and system µs per request",
    "node CPU added",
    "p50 moved (95 %)",
    "p99 moved (95 %)",
    "first token p50 moved (95 %)",
    "rounds",
];

impl Row {
    pub(crate) fn cells(&self) -> Vec<String> {
        let moved = |mean: f64, low: f64, high: f64| Shift { mean, low, high }.cell();
        let first = moved(
            self.first_token_p50_shift_pct,
            self.first_token_p50_shift_pct_ci_low,
            self.first_token_p50_shift_pct_ci_high,
        );
        vec![
            self.requests_per_s.to_string(),
            self.tokens_per_s.to_string(),
            format!("{:.2} ± {:.2}", self.agent_us_per_request, self.agent_us_per_request_resolution),
            self.agent_us_per_token.map_or_else(|| "–".to_owned(), |us| format!("{us:.3}")),
            format!("{:.2}", self.agent_cpu_us_per_request),
            format!("{:.2} %", self.node_cpu_added_pct),
            moved(self.workload_p50_shift_pct, self.workload_p50_shift_pct_ci_low, self.workload_p50_shift_pct_ci_high),
            moved(self.workload_p99_shift_pct, self.workload_p99_shift_pct_ci_low, self.workload_p99_shift_pct_ci_high),
            format!("{:+.1} µs of {:.0}: {first}", self.first_token_p50_shift_us, self.first_token_p50_us),
            format!("{}{}", self.rounds, if self.cut_short { CUT } else { "" }),
        ]
    }
}

/// Behind the rounds of a row that could have done with more.
const CUT: &str = "*";

/// Explains the mark, where there is one.
pub(crate) fn cut_short(rows: &[Row]) -> String {
    if !rows.iter().any(|row| row.cut_short) {
        return String::new();
    }
    let wanted = Length::FULL.wanted_pct;
    format!("\n{CUT} The time was up before p50 was known to have moved to within ± {wanted} %.")
}

/// What the agent needs without requests, in microseconds of a second.
#[derive(Serialize, Clone, Copy, Default)]
pub(crate) struct Idle {
    pub(crate) agent_user_us_per_s: f64,
    pub(crate) agent_cpu_us_per_s: f64,
}

impl Idle {
    /// Watches a cgroup in which nothing happens, past the look around at the start.
    fn measure(cgroup: &Cgroup, length: Length) -> Result<Self> {
        let agent = Setup::new()?.config(FLOWS_ALONE)?.cgroup(cgroup.path()).start()?;
        thread::sleep(length.settled);
        eprintln!("  without requests: {} s", length.idle.as_secs());
        let (begun, before, user) = (Instant::now(), agent.cpu()?, agent.user_time()?);
        thread::sleep(length.idle);
        let (used, user, passed) = (agent.cpu()? - before, user.stop()?, begun.elapsed().as_secs_f64());
        agent.stop()?;
        let of = |time: Duration| time.as_secs_f64() * 1e6 / passed;
        Ok(Self { agent_user_us_per_s: of(user.time()), agent_cpu_us_per_s: of(used) })
    }
}

/// One run of the load.
struct Run {
    outcome: Outcome,
    seconds: f64,
    busy: f64,
    agent: Duration,
    agent_user: Sampled,
}

impl Run {
    /// With an agent that watches the cgroup, or without.
    fn of(cgroup: &Cgroup, parameters: Parameters, agent: Option<&Agent>) -> Result<Self> {
        let used = || anyhow::Ok(agent.map(Agent::cpu).transpose()?.unwrap_or_default());
        let load = Load::start(cgroup, parameters)?;
        // To look at a new server costs the agent some milliseconds, once.
        thread::sleep(NOTICED);
        let before = used()?;
        let user = agent.map(Agent::user_time).transpose()?;
        let busy = busy_seconds()?;
        let begun = Instant::now();
        let outcome = load.run()?;
        let seconds = begun.elapsed().as_secs_f64();
        let busy = (busy_seconds()? - busy) / seconds;
        let used = used()? - before;
        let agent_user = user.map(UserTime::stop).transpose()?.unwrap_or_default();
        Ok(Self { outcome, seconds, busy, agent: used, agent_user })
    }
}

/// Runs of one row, of which those at the same place are a pair.
#[derive(Default)]
struct Runs {
    without: Vec<Run>,
    with: Vec<Run>,
    rounds: usize,
    cut_short: bool,
}

pub(crate) fn measure(length: Length) -> Result<(Idle, Vec<Row>)> {
    let cgroup = Cgroup::create("cpu")?;
    let idle = Idle::measure(&cgroup, length)?;
    let mut rows: Vec<Row> = Vec::new();
    let begun = Instant::now();
    for (number, (requests_per_s, tokens)) in RATES.into_iter().enumerate() {
        let parameters = Parameters { requests_per_s, tokens, seconds: length.run_seconds };
        let name = format!("row {} of {}, {requests_per_s} requests/s of {tokens} tokens", number + 1, RATES.len());
        // What a row leaves of its part is the next ones'.
        let until = begun + length.rounds.mul_f64((number + 1) as f64 / RATES.len() as f64);
        let runs = runs(&cgroup, parameters, length, until, &name)?;
        let mut row = runs.row(parameters, idle);
        // User time grows with both; at one rate of requests the difference is the tokens'.
        if let Some(before) = rows.iter().rev().find(|row| row.requests_per_s == requests_per_s) {
            let more = f64::from(tokens) - f64::from(before.tokens_per_s) / f64::from(requests_per_s);
            row.agent_us_per_token = Some((row.agent_us_per_request - before.agent_us_per_request) / more);
        }
        rows.push(row);
    }
    Ok((idle, rows))
}

/// Rounds of runs in the order without, with, with, without, until the median's shift is known well enough, or another one
/// would not end in time.
fn runs(cgroup: &Cgroup, parameters: Parameters, length: Length, until: Instant, name: &str) -> Result<Runs> {
    let mut runs = Runs::default();
    loop {
        let begun = Instant::now();
        runs.without.push(Run::of(cgroup, parameters, None)?);
        let agent = Setup::new()?.config(FLOWS_ALONE)?.cgroup(cgroup.path()).start()?;
        thread::sleep(length.settled);
        for _ in 0..2 {
            runs.with.push(Run::of(cgroup, parameters, Some(&agent))?);
        }
        agent.stop()?;
        runs.without.push(Run::of(cgroup, parameters, None)?);
        runs.rounds += 1;
        let p50 = runs.shift(|run| run.outcome.p50_us);
        eprintln!("  {name}: round {}, p50 moved {}", runs.rounds, p50.cell());
        if runs.rounds >= length.least_rounds {
            runs.cut_short = p50.uncertainty() > length.wanted_pct;
            if !runs.cut_short || Instant::now() + begun.elapsed() > until {
                return Ok(runs);
            }
        }
    }
}

impl Runs {
    /// By how many percent a figure moved with the agent.
    fn shift(&self, value: impl Fn(&Run) -> f64) -> Shift {
        let pairs = self.without.iter().zip(&self.with);
        shift::of(&pairs.map(|(a, b)| (value(b) - value(a)) / value(a) * 100.0).collect::<Vec<_>>())
    }

    /// How much greater a figure is with the agent, on the average.
    fn added(&self, value: impl Fn(&Run) -> f64) -> f64 {
        mean(&self.with, &value) - mean(&self.without, &value)
    }

    fn row(&self, parameters: Parameters, idle: Idle) -> Row {
        let (p50, p99) = (self.shift(|run| run.outcome.p50_us), self.shift(|run| run.outcome.p99_us));
        let first = self.shift(|run| run.outcome.first_p50_us);
        let requests = self.with.iter().map(|run| run.outcome.requests).sum::<u64>() as f64;
        let agent: Duration = self.with.iter().map(|run| run.agent).sum();
        let user: Sampled = self.with.iter().map(|run| run.agent_user).sum();
        let seconds: f64 = self.with.iter().map(|run| run.seconds).sum();
        let per_request = |time: Duration| time.as_secs_f64() * 1e6 / requests;
        let cores = thread::available_parallelism().map_or(1, usize::from) as f64;
        Row {
            requests_per_s: parameters.requests_per_s,
            tokens_per_s: parameters.requests_per_s * parameters.tokens,
            agent_us_per_request: per_request(user.time()) - idle.agent_user_us_per_s * seconds / requests,
            agent_us_per_request_resolution: per_request(user.uncertainty()),
            agent_cpu_us_per_request: per_request(agent) - idle.agent_cpu_us_per_s * seconds / requests,
            agent_us_per_token: None,
            node_cpu_added_pct: self.added(|run| run.busy) / cores * 100.0,
            workload_p50_shift_pct: p50.mean,
            workload_p50_shift_pct_ci_low: p50.low,
            workload_p50_shift_pct_ci_high: p50.high,
            workload_p99_shift_pct: p99.mean,
            workload_p99_shift_pct_ci_low: p99.low,
            workload_p99_shift_pct_ci_high: p99.high,
            first_token_p50_us: mean(&self.without, |run| run.outcome.first_p50_us),
            first_token_p50_shift_us: self.added(|run| run.outcome.first_p50_us),
            first_token_p50_shift_pct: first.mean,
            first_token_p50_shift_pct_ci_low: first.low,
            first_token_p50_shift_pct_ci_high: first.high,
            rounds: self.rounds,
            cut_short: self.cut_short,
        }
    }
}

fn mean(runs: &[Run], value: impl Fn(&Run) -> f64) -> f64 {
    runs.iter().map(value).sum::<f64>() / runs.len() as f64
}

/// Seconds for which the CPUs were busy since boot.
fn busy_seconds() -> Result<f64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let ticks: Vec<f64> =
        stat.lines().next().unwrap_or_default().split_whitespace().skip(1).flat_map(str::parse).collect();
    // All but idle and I/O wait; guest time stands in user time already.
    Ok((ticks.iter().take(8).sum::<f64>() - ticks[3] - ticks[4]) / 100.0)
}
