//! What a real collector receives of the host beneath workloads, against the kernel's own books: trouble made in one
//! cgroup is charged to it, and to nobody else. Needs root.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use inferscope_tests::agent::{Agent, OFTEN, Setup};
use inferscope_tests::cgroup::Cgroup;
use inferscope_tests::collector::{Collector, Place};
use inferscope_tests::host::books::Books;
use inferscope_tests::host::file::OnDisk;
use inferscope_tests::host::load::{Load, binary};
use inferscope_tests::received::{Received, Record, Totals};
use inferscope_tests::turn::Turn;
use opentelemetry_proto::tonic::logs::v1::SeverityNumber;

const ARRIVED_WITHIN: Duration = Duration::from_secs(60);
const CGROUP: &str = "inferscope.workload.cgroup";
/// An accumulated rounding of seconds as floating-point numbers.
const ROUNDING: f64 = 1e-6;

/// The agent on cgroups, and a collector behind it.
struct Stage {
    place: Place,
    collector: Collector,
    agent: Agent,
    _turn: Turn,
}

impl Stage {
    /// An agent that watches these already.
    fn on(cgroups: &[&Cgroup]) -> Result<Self> {
        let turn = Turn::take()?;
        let place = Place::new()?;
        let collector = place.start()?;
        let setup = Setup::new()?.config(OFTEN)?.grpc(&place.grpc());
        let agent = cgroups.iter().fold(setup, |setup, cgroup| setup.cgroup(cgroup.path())).start()?;
        Ok(Self { place, collector, agent, _turn: turn })
    }

    /// Everything, up to the agent's last look.
    fn end(self) -> Result<Received> {
        self.agent.stop()?;
        self.collector.stop()?;
        self.place.received()
    }
}

fn load(arguments: &[&str], cgroups: &[&Cgroup]) -> Result<Load> {
    Load::start(&binary("syscall-load"), arguments, cgroups)
}

fn both<'a>(cgroup: &'a Cgroup, other: &'a Option<Cgroup>) -> Vec<&'a Cgroup> {
    std::iter::once(cgroup).chain(other).collect()
}

/// What a metric came to in a cgroup.
fn total(received: &Received, cgroup: &Cgroup, name: &str, wanted: &[(&str, &str)]) -> Totals {
    let path = cgroup.path().display().to_string();
    let wanted: Vec<(&str, &str)> = wanted.iter().copied().chain([(CGROUP, path.as_str())]).collect();
    received.total(name, &wanted)
}

fn events_of(received: &Received, cgroup: &Cgroup, name: &str) -> Vec<Record> {
    let path = cgroup.path().display().to_string();
    let mut events = received.records();
    events.retain(|event| event.name == name && event.resource.get(CGROUP) == Some(&path));
    events
}

/// A number of a file of lines `name value`.
fn field(cgroup: &Cgroup, file: &str, name: &str) -> Result<u64> {
    let text = fs::read_to_string(cgroup.path().join(file))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(line.with_context(|| format!("{file} has no {name}"))?.trim().parse()?)
}

