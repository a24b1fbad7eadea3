//! The GPU of this machine: what we read of it beside what NVIDIA's own binding reads; and under CUDA loads our joules beside
//! the device's own counter and `nvidia-smi`, our shares beside what processes say that they computed.
//!
//! `cargo xtask test gpu` runs these with PyTorch; elsewhere each says that it is skipped. Nothing else should use the GPU.
//! But for the last one they need neither the kernel half nor root: the source and the model run in this process.

use std::collections::BTreeMap;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use inferscope::clock::monotonic_nanos;
use inferscope::model::batch::{Point, Temporality};
use inferscope::model::gpu::{Gpus, Limits, Observation};
use inferscope::model::metrics::MetricId;
use inferscope::model::workload::WorkloadId;
use inferscope::sources::gpu::{GpuSource, Settings};
use inferscope_tests::agent::{OFTEN, Setup};
use inferscope_tests::ask::{Api, Ask};
use inferscope_tests::clients::Client;
use inferscope_tests::gpu::{at_one_pace, samples, total};
use inferscope_tests::matrices::Matrices;
use inferscope_tests::oracle::{self, EVERYTHING};
use inferscope_tests::received::Received;
use inferscope_tests::receiver::Receiver;
use inferscope_tests::report::table;
use inferscope_tests::servers::{Kind, Server};
use inferscope_tests::turn::Turn;
use inferscope_tests::{tools, wait};
use nvml_wrapper::Nvml;

const NAMED_WITHIN: Duration = Duration::from_secs(10);
const SOON: Duration = Duration::from_secs(60);
/// Interval at which everything is read.
const EVERY: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(20);
/// How long energy is compared.
const WINDOW: Duration = Duration::from_secs(20);
/// By how much, in seconds, our reading of the counter and that of somebody else may lie apart over a window.
const APART: f64 = 0.2;

/// The agent reads processes often: the server is there for half a minute.
const GPU: &str = "[gpu]\nprocesses = '500ms'\nsteady = '500ms'\nslowest = '500ms'\nbudget_ppm = 100000\n";

/// The first GPU, as somebody else than the agent sees it.
struct Device {
    nvml: Nvml,
    uuid: String,
}

impl Device {
    fn open() -> Result<Self> {
        let opened = |library: &std::path::PathBuf| Nvml::builder().lib_path(library.as_os_str()).init().ok();
        let nvml = Settings::default().libraries.iter().find_map(opened).context("no NVML answers")?;
        let uuid = nvml.device_by_index(0)?.uuid()?;
        Ok(Self { nvml, uuid })
    }

    /// Joules by its own counter.
    fn counter(&self) -> Result<f64> {
        Ok(self.nvml.device_by_index(0)?.total_energy_consumption()? as f64 / 1e3)
    }

    /// Waits until the driver names a process. It names those of the initial pid namespace: in another one it never does.
    fn names(&self, pid: u32) -> Result<()> {
        let device = self.nvml.device_by_index(0)?;
        let mut named = Vec::new();
        let found = wait::until_ok(NAMED_WITHIN, "the driver to name the process", || {
            named = device.running_compute_processes()?.iter().map(|process| process.pid).collect();
            Ok(named.contains(&pid).then_some(()))
        });
        found.with_context(|| {
            format!(
                "the driver names the processes {named:?}, and not {pid}, which computes: run this in the host's pid \
                 namespace (docker run --pid=host, hostPID: true)"
            )
        })
    }
}

/// Watts by `nvidia-smi`.
fn smi() -> Result<f64> {
    let query = ["--id=0", "--query-gpu=power.draw", "--format=csv,noheader,nounits"];
    let output = Command::new("nvidia-smi").args(query).output().context("cannot run nvidia-smi")?;
    let text = String::from_utf8(output.stdout)?;
    text.trim().parse().with_context(|| format!("nvidia-smi says {text:?}"))
}

