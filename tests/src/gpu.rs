//! A source of GPUs in front of a simulated machine.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use inferscope::clock::monotonic_nanos;
use inferscope::model::attr::Value;
use inferscope::model::batch::{Data, Point, Temporality};
use inferscope::model::gpu::{DeviceState, DriverState, Gpus, Limits, Observation, Sample};
use inferscope::model::metrics::MetricId;
use inferscope::model::workload::WorkloadId;
use inferscope::sources::gpu::{Cadence, GpuSource, Settings};
use nvidia_ml::control::Command;
use nvidia_ml::curve::Curve;
use nvidia_ml::place::Place;
use nvidia_ml::scenario::{Device, Kind, Process, Scenario};

/// Pause between two polls.
const PAUSE: Duration = Duration::from_millis(5);
/// How long anything may take that is waited for.
pub const SOON: Duration = Duration::from_secs(20);
/// Interval of readings where a rig reads at one pace.
pub const INTERVAL: Duration = Duration::from_millis(200);

/// A simulated machine, a source that reads it, and what the source told.
#[derive(Debug)]
pub struct Rig {
    /// The machine.
    pub place: Place,
    /// The source.
    pub source: GpuSource,
    /// What it told so far, in order.
    pub seen: Vec<Observation>,
    /// Since when: an instant of `CLOCK_MONOTONIC`, in nanoseconds.
    since: u64,
}

impl Rig {
    /// Starts a source that reads all devices at one pace, [`INTERVAL`].
    pub fn start(scenario: Scenario) -> io::Result<Self> {
        Self::tuned(scenario, |_| {})
    }

    /// The same, with other settings.
    pub fn tuned(scenario: Scenario, tune: impl FnOnce(&mut Settings)) -> io::Result<Self> {
        Self::at(Place::new(scenario)?, tune)
    }

    /// The same, at a place that is set up.
    pub fn at(place: Place, tune: impl FnOnce(&mut Settings)) -> io::Result<Self> {
        let mut settings = settings(&place.library());
        tune(&mut settings);
        Ok(Self { source: GpuSource::start(settings)?, place, seen: Vec::new(), since: monotonic_nanos() })
    }

    /// Takes what there is.
    pub fn poll(&mut self) {
        let seen = &mut self.seen;
        self.source.poll(|observation| seen.push(observation));
    }

    /// Takes what comes within a time.
    pub fn watch(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.poll();
            thread::sleep(PAUSE);
        }
    }

    /// Waits until something is told, and says how long that took; what was told before [`Self::forget`] does not count.
    ///
    /// # Panics
    /// Where it is not told soon.
    #[expect(clippy::panic, reason = "that is how a test fails which waits in vain")]
    pub fn wait(&mut self, what: &str, mut told: impl FnMut(&Observation) -> bool) -> Duration {
        let begun = Instant::now();
        let mut looked = 0;
        while begun.elapsed() < SOON {
            self.poll();
            if self.seen[looked..].iter().any(&mut told) {
                return begun.elapsed();
            }
            looked = self.seen.len();
            thread::sleep(PAUSE);
        }
        panic!("not told within {SOON:?}: {what}; told: {:#?}", self.states());
    }

    /// Waits for a state of the driver.
    pub fn wait_driver(&mut self, what: &str, is: impl Fn(&DriverState) -> bool) -> Duration {
        self.wait(what, |seen| matches!(seen, Observation::Driver(state) if is(state)))
    }

    /// Waits for a state of a device.
    pub fn wait_device(&mut self, what: &str, is: impl Fn(&DeviceState) -> bool) -> Duration {
        self.wait(what, |seen| matches!(seen, Observation::State(_, state) if is(state)))
    }

    /// Waits for a sample.
    pub fn wait_sample(&mut self, what: &str, is: impl Fn(&Sample) -> bool) -> Duration {
        self.wait(what, |seen| matches!(seen, Observation::Sample(sample) if is(sample)))
    }

    /// Forgets what was told.
    pub fn forget(&mut self) {
        self.poll();
        self.seen.clear();
        self.since = monotonic_nanos();
    }

    /// Changes the machine.
    ///
    /// # Panics
    /// Where nobody uses the machine.
    #[expect(clippy::panic, reason = "as in `wait`")]
    pub fn send(&self, command: &Command) {
        if let Err(error) = self.place.send(command) {
            panic!("cannot send {command:?}: {error}");
        }
    }

    /// Changes fields of a device.
    pub fn set(&self, device: usize, fields: serde_json::Value) {
        self.send(&Command::Set { device, fields });
    }

    /// Longest time that a device went unread, in intervals of [`INTERVAL`], from [`Self::forget`] until now.
    pub fn gap(&mut self, gpu: &str) -> f64 {
        self.poll();
        let now = monotonic_nanos();
        let read = self.samples(gpu).map(|sample| sample.at);
        let at: Vec<u64> = [self.since].into_iter().chain(read).chain([now]).collect();
        let longest = at.windows(2).map(|two| two[1].saturating_sub(two[0])).max().unwrap_or(u64::MAX);
        longest as f64 / INTERVAL.as_nanos() as f64
    }

    /// Samples of a device.
    pub fn samples(&self, gpu: &str) -> impl DoubleEndedIterator<Item = &Sample> {
        samples(&self.seen, gpu)
    }

    fn states(&self) -> Vec<&Observation> {
        let is_state = |seen: &&Observation| !matches!(seen, Observation::Sample(_) | Observation::Costs(_));
        self.seen.iter().filter(is_state).collect()
    }
}

