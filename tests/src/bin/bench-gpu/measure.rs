//! The measurements.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use inferscope::clock::monotonic_nanos;
use inferscope::model::batch::Temporality;
use inferscope::model::gpu::{Call, Gpus, Limits, Observation};
use inferscope::model::metrics::MetricId;
use inferscope::model::workload::WorkloadId;
use inferscope::sources::gpu::{GpuSource, Settings};
use inferscope_tests::gpu::{INTERVAL, Metered, Rig, machine, process, total, uuid};
use inferscope_tests::matrices::Matrices;
use inferscope_tests::tools;
use nvidia_ml::control::Command;
use nvidia_ml::curve::Curve;
use nvidia_ml::faults::{Effect, Fault};
use nvidia_ml::scenario::{Device, Process};
use nvml_wrapper::Nvml;

use crate::report::{self, Report};

/// Simulated GPUs while costs are measured.
const GPUS: usize = 2;
/// Simulated processes on each.
const PROCESSES: usize = 2;
/// Shares of the time in which loads on a device are busy.
const BUSY: [f64; 2] = [0.6, 0.2];
/// Interval at which a device is asked for.
const FASTEST: Duration = Duration::from_millis(100);
/// How long costs are measured.
const COSTS: Duration = Duration::from_secs(30);
/// Windows in which energy is compared.
const WINDOWS: usize = 3;
/// How long a device hangs.
const HANG: Duration = Duration::from_secs(5);
/// Calls that every reading makes.
const QUICK: [Call; 6] =
    [Call::EnergyFields, Call::Energy, Call::Power, Call::Utilization, Call::Memory, Call::ThrottleReasons];

/// Against the simulator.
pub(crate) fn simulator() -> Result<Report> {
    let config = format!(
        "{GPUS} simulated H100 whose power moves all the time, read at the default cadence for {} s; calls cost what the \
         simulator needs, so that what is shown is everything but the driver; {WINDOWS} windows of 10 s; a hang of {} s",
        COSTS.as_secs(),
        HANG.as_secs()
    );
    let mut report = Report::begin("simulator".to_owned(), config)?;
    let mut metered = Metered::start(machine(GPUS, &busy()), &[(11, 1), (22, 2)], |_| {})?;
    wait_for_devices(&mut metered)?;
    eprintln!("bench gpu: costs ({} s) …", COSTS.as_secs());
    let library = metered.rig.place.library();
    let samples = costs(COSTS, &mut report, |take| metered.rig.source.poll(take))?;
    for observation in samples {
        metered.gpus.observe(observation, 0, &mut |_, _| None);
    }
    eprintln!("bench gpu: energy ({} s) …", WINDOWS * 10);
    report.energy_error_pct_10s = Some(energy(&mut metered, &library)?);
    let points = metered.flush(&[1, 2]);
    let of_devices = |metric| total(&points[0], metric, None);
    let (rest, told) = (of_devices(MetricId::GpuEnergyUnattributed), of_devices(MetricId::HwEnergy));
    report.shares(&points[1..].concat(), PROCESSES, rest, told);
    if !metered.rig.source.stop() {
        bail!("the source did not end");
    }
    eprintln!("bench gpu: a hang ({} s) …", HANG.as_secs());
    hang(&mut report)?;
    Ok(report)
}

