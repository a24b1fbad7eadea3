//! The agent holds its budget, says so, and remembers that it was killed.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use inferscope::bpf::RunStats;
use inferscope::governor::detail::{FOR_CPU, Part, Rung};
use inferscope_tests::agent::{Agent, OFTEN, Setup};
use inferscope_tests::ask::{Api, Ask};
use inferscope_tests::cgroup::Cgroup;
use inferscope_tests::clients::{Client, Job, Raw};
use inferscope_tests::host::load::{Load, binary};
use inferscope_tests::memory::MemoryLimit;
use inferscope_tests::process::Ended;
use inferscope_tests::received::Received;
use inferscope_tests::receiver::Receiver;
use inferscope_tests::scene::{SHIPPED_WITHIN, Scene};
use inferscope_tests::servers::{Kind, Server};
use inferscope_tests::turn::Turn;

const WITHIN: Duration = Duration::from_secs(60);
const MODE: &str = "inferscope.agent.syscall.mode";
const LEFT: &str = "nothing is left to shed";

/// A configuration with a budget of so many CPUs, which notes its runs in `state`. No run lasts long enough for it.
fn config(cpus: f64, memory: &str, state: &Path) -> String {
    format!(
        "{OFTEN}[budget]\ncpu_percent = 100\ncpus = {cpus}\nmemory = \"{memory}\"\nrecovery = \"2s\"\nhealthy = \"1h\"\n\
         state = \"{}\"\n",
        state.display()
    )
}

/// Every line of the log about something that was shed, in order.
fn shed(log: &[String]) -> Vec<&String> {
    log.iter().filter(|line| line.contains("shed ") && line.contains("are used of") && !line.contains(LEFT)).collect()
}

/// True where the agent that said so has probes of the host.
fn has_probes(log: &[String]) -> bool {
    !log.iter().any(|line| line.contains("are not observed") || line.contains("tracepoints stay off"))
}

/// The last value of a metric, as it stands.
fn last(received: &Received, name: &str, wanted: &[(&str, &str)]) -> u64 {
    received.total(name, wanted).count
}

/// Asks `server` for `good` answers and `bad` ones.
fn ask(server: &Server, good: u32, bad: u32) -> Result<()> {
    let mut raw = Raw::connect(server.address())?;
    for _ in 0..good {
        raw.ask(&Ask::stream(Api::Chat, 3))?;
    }
    for _ in 0..bad {
        raw.ask(&Ask::whole(Api::Chat, 3).with(|pace| pace.status = Some(503)))?;
    }
    Ok(())
}

/// Everything that there is goes in the published order, each with its reason; requests, errors and tokens stay exact.
#[test]
fn a_tiny_budget_sheds_in_order_and_never_a_count() -> Result<()> {
    let turn = Turn::take()?;
    let (receiver, state) = (Receiver::start()?, tempfile::tempdir()?);
    let server = Server::start(Kind::Axum)?;
    // A thousandth of a CPU is not enough to look for workloads.
    let setup = Setup::new()?.config(&config(0.001, "4GiB", state.path()))?.grpc(&receiver.endpoint());
    let mut agent = setup.cgroup(server.cgroup()?.path()).start()?;
    let line = agent.until_logged(WITHIN, LEFT)?;
    assert!(line.contains("CPUs are used of 0.0010 CPUs") && line.contains("budget.cpu_percent"), "{line}");
    let log = agent.log();
    let place = |line: &&String| FOR_CPU.iter().position(|rung: &Rung| line.contains(&format!("shed {}:", rung.loses)));
    let places: Vec<Option<usize>> = shed(&log).iter().map(place).collect();
    let probes = has_probes(&log);
    let is_here = |rung: &Rung| match rung.part {
        Part::TokenTimelines | Part::Backlog => false,
        Part::SyscallClocks | Part::Scheduler | Part::Syscalls => probes,
        Part::Spans => true,
    };
    let order: Vec<Option<usize>> = (0..FOR_CPU.len()).filter(|&place| is_here(&FOR_CPU[place])).map(Some).collect();
    assert_eq!(places, order, "{log:#?}");
    let line = shed(&log)[0];
    assert!(line.contains("WARN") && line.contains("back when they are less than 0.0007 CPUs for"), "{line}");

    ask(&server, 7, 3)?;
    let counted = |received: &Received| received.total("gen_ai.server.request.duration", &[]).count;
    receiver.until(SHIPPED_WITHIN, "all requests", |received| (counted(received) == 10).then_some(()))?;
    receiver.until(SHIPPED_WITHIN, "the state", |received| {
        let part = [("inferscope.agent.detail", "spans")];
        (last(received, "inferscope.agent.governor.shed", &part) == 1).then_some(())
    })?;
    agent.stop()?;
    let received = receiver.received();
    let tokens = received.total("inferscope.tokens", &[("gen_ai.token.type", "output")]).count;
    assert_eq!((counted(&received), tokens), (10, 7 * 3));
    let spans = received.generative();
    assert_eq!(spans.len(), 3, "of those that failed: {spans:#?}");
    assert!(spans.iter().all(|span| span.error() == Some("503")));
    assert_eq!(last(&received, "inferscope.loss", &[("inferscope.loss.cause", "span_shed")]), 7);
    let cpu = [("inferscope.agent.governor.cause", "cpu")];
    let changes = places.len() as u64;
    assert_eq!(last(&received, "inferscope.agent.governor.level", &cpu), changes);
    assert_eq!(last(&received, "inferscope.agent.governor.changes", &cpu), changes);
    drop(turn);
    Ok(())
}