/// Skips where `cargo xtask test gpu` named no Python with PyTorch.
fn is_skipped() -> bool {
    let skipped = tools::torch().is_none();
    if skipped {
        eprintln!("skipped: needs a GPU and PyTorch (`cargo xtask test gpu` on a machine with a GPU)");
    }
    skipped
}

/// A source of the default settings and a model behind it, as the agent has them. Processes are workloads by themselves.
struct Watched {
    source: GpuSource,
    gpus: Gpus,
    workloads: BTreeMap<u32, WorkloadId>,
}

/// Joules so far.
struct Joules {
    /// Of the first GPU, as we read its counter, and as somebody else did.
    told: f64,
    counted: f64,
    /// Of each workload.
    given: BTreeMap<WorkloadId, Vec<Point>>,
}

impl Watched {
    fn start() -> Result<Self> {
        let source = GpuSource::start(Settings::default())?;
        let limits = Limits { temporality: Temporality::Cumulative, ..Limits::default() };
        Ok(Self { source, gpus: Gpus::new(limits), workloads: BTreeMap::new() })
    }

    fn poll(&mut self) {
        let Self { source, gpus, workloads } = self;
        source.poll(|observation| gpus.observe(observation, 0, &mut |pid, _| workloads.get(&pid).copied()));
    }

    fn run(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.poll();
            thread::sleep(PAUSE);
        }
    }

    /// Makes a process a workload, and waits until it is seen on the GPU.
    fn watch(&mut self, process: &Matrices) -> Result<WorkloadId> {
        let id = WorkloadId(process.pid().into());
        self.workloads.insert(process.pid(), id);
        let until = Instant::now() + SOON;
        while !self.gpus.has(id) {
            if Instant::now() > until {
                bail!("the process {} was seen on no GPU within {SOON:?}", process.pid());
            }
            self.run(PAUSE);
        }
        Ok(id)
    }

    /// What is told as of now. The sum of all shares and the rest is the counter, whatever happened.
    fn joules(&mut self, device: &Device) -> Result<Joules> {
        self.source.refresh();
        self.run(Duration::from_millis(100));
        let counted = device.counter()?;
        let batches = self.gpus.flush(0, monotonic_nanos());
        let mut given = BTreeMap::new();
        for id in self.workloads.values() {
            let mut points = Vec::new();
            self.gpus.workload_points(*id, &mut points);
            given.insert(*id, points);
        }
        let of_all = |metric| batches.iter().map(|batch| total(&batch.points, metric, None)).sum::<f64>();
        let (whole, rest) = (of_all(MetricId::HwEnergy), of_all(MetricId::GpuEnergyUnattributed));
        let shares: f64 = given.values().map(|points| total(points, MetricId::Energy, None)).sum();
        ensure!((shares + rest - whole).abs() < 0.0005, "{shares} J and {rest} J are not {whole} J");
        let first = batches.iter().find(|batch| *batch.gpu.id == *device.uuid).context("the first GPU is not read")?;
        Ok(Joules { told: total(&first.points, MetricId::HwEnergy, None), counted, given })
    }
}

impl Joules {
    /// What a workload was given of a part, or of all.
    fn given(&self, id: WorkloadId, part: Option<&str>) -> f64 {
        self.given.get(&id).map_or(0.0, |points| total(points, MetricId::Energy, part))
    }
}

/// What may change on a device that nobody uses, besides what only grows.
const MOVING: [&str; 23] = [
    "power_average_mw",
    "power_instant_mw",
    "power_call_mw",
    "utilization",
    "memory",
    "throttle",
    "encoder_pct",
    "decoder_pct",
    "temperature",
    "memory_temperature",
    "sm_mhz",
    "memory_mhz",
    "video_mhz",
    "performance_state",
    "pcie_link",
    "activity",
    "power_cap_ns",
    "sync_boost_ns",
    "sw_thermal_ns",
    "hw_thermal_ns",
    "hw_power_brake_ns",
    "fans",
    "first_fan_rpm",
];