/// Samples of a device among what a source told.
pub fn samples<'a>(seen: &'a [Observation], gpu: &str) -> impl DoubleEndedIterator<Item = &'a Sample> {
    seen.iter().filter_map(move |seen| match seen {
        Observation::Sample(sample) if &*sample.gpu == gpu => Some(&**sample),
        _ => None,
    })
}

/// Everything at one pace, whatever it costs.
pub fn at_one_pace(every: Duration) -> Cadence {
    Cadence {
        fastest: every,
        steady: every,
        slowest: every,
        uses: every,
        health: every,
        processes: every,
        house: every,
        budget_ppm: 1_000_000,
        ..Cadence::default()
    }
}

/// Puts a GPU of NVIDIA onto a made-up PCI bus, and says where it is.
pub fn pci_gpu(devices: &Path) -> io::Result<PathBuf> {
    let gpu = devices.join("0000:3b:00.0");
    std::fs::create_dir_all(&gpu)?;
    std::fs::write(gpu.join("vendor"), "0x10de\n")?;
    std::fs::write(gpu.join("class"), "0x030200\n")?;
    Ok(gpu)
}

/// Settings of a rig.
pub fn settings(library: &Path) -> Settings {
    let mut settings = Settings { libraries: vec![library.to_owned()], kmsg: None, ..Settings::default() };
    // Whatever this machine has: the simulated one is driven by no kernel module, and waits for none.
    settings.sys = library.with_file_name("sys");
    settings.deadline = Duration::from_millis(500);
    settings.retry = Duration::from_millis(100);
    // Simulated calls cost little; the budget has tests of its own.
    settings.cadence = at_one_pace(INTERVAL);
    settings
}

/// A machine with so many of the same device.
pub fn machine(count: usize, device: &Device) -> Scenario {
    Scenario { device: vec![device.clone(); count], ..Scenario::default() }
}

/// UUID of the device at a place.
pub fn uuid(place: usize) -> String {
    format!("GPU-5ca1ab1e-0000-4000-8000-{place:012x}")
}

/// A process that computes.
pub fn process(pid: u32, memory: u64, sm_pct: f64) -> Process {
    Process { pid, memory, sm_pct: Curve::Constant(sm_pct), kind: Kind::Compute, gpu_instance: None }
}

/// Threads of this process whose name begins so, and how many there are of each name.
pub fn threads(prefix: &str) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        if name.starts_with(prefix) {
            *found.entry(name.trim().to_owned()).or_default() += 1;
        }
    }
    found
}

/// Descriptors of this process that are open below a directory.
pub fn open_below(directory: &Path) -> usize {
    open_below_of(std::process::id(), directory)
}