/// Memory has an order of its own: what waits for a receiver goes before spans.
#[test]
fn memory_sheds_in_its_own_order() -> Result<()> {
    let _turn = Turn::take()?;
    let (receiver, state) = (Receiver::start()?, tempfile::tempdir()?);
    let mut agent = Setup::new()?.config(&config(1024.0, "1MiB", state.path()))?.grpc(&receiver.endpoint()).start()?;
    let line = agent.until_logged(WITHIN, LEFT)?;
    assert!(line.contains("of 1.0 MiB") && line.contains("budget.memory"), "{line}");
    let log = agent.log();
    let lines = shed(&log);
    ensure!(lines.len() == 2 && lines[0].contains("wait") && lines[1].contains("spans of requests"), "{log:#?}");
    agent.stop()?;
    Ok(())
}

/// What the agent tells of its own cost is what the kernel's books say; a budget that is kept sheds nothing.
#[test]
fn a_generous_budget_sheds_nothing_and_the_costs_are_the_kernels() -> Result<()> {
    let turn = Turn::take()?;
    // The kernel times every program for as long as this lives, and tells so in the agent's descriptors.
    let _stats = RunStats::enable()?;
    let scene = Scene::of(vec![Server::start(Kind::Axum)?], turn, |setup| setup)?;
    let load = Ask::stream(Api::Chat, 50).paced(5.0, 2.0);
    let running = Client::Hyper.start(scene.server()?, vec![Job::new(&load, 100_000, 32)], None)?;
    let cpu = |received: &Received, kind: &str| {
        received.total("inferscope.agent.cpu.usage", &[("inferscope.agent.cpu.kind", kind)]).sum
    };
    // The first window may have been before the load.
    let mut told = Vec::new();
    let windows = |count: usize, told: &mut Vec<f64>| {
        scene.receiver.until(WITHIN, "windows", |received| {
            let newest = cpu(received, "programs");
            if newest > 0.0 && told.last() != Some(&newest) {
                told.push(newest);
            }
            (told.len() >= count).then_some(())
        })
    };
    windows(2, &mut told)?;
    let (begun, programs) = (Instant::now(), scene.agent.programs_time()?);
    windows(7, &mut told)?;
    told.drain(..2);
    let real = (scene.agent.programs_time()? - programs).as_secs_f64() / begun.elapsed().as_secs_f64();
    let mean = told.iter().sum::<f64>() / told.len() as f64;
    running.stop()?;
    // Windows of a few hundred events each, on a machine that has other things to do.
    ensure!(mean > real / 1.6 && mean < real * 1.6, "programs use {real} CPUs, and the agent tells {mean}");

    let before = scene.agent.cpu()?;
    let time = |received: &Received| {
        ["user", "system"].map(|mode| received.total("process.cpu.time", &[("cpu.mode", mode)]).sum).iter().sum::<f64>()
    };
    // Told after it was read: a second's reading, and a batch's time to arrive.
    let told = scene.receiver.until(WITHIN, "a later reading", |received| {
        (time(received) >= before.as_secs_f64()).then(|| time(received))
    })?;
    let after = scene.agent.cpu()?;
    assert!(told <= after.as_secs_f64() + 1e-3, "{told} of {after:?}");
    let (told, real) = (last(&scene.receiver.received(), "process.memory.usage", &[]), scene.agent.rss_mib()?);
    let mib = told as f64 / f64::from(1 << 20);
    ensure!((mib - real).abs() < 4.0, "{mib} MiB told, {real} MiB resident");
    let (received, ended) = scene.end()?;
    assert_eq!(shed(&ended.err), Vec::<&String>::new());
    for part in ["spans", "backlog"] {
        assert_eq!(last(&received, "inferscope.agent.governor.shed", &[("inferscope.agent.detail", part)]), 0);
    }
    Ok(())
}