/// Two spinners and a victim share a CPU, a fourth process sleeps beside them, each kind in a cgroup of its own: every
/// cgroup's waits and switches are its processes' own, to the nanosecond.
#[test]
fn contention_is_charged_to_who_suffers_it() -> Result<()> {
    let [spinning, suffering, idle] = ["spinners", "victim", "idle"].map(Cgroup::create);
    let (spinning, suffering, idle) = (spinning?, suffering?, idle?);
    let mut loads = [
        load(&["spin", "1500", "0"], &[&spinning])?,
        load(&["spin", "1500", "0"], &[&spinning])?,
        load(&["victim", "1000", "0"], &[&suffering])?,
        load(&["named", "idle", "200"], &[&idle])?,
    ];
    // A wait that is cut in two by a move, before anybody has seen the task run, counts from the move on.
    loads.iter().try_for_each(|load| load.pin(0))?;
    let stage = Stage::on(&[&spinning, &suffering, &idle])?;
    let books = |loads: &[Load]| loads.iter().map(|load| Books::asleep(load.process())).collect::<Result<Vec<_>>>();
    let before = books(&loads)?;
    loads.iter_mut().try_for_each(Load::go)?;
    loads.iter_mut().try_for_each(|load| load.done().map(drop))?;
    let after = books(&loads)?;
    let grown: Vec<Books> = after.iter().zip(&before).map(|(after, before)| after.since(before)).collect();
    let received = stage.end()?;
    for (cgroup, own) in [(&spinning, &grown[..2]), (&suffering, &grown[2..3]), (&idle, &grown[3..])] {
        let sum = |of: fn(&Books) -> u64| own.iter().map(of).sum::<u64>();
        let told = total(&received, cgroup, "inferscope.cpu.run_delay", &[]);
        println!("{}: {own:?}, told {told:?}", cgroup.path().display());
        assert_eq!(told.count, sum(|books| books.runs));
        ensure!((told.sum - sum(|books| books.run_delay) as f64 / 1e9).abs() < ROUNDING, "{told:?} {own:?}");
        for (kind, own) in
            [("voluntary", sum(|books| books.voluntary)), ("involuntary", sum(|books| books.involuntary))]
        {
            let wanted = [("process.context_switch.type", kind)];
            assert_eq!(total(&received, cgroup, "inferscope.cpu.context_switches", &wanted).count, own, "{kind}");
        }
    }
    ensure!(grown[2].run_delay > 0 && grown[0].involuntary > 0, "there was contention: {grown:?}");
    Ok(())
}

/// A quota that is used up, beside a cgroup without one.
#[test]
fn throttling_is_charged_to_who_has_the_quota() -> Result<()> {
    let (held, free) = (Cgroup::create("held")?, Cgroup::create("free")?);
    let quota = held.limit_cpu(4000, 20_000)?;
    let acting = quota.as_ref().unwrap_or(&held);
    let mut loads = [load(&["spin", "600", "0"], &both(&held, &quota))?, load(&["named", "idle", "50"], &[&free])?];
    let stage = Stage::on(&[&held, &free])?;
    Books::asleep(loads[0].process())?;
    let before = field(acting, "cpu.stat", "nr_throttled")?;
    loads.iter_mut().try_for_each(|load| load.run().map(drop))?;
    Books::asleep(loads[0].process())?;
    let throttled = field(acting, "cpu.stat", "nr_throttled")? - before;
    let received = stage.end()?;
    ensure!(throttled > 0, "the quota was never used up");
    assert_eq!(total(&received, &held, "inferscope.cpu.throttled.periods", &[]).count, throttled);
    ensure!(total(&received, &held, "inferscope.cpu.throttled.time", &[]).sum > 0.0, "no time");
    assert_eq!(total(&received, &free, "inferscope.cpu.throttled.periods", &[]).count, 0);
    let told = events_of(&received, &held, "inferscope.cpu.throttled");
    println!("{throttled} periods, {told:?}");
    let first = told.first().context("no log record")?;
    ensure!(first.attributes.contains_key("inferscope.cpu.throttled.periods"), "{first:?}");
    assert!(events_of(&received, &free, "inferscope.cpu.throttled").is_empty());
    Ok(())
}

/// A file that is read from a disk by faults, beside a process that has its pages.
#[test]
fn faults_are_charged_to_who_waits_for_the_disk() -> Result<()> {
    let (faulting, beside) = (Cgroup::create("faulting")?, Cgroup::create("beside")?);
    let file = OnDisk::new("export")?;
    let mut loads = [load(&["fault", file.path()], &[&faulting])?, load(&["named", "idle", "50"], &[&beside])?];
    let stage = Stage::on(&[&faulting, &beside])?;
    let books = |loads: &[Load]| loads.iter().map(|load| Books::asleep(load.process())).collect::<Result<Vec<_>>>();
    let before = books(&loads)?;
    loads.iter_mut().try_for_each(|load| load.run().map(drop))?;
    let after = books(&loads)?;
    let received = stage.end()?;
    for (at, cgroup) in [&faulting, &beside].into_iter().enumerate() {
        let own = after[at].since(&before[at]).major_faults;
        let told = total(&received, cgroup, "container.paging.faults", &[("system.paging.fault.type", "major")]).count;
        println!("{}: {own} faults, {told} told", cgroup.path().display());
        assert_eq!(told, own);
    }
    ensure!(after[0].since(&before[0]).major_faults > 500, "is the file on a disk?");
    let bytes = total(&received, &faulting, "inferscope.storage.io", &[("disk.io.direction", "read")]).count;
    ensure!(bytes >= OnDisk::BYTES as u64, "{bytes} bytes from storage");
    Ok(())
}

