//! Energy, from the device's counter to workloads and tokens.

use std::time::{Duration, Instant};

use inferscope::clock::monotonic_nanos;
use inferscope::model::batch::Point;
use inferscope::model::gpu::DriverState;
use inferscope::model::metrics::MetricId;
use inferscope::model::workload::WorkloadId;
use inferscope_tests::gpu::{Metered, machine, process, total};
use nvidia_ml::control::Command;
use nvidia_ml::curve::Curve;
use nvidia_ml::features::Generation;
use nvidia_ml::scenario::{Device, Instance, Mig, Scenario};

const GIB: u64 = 1 << 30;

/// Flushes until the device is read.
fn begin(metered: &mut Metered) {
    let until = Instant::now() + Duration::from_secs(20);
    while !matches!(metered.gpus.driver(), Some(DriverState::Ready { .. })) || metered.gpus.devices().next().is_none() {
        assert!(Instant::now() < until, "no device appeared");
        metered.run(Duration::from_millis(20));
    }
}

fn near(what: &str, got: f64, expected: f64, tolerance: f64) {
    let error = (got - expected).abs() / expected;
    eprintln!("{what}: {got:.3}, expected {expected:.3}, error {:.2} %", error * 100.0);
    assert!(error <= tolerance, "{what}: {got} is not {expected} within {tolerance}");
}

#[test]
fn two_processes_share_a_device_as_they_use_it() {
    // 3 s idle at 100 W, then 400 W; 60 % and 20 % of the multiprocessors; 30 and 10 GiB.
    let busy = |pct| Curve::Steps(vec![(0.0, 0.0), (4.0, pct)]);
    let mut one = process(11, 30 * GIB, 0.0);
    let mut two = process(22, 10 * GIB, 0.0);
    (one.sm_pct, two.sm_pct) = (busy(60.0), busy(20.0));
    let device = Device {
        power_w: Curve::Steps(vec![(0.0, 100.0), (4.0, 400.0)]),
        utilization_pct: busy(80.0),
        process: vec![one, two],
        ..Device::default()
    };
    let mut metered = Metered::start(machine(1, &device), &[(11, 1), (22, 2)], |settings| {
        settings.cadence.slowest = Duration::from_secs(1);
    })
    .unwrap();
    begin(&mut metered);
    metered.run(Duration::from_millis(4_500));
    let before = metered.flush(&[1, 2]);
    metered.run(Duration::from_millis(9_900));
    let after = metered.flush(&[1, 2]);
    let grown = |which: usize, metric, word| total(&after[which], metric, word) - total(&before[which], metric, word);
    let energy = |which, part| grown(which, MetricId::Energy, Some(part));
    near("energy of 10 s in joules", grown(0, MetricId::HwEnergy, None), 400.0 * 10.0, 0.02);
    near("active share of the first", energy(1, "active") / (energy(1, "active") + energy(2, "active")), 0.75, 0.02);
    near("idle share of the first", energy(1, "idle") / (energy(1, "idle") + energy(2, "idle")), 0.75, 0.001);
    near("idle energy", energy(1, "idle") + energy(2, "idle"), 100.0 * 10.0, 0.03);
    let given = total(&after[1], MetricId::Energy, None) + total(&after[2], MetricId::Energy, None);
    let rest = total(&after[0], MetricId::GpuEnergyUnattributed, None);
    let counted = total(&after[0], MetricId::HwEnergy, None);
    assert!((given + rest - counted).abs() < 0.0005, "{given} + {rest} is not {counted} to the millijoule");
    near("utilisation of the first", total(&after[1], MetricId::WorkloadGpuUtilization, None), 0.6, 0.03);
    assert_eq!(total(&after[2], MetricId::WorkloadGpuMemory, None), (10 * GIB) as f64);
    assert!(metered.rig.source.stop());
}

#[test]
fn ten_seconds_of_energy_are_within_a_percent_of_the_counter() {
    // Power that moves all the time, in steps that know nothing of the readings.
    let steps = (0..400).map(|step| (f64::from(step) * 0.137, 200.0 + f64::from(step * 7919 % 400))).collect();
    let power_w = Curve::Steps(steps);
    let device = Device { power_w, utilization_pct: Curve::Constant(70.0), ..Device::default() };
    let mut metered = Metered::start(machine(1, &device), &[], |_| {}).unwrap();
    begin(&mut metered);
    // Somebody else reads the same counter.
    let nvml = nvml_wrapper::Nvml::builder().lib_path(metered.rig.place.library().as_os_str()).init().unwrap();
    let counter = nvml.device_by_index(0).unwrap();
    let flush = |metered: &mut Metered| {
        let points = metered.flush(&[]);
        (total(&points[0], MetricId::HwEnergy, None), counter.total_energy_consumption().unwrap() as f64 / 1e3)
    };
    let (mut told, mut counted) = flush(&mut metered);
    for _ in 0..2 {
        metered.run(Duration::from_millis(9_900));
        let (tells, counts) = flush(&mut metered);
        near("energy of 10 s", tells - told, counts - counted, 0.01);
        (told, counted) = (tells, counts);
    }
    assert!(metered.rig.source.stop());
}