#[test]
fn what_is_read_nvidias_binding_reads() -> Result<()> {
    let Some(python) = tools::torch().filter(|_| !is_skipped()) else { return Ok(()) };
    let _turn = Turn::take()?;
    let (device, mut seen) = (Device::open()?, Vec::new());
    let settings = Settings { cadence: at_one_pace(EVERY), ..Settings::default() };
    let mut source = GpuSource::start(settings)?;
    // Activity lies between two readings.
    let mut whole = |what: &str| {
        wait::until(SOON, what, || {
            source.poll(|observation| seen.push(observation));
            let whole = samples(&seen, &device.uuid).filter(|sample| sample.asked == EVERYTHING);
            (whole.count() > 2).then_some(())
        })?;
        let told = oracle::told(&seen, &device.uuid);
        seen.retain(|seen| !matches!(seen, Observation::Sample(_)));
        told
    };
    let before = whole("readings of everything")?;
    let theirs = oracle::by_binding(&python, None)?;
    let after = whole("further readings of everything")?;
    ensure!(source.stop(), "a call into the driver has not returned");
    for (name, theirs) in &theirs {
        eprintln!("{name}: {}, the binding reads {theirs}", after.get(name).unwrap_or(&serde_json::Value::Null));
    }
    let differences = oracle::differences(&before, &theirs, &after, &MOVING);
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    Ok(())
}

#[test]
fn energy_is_the_devices_own_at_several_power_levels() -> Result<()> {
    if is_skipped() {
        return Ok(());
    }
    let _turn = Turn::take()?;
    let (device, mut watched) = (Device::open()?, Watched::start()?);
    // It is seen idle first, so that idle and active energy can be told apart.
    watched.run(Duration::from_secs(15));
    let (mut rows, mut named) = (Vec::new(), true);
    for busy in [0.1, 0.4, 1.0] {
        let load = Matrices::start(busy)?;
        // Energy needs no names: where there are none, that alone is left out, and said.
        if named && let Err(error) = device.names(load.pid()) {
            eprintln!("shares are not tested: {error:#}");
            named = false;
        }
        let id = if named { Some(watched.watch(&load)?) } else { None };
        let before = watched.joules(&device)?;
        let (begun, mut watts, mut looks) = (Instant::now(), 0.0, 0);
        while begun.elapsed() < WINDOW {
            watts += smi()?;
            looks += 1;
            watched.run(Duration::from_secs(1));
        }
        let after = watched.joules(&device)?;
        let smi = watts / f64::from(looks) * begun.elapsed().as_secs_f64();
        load.end()?;
        let (told, counted) = (after.told - before.told, after.counted - before.counted);
        let own = id.map_or(0.0, |id| after.given(id, None) - before.given(id, None));
        let cells = [told, counted, smi, own].map(|joules| format!("{joules:.1}"));
        rows.push([vec![format!("{:.0} %", busy * 100.0)], cells.to_vec()].concat());
        let tolerance = counted * (0.01 + APART / WINDOW.as_secs_f64());
        ensure!((told - counted).abs() <= tolerance, "{busy}: told {told} J, counted {counted} J");
        ensure!((smi - counted).abs() <= counted * 0.15, "{busy}: nvidia-smi {smi} J, counted {counted} J");
        ensure!(!named || own >= told * 0.9, "{busy}: the only load was given {own} J of {told} J");
    }
    ensure!(watched.source.stop(), "a call into the driver has not returned");
    let head = ["busy", "inferscope, J", "device's counter, J", "nvidia-smi × time, J", "the load's share, J"];
    eprintln!("{}", table(&head, &rows));
    Ok(())
}