/// Against the devices of this machine, which are only read. Every process on them is a workload by itself; two are started
/// where there is a Python with PyTorch.
pub(crate) fn device(library: &Path, source: String) -> Result<Report> {
    let loads = BUSY.into_iter().filter(|_| tools::torch().is_some()).map(Matrices::start);
    let loads = loads.collect::<Result<Vec<_>>>()?;
    let config = format!(
        "{} loads of matrix products on the first device; read ten times a second within the default budget, as while \
         something moves, for {} s; {WINDOWS} windows of 10 s",
        loads.len(),
        COSTS.as_secs()
    );
    let mut report = Report::begin(source, config)?;
    let mut gpus = GpuSource::start(Settings::default())?;
    eprintln!("bench gpu: costs ({} s) …", COSTS.as_secs());
    let mut asked = Instant::now();
    let observations = costs(COSTS, &mut report, |take| {
        if asked.elapsed() >= FASTEST {
            gpus.refresh();
            asked = Instant::now();
        }
        gpus.poll(take);
    })?;
    let mut model = Gpus::new(Limits { temporality: Temporality::Cumulative, ..Limits::default() });
    let mut holders = BTreeSet::new();
    let mut observe = |model: &mut Gpus, observation| {
        model.observe(observation, 0, &mut |pid, _| {
            let id = WorkloadId(pid.into());
            holders.insert(id);
            Some(id)
        });
    };
    observations.into_iter().for_each(|observation| observe(&mut model, observation));
    eprintln!("bench gpu: energy ({} s) …", WINDOWS * 10);
    let nvml = Nvml::builder().lib_path(library.as_os_str()).init()?;
    let (mut told, mut rest) = (0.0, 0.0);
    report.energy_error_pct_10s = Some(windows(&mut || {
        gpus.refresh();
        std::thread::sleep(Duration::from_millis(100));
        gpus.poll(|observation| observe(&mut model, observation));
        let mut counted = 0.0;
        for index in 0..nvml.device_count()? {
            counted += nvml.device_by_index(index)?.total_energy_consumption()? as f64 / 1e3;
        }
        let batches = model.flush(0, monotonic_nanos());
        let of_all = |metric| batches.iter().map(|batch| total(&batch.points, metric, None)).sum::<f64>();
        (told, rest) = (of_all(MetricId::HwEnergy), of_all(MetricId::GpuEnergyUnattributed));
        Ok((told, counted))
    })?);
    let mut points = Vec::new();
    holders.iter().for_each(|id| model.workload_points(*id, &mut points));
    report.shares(&points, holders.len(), rest, told);
    loads.into_iter().try_for_each(Matrices::end)?;
    if !gpus.stop() {
        bail!("the source did not end");
    }
    Ok(report)
}

/// Two processes on a device whose power moves all the time.
fn busy() -> Device {
    let steps = (0..2_000).map(|step| (f64::from(step) * 0.137, 200.0 + f64::from(step * 7_919 % 400))).collect();
    let process = |pid, sm_pct| Process { sm_pct: Curve::Constant(sm_pct), ..process(pid, 20 << 30, 0.0) };
    Device {
        power_w: Curve::Steps(steps),
        utilization_pct: Curve::Constant(80.0),
        process: vec![process(11, 60.0), process(22, 20.0)],
        ..Device::default()
    }
}

fn wait_for_devices(metered: &mut Metered) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(20);
    while metered.gpus.devices().count() < GPUS {
        if Instant::now() > until {
            bail!("the simulated devices did not appear");
        }
        metered.run(Duration::from_millis(20));
    }
    Ok(())
}

/// Quantiles of what calls cost, time in the driver and CPU time for each reading. Hands on what was observed.
fn costs(
    time: Duration,
    report: &mut Report,
    mut poll: impl FnMut(&mut dyn FnMut(Observation)),
) -> Result<Vec<Observation>> {
    let (begun, cpu) = (Instant::now(), cpu_us()?);
    let mut observations = Vec::new();
    while begun.elapsed() < time {
        poll(&mut |observation| observations.push(observation));
        std::thread::sleep(Duration::from_millis(20));
    }
    let cpu = cpu_us()? - cpu;
    let mut by_call: BTreeMap<Call, Vec<u64>> = BTreeMap::new();
    let (mut turns, mut turns_with_uses) = (Vec::new(), Vec::new());
    for sample in observations.iter().filter_map(|observation| match observation {
        Observation::Sample(sample) => Some(sample),
        _ => None,
    }) {
        let of = |calls: &[Call]| -> u64 {
            sample.costs.iter().filter(|cost| calls.contains(&cost.call)).map(|cost| cost.nanos).sum()
        };
        turns.push(of(&QUICK));
        let uses = of(&[Call::ProcessUtilization]);
        turns_with_uses.extend((uses > 0).then_some(of(&QUICK) + uses));
        for cost in &sample.costs {
            by_call.entry(cost.call).or_default().push(cost.nanos);
        }
    }
    if turns.is_empty() {
        bail!("no device was read within {time:?}");
    }
    let call = |(call, mut nanos): (Call, Vec<u64>)| report::Call {
        call: call.name(),
        us_p50: quantile(&mut nanos, 0.5),
        us_p99: quantile(&mut nanos, 0.99),
        calls: nanos.len(),
    };
    report.calls = by_call.into_iter().map(call).collect();
    report.cpu_us_per_reading = Some(cpu / turns.len() as f64);
    report.interval_us_per_gpu = Some(quantile(&mut turns, 0.5));
    report.interval_with_uses_us_per_gpu =
        Some(&mut turns_with_uses).filter(|turns| !turns.is_empty()).map(|turns| quantile(turns, 0.5));
    Ok(observations)
}