/// Scenario: a thread spins in system calls where nobody is watched, and programs run on every call of the machine.
/// Guarantees: system calls are no longer watched, at once and for that reason; what spares the thread nothing stays.
#[test]
fn spinners_that_nobody_watches_are_spared() -> Result<()> {
    let _turn = Turn::take()?;
    let (receiver, state) = (Receiver::start()?, tempfile::tempdir()?);
    let (watched, beside) = (Cgroup::create("calm")?, Cgroup::create("spins")?);
    // A quarter of a million calls a second are too many: a thread makes three where it has a CPU for itself, which it has
    // most of the time where nobody is in line beside it.
    let alone = Cgroup::v1("cpu", "spins")?;
    let budget = config(0.06, "4GiB", state.path()).replace("200ms", "2s");
    let mut agent = Setup::new()?.config(&budget)?.grpc(&receiver.endpoint()).cgroup(watched.path()).start()?;
    let mode = |received: &Received, mode| last(received, "inferscope.agent.syscall.mode", &[(MODE, mode)]);
    receiver.until(SHIPPED_WITHIN, "the mode", |received| {
        (mode(received, "tracepoints") + mode(received, "per_call") == 1).then_some(())
    })?;
    if mode(&receiver.received(), "tracepoints") == 0 {
        println!("calls have programs of their own: nobody pays for spinning");
        return Ok(());
    }
    let cgroups: Vec<&Cgroup> = std::iter::once(&beside).chain(&alone).collect();
    let mut spinner = Load::start(&binary("syscall-load"), &["yield", "10000000000"], &cgroups)?;
    spinner.go()?;
    let line = agent.until_logged(WITHIN, "threads that spin in system calls would pay")?;
    assert!(line.contains("shed system calls") && line.contains("tried again after"), "{line}");
    let shed = |received: &Received, part| {
        last(received, "inferscope.agent.governor.shed", &[("inferscope.agent.detail", part)])
    };
    receiver.until(SHIPPED_WITHIN, "the state", |received| (shed(received, "syscalls") == 1).then_some(()))?;
    agent.stop()?;
    println!("{line}");
    let received = receiver.received();
    assert_eq!(["scheduler", "spans"].map(|part| shed(&received, part)), [0, 0]);
    Ok(())
}

fn start(state: &Path, receiver: &Receiver) -> Result<Agent> {
    Setup::new()?.config(&config(1024.0, "4GiB", state))?.grpc(&receiver.endpoint()).start()
}

fn says(ended: &Ended, text: &str) -> bool {
    ended.err.iter().any(|line| line.contains(text))
}

/// Calls of `bpf(2)` of an agent.
struct Trace(tempfile::NamedTempFile);

impl Trace {
    fn new() -> Result<Self> {
        Ok(Self(tempfile::NamedTempFile::new()?))
    }

    /// Programs on system calls and the scheduler that were loaded so far.
    fn loaded(&self) -> Result<Vec<String>> {
        let text = fs::read_to_string(self.0.path())?;
        ensure!(text.contains("BPF_PROG_LOAD"), "no program at all was loaded:\n{text}");
        let names = ["syscall_enter", "syscall_exit", "call_enter", "call_exit", "sched_switch"];
        let is_one = |line: &&str| names.iter().any(|name| line.contains(&format!("prog_name=\"{name}\"")));
        Ok(text.lines().filter(is_one).map(str::to_owned).collect())
    }
}

