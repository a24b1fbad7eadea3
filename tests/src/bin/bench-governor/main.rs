//! The governor under a load step: what the agent uses from second to second, what it sheds and why, what comes back.
//! Fails where the budget does not hold, or a count is wrong.
//!
//! `cargo xtask bench governor` builds what this needs and runs it as root.

#![expect(clippy::print_stdout, reason = "a benchmark's figures are its output")]

mod books;
mod load;
mod report;
mod timeline;

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use inferscope::bpf::RunStats;
use inferscope_tests::agent::{Agent, Setup};
use inferscope_tests::receiver::Receiver;
use inferscope_tests::turn::Turn;

use books::Used;
use load::{Stage, Work};
use report::{Costs, Report};
use timeline::Timeline;

/// Streams at the same time, before and after the step and in it.
const LOW: u32 = 2;
const HIGH: u32 = 10 * LOW;
/// The flush interval, which is the governor's window.
const INTERVAL: Duration = Duration::from_secs(5);
/// How long a load lasts that only serves to find a budget, and how much of it passes before it is measured: the smallest
/// budget has shed everything by then.
const TRIAL: Duration = Duration::from_secs(20);
const SETTLED: Duration = Duration::from_secs(10);
/// Budgets between what the high load costs with everything shed (0) and with full detail (1): one that takes nearly
/// everything, and one in which calls stay counted.
const BUDGETS: [f64; 2] = [0.25, 0.75];
/// Windows that are opened to see what one costs.
const WINDOWS: usize = 101;
/// The smallest budget that can be set: everything is shed.
const NOTHING: f64 = 0.001;
/// Whatever the machine has.
const EVERYTHING: f64 = 1024.0;

fn main() -> Result<()> {
    let _turn = Turn::take()?;
    let stage = Stage::set()?;
    let window_us = window()?;
    // What programs really use is known while the kernel times them all the time.
    let _stats = RunStats::enable()?;
    let costs = Costs {
        low: trial(&stage, LOW, EVERYTHING)?,
        high: trial(&stage, HIGH, EVERYTHING)?,
        high_shed: trial(&stage, HIGH, NOTHING)?,
    };
    let timelines = BUDGETS.map(|place| Timeline::of(&stage, costs.high_shed + (costs.high - costs.high_shed) * place));
    let report = Report::new(window_us, costs, timelines.into_iter().collect::<Result<_>>()?)?;
    report.finish()?;
    let Costs { high, high_shed, .. } = costs;
    for timeline in &report.timelines {
        let budget = timeline.budget_cpus;
        ensure!(high_shed < budget && budget < high, "{budget} CPUs are not between {high_shed} and {high}");
        timeline.check()?;
    }
    let counts: Vec<bool> = report.timelines.iter().map(Timeline::counts_calls).collect();
    ensure!(counts == [false, true], "system calls were counted: {counts:?}");
    Ok(())
}

/// CPUs that a load costs with a budget.
fn trial(stage: &Stage, streams: u32, budget: f64) -> Result<f64> {
    let receiver = Receiver::start()?;
    let agent = agent(stage, &receiver, budget)?;
    let load = Work::start(stage, streams, TRIAL)?;
    thread::sleep(SETTLED);
    let used = Used::of(&agent, TRIAL - SETTLED - Duration::from_secs(1))?;
    load.end()?;
    agent.stop()?;
    Ok(used.cpus())
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

fn agent(stage: &Stage, receiver: &Receiver, cpus: f64) -> Result<Agent> {
    let interval = INTERVAL.as_secs();
    let config = format!(
        "[metrics]\ninterval = \"{interval}s\"\n[budget]\ncpu_percent = 100\ncpus = {cpus}\nmemory = \"4GiB\"\n\
         recovery = \"10s\"\n"
    );
    let setup = Setup::new()?.config(&config)?.grpc(&receiver.endpoint());
    setup.cgroup(stage.server.cgroup()?.path()).cgroup(stage.calls.path()).start()
}
