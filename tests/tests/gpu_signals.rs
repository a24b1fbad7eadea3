//! Which signals a device brings: what it supports, and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use inferscope::model::batch::Point;
use inferscope::model::gpu::{Gpu, Observation, ThrottleCause};
use inferscope::model::metrics::MetricId;
use inferscope_tests::gpu::{Metered, Rig, machine, process, total};
use nvidia_ml::control::Command;
use nvidia_ml::curve::Curve;
use nvidia_ml::faults::{Effect, Fault};
use nvidia_ml::features::Generation;
use nvidia_ml::scenario::{Device, Driver, Kind, Scenario};

const GIB: u64 = 1 << 30;
/// `NVML_ERROR_FUNCTION_NOT_FOUND`.
const FUNCTION_NOT_FOUND: u32 = 13;
/// `NVML_ERROR_UNKNOWN`.
const UNKNOWN: u32 = 999;

/// Names of the metrics that a device brings within two readings of everything.
#[expect(clippy::unwrap_used, reason = "that is how a test fails")]
fn metrics(generation: Generation, fan: Vec<(u32, u32)>) -> BTreeSet<&'static str> {
    let device = Device { generation, fan, utilization_pct: Curve::Constant(50.0), ..Device::default() };
    let mut metered = Metered::start(machine(1, &device), &[], |settings| {
        settings.cadence.health = Duration::from_millis(200);
    })
    .unwrap();
    metered.run(Duration::from_millis(1_500));
    let points = metered.flush(&[]).remove(0);
    assert!(metered.rig.source.stop());
    points.iter().map(|point| point.metric.row().name).collect()
}

#[test]
fn what_a_generation_lacks_is_absent() {
    let newest = metrics(Generation::H100, Vec::new());
    let lacks = |generation, fan: Vec<(u32, u32)>| {
        let has = metrics(generation, fan);
        let lacks: Vec<_> = newest.difference(&has).copied().collect();
        let has_more: Vec<_> = has.difference(&newest).copied().collect();
        (lacks, has_more)
    };
    // The newest has everything but fans and errors that did not happen.
    for name in
        ["hw.energy", "hw.power", "inferscope.gpu.activity", "hw.gpu.io", "inferscope.gpu.nvlink.io", "hw.errors"]
    {
        assert!(newest.contains(name), "{name}");
    }
    assert_eq!(lacks(Generation::A100, Vec::new()), (vec!["hw.gpu.io", "inferscope.gpu.activity"], vec![]));
    let ada = vec![
        "hw.errors",
        "hw.gpu.io",
        "inferscope.gpu.activity",
        "inferscope.gpu.memory.remap.state",
        "inferscope.gpu.memory.remapped_rows",
        "inferscope.gpu.nvlink.errors",
        "inferscope.gpu.nvlink.io",
    ];
    assert_eq!(
        lacks(Generation::Rtx4090, vec![(40, 1_500)]),
        (ada.clone(), vec!["hw.fan.speed", "hw.fan.speed_ratio"])
    );
    let mut pascal: BTreeSet<_> = ada.into_iter().collect();
    pascal.remove("hw.errors");
    pascal.extend(["hw.energy", "inferscope.gpu.throttle.time"]);
    // Energy of a device without a counter is added up from its power, and given to nobody here.
    assert_eq!(lacks(Generation::P4, Vec::new()), (pascal.into_iter().collect(), vec![]));
}

#[test]
fn a_value_whose_call_fails_is_not_told_as_it_was_before() {
    let device = Device { process: vec![process(7, GIB, 10.0)], ..Device::default() };
    let mut metered = Metered::start(machine(1, &device), &[], |settings| {
        settings.cadence.slowest = Duration::from_millis(100);
        settings.cadence.health = Duration::from_millis(200);
        settings.cadence.processes = Duration::from_millis(200);
    })
    .unwrap();
    let told = [MetricId::HwGpuMemoryUsage, MetricId::GpuProcesses, MetricId::GpuPcieWidth, MetricId::HwEnergy];
    let degrees = |points: &[Point]| total(points, MetricId::HwTemperature, Some("gpu"));
    let has = |points: &[Point]| told.map(|metric| points.iter().any(|point| point.metric == metric));
    metered.until("everything", |points| has(points) == [true; 4] && degrees(points) > 0.0);
    let failing = [
        "nvmlDeviceGetTemperature",
        "nvmlDeviceGetMemoryInfo_v2",
        "nvmlDeviceGetComputeRunningProcesses_v3",
        "nvmlDeviceGetCurrPcieLinkGeneration",
    ];
    for call in failing {
        metered.rig.send(&Command::Fault(Fault::new(call, Some(0), Effect::Error(UNKNOWN))));
    }
    metered.until("the counter alone", |points| has(points) == [false, false, false, true] && degrees(points) == 0.0);
    metered.rig.send(&Command::Heal { call: "*".to_owned(), device: None });
    metered.until("everything again", |points| has(points) == [true; 4] && degrees(points) > 0.0);
    assert!(metered.rig.source.stop());
}