/// Threads that queue for one lock, beside a process that takes none; calls are counted to the last one.
#[test]
fn a_convoy_is_charged_to_its_threads() -> Result<()> {
    const CALLS: u64 = 10_000;
    let (convoy, calling) = (Cgroup::create("convoy")?, Cgroup::create("calling")?);
    let mut loads = [load(&["convoy", "8", "200"], &[&convoy])?, load(&["getppid", &CALLS.to_string()], &[&calling])?];
    let stage = Stage::on(&[&convoy, &calling])?;
    loads.iter_mut().try_for_each(Load::go)?;
    let said = loads[0].done()?;
    loads[1].done()?;
    Books::asleep(loads[1].process())?;
    let received = stage.end()?;
    let (waited, joined) = said.split_once(' ').context("two times")?;
    let (waited, joined) = (waited.parse::<f64>()? / 1e9, joined.parse::<f64>()? / 1e9);
    let lock = [("inferscope.syscall.class", "lock"), ("inferscope.syscall.kind", "wait")];
    let told = total(&received, &convoy, "inferscope.syscall.duration", &lock);
    println!("{waited} s in the queue and {joined} s to join by the load's clock, told {told:?}");
    // The threads' own clocks run outside of the call, and the first thread waits for the others.
    ensure!(told.sum > waited / 2.0 && told.sum < waited + joined, "{told:?}");
    assert_eq!(total(&received, &calling, "inferscope.syscall.duration", &lock).count, 0);
    let process = [("inferscope.syscall.class", "process")];
    assert_eq!(total(&received, &calling, "inferscope.syscall.calls", &process).count, CALLS);
    assert_eq!(total(&received, &calling, "inferscope.syscall.errors", &process).count, 0);
    assert_eq!(total(&received, &calling, "inferscope.syscall.sampling", &[]).count, 1, "each call is timed");
    Ok(())
}

/// A process that its cgroup's limit kills is counted once, and told of by a log record with its number; what it did
/// until then is shipped although it is gone.
#[test]
fn a_kill_is_charged_to_who_wanted_the_memory() -> Result<()> {
    let (hungry, modest) = (Cgroup::create("hungry")?, Cgroup::create("modest")?);
    let limit = hungry.limit_memory(33_554_432)?;
    let mut loads = [load(&["eat", "256"], &both(&hungry, &limit))?, load(&["named", "idle", "50"], &[&modest])?];
    let victim = loads[0].process();
    let stage = Stage::on(&[&hungry, &modest])?;
    loads[0].go()?;
    loads[1].run()?;
    let dies =
        |received: &Received| (!events_of(received, &hungry, "inferscope.memory.oom_kill").is_empty()).then_some(());
    stage.place.until(ARRIVED_WITHIN, "the log record", dies)?;
    ensure!(!loads[0].end()?.success(), "it lives");
    let received = stage.end()?;
    let told = events_of(&received, &hungry, "inferscope.memory.oom_kill");
    println!("{told:?}");
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].attributes["process.pid"], victim.to_string());
    assert_eq!(told[0].attributes["process.executable.name"], "syscall-load");
    assert_eq!(told[0].severity, SeverityNumber::Error);
    assert_eq!(total(&received, &hungry, "inferscope.memory.oom_kills", &[]).count, 1);
    assert_eq!(total(&received, &modest, "inferscope.memory.oom_kills", &[]).count, 0);
    assert!(events_of(&received, &modest, "inferscope.memory.oom_kill").is_empty());
    assert_eq!(total(&received, &hungry, "inferscope.memory.limit", &[]).count, 33_554_432);
    Ok(())
}

