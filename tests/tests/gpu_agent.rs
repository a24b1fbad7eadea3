//! The agent with a simulated GPU: what it used, what it cost, and what happened to it, as a collector receives it.

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command as Program;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use inferscope::model::metrics::METRICS;
use inferscope_tests::agent::{Agent, OFTEN, Setup};
use inferscope_tests::ask::{Api, Ask};
use inferscope_tests::cgroup::Cgroup;
use inferscope_tests::clients::Client;
use inferscope_tests::collector::Place as Collector;
use inferscope_tests::gpu::{machine, open_below_of, process, uuid};
use inferscope_tests::process::Process;
use inferscope_tests::received::{Received, Record};
use inferscope_tests::receiver::Receiver;
use inferscope_tests::report::table;
use inferscope_tests::servers::{Kind, Server};
use inferscope_tests::turn::Turn;
use inferscope_tests::{tools, wait};
use nvidia_ml::control::Command;
use nvidia_ml::curve::Curve;
use nvidia_ml::faults::{Effect, Fault};
use nvidia_ml::place::Place;
use nvidia_ml::scenario::{Device, Scenario};
use nvml_wrapper::Nvml;
use opentelemetry_proto::tonic::logs::v1::SeverityNumber;

const SOON: Duration = Duration::from_secs(30);
const GIB: u64 = 1 << 30;
const WATTS: f64 = 350.0;
/// Tokens of each stream, streams at the same time, and streams in all.
const TOKENS: u32 = 40;
const STREAMS: u32 = 4;
const REQUESTS: u32 = 40;

/// A GPU that is busy with one process, and draws what does not change.
fn busy(pid: u32) -> Device {
    Device {
        power_w: Curve::Constant(WATTS),
        utilization_pct: Curve::Constant(95.0),
        process: vec![process(pid, 60 * GIB, 95.0)],
        ..Device::default()
    }
}

fn config(place: &Place) -> String {
    format!(
        "{OFTEN}[gpu]\nlibrary = '{}'\nfastest = '100ms'\nsteady = '200ms'\nslowest = '200ms'\nhealth = '200ms'\n\
         processes = '200ms'\nbudget_ppm = 1000000\nkernel_log = false\n",
        place.library().display()
    )
}

/// What the device's own counter says to somebody else, in joules.
fn counter(observer: &Nvml) -> Result<f64> {
    Ok(observer.device_by_index(0)?.total_energy_consumption()? as f64 / 1e3)
}