/// Killed twice, it starts in its smallest mode, in which what watches system calls and the scheduler is not even loaded:
/// that may be what it was killed for. When it has proved healthy everything comes back.
#[test]
fn two_kills_make_it_start_small_and_health_makes_it_grow() -> Result<()> {
    const SMALL: &str = "killed 2 times in a row";
    let _turn = Turn::take()?;
    let (receiver, state) = (Receiver::start()?, tempfile::tempdir()?);
    let state = state.path().join("inferscope");
    let first = start(&state, &receiver)?.kill(WITHIN)?;
    let second = start(&state, &receiver)?.kill(WITHIN)?;
    let did_not_end = "the last run did not end in good order";
    assert_eq!((says(&first, did_not_end), says(&second, did_not_end)), (false, true));
    assert!(!says(&second, "in a row"));

    // This one is healthy soon.
    let soon = config(1024.0, "4GiB", &state).replace("\"1h\"", "\"3s\"");
    let trace = Trace::new()?;
    let mut third = Setup::new()?.traced(trace.0.path()).config(&soon)?.grpc(&receiver.endpoint()).start()?;
    assert_eq!(trace.loaded()?, Vec::<String>::new(), "it runs, and has not loaded them");
    let level = |received: &Received, cause| {
        last(received, "inferscope.agent.governor.level", &[("inferscope.agent.governor.cause", cause)])
    };
    receiver.until(SHIPPED_WITHIN, "what is shed for the kills", |received| {
        (level(received, "killed") > 0).then_some(())
    })?;
    assert_eq!(["cpu", "memory", "spinning"].map(|cause| level(&receiver.received(), cause)), [0; 3]);
    let line = third.until_logged(WITHIN, SMALL)?;
    assert!(line.contains("WARN") && line.contains("everything shed that can be"), "{line}");
    third.until_logged(WITHIN, "back: spans of requests that went well")?;
    if has_probes(&third.log()) {
        third.until_logged(WITHIN, "back: the scheduler")?;
        ensure!(!trace.loaded()?.is_empty(), "they came back, and nothing was loaded");
    }
    third.until_logged(WITHIN, "back: the oldest spans and log records")?;
    receiver.until(SHIPPED_WITHIN, "the whole detail", |received| {
        let shed = |part| last(received, "inferscope.agent.governor.shed", &[("inferscope.agent.detail", part)]);
        let killed = [("inferscope.agent.governor.cause", "killed")];
        let changes = last(received, "inferscope.agent.governor.changes", &killed);
        (shed("spans") + shed("backlog") == 0 && changes == 1).then_some(())
    })?;
    third.kill(WITHIN)?;
    let fourth = start(&state, &receiver)?.stop()?;
    assert!(says(&fourth, did_not_end) && !says(&fourth, "in a row"), "the one before had proved healthy: {fourth:#?}");
    let fifth = start(&state, &receiver)?.stop()?;
    assert!(!says(&fifth, did_not_end), "{fifth:#?}");
    Ok(())
}

/// The kernel's own count tells a kill for want of memory from others.
#[test]
fn a_kill_for_want_of_memory_is_called_one() -> Result<()> {
    let _turn = Turn::take()?;
    let (receiver, state) = (Receiver::start()?, tempfile::tempdir()?);
    let limit = MemoryLimit::new("small", 6 << 20)?;
    let killed = Setup::new()?.config(&config(1024.0, "4GiB", state.path()))?.within(&limit)?.run(WITHIN)?;
    let signal = std::os::unix::process::ExitStatusExt::signal(&killed.status);
    assert_eq!(signal, Some(libc::SIGKILL), "{killed:#?}");
    let next = start(state.path(), &receiver)?.stop()?;
    assert!(says(&next, "the kernel counted a kill for want of memory"), "{next:#?}");
    Ok(())
}

/// What cannot be noted is said, and is no reason not to run.
#[test]
fn notes_that_cannot_be_used_are_no_reason_not_to_run() -> Result<()> {
    let _turn = Turn::take()?;
    let (receiver, state) = (Receiver::start()?, tempfile::tempdir()?);
    let file = state.path().join("file");
    fs::write(&file, "")?;
    let ended = start(&file, &receiver)?.stop()?;
    assert!(says(&ended, "budget.state") && says(&ended, &file.display().to_string()), "{ended:#?}");
    fs::write(state.path().join("run.json"), b"\xff{")?;
    let ended = start(state.path(), &receiver)?.stop()?;
    assert!(says(&ended, "does not read; taken for well"), "{ended:#?}");
    let written = fs::read_to_string(state.path().join("run.json"))?;
    assert!(written.contains("\"ended\":true"), "{written}");
    let running = start(state.path(), &receiver)?;
    let other = start(state.path(), &receiver)?.stop()?;
    assert!(says(&other, "another agent notes its runs"), "{other:#?}");
    running.stop().context("the one that was there first")?;
    Ok(())
}