/// A cgroup that is gone before anybody looked again: what was done in it is shipped to the last call.
#[test]
fn the_last_interval_of_a_workload_is_shipped() -> Result<()> {
    const CALLS: u64 = 5000;
    let (cgroup, stays) = (Cgroup::create("passing")?, Cgroup::create("staying")?);
    let mut load = load(&["getppid", &CALLS.to_string()], &[&cgroup])?;
    let path = cgroup.path().display().to_string();
    let mut stage = Stage::on(&[&cgroup, &stays])?;
    load.run()?;
    drop((load, cgroup));
    stage.agent.until_logged(ARRIVED_WITHIN, "gone")?;
    let received = stage.end()?;
    let wanted = [("inferscope.syscall.class", "process"), (CGROUP, path.as_str())];
    // The load was killed, and did not get to call `exit`.
    assert_eq!(received.total("inferscope.syscall.calls", &wanted).count, CALLS);
    Ok(())
}

/// A server of its own that is told apart by its port: it makes `calls` system calls when it is told to.
fn server(cgroup: &Cgroup, directory: &Path, calls: u64) -> Result<(Load, String)> {
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
    let script = format!(
        "import os, socket, sys\n\
         listener = socket.create_server(('127.0.0.1', {port}))\n\
         print('ready', flush=True)\n\
         sys.stdin.readline()\n\
         [os.getppid() for _ in range({calls})]\n\
         print('done', flush=True)\n\
         sys.stdin.readline()\n"
    );
    // Discovery goes by the command line.
    let program = directory.join(&port).join("vllm");
    fs::create_dir(directory.join(&port))?;
    fs::write(&program, script)?;
    let mut command = Command::new("python3");
    command.arg(program).args(["serve", "a-model", "--port", &port]);
    // A socket stays in the cgroup that it was made in.
    cgroup.adopt(&mut command)?;
    Ok((Load::of(command, &[])?, port))
}

/// Two servers in one cgroup are two workloads: calls are charged to the one whose process makes them, and what only the
/// cgroup knows is told of neither.
#[test]
fn servers_that_share_a_cgroup_are_told_apart() -> Result<()> {
    let cgroup = Cgroup::create("llamas")?;
    let directory = tempfile::tempdir()?;
    let start = |calls| server(&cgroup, directory.path(), calls);
    let mut servers = [(3000, start(3000)?), (7000, start(7000)?)];
    let turn = Turn::take()?;
    let place = Place::new()?;
    let collector = place.start()?;
    let mut agent = Setup::new()?.config(OFTEN)?.grpc(&place.grpc()).start()?;
    for (_, (_, port)) in &servers {
        agent.until_logged(
            ARRIVED_WITHIN,
            &format!("watching workload=inferscope-test-{}-llamas-0:{port}", std::process::id()),
        )?;
    }
    for (_, (load, _)) in &mut servers {
        load.run()?;
        Books::asleep(load.process())?;
    }
    agent.stop()?;
    collector.stop()?;
    let received = place.received()?;
    let path = cgroup.path().display().to_string();
    for (calls, (_, port)) in &servers {
        let whose = [(CGROUP, path.as_str()), ("server.port", port)];
        let process = [&whose[..], &[("inferscope.syscall.class", "process")]].concat();
        assert_eq!(received.total("inferscope.syscall.calls", &process).count, *calls, "port {port}");
        assert_eq!(received.total("container.memory.usage", &whose).count, 0, "the cgroup's");
    }
    drop(turn);
    Ok(())
}

/// The agent tells what became of its probes, and how it sees system calls.
#[test]
fn hooks_and_the_mode_are_told() -> Result<()> {
    let cgroup = Cgroup::create("hooks")?;
    let received = Stage::on(&[&cgroup])?.end()?;
    for hook in ["sched_switch", "scheduler", "syscalls", "mark_victim", "tcp_send_reset"] {
        let up = received.total("inferscope.agent.hook.up", &[("inferscope.agent.hook", hook)]).count;
        assert_eq!(up, 1, "{hook}");
    }
    let modes = ["per_call", "tracepoints", "off"]
        .map(|mode| received.total("inferscope.agent.syscall.mode", &[("inferscope.agent.syscall.mode", mode)]).count);
    ensure!(modes == [1, 0, 0] || modes == [0, 1, 0], "{modes:?}");
    Ok(())
}