#[test]
fn two_processes_share_a_gpu_as_they_compute() -> Result<()> {
    if is_skipped() {
        return Ok(());
    }
    let _turn = Turn::take()?;
    let (device, mut watched) = (Device::open()?, Watched::start()?);
    watched.run(Duration::from_secs(15));
    let loads = [Matrices::start(0.6)?, Matrices::start(0.2)?];
    let mut ids = Vec::new();
    for load in &loads {
        device.names(load.pid())?;
        ids.push(watched.watch(load)?);
    }
    watched.run(Duration::from_secs(2));
    let did = |loads: &[Matrices]| loads.iter().map(Matrices::done).collect::<Result<Vec<_>>>();
    let (before, did_before) = (watched.joules(&device)?, did(&loads)?);
    watched.run(WINDOW);
    let (after, did_after) = (watched.joules(&device)?, did(&loads)?);
    loads.into_iter().try_for_each(Matrices::end)?;
    let used = |id: WorkloadId| {
        let of = |joules: &Joules| joules.given(id, Some("active")) + joules.given(id, Some("whole"));
        of(&after) - of(&before)
    };
    let told = used(ids[0]) / (used(ids[0]) + used(ids[1]));
    let grown = |load: usize, what: usize| did_after[load][what] - did_before[load][what];
    let [products, milliseconds] = [0, 1].map(|what| grown(0, what) / (grown(0, what) + grown(1, what)));
    let cells = [told, products, milliseconds].map(|share| format!("{share:.3}"));
    let rows = [[vec!["the first of two".to_owned()], cells.to_vec()].concat()];
    eprintln!("{}", table(&["share", "inferscope, energy", "products made", "CUDA's events, time"], &rows));
    ensure!((told - products).abs() < 0.1, "{told} is not {products}");
    ensure!(watched.source.stop(), "a call into the driver has not returned");
    Ok(())
}

/// Shares and rest are the counter, as the agent's receiver got them.
fn check_sum(received: &Received) -> Result<()> {
    let sum = |name| received.total(name, &[]).sum;
    let (given, rest, whole) = (sum("inferscope.energy"), sum("inferscope.gpu.energy.unattributed"), sum("hw.energy"));
    ensure!((given + rest - whole).abs() < 0.0005, "{given} J and {rest} J are not {whole} J");
    Ok(())
}

#[test]
fn joules_per_token_of_a_decode_loop() -> Result<()> {
    if is_skipped() {
        return Ok(());
    }
    let _turn = Turn::take()?;
    let device = Device::open()?;
    let (server, receiver) = (Server::start(Kind::Cuda)?, Receiver::start()?);
    device.names(server.pid())?;
    let setup = Setup::new()?.config(&(OFTEN.to_owned() + GPU))?.grpc(&receiver.endpoint());
    let agent = setup.cgroup(server.cgroup()?.path()).start()?;
    let read = [("hw.id", device.uuid.as_str())];
    receiver.until(SOON, "energy of the server", |received| {
        let held = received.total("inferscope.gpu.workload.memory.usage", &[]).count > 0;
        (held && received.total("hw.energy", &read).sum > 0.0).then_some(())
    })?;
    // Two looks at the workload tell what lies between them.
    thread::sleep(Duration::from_secs(3));
    let counted = device.counter()?;
    let (requests, tokens) = (48, 200);
    let seen = Client::Hyper.run(&server, &Ask::stream(Api::Chat, tokens), requests, 8)?;
    let counted = device.counter()? - counted;
    agent.stop()?;
    let received = receiver.received();
    check_sum(&received)?;
    let spans = received.generative();
    let joules: f64 = spans.iter().filter_map(|span| span.number::<f64>("inferscope.request.energy")).sum();
    let all = u64::from(requests * tokens);
    let rows = [
        vec!["device's counter".to_owned(), format!("{counted:.1}"), format!("{:.4}", counted / all as f64)],
        vec!["sum over requests' spans".to_owned(), format!("{joules:.1}"), format!("{:.4}", joules / all as f64)],
    ];
    eprintln!("{}", table(&["told by", "joules", "joules per token"], &rows));
    ensure!(seen.len() == requests as usize && received.total("inferscope.tokens", &[]).count >= all, "{seen:?}");
    ensure!((joules - counted).abs() <= 0.15 * counted, "requests were given {joules} J of {counted} J");
    Ok(())
}