fn energy(metered: &mut Metered, library: &Path) -> Result<f64> {
    let nvml = Nvml::builder().lib_path(library.as_os_str()).init()?;
    windows(&mut || {
        let points = metered.flush(&[]);
        let mut counted = 0.0;
        for index in 0..GPUS as u32 {
            counted += nvml.device_by_index(index)?.total_energy_consumption()? as f64 / 1e3;
        }
        Ok((total(&points[0], MetricId::HwEnergy, None), counted))
    })
}

/// The largest difference, in percent, of what is told from what the counters grew by, over windows of 10 s.
fn windows(read: &mut dyn FnMut() -> Result<(f64, f64)>) -> Result<f64> {
    let (mut told, mut counted) = read()?;
    let mut worst: f64 = 0.0;
    for _ in 0..WINDOWS {
        std::thread::sleep(Duration::from_millis(9_900));
        let (tells, counts) = read()?;
        worst = worst.max(((tells - told) / (counts - counted) - 1.0).abs() * 100.0);
        (told, counted) = (tells, counts);
    }
    Ok(worst)
}

/// One of two devices hangs: how long flushes take, and how long the other one is not read.
fn hang(report: &mut Report) -> Result<()> {
    let mut rig = Rig::start(machine(2, &busy()))?;
    rig.wait_sample("a sample", |sample| *sample.gpu == *uuid(1));
    let mut gpus = Gpus::new(Limits { temporality: Temporality::Cumulative, ..Limits::default() });
    let mut flushes = |rig: &mut Rig, time: Duration| {
        let (begun, mut took) = (Instant::now(), Vec::new());
        while begun.elapsed() < time {
            let start = Instant::now();
            let from = rig.seen.len();
            rig.poll();
            for observation in &rig.seen[from..] {
                gpus.observe(observation.clone(), 0, &mut |_, _| Some(WorkloadId(1)));
            }
            drop(gpus.flush(0, monotonic_nanos()));
            took.push(start.elapsed().as_nanos() as u64);
            std::thread::sleep(Duration::from_millis(50));
        }
        took
    };
    let mut before = flushes(&mut rig, HANG);
    rig.forget();
    rig.send(&Command::Fault(Fault::new("*", Some(0), Effect::Hang)));
    let during = flushes(&mut rig, HANG);
    let longest = during.iter().max().copied().context("no flush")? as f64 / 1e3;
    report.flush_delay_us_with_hung_device = Some((longest - quantile(&mut before, 0.5)).max(0.0));
    report.healthy_gap_intervals_with_hung_device = Some(rig.gap(&uuid(1)));
    rig.send(&Command::Heal { call: "*".to_owned(), device: None });
    eprintln!("bench gpu: one interval was {INTERVAL:?} while a device hung");
    if rig.source.stop() { Ok(()) } else { bail!("the source did not end") }
}

/// Microseconds below which the share `quantile` of nanoseconds lies.
fn quantile(nanos: &mut [u64], quantile: f64) -> f64 {
    nanos.sort_unstable();
    let rank = (quantile * nanos.len() as f64).ceil().max(1.0) as usize - 1;
    nanos.get(rank).map_or(0.0, |nanos| *nanos as f64 / 1e3)
}

/// CPU time of the source's threads so far, in microseconds.
fn cpu_us() -> Result<f64> {
    let mut nanos = 0.0;
    for task in fs::read_dir("/proc/self/task")?.flatten() {
        let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        if name.starts_with("gpu-") {
            // Its first number: nanoseconds on a CPU.
            let schedstat = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            nanos += schedstat.split_whitespace().next().and_then(|first| first.parse::<f64>().ok()).unwrap_or(0.0);
        }
    }
    Ok(nanos / 1e3)
}
