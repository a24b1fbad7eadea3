//! The governor under a load step: what the agent uses from second to second, what it sheds, and what comes back.
//!
//! `cargo xtask bench governor` builds what this needs and runs it as root.

#![expect(clippy::print_stdout, reason = "a benchmark's figures are its output")]

mod report;

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use inferscope::bpf::RunStats;
use inferscope_tests::agent::{Agent, Setup};
use inferscope_tests::ask::{Api, Ask};
use inferscope_tests::clients::{Client, Job, Running};
use inferscope_tests::receiver::Receiver;
use inferscope_tests::servers::{Kind, Server};
use inferscope_tests::turn::Turn;
use report::{Report, Row};

/// Streams at the same time, before and after the step and in it.
const LOW: u32 = 2;
const HIGH: u32 = 10 * LOW;
/// How long a load lasts that only serves to find a budget, and how long before it is measured.
const TRIAL: Duration = Duration::from_secs(20);
const SETTLED: Duration = Duration::from_secs(10);
/// How long each load of the timeline lasts.
const PHASES: [(u32, Duration); 3] =
    [(LOW, Duration::from_secs(20)), (HIGH, Duration::from_secs(60)), (LOW, Duration::from_secs(60))];
/// Time between two rows.
const EVERY: Duration = Duration::from_secs(5);
/// Windows that are opened to see what one costs.
const WINDOWS: usize = 101;
/// Longest wait for what was counted to arrive.
const ARRIVED_WITHIN: Duration = Duration::from_secs(30);
/// The smallest budget that can be set: everything is shed.
const NOTHING: f64 = 0.001;
/// Whatever the machine has.
const EVERYTHING: f64 = 1024.0;

/// CPU that the agent's process and its programs have used, by the kernel's books.
#[derive(Clone, Copy)]
struct Books {
    at: Instant,
    process: Duration,
    programs: Duration,
}

/// CPUs in the mean of some time.
#[derive(Clone, Copy)]
struct Cpus {
    process: f64,
    programs: f64,
}

impl Books {
    fn of(agent: &Agent) -> Result<Self> {
        Ok(Self { at: Instant::now(), process: agent.cpu()?, programs: agent.programs_time()? })
    }

    fn since(self, before: Self) -> Cpus {
        let passed = (self.at - before.at).as_secs_f64();
        let cpus = |now: Duration, then: Duration| now.saturating_sub(then).as_secs_f64() / passed;
        Cpus { process: cpus(self.process, before.process), programs: cpus(self.programs, before.programs) }
    }
}

impl Cpus {
    fn in_all(self) -> f64 {
        self.process + self.programs
    }
}

fn main() -> Result<()> {
    let _turn = Turn::take()?;
    let server = Server::start(Kind::Axum)?;
    let window_us = window()?;
    // What programs really use is known while the kernel times them all the time.
    let _stats = RunStats::enable()?;
    let trial = |streams, budget| -> Result<Cpus> {
        let receiver = Receiver::start()?;
        let agent = agent(&server, &receiver, budget)?;
        let load = load(&server, streams)?;
        thread::sleep(SETTLED);
        let before = Books::of(&agent)?;
        thread::sleep(TRIAL);
        let used = Books::of(&agent)?.since(before);
        load.stop()?;
        agent.stop()?;
        Ok(used)
    };
    let costs = [trial(LOW, EVERYTHING)?, trial(HIGH, EVERYTHING)?, trial(HIGH, NOTHING)?].map(Cpus::in_all);
    // Between the high load's cost with everything and with everything shed, so that the governor can hold it.
    let budget = (costs[1] + costs[2]) / 2.0;
    let receiver = Receiver::start()?;
    let agent = agent(&server, &receiver, budget)?;
    let (rows, asked) = timeline(&server, &receiver, &agent)?;
    let changes = agent.log().iter().filter_map(|line| said(line)).map(str::to_owned).collect();
    let counted = receiver.until(ARRIVED_WITHIN, "every request", |received| {
        let counted = received.total("gen_ai.server.request.duration", &[]).count;
        (counted >= asked).then_some(counted)
    })?;
    agent.stop()?;
    Report::new(window_us, costs, budget, rows, changes, [asked, counted])?.finish()
}

/// Microseconds that it takes to begin and to end a window: the median.
fn window() -> Result<f64> {
    let mut all = Vec::new();
    for _ in 0..WINDOWS {
        let begun = Instant::now();
        drop(RunStats::enable()?);
        all.push(begun.elapsed());
    }
    all.sort();
    Ok(all[WINDOWS / 2].as_secs_f64() * 1e6)
}

fn agent(server: &Server, receiver: &Receiver, cpus: f64) -> Result<Agent> {
    let budget = format!("[budget]\ncpu_percent = 100\ncpus = {cpus}\n");
    Setup::new()?.config(&budget)?.grpc(&receiver.endpoint()).cgroup(server.cgroup()?.path()).start()
}

/// Streams of five tokens, so many at the same time until they are stopped.
fn load(server: &Server, streams: u32) -> Result<Running> {
    let ask = Ask::stream(Api::Chat, 5).paced(5.0, 1.0);
    Client::Hyper.start(server, vec![Job::new(&ask, 1_000_000, streams)], None)
}

/// The rows of the timeline, and how many requests were answered.
fn timeline(server: &Server, receiver: &Receiver, agent: &Agent) -> Result<(Vec<Row>, u64)> {
    let (begun, mut rows, mut asked) = (Instant::now(), Vec::new(), 0);
    for (streams, lasts) in PHASES {
        let (load, end) = (load(server, streams)?, Instant::now() + lasts);
        while Instant::now() < end {
            let (done, before) = (load.done(), Books::of(agent)?);
            thread::sleep(EVERY);
            let (now, used) = (load.done(), Books::of(agent)?.since(before));
            let kind = [("inferscope.agent.cpu.kind", "programs")];
            let log = agent.log();
            let count =
                |step: &str| log.iter().filter(|line| said(line).is_some_and(|said| said.starts_with(step))).count();
            rows.push(Row {
                second: begun.elapsed().as_secs(),
                requests_per_s: (now - done) as f64 / EVERY.as_secs_f64(),
                cpus: used.in_all(),
                programs_cpus: used.programs,
                programs_told_cpus: receiver.received().total("inferscope.agent.cpu.usage", &kind).sum,
                shed: count("shed ").saturating_sub(count("back: ")),
            });
        }
        asked += load.stop()?.len() as u64;
    }
    Ok((rows, asked))
}

/// What the governor says in a line of the log, without the line's fields.
fn said(line: &str) -> Option<&str> {
    let (_, said) = line.split_once("governor::tell: ")?;
    said.split(" part=").next()?.split(" cause=").next()
}