#[test]
fn joules_of_tokens_and_requests_add_up_to_the_counter() -> Result<()> {
    let _turn = Turn::take()?;
    let server = Server::start(Kind::Axum)?;
    let place = Place::new(machine(1, &busy(server.pid())))?;
    let observer = place.observer()?;
    let observer = Nvml::builder().lib_path(observer.library().as_os_str()).init()?;
    let collector = Collector::new()?;
    let running = collector.start()?;
    let agent =
        Setup::new()?.config(&config(&place))?.grpc(&collector.grpc()).cgroup(server.cgroup()?.path()).start()?;
    let told = |received: &Received, name: &str| received.total(name, &[]).sum;
    // Requests are estimated once two looks at the workload tell what lies between them.
    let enough = |received: &Received| (told(received, "inferscope.energy") > 3.0 * WATTS).then_some(());
    collector.until(SOON, "energy of the workload", enough)?;
    let (told_before, counted_before) = (told(&collector.received()?, "hw.energy"), counter(&observer)?);
    let ask = Ask::stream(Api::Chat, TOKENS).paced(60.0, 22.0);
    let seen = Client::Hyper.run(&server, &ask, REQUESTS, STREAMS)?;
    let (told_after, counted_after) = (told(&collector.received()?, "hw.energy"), counter(&observer)?);
    ensure!(seen.len() == REQUESTS as usize && seen.iter().all(|seen| seen.error.is_none()), "{seen:?}");
    agent.stop()?;
    running.stop()?;
    let received = collector.received()?;

    // Every name is one of the table.
    let known = |name: &str| METRICS.iter().any(|row| row.name == name);
    let strange: Vec<_> = received.shapes().into_iter().filter(|shape| !known(&shape.name)).collect();
    ensure!(strange.is_empty(), "{strange:#?}");

    // What workloads and nobody were given is what the counter grew by, exactly.
    let (given, rest) = (told(&received, "inferscope.energy"), told(&received, "inferscope.gpu.energy.unattributed"));
    let whole = told(&received, "hw.energy");
    ensure!((given + rest - whole).abs() < 0.0005, "{given} J and {rest} J are not {whole} J");
    // A flush is up to 0.35 s behind, at either end.
    let (told, counted) = (told_after - told_before, counted_after - counted_before);
    ensure!((told - counted).abs() < 0.5 * WATTS, "told {told} J of {counted} J that the counter grew by");

    // Four streams were under way all the time: their requests share what the device drew.
    let spans = received.generative();
    let joules: f64 = spans.iter().filter_map(|span| span.number::<f64>("inferscope.request.energy")).sum();
    let (first, last) = (spans.iter().map(|span| span.start).min(), spans.iter().map(|span| span.end).max());
    let seconds = last.zip(first).map(|(last, first)| (last - first) as f64 / 1e9).context("no span")?;
    let drawn = seconds * WATTS;
    let by: Vec<_> = spans.iter().filter_map(|span| span.text("inferscope.energy.method")).collect();
    let all = by.len() == REQUESTS as usize && by.iter().all(|by| *by == "tokens_in_flight");
    ensure!(all, "{} of them: {by:?}", by.len());
    let tokens = received.total("inferscope.tokens", &[("gen_ai.token.type", "output")]).count;
    let row = |by: &str, joules: f64| {
        let per_token = joules / tokens.max(1) as f64;
        vec![by.to_owned(), format!("{joules:.1}"), tokens.to_string(), format!("{per_token:.3}")]
    };
    let rows = [
        row("the simulated counter, while clients asked", counted),
        row("inferscope, the GPU meanwhile", told),
        row("inferscope, summed over the requests' spans", joules),
    ];
    eprintln!("{}", table(&["told by", "joules", "output tokens", "joules per token"], &rows));
    ensure!(tokens == u64::from(REQUESTS * TOKENS), "{tokens} tokens");
    ensure!((0.8..1.1).contains(&(joules / drawn)), "requests were given {joules} J of {drawn} J");
    Ok(())
}

fn agent(place: &Place, collector: &Collector, server: &Server) -> Result<Agent> {
    let setup = Setup::new()?.config(&config(place))?.grpc(&collector.grpc());
    setup.cgroup(server.cgroup()?.path()).start()
}

#[test]
fn what_happens_to_a_gpu_arrives_as_log_records() -> Result<()> {
    let _turn = Turn::take()?;
    let server = Server::start(Kind::Axum)?;
    let place = Place::new(machine(2, &busy(server.pid())))?;
    let collector = Collector::new()?;
    let running = collector.start()?;
    let agent = agent(&place, &collector, &server)?;
    let of = |received: &Received, name: &str, gpu: usize| -> Option<Record> {
        let id = uuid(gpu);
        received.records().into_iter().find(|record| record.name == name && record.resource.get("hw.id") == Some(&id))
    };
    let second = ("hw.id", uuid(1));
    let read = |received: &Received| (received.total("hw.energy", &[(second.0, &second.1)]).sum > 0.0).then_some(());
    collector.until(SOON, "readings of both GPUs", read)?;
    place.send(&Command::Xid { device: 0, code: 79 })?;
    let record = collector.until(SOON, "a record of the Xid", |received| of(received, "inferscope.gpu.xid", 0))?;
    ensure!(record.severity == SeverityNumber::Error, "{record:?}");
    ensure!(
        record.body
            == "Xid 79: the GPU fell off the bus. Usual mend: check power, seating and temperature; reboot the node.",
        "{record:?}"
    );
    ensure!(record.attributes.get("inferscope.gpu.xid").map(String::as_str) == Some("79"), "{record:?}");
    place.send(&Command::Set { device: 1, fields: serde_json::json!({ "lost": true }) })?;
    let lost = collector.until(SOON, "a record of the loss", |received| of(received, "inferscope.gpu.state", 1))?;
    ensure!(
        lost.severity == SeverityNumber::Error && lost.body.starts_with("lost: the GPU fell off the bus."),
        "{lost:?}"
    );
    let failed = [("hw.state", "failed"), (second.0, second.1.as_str())];
    collector.until(SOON, "its state", |received| (received.total("hw.status", &failed).count == 1).then_some(()))?;
    // Clocks that are held down, on the one that is there.
    place.send(&Command::Set { device: 0, fields: serde_json::json!({ "throttle": 0x40 }) })?;
    let hot = collector.until(SOON, "a record of throttling", |received| of(received, "inferscope.gpu.throttle", 0))?;
    ensure!(hot.severity == SeverityNumber::Warn && hot.body.contains("Usual mend"), "{hot:?}");
    agent.stop()?;
    running.stop()?;
    Ok(())
}