/// The same of another process.
pub fn open_below_of(pid: u32, directory: &Path) -> usize {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    open.filter_map(|fd| std::fs::read_link(fd.path()).ok()).filter(|target| target.starts_with(directory)).count()
}

/// True while a library is mapped into this process.
pub fn is_loaded(library: &Path) -> bool {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    maps.lines().any(|line| line.ends_with(&*library.to_string_lossy()))
}

/// A rig with a model behind it, and processes whose cgroup is `/<workload>`.
#[derive(Debug)]
pub struct Metered {
    /// The rig.
    pub rig: Rig,
    /// The model.
    pub gpus: Gpus,
    proc: PathBuf,
}

impl Metered {
    /// Starts a source of default cadence, unless `tune` says otherwise. `cgroups` says in which workload a pid runs.
    pub fn start(scenario: Scenario, cgroups: &[(u32, u64)], tune: impl FnOnce(&mut Settings)) -> io::Result<Self> {
        let place = Place::new(scenario)?;
        let proc = place.nodes().with_file_name("proc");
        for (pid, workload) in cgroups {
            let directory = proc.join(pid.to_string());
            std::fs::create_dir_all(&directory)?;
            std::fs::write(directory.join("cgroup"), format!("0::/{workload}\n"))?;
        }
        let rig = Rig::at(place, |settings| {
            settings.cadence = Cadence::default();
            settings.proc.clone_from(&proc);
            tune(settings);
        })?;
        let limits = Limits { temporality: Temporality::Cumulative, ..Limits::default() };
        Ok(Self { rig, gpus: Gpus::new(limits), proc })
    }

    /// Hands to the model what was observed.
    pub fn poll(&mut self) {
        self.rig.poll();
        for observation in std::mem::take(&mut self.rig.seen) {
            self.gpus.observe(observation, 0, &mut owner);
        }
    }

    /// Lets time pass, as the agent's loop does.
    pub fn run(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.poll();
            thread::sleep(PAUSE);
        }
    }

    /// Asks for fresh readings and flushes: points of the devices, then of workloads.
    pub fn flush(&mut self, workloads: &[u64]) -> Vec<Vec<Point>> {
        self.rig.source.refresh();
        self.run(Duration::from_millis(100));
        let device = self.gpus.flush(0, monotonic_nanos()).into_iter().flat_map(|batch| batch.points).collect();
        let mut all = vec![device];
        for id in workloads {
            let mut points = Vec::new();
            self.gpus.workload_points(WorkloadId(*id), &mut points);
            all.push(points);
        }
        all
    }

    /// Flushes until what the devices tell is as it should be.
    ///
    /// # Panics
    /// Where it is not soon.
    #[expect(clippy::panic, reason = "that is how a test fails which waits in vain")]
    pub fn until(&mut self, what: &str, is: impl Fn(&[Point]) -> bool) {
        let begun = Instant::now();
        let mut points = Vec::new();
        while begun.elapsed() < SOON {
            points = self.flush(&[]).remove(0);
            if is(&points) {
                return;
            }
        }
        panic!("not told within {SOON:?}: {what}; told: {points:#?}");
    }

    /// Where `/proc` is made up.
    pub fn proc(&self) -> &Path {
        &self.proc
    }
}

fn owner(_: u32, cgroup: &Path) -> Option<WorkloadId> {
    cgroup.to_str()?.strip_prefix('/')?.parse().ok().map(WorkloadId)
}

/// Sum over a metric's points, of those that bear a word where one is given.
pub fn total(points: &[Point], metric: MetricId, word: Option<&str>) -> f64 {
    let bears = |point: &&Point| {
        word.is_none_or(|word| point.attributes.iter().any(|(_, value)| matches!(value, Value::Word(w) if *w == word)))
    };
    let value = |point: &Point| match point.data {
        Data::Real(real) => real,
        Data::Sum(sum) | Data::Seconds(sum) => sum as f64,
        Data::Current(current) => current as f64,
        Data::Histogram(_) => 0.0,
    };
    points.iter().filter(|point| point.metric == metric).filter(bears).map(value).sum()
}