#[test]
fn joules_per_token_are_the_power_over_the_rate() {
    let device = Device {
        power_w: Curve::Constant(350.0),
        utilization_pct: Curve::Constant(95.0),
        process: vec![process(33, 60 * GIB, 95.0)],
        ..Device::default()
    };
    let mut metered = Metered::start(machine(1, &device), &[(33, 3)], |_| {}).unwrap();
    begin(&mut metered);
    metered.run(Duration::from_millis(1_500));
    // 1,000 tokens a second in 8 streams, told once a second as the agent's loop does.
    let begun = monotonic_nanos();
    let tell = |metered: &mut Metered| {
        let nanos = monotonic_nanos() - begun;
        metered.gpus.settle();
        metered.gpus.progress(WorkloadId(3), begun + nanos, nanos / 1_000_000, 8 * nanos);
    };
    tell(&mut metered);
    metered.flush(&[3]);
    for _ in 0..6 {
        metered.run(Duration::from_secs(1));
        tell(&mut metered);
    }
    let points = metered.flush(&[3]);
    near("joules per token", total(&points[1], MetricId::EnergyPerOutputToken, Some("sm_share")), 0.35, 0.06);
    // One of the eight streams, for four seconds: 125 tokens a second.
    let request = metered.gpus.estimate(WorkloadId(3), begun + 1_000_000_000, begun + 5_000_000_000, 500).unwrap();
    near("joules of a request", request.millijoules as f64 / 1e3, 350.0 * 4.0 / 8.0, 0.1);
    assert!(metered.rig.source.stop());
}

/// The first instance's share of a device with 3 and 4 slices in use, by a method.
#[expect(clippy::unwrap_used, reason = "that is how a test fails")]
fn share_of_first(generation: Generation, unprivileged: bool, method: &str) -> f64 {
    let instance = |gpu_instance, slices, sm_pct| Instance {
        gpu_instance,
        uuid: None,
        slices,
        memory: u64::from(slices) * 10 * GIB,
        sm_pct: Curve::Constant(sm_pct),
    };
    let within = |pid, gpu_instance| {
        let mut process = process(pid, GIB, 0.0);
        process.gpu_instance = Some(gpu_instance);
        process
    };
    let device = Device {
        generation,
        power_w: Curve::Constant(300.0),
        mig: Mig { enabled: true, instance: vec![instance(1, 3, 80.0), instance(2, 4, 20.0)] },
        process: vec![within(1, 1), within(2, 2)],
        ..Device::default()
    };
    let scenario = Scenario { unprivileged, ..machine(1, &device) };
    let mut metered = Metered::start(scenario, &[(1, 1), (2, 2)], |settings| {
        settings.cadence.health = Duration::from_millis(500);
        settings.cadence.slowest = Duration::from_millis(500);
    })
    .unwrap();
    begin(&mut metered);
    metered.run(Duration::from_secs(2));
    let before = metered.flush(&[1, 2]);
    metered.run(Duration::from_secs(3));
    let after = metered.flush(&[1, 2]);
    assert!(metered.rig.source.stop());
    let by_method = |points: &[Point]| total(points, MetricId::Energy, Some(method));
    let grown = |which: usize| by_method(&after[which]) - by_method(&before[which]);
    near("energy by this method", grown(1) + grown(2), 300.0 * 3.1, 0.1);
    grown(1) / (grown(1) + grown(2))
}

#[test]
fn a_divided_device_is_split_by_what_its_instances_do() {
    // Activity weighed by multiprocessors: 3 × 80 to 4 × 20.
    near("share of the first instance", share_of_first(Generation::H100, false, "mig_activity"), 0.75, 0.01);
}

#[test]
fn a_divided_device_is_split_too_where_its_processes_are_told_by_instance_alone() {
    near("share of the first instance", share_of_first(Generation::H100, true, "mig_activity"), 0.75, 0.01);
}

#[test]
fn a_divided_device_that_tells_no_activity_is_split_by_slices() {
    near("share of the first instance", share_of_first(Generation::A100, false, "mig_slices"), 3.0 / 7.0, 0.01);
}

#[test]
fn a_device_that_is_held_in_vain_says_so() {
    let device = Device { process: vec![process(5, 40 * GIB, 0.0)], ..Device::default() };
    let mut metered = Metered::start(machine(1, &device), &[(5, 5)], |settings| {
        settings.cadence.slowest = Duration::from_millis(500);
    })
    .unwrap();
    begin(&mut metered);
    metered.run(Duration::from_secs(1));
    let before = metered.flush(&[5]);
    metered.run(Duration::from_secs(3));
    let after = metered.flush(&[5]);
    let held = total(&after[0], MetricId::GpuIdleHeld, None) - total(&before[0], MetricId::GpuIdleHeld, None);
    near("seconds held in vain", held, 3.1, 0.1);
    let idle = total(&after[1], MetricId::Energy, Some("idle")) - total(&before[1], MetricId::Energy, Some("idle"));
    near("its holder bears the idle energy", idle, 70.0 * 3.1, 0.1);
    assert!(metered.rig.source.stop());
}

#[test]
fn energy_during_a_hang_is_given_when_it_is_over() {
    let device = Device {
        power_w: Curve::Constant(300.0),
        utilization_pct: Curve::Constant(90.0),
        process: vec![process(6, 40 * GIB, 90.0)],
        ..Device::default()
    };
    let mut metered = Metered::start(machine(1, &device), &[(6, 6)], |_| {}).unwrap();
    begin(&mut metered);
    metered.run(Duration::from_secs(2));
    let before = metered.flush(&[6]);
    let hang = nvidia_ml::faults::Fault::new("*", Some(0), nvidia_ml::faults::Effect::HangFor(3_000)).times(1);
    metered.rig.send(&Command::Fault(hang));
    metered.run(Duration::from_secs(2));
    let during = metered.flush(&[6]);
    let grown =
        |points: &[Vec<Point>]| total(&points[1], MetricId::Energy, None) - total(&before[1], MetricId::Energy, None);
    assert!(grown(&during) < 300.0, "nothing is made up while the device does not answer: {}", grown(&during));
    metered.run(Duration::from_secs(3));
    let after = metered.flush(&[6]);
    near("all of it is given in the end", grown(&after), 300.0 * 5.2, 0.06);
    assert!(metered.rig.source.stop());
}
