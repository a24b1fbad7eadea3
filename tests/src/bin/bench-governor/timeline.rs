//! A load step under a budget, from interval to interval.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use inferscope::governor::detail::FOR_CPU;
use inferscope_tests::agent::Agent;
use inferscope_tests::receiver::Receiver;
use serde::Serialize;

use super::books::Used;
use super::load::{Done, Stage, Work};
use super::{HIGH, INTERVAL, LOW, agent};

/// How long each load lasts, in intervals.
const PHASES: [(u32, u32); 3] = [(LOW, 2), (HIGH, 8), (LOW, 4)];
/// The budget holds from this interval of the step on, the first being 0.
const HOLDS_FROM: usize = 2;
/// Longest wait for what was counted to arrive.
const ARRIVED_WITHIN: Duration = Duration::from_secs(30);

const CGROUP: &str = "inferscope.workload.cgroup";

/// An interval.
#[derive(Serialize)]
pub(crate) struct Row {
    /// When it ended.
    pub(crate) second: u64,
    pub(crate) requests_per_s: f64,
    /// The agent's process and its programs, by the kernel's books.
    pub(crate) cpus: f64,
    /// The programs alone.
    pub(crate) programs_cpus: f64,
    /// The programs as the agent tells them.
    pub(crate) programs_told_cpus: f64,
    /// What was shed (`-`) and came back (`+`) in it, and why.
    pub(crate) changes: Vec<String>,
}

#[derive(Serialize)]
pub(crate) struct Timeline {
    pub(crate) budget_cpus: f64,
    /// From the third interval of the step to its end.
    pub(crate) held_cpus: f64,
    pub(crate) rows: Vec<Row>,
    /// As the log has them.
    pub(crate) changes: Vec<String>,
    pub(crate) done: Done,
    pub(crate) counted: Done,
}

impl Timeline {
    /// Runs it.
    pub(crate) fn of(stage: &Stage, budget_cpus: f64) -> Result<Self> {
        let receiver = Receiver::start()?;
        let agent = agent(stage, &receiver, budget_cpus)?;
        let (begun, mut rows, mut done, mut held) = (Instant::now(), Vec::new(), Done::default(), Used::default());
        for (streams, intervals) in PHASES {
            let load = Work::start(stage, streams, INTERVAL * intervals)?;
            for interval in 0..intervals as usize {
                let (asked, said) = (load.requests(), changes(&agent).len());
                let used = Used::of(&agent, INTERVAL)?;
                if streams == HIGH && interval >= HOLDS_FROM {
                    held = held + used;
                }
                let kind = [("inferscope.agent.cpu.kind", "programs")];
                rows.push(Row {
                    second: begun.elapsed().as_secs(),
                    requests_per_s: (load.requests() - asked) as f64 / used.over.as_secs_f64(),
                    cpus: used.cpus(),
                    programs_cpus: used.programs_cpus(),
                    programs_told_cpus: receiver.received().total("inferscope.agent.cpu.usage", &kind).sum,
                    changes: changes(&agent)[said..].iter().map(|line| short(line)).collect(),
                });
            }
            done += load.end()?;
        }
        receiver.until(ARRIVED_WITHIN, "every request", |received| {
            (received.total("gen_ai.server.request.duration", &[]).count >= done.requests).then_some(())
        })?;
        let changes = changes(&agent);
        agent.stop()?;
        let received = receiver.received();
        let count = |name, wanted: &[(&str, &str)]| received.total(name, wanted).count;
        let calls = stage.calls.path().display().to_string();
        let counted = Done {
            requests: count("gen_ai.server.request.duration", &[]),
            tokens: count("inferscope.tokens", &[("gen_ai.token.type", "output")]),
            calls: count("inferscope.syscall.calls", &[("inferscope.syscall.class", "other"), (CGROUP, &calls)]),
        };
        let changes = changes.iter().map(|line| sentence(line).to_owned()).collect();
        Ok(Self { budget_cpus, held_cpus: held.cpus(), rows, changes, done, counted })
    }

    /// What the governor shed before anything came back, in order, by place in the published one.
    fn shed(&self) -> Vec<Option<usize>> {
        let changes = self.changes.iter().take_while(|change| !change.starts_with("back: "));
        let lost = changes.filter_map(|change| change.strip_prefix("shed "));
        lost.map(|lost| FOR_CPU.iter().position(|rung| lost.starts_with(&format!("{}:", rung.loses)))).collect()
    }

    /// True where system calls were counted all the time.
    pub(crate) fn counts_calls(&self) -> bool {
        !self.rows.iter().flat_map(|row| &row.changes).any(|change| change.starts_with("-syscalls "))
    }

    /// What must be so.
    pub(crate) fn check(&self) -> Result<()> {
        let (held, budget) = (self.held_cpus, self.budget_cpus);
        ensure!(held <= budget, "{held} CPUs are used from the third interval of the step on, of {budget}");
        // Token timelines, the first place, are not made by anybody yet.
        let shed = self.shed();
        let order: Vec<_> = (1..=shed.len()).map(Some).collect();
        ensure!(!shed.is_empty() && shed == order, "not in the published order: {shed:?}");
        let Done { requests, tokens, calls } = self.counted;
        ensure!((requests, tokens) == (self.done.requests, self.done.tokens), "{:?} of {:?}", self.counted, self.done);
        let exact = !self.counts_calls() || calls == self.done.calls;
        ensure!(exact, "{calls} calls are counted, and {} were made", self.done.calls);
        Ok(())
    }
}

/// Lines of the log about changes, so far.
fn changes(agent: &Agent) -> Vec<String> {
    agent.log().into_iter().filter(|line| line.contains("governor::tell: ")).collect()
}

/// What the governor says in a line of the log, without the line's fields.
fn sentence(line: &str) -> &str {
    let said = line.split_once("governor::tell: ").map_or(line, |(_, said)| said);
    let said = said.split(" part=").next().unwrap_or(said);
    said.split(" cause=").next().unwrap_or(said)
}

/// The same in a word.
fn short(line: &str) -> String {
    let field = |name: &str| {
        let value = line.split_once(name).and_then(|(_, value)| value.split_whitespace().next());
        value.unwrap_or_default().trim_matches('"').to_owned()
    };
    let (part, cause) = (field(" part="), field(" cause="));
    match sentence(line) {
        said if said.starts_with("shed ") => format!("-{part} ({cause})"),
        said if said.starts_with("back: ") => format!("+{part}"),
        _ => format!("nothing is left ({cause})"),
    }
}