#[test]
fn modes_that_somebody_changes_are_told_anew() {
    let mut rig = Rig::start(machine(1, &Device::default())).unwrap();
    rig.wait_sample("a sample", |_| true);
    rig.set(0, serde_json::json!({ "persistence": false, "compute_mode": 3 }));
    let changed = |gpu: &Gpu| (gpu.persistence, gpu.compute_mode) == (Some(false), Some("exclusive_process"));
    rig.wait("its modes", |seen| matches!(seen, Observation::Appeared(gpu) if changed(gpu)));
    assert!(!rig.seen.iter().any(|seen| matches!(seen, Observation::Gone(_))), "it is the same device");
    assert!(rig.source.stop());
}

#[test]
fn power_at_once_and_on_average_are_told_apart_where_the_driver_does() {
    // Power rose from 100 W to 500 W half a second before it is read.
    let power = |generation| {
        let power_w = Curve::Steps(vec![(0.0, 100.0), (2.0, 500.0)]);
        let mut metered =
            Metered::start(machine(1, &Device { generation, power_w, ..Device::default() }), &[], |settings| {
                settings.cadence.slowest = Duration::from_millis(100)
            })
            .unwrap();
        metered.run(Duration::from_millis(2_400));
        let points = metered.flush(&[]).remove(0);
        assert!(metered.rig.source.stop());
        (total(&points, MetricId::HwPower, None), total(&points, MetricId::GpuPowerInstant, None))
    };
    let (average, at_once) = power(Generation::H100);
    assert!(at_once > 490.0 && average < 480.0, "{average} {at_once}");
    let (average, at_once) = power(Generation::A100);
    assert!(at_once > 490.0 && average > 490.0, "it has no average: {average} {at_once}");
}

#[test]
fn throttle_times_are_right_with_drivers_of_both_numberings() {
    for version in ["570.172.08", "580.95.05"] {
        let mut device = Device::default();
        device.throttled_ns.insert("hw_thermal".to_owned(), 4_321);
        let driver = Driver { library: version.to_owned(), ..Driver::default() };
        let mut rig = Rig::start(Scenario { driver, ..machine(1, &device) }).unwrap();
        rig.wait_sample(version, |sample| {
            let told = sample.reading.throttled_ns[ThrottleCause::HwThermal as usize];
            assert!(told.is_none_or(|told| told == 4_321), "{told:?} with driver {version}");
            told.is_some()
        });
        assert!(rig.source.stop());
    }
}

#[test]
fn an_older_driver_is_asked_in_older_ways() {
    let missing = ["nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetFieldValues"];
    let fault = missing.map(|call| Fault::new(call, None, Effect::Error(FUNCTION_NOT_FOUND))).to_vec();
    let device = Device { process: vec![process(7, GIB, 10.0)], ..Device::default() };
    let mut rig = Rig::start(Scenario { fault, ..machine(1, &device) }).unwrap();
    rig.wait_sample("memory, energy and power in older ways", |sample| {
        let reading = &sample.reading;
        reading.memory.is_some() && reading.energy_mj.is_some() && reading.power_average_mw.is_some()
    });
    rig.wait_sample("processes in an older way", |sample| {
        sample.processes.iter().flatten().any(|process| process.pid == 7 && process.memory == Some(GIB))
    });
    rig.wait_sample("ECC in an older way", |sample| sample.reading.ecc_corrected == Some(0));
    assert!(rig.source.stop());
}

#[test]
fn clients_of_mps_share_what_the_server_used() {
    let client = |pid, memory| {
        let mut client = process(pid, memory, 0.0);
        client.kind = Kind::Mps;
        client
    };
    let device = Device {
        power_w: Curve::Constant(300.0),
        utilization_pct: Curve::Constant(80.0),
        process: vec![process(50, GIB, 80.0), client(1, 30 * GIB), client(2, 10 * GIB)],
        ..Device::default()
    };
    let mut metered = Metered::start(machine(1, &device), &[(50, 50), (1, 1), (2, 2)], |settings| {
        settings.cadence.processes = Duration::from_millis(300);
    })
    .unwrap();
    fs::write(metered.proc().join("50/comm"), "nvidia-cuda-mps\n").unwrap();
    metered.run(Duration::from_millis(1_500));
    let before = metered.flush(&[1, 2, 50]);
    metered.run(Duration::from_secs(3));
    let after = metered.flush(&[1, 2, 50]);
    let grown = |which: usize| {
        total(&after[which], MetricId::Energy, Some("sm_share"))
            - total(&before[which], MetricId::Energy, Some("sm_share"))
    };
    assert!((grown(1) / (grown(1) + grown(2)) - 0.75).abs() < 0.01, "{} and {}", grown(1), grown(2));
    assert!(grown(3) < 1.0, "the server itself uses nothing");
    assert!(metered.rig.source.stop());
}