/// `inferscope gpu …`: whether it ended well, what it said, and how long it took.
fn ask_for(wish: &str, pid: u32) -> Result<(bool, String, Duration)> {
    let begun = Instant::now();
    let output = Program::new(tools::inferscope()?).args(["gpu", wish, "--pid", &pid.to_string()]).output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Ok((output.status.success(), said, begun.elapsed()))
}

fn maps(pid: u32, library: &Path) -> bool {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    maps.lines().any(|line| line.ends_with(&*library.to_string_lossy()))
}

#[test]
fn the_devices_are_let_go_and_taken_up_on_request() -> Result<()> {
    let _turn = Turn::take()?;
    let server = Server::start(Kind::Axum)?;
    let place = Place::new(machine(1, &busy(server.pid())))?;
    let collector = Collector::new()?;
    let running = collector.start()?;
    let agent = agent(&place, &collector, &server)?;
    let pid = agent.pid();
    let open = || open_below_of(pid, &place.nodes());
    wait::until(SOON, "the devices to be held", || (open() > 0 && maps(pid, &place.library())).then_some(()))?;
    // Not everybody may.
    let mut nobody = Program::new(tools::inferscope()?);
    nobody.args(["gpu", "release", "--pid", &pid.to_string()]).uid(65_534).gid(65_534);
    let said = String::from_utf8(nobody.output()?.stderr)?;
    ensure!(said.contains("user 65534 may not ask") && open() > 0, "{said}");
    let (well, said, took) = ask_for("release", pid)?;
    ensure!(well && said.starts_with("released"), "{said}");
    ensure!((open(), maps(pid, &place.library())) == (0, false), "{} nodes are open", open());
    eprintln!("released within {took:?}, the program's start included");
    let (well, said, took) = ask_for("acquire", pid)?;
    ensure!(well && said.starts_with("acquired: 1 GPUs"), "{said}");
    eprintln!("acquired within {took:?}");
    wait::until(SOON, "the devices to be held again", || (open() > 0).then_some(()))?;
    // With a call that does not return, it is said which.
    place.send(&Command::Fault(Fault::new("*", Some(0), Effect::Hang)))?;
    let stuck = |received: &Received| (received.total("inferscope.gpu.call.stuck", &[]).sum > 0.0).then_some(());
    collector.until(SOON, "the age of the stuck call", stuck)?;
    let (well, said, _) = ask_for("release", pid)?;
    // The stuck call keeps the library, and the library keeps every node: nothing else may be said.
    ensure!(!well && said.contains("has not returned for") && said.contains("all GPUs stay open"), "{said}");
    ensure!(open() > 0 && maps(pid, &place.library()), "{} nodes are open", open());
    place.send(&Command::Heal { call: "*".to_owned(), device: None })?;
    wait::until(SOON, "the devices to be let go once it returns", || (open() == 0).then_some(()))?;
    agent.stop()?;
    running.stop()?;
    let (well, said, _) = ask_for("release", pid)?;
    ensure!(!well && said.contains("no agent with this process id listens here"), "{said}");
    Ok(())
}

