//! What threads are left and what they do while the driver hangs. One test at a time, in a process of its own: they count
//! threads.

use std::fs;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use inferscope::model::gpu::{DeviceState, Observation};
use inferscope_tests::gpu::{Rig, machine, threads, uuid};
use nvidia_ml::control::Command;
use nvidia_ml::faults::{Effect, Fault};
use nvidia_ml::scenario::Device;

const HANGS: usize = 1_000;
const PATIENCE: Duration = Duration::from_millis(2);
const DEADLINE: Duration = Duration::from_millis(4);
const HANG_MILLIS: u64 = 15;

static ALONE: Mutex<()> = Mutex::new(());

/// CPU time of the source's threads so far.
fn cpu() -> Duration {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let ours =
        tasks.filter(|task| fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.starts_with("gpu-")));
    let nanos = |stat: String| stat.split_whitespace().next().and_then(|first| first.parse::<u64>().ok());
    let spent = ours.filter_map(|task| nanos(fs::read_to_string(task.path().join("schedstat")).ok()?));
    Duration::from_nanos(spent.sum())
}

#[test]
fn waiting_costs_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // Stuck in initialisation, in events, and in everything: each for as long as it takes to be told, and a second more.
    for (call, from_the_start) in [("nvmlInit_v2", true), ("nvmlEventSetWait_v2", false), ("*", false)] {
        let fault = Fault::new(call, None, Effect::Hang);
        let mut scenario = machine(2, &Device::default());
        scenario.fault.extend(from_the_start.then(|| fault.clone()));
        let mut rig = Rig::tuned(scenario, |settings| settings.deadline = Duration::from_secs(1)).unwrap();
        if !from_the_start {
            rig.wait_sample("a sample", |_| true);
            rig.send(&Command::Fault(fault));
        }
        let before = cpu();
        rig.watch(Duration::from_secs(2));
        let spent = cpu() - before;
        // The simulator looks every 2 ms whether a hang is over; that is in it.
        assert!(spent < Duration::from_millis(200), "{spent:?} in 2 s while {call} hung");
        rig.send(&Command::Heal { call: "*".to_owned(), device: None });
        assert!(rig.source.stop());
    }
}

#[test]
fn a_thousand_hangs_leak_no_thread() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut rig = Rig::tuned(machine(2, &Device::default()), |settings| {
        (settings.patience, settings.deadline) = (PATIENCE, DEADLINE);
        // Hangs cost time; here they are not to slow readings down.
        settings.cadence.budget_ppm = u32::MAX;
        settings.cadence.fastest = Duration::from_millis(10);
        settings.cadence.steady = Duration::from_millis(10);
        settings.cadence.slowest = Duration::from_millis(10);
    })
    .unwrap();
    rig.wait_sample("a sample", |sample| *sample.gpu == *uuid(0));
    rig.forget();
    let hang = Fault::new("nvmlDeviceGetMemoryInfo_v2", Some(0), Effect::HangFor(HANG_MILLIS));
    rig.send(&Command::Fault(hang));
    let (begun, mut hangs, mut most, mut healthy) = (Instant::now(), 0, 0, 0);
    while hangs < HANGS && begun.elapsed() < Duration::from_secs(120) {
        rig.watch(Duration::from_millis(100));
        most = most.max(threads("gpu-calls").values().sum());
        healthy += rig.samples(&uuid(1)).count();
        let seen = std::mem::take(&mut rig.seen);
        hangs += seen.iter().filter(|seen| matches!(seen, Observation::State(_, DeviceState::Stuck { .. }))).count();
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("{hangs} hangs in {seconds:.1} s; {most} threads at most; {healthy} readings of the healthy device");
    assert!(hangs >= HANGS, "{hangs} hangs were told");
    rig.send(&Command::Heal { call: "*".to_owned(), device: None });
    assert!(most <= 2, "one works and one is stuck: {most}");
    assert!(healthy as f64 > seconds * 100.0 / 4.0, "the other device was read all the while: {healthy}");
    rig.wait_sample("the device is read", |sample| *sample.gpu == *uuid(0));
    assert_eq!(threads("gpu-").values().sum::<usize>(), most + 1);
    assert!(rig.source.stop());
    assert!(threads("gpu-").is_empty(), "{:?}", threads("gpu-"));
}