#[test]
fn doctor_and_top_show_gpus() -> Result<()> {
    let _turn = Turn::take()?;
    let server = Server::start(Kind::Axum)?;
    let place = Place::new(machine(2, &busy(server.pid())))?;
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), config(&place))?;
    let doctor = Program::new(tools::inferscope()?).arg("doctor").arg("--config").arg(file.path()).output()?;
    let said = String::from_utf8(doctor.stdout)?;
    ensure!(said.contains("driver 570.172.08, 2 GPUs") && said.contains(&uuid(1)), "{said}");
    // One that is found, and hangs when it is read.
    let fault = vec![Fault::new("nvmlDeviceGetMemoryInfo_v2", Some(1), Effect::Hang)];
    let hanging = Place::new(Scenario { fault, ..machine(2, &busy(server.pid())) })?;
    std::fs::write(file.path(), config(&hanging))?;
    let doctor = Program::new(tools::inferscope()?).arg("doctor").arg("--config").arg(file.path()).output()?;
    let said = String::from_utf8(doctor.stdout)?;
    let line = said.lines().find(|line| line.contains(&uuid(1))).context("no line of the second GPU")?;
    ensure!(
        line.contains("degraded") && line.contains("a call into the driver (memory) has not returned for"),
        "{said}"
    );
    // A library that the configuration names, and that is not there.
    let elsewhere = place.library().with_file_name("elsewhere.so");
    std::fs::write(file.path(), format!("[gpu]\nlibrary = '{}'\n", elsewhere.display()))?;
    let doctor = Program::new(tools::inferscope()?).arg("doctor").arg("--config").arg(file.path()).output()?;
    let said = String::from_utf8(doctor.stdout)?;
    let line = said.lines().find(|line| line.contains("gpu.library cannot be loaded")).context("no such line")?;
    ensure!(line.contains("degraded") && line.contains(&*elsewhere.to_string_lossy()), "{said}");
    std::fs::write(file.path(), config(&place))?;
    let mut top = Program::new(tools::inferscope()?);
    top.args(["top", "--plain", "--interval", "3", "--count", "2", "--config"]).arg(file.path());
    let output = top.arg("--cgroup").arg(server.cgroup()?.path()).output()?;
    let said = String::from_utf8(output.stdout)?;
    ensure!(said.contains("GPU 1  NVIDIA H100") && said.contains("95% busy") && said.contains("J/token"), "{said}");
    eprintln!("{said}");
    Ok(())
}

/// What a launcher installed by pip looks like: it serves on a port, and starts a worker, whose process id it prints.
const LAUNCHER: &str = "import http.server, subprocess, sys\n\
                        print(subprocess.Popen(['sleep', '600']).pid, flush=True)\n\
                        http.server.test(port=int(sys.argv[3]), bind='127.0.0.1')\n";

#[test]
fn two_servers_of_one_cgroup_have_their_own_workers_energy() -> Result<()> {
    let _turn = Turn::take()?;
    let (directory, cgroup) = (tempfile::tempdir()?, Cgroup::create("pair")?);
    let launcher = directory.path().join("vllm");
    std::fs::write(&launcher, LAUNCHER)?;
    let free = || TcpListener::bind("127.0.0.1:0").and_then(|listener| Ok((listener.local_addr()?.port(), listener)));
    let ((one, first), (two, second)) = (free()?, free()?);
    drop((first, second));
    let serve = |port: u16| -> Result<(Process, u32)> {
        let mut command = Program::new("python3");
        command.arg("-u").arg(&launcher).args(["serve", "--port", &port.to_string()]);
        let mut process = Process::start("vllm", command, Some(&cgroup))?;
        let worker = process.until(SOON, "its worker", |process| process.out().first()?.trim().parse().ok())?;
        Ok((process, worker))
    };
    let servers = [serve(one)?, serve(two)?];
    let workers = [process(servers[0].1, 30 * GIB, 60.0), process(servers[1].1, 10 * GIB, 20.0)];
    let device = Device { process: workers.into(), utilization_pct: Curve::Constant(80.0), ..busy(0) };
    let place = Place::new(machine(1, &device))?;
    let receiver = Receiver::start()?;
    let agent = Setup::new()?.config(&config(&place))?.grpc(&receiver.endpoint()).start()?;
    let energy =
        |received: &Received, port: u16| received.total("inferscope.energy", &[("server.port", &port.to_string())]).sum;
    let both = |received: &Received| -> [f64; 2] { [one, two].map(|port| energy(received, port)) };
    let begun = receiver.until(SOON, "energy of both servers", |received| {
        let joules = both(received);
        joules.iter().all(|joules| *joules > 0.0).then_some(joules)
    })?;
    let grown = receiver.until(SOON, "some more", |received| {
        let now = both(received);
        let grown = [now[0] - begun[0], now[1] - begun[1]];
        (grown[0] + grown[1] > 5.0 * WATTS).then_some(grown)
    })?;
    let share = grown[0] / (grown[0] + grown[1]);
    eprintln!("share of the first of two servers: {share:.3}");
    ensure!((share - 0.75).abs() < 0.02, "{grown:?}");
    agent.stop()?;
    Ok(())
}
