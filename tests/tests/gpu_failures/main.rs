//! Whatever the driver does: it is told, nobody else is held up, and all comes back by itself.
//!
//! Healthy devices are read every [`INTERVAL`](inferscope_tests::gpu::INTERVAL); a gap of less than two intervals means that
//! no reading was missed.

mod module;
mod release;

use std::time::{Duration, Instant};
use std::{fs, io};

use inferscope::model::gpu::{Call, DeviceState, DriverState, EventKind, Observation, XidSource};
use inferscope_tests::gpu::{INTERVAL, Rig, is_loaded, machine, open_below, process, settings, uuid};
use nvidia_ml::control::Command;
use nvidia_ml::curve::Curve;
use nvidia_ml::faults::{Effect, Fault};
use nvidia_ml::place::Place;
use nvidia_ml::scenario::{Device, Driver, Instance, Mig, Scenario};

const MISSED_NONE: f64 = 2.0;
/// `NVML_ERROR_GPU_IS_LOST`.
const GPU_IS_LOST: u32 = 15;

fn ready(state: &DriverState) -> bool {
    matches!(state, DriverState::Ready { .. })
}

fn two() -> Scenario {
    machine(2, &Device::default())
}

/// A rig whose second device has been read.
#[expect(clippy::unwrap_used, reason = "that is how a test fails")]
fn running(scenario: Scenario) -> Rig {
    let mut rig = Rig::start(scenario).unwrap();
    rig.wait_driver("ready", ready);
    rig.wait_sample("a sample of the second device", |sample| *sample.gpu == *uuid(1));
    rig.forget();
    rig
}

/// The healthy device missed no reading.
fn healthy(rig: &mut Rig, place: usize, meanwhile: &str) {
    let gap = rig.gap(&uuid(place));
    eprintln!("gap of a healthy device: {gap:.2} intervals while {meanwhile}");
    assert!(gap < MISSED_NONE, "gap of {gap} intervals while {meanwhile}");
}

fn hang(call: &str, device: Option<usize>) -> Command {
    Command::Fault(Fault::new(call, device, Effect::Hang))
}

fn heal() -> Command {
    Command::Heal { call: "*".to_owned(), device: None }
}

#[test]
fn a_hanging_device_is_told_with_its_age_and_others_go_on() {
    let mut rig = running(two());
    let begun = Instant::now();
    rig.send(&hang("nvmlDeviceGetFieldValues", Some(0)));
    rig.wait_device("stuck", |state| matches!(state, DeviceState::Stuck { call: Call::EnergyFields, .. }));
    assert!(begun.elapsed() >= Duration::from_millis(500), "not before its deadline");
    rig.watch(Duration::from_secs(5));
    healthy(&mut rig, 1, "another one hung for 5 s");
    assert!(rig.gap(&uuid(0)) > 20.0, "an outage that lasts is a gap");
    assert!(rig.samples(&uuid(0)).count() <= 5, "the stuck one is set aside");
    rig.forget();
    rig.send(&heal());
    rig.wait_device("ok", |state| *state == DeviceState::Ok);
    rig.wait_sample("it is read again", |sample| *sample.gpu == *uuid(0));
    assert!(rig.source.stop());
}

#[test]
fn taking_observations_never_waits_for_a_hanging_device() {
    let mut rig = running(two());
    rig.send(&hang("*", Some(0)));
    rig.wait_device("stuck", |state| matches!(state, DeviceState::Stuck { .. }));
    let mut took: Vec<Duration> = Vec::new();
    for _ in 0..500 {
        let begun = Instant::now();
        rig.poll();
        took.push(begun.elapsed());
        std::thread::sleep(Duration::from_millis(2));
    }
    took.sort();
    let (median, most, longest) = (took[took.len() / 2], took[took.len() * 9 / 10], took[took.len() - 1]);
    eprintln!("taking observations: {median:?} in the median, {most:?} in 90 of 100, {longest:?} at most");
    // The longest is the machine's: whoever else runs may take the CPU meanwhile.
    assert!(most < Duration::from_millis(1), "{median:?}, {most:?}, {longest:?}");
    rig.send(&heal());
    assert!(rig.source.stop());
}

#[test]
fn two_hanging_devices_are_both_told_and_both_come_back() {
    let mut rig = running(machine(3, &Device::default()));
    rig.send(&hang("*", Some(0)));
    rig.send(&hang("*", Some(1)));
    let stuck = |place: usize| move |seen: &Observation| matches!(seen, Observation::State(id, DeviceState::Stuck { .. }) if **id == *uuid(place));
    rig.wait("the first is stuck", stuck(0));
    if !rig.seen.iter().any(stuck(1)) {
        rig.wait("the second is stuck", stuck(1));
    }
    let waits = |seen: &Observation| matches!(seen, Observation::State(id, DeviceState::Waiting) if **id == *uuid(2));
    if !rig.seen.iter().any(waits) {
        rig.wait("the third waits: its values are old", waits);
    }
    rig.send(&Command::Heal { call: "*".to_owned(), device: Some(0) });
    rig.wait(
        "the third is asked again",
        |seen| matches!(seen, Observation::State(id, DeviceState::Ok) if **id == *uuid(2)),
    );
    rig.wait_sample("the third goes on when one of them is back", |sample| *sample.gpu == *uuid(2));
    rig.forget();
    rig.send(&heal());
    rig.wait_sample("the second is back", |sample| *sample.gpu == *uuid(1));
    assert!(rig.source.stop());
}

#[test]
fn a_driver_that_hangs_when_it_is_initialised_is_told_and_waited_for() {
    let fault = vec![Fault::new("nvmlInit_v2", None, Effect::Hang)];
    let mut rig = Rig::start(Scenario { fault, ..two() }).unwrap();
    rig.wait_driver("stuck", |state| matches!(state, DriverState::Stuck { call: Call::Init, .. }));
    rig.send(&heal());
    rig.wait_driver("ready", ready);
    rig.wait_sample("a sample", |_| true);
    assert!(rig.source.stop());
}

#[test]
fn a_device_that_hangs_when_it_is_attached_keeps_nobody_from_being_read() {
    let fault = vec![Fault::new("nvmlDeviceGetHandleByIndex_v2", Some(0), Effect::Hang)];
    let mut rig = Rig::start(Scenario { fault, ..two() }).unwrap();
    rig.wait_sample("the second device is read", |sample| *sample.gpu == *uuid(1));
    rig.forget();
    rig.wait_device("the first is stuck", |state| matches!(state, DeviceState::Stuck { call: Call::Handle, .. }));
    rig.send(&heal());
    rig.wait_sample("the first is read", |sample| *sample.gpu == *uuid(0));
    let gone = |seen: &Observation| matches!(seen, Observation::Gone(id) if id.starts_with("unknown"));
    assert!(rig.seen.iter().any(gone), "who was not known yet is known now");
    healthy(&mut rig, 1, "another one hung when it was attached");
    assert!(rig.source.stop());
}

#[test]
fn events_that_hang_keep_nobody_from_being_read() {
    let mut rig = running(two());
    rig.send(&hang("nvmlEventSetWait_v2", None));
    rig.wait_driver("stuck", |state| matches!(state, DriverState::Stuck { call: Call::Events, .. }));
    rig.watch(Duration::from_secs(2));
    healthy(&mut rig, 0, "events hung");
    healthy(&mut rig, 1, "events hung");
    rig.send(&heal());
    rig.wait_driver("ready", ready);
    assert!(rig.source.stop());
}

#[test]
fn a_lost_device_is_told_and_comes_back() {
    let mut rig = running(two());
    rig.set(0, serde_json::json!({"lost": true}));
    rig.wait_device("lost", |state| *state == DeviceState::Lost);
    rig.watch(Duration::from_secs(1));
    rig.set(0, serde_json::json!({"lost": false}));
    rig.wait_device("ok", |state| *state == DeviceState::Ok);
    rig.wait_sample("it is read again", |sample| *sample.gpu == *uuid(0));
    healthy(&mut rig, 1, "another one was lost and came back");
    assert!(rig.source.stop());
}

#[test]
fn a_device_that_is_lost_from_the_start_is_told_too() {
    let mut scenario = two();
    scenario.device[0].lost = true;
    let place = Place::new(scenario).unwrap();
    let proc = place.nodes().with_file_name("proc");
    for address in ["0000:19:00.0", "0000:18:00.0"] {
        fs::create_dir_all(proc.join("driver/nvidia/gpus").join(address)).unwrap();
    }
    let mut rig = Rig::at(place, |settings| settings.proc = proc).unwrap();
    rig.wait_device("lost", |state| *state == DeviceState::Lost);
    let which = |seen: &Observation| matches!(seen, Observation::Appeared(gpu) if gpu.index == 0 && gpu.pci.as_deref() == Some("0000:18:00.0") && gpu.id.ends_with("0000:18:00.0"));
    assert!(rig.seen.iter().any(which), "the kernel module knows where it is");
    rig.wait_sample("the other is read", |sample| *sample.gpu == *uuid(1));
    assert!(rig.source.stop());
}

#[test]
fn a_device_that_only_a_library_loaded_anew_brings_back_comes_back_and_others_hardly_wait() {
    let mut rig = Rig::tuned(two(), |settings| settings.retry = Duration::from_millis(20)).unwrap();
    rig.wait_driver("ready", ready);
    rig.wait_sample("a sample of the second device", |sample| *sample.gpu == *uuid(1));
    rig.forget();
    // This library goes on to call it lost; one that is loaded anew finds it well.
    rig.set(0, serde_json::json!({"lost": true}));
    rig.wait_device("lost", |state| *state == DeviceState::Lost);
    let took = rig.wait_device("ok", |state| *state == DeviceState::Ok);
    assert!(took >= Duration::from_millis(1_000), "not with the first try: {took:?}");
    rig.wait_sample("it is read again", |sample| *sample.gpu == *uuid(0));
    rig.watch(3 * INTERVAL);
    healthy(&mut rig, 1, "the library was loaded anew for another one");
    assert!(rig.source.stop());
}

#[test]
fn a_device_that_is_there_and_lost_whenever_it_is_read_is_tried_more_and_more_seldom() {
    let mut rig = Rig::tuned(two(), |settings| settings.retry = Duration::from_millis(20)).unwrap();
    rig.wait_sample("a sample of the second device", |sample| *sample.gpu == *uuid(1));
    rig.forget();
    rig.send(&Command::Fault(Fault::new("nvmlDeviceGetFieldValues", Some(0), Effect::Error(GPU_IS_LOST))));
    rig.wait_device("lost", |state| *state == DeviceState::Lost);
    rig.watch(Duration::from_secs(2));
    let tries = |seen: &&Observation| matches!(seen, Observation::Costs(all) if all.iter().any(|cost| cost.call == Call::Handle));
    let tries = rig.seen.iter().filter(tries).count();
    // After 20, 40, 80 … ms: the seventh is later.
    assert!((3..=6).contains(&tries), "tried {tries} times");
    let well = |seen: &Observation| matches!(seen, Observation::State(_, DeviceState::Ok));
    assert!(!rig.seen.iter().any(well), "not before it was read");
    healthy(&mut rig, 1, "another one was lost whenever it was read");
    rig.send(&heal());
    rig.wait_device("ok", |state| *state == DeviceState::Ok);
    rig.wait_sample("it is read again", |sample| *sample.gpu == *uuid(0));
    assert!(rig.source.stop());
}

#[test]
fn a_device_that_wants_a_reset_gets_one_while_it_is_released() {
    let mut rig = running(two());
    rig.set(0, serde_json::json!({"reset_required": true}));
    rig.wait_device("reset required", |state| *state == DeviceState::ResetRequired);
    rig.watch(Duration::from_secs(1));
    healthy(&mut rig, 1, "another one wanted a reset");
    rig.source.release();
    rig.wait_driver("released", |state| *state == DriverState::Released);
    rig.forget();
    // The reset: the next initialisation finds the device well.
    rig.source.acquire();
    rig.wait_device("ok", |state| *state == DeviceState::Ok);
    rig.wait_sample("it is read again", |sample| *sample.gpu == *uuid(0));
    assert!(rig.source.stop());
}

#[test]
fn a_device_that_answers_nothing_but_errors_is_told() {
    let mut rig = running(two());
    rig.send(&Command::Fault(Fault::new("*", Some(0), Effect::Error(999))));
    rig.wait_device("failing", |state| *state == DeviceState::Failing { error: "unknown" });
    rig.watch(Duration::from_secs(1));
    rig.send(&heal());
    rig.wait_device("ok", |state| *state == DeviceState::Ok);
    healthy(&mut rig, 1, "another one answered nothing but errors");
    assert!(rig.source.stop());
}

#[test]
fn one_call_that_fails_takes_nothing_else_away() {
    let mut rig = running(two());
    rig.send(&Command::Fault(Fault::new("nvmlDeviceGetTemperature", Some(0), Effect::Error(999))));
    rig.wait_sample("a failed call", |sample| {
        sample.costs.iter().any(|cost| cost.call == Call::Temperature && cost.error == Some("unknown"))
    });
    let sample = rig.samples(&uuid(0)).last().unwrap();
    assert!(sample.reading.temperature.is_none() && sample.reading.energy_mj.is_some());
    healthy(&mut rig, 1, "a call of another one failed");
    rig.forget();
    rig.send(&heal());
    rig.wait_sample("its temperature again", |sample| sample.reading.temperature.is_some() && *sample.gpu == *uuid(0));
    assert!(rig.source.stop());
}

#[test]
fn an_absent_library_is_told_and_found_when_it_comes() {
    let place = Place::new(two()).unwrap();
    let (library, away) = (place.library(), place.library().with_extension("away"));
    fs::rename(&library, &away).unwrap();
    let proc = place.nodes().with_file_name("proc");
    let mut rig = Rig::at(place, |settings| settings.proc = proc).unwrap();
    rig.wait_driver("absent", |state| matches!(state, DriverState::Absent { .. }));
    // A machine whose kernel module is loaded has GPUs.
    let module = rig.place.nodes().with_file_name("proc/driver/nvidia");
    fs::create_dir_all(&module).unwrap();
    fs::write(module.join("version"), "NVRM version: 570.172.08\n").unwrap();
    let told = |reason: &str| reason.contains(&library.display().to_string());
    rig.wait_driver(
        "unloadable",
        |state| matches!(state, DriverState::Unloadable { reason, named: false } if told(reason)),
    );
    fs::write(&library, "no library").unwrap();
    rig.wait_driver(
        "why it is",
        |state| matches!(state, DriverState::Unloadable { reason, .. } if reason.contains("too short")),
    );
    fs::rename(&away, &library).unwrap();
    rig.wait_driver("ready", ready);
    rig.wait_sample("a sample", |_| true);
    assert!(rig.source.stop());
}

#[test]
fn a_library_that_is_named_and_not_there_is_a_fault_on_any_machine() {
    let place = Place::new(two()).unwrap();
    let named = place.library().with_file_name("elsewhere.so");
    let libraries = vec![named.clone()];
    let mut rig = Rig::at(place, |settings| (settings.libraries, settings.named) = (libraries, true)).unwrap();
    rig.wait_driver("its path", |state| {
        state.name() == "unloadable"
            && state.detail(0).contains(&*named.to_string_lossy())
            && state.mend().is_some_and(|mend| mend.contains("gpu.library"))
    });
    assert!(rig.source.stop());
}

#[test]
fn a_driver_of_another_version_is_told_and_taken_when_it_fits() {
    let driver = Driver { module: Some("535.104.05".to_owned()), ..Driver::default() };
    let place = Place::new(Scenario { driver, ..two() }).unwrap();
    let proc = place.nodes().with_file_name("proc");
    fs::create_dir_all(proc.join("driver/nvidia")).unwrap();
    fs::write(proc.join("driver/nvidia/version"), "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  …\n")
        .unwrap();
    let mut rig = Rig::at(place, |settings| settings.proc = proc).unwrap();
    let module = Some("535.104.05");
    rig.wait_driver(
        "mismatch, and of what",
        |state| matches!(state, DriverState::Mismatch { module: told, .. } if told.as_deref() == module),
    );
    rig.place.change(|scenario| scenario.driver.module = None).unwrap();
    rig.wait_driver("ready", ready);
    assert!(rig.source.stop());
}

#[test]
fn a_driver_that_is_not_loaded_is_told_and_taken_when_it_is() {
    let driver = Driver { loaded: false, ..Driver::default() };
    let mut rig = Rig::start(Scenario { driver, ..two() }).unwrap();
    rig.wait_driver("not loaded", |state| *state == DriverState::NotLoaded);
    rig.place.change(|scenario| scenario.driver.loaded = true).unwrap();
    rig.wait_driver("ready", ready);
    assert!(rig.source.stop());
}

#[test]
fn a_driver_that_is_replaced_while_in_use_is_taken_up_anew() {
    let mut rig = running(two());
    rig.send(&Command::Driver(serde_json::json!({"module": "580.95.05"})));
    rig.wait_driver("mismatch", |state| matches!(state, DriverState::Mismatch { library: Some(_), .. }));
    rig.place
        .change(|scenario| scenario.driver = Driver { library: "580.95.05".to_owned(), ..Driver::default() })
        .unwrap();
    rig.wait_driver("ready", |state| matches!(state, DriverState::Ready { version, .. } if version == "580.95.05"));
    let newer = |seen: &Observation| matches!(seen, Observation::Appeared(gpu) if &*gpu.driver == "580.95.05");
    rig.wait("facts of the new driver", newer);
    rig.wait_sample("a sample", |_| true);
    assert!(rig.source.stop());
}

#[test]
fn devices_come_and_go() {
    let mut rig = running(two());
    rig.place.change(|scenario| scenario.device.push(Device::default())).unwrap();
    rig.send(&Command::Add(Box::default()));
    rig.watch(Duration::from_secs(1));
    rig.wait_sample("the third device is read", |sample| *sample.gpu == *uuid(2));
    rig.watch(3 * INTERVAL);
    healthy(&mut rig, 0, "a device was added");
    rig.forget();
    rig.place.change(|scenario| drop(scenario.device.pop())).unwrap();
    rig.send(&Command::Remove);
    rig.wait("the third device is gone", |seen| matches!(seen, Observation::Gone(id) if **id == *uuid(2)));
    rig.wait_driver("two devices", |state| matches!(state, DriverState::Ready { devices: 2, .. }));
    rig.watch(3 * INTERVAL);
    healthy(&mut rig, 0, "a device was removed");
    assert!(rig.source.stop());
}

fn divided(instances: &[(u32, u32)]) -> Mig {
    let instance = |&(gpu_instance, slices)| Instance {
        gpu_instance,
        uuid: None,
        slices,
        memory: u64::from(slices) * (10 << 30),
        sm_pct: Curve::Constant(50.0),
    };
    Mig { enabled: true, instance: instances.iter().map(instance).collect() }
}

#[test]
fn a_device_is_divided_divided_anew_and_made_whole_while_in_use() {
    let mut rig = running(two());
    let set = |rig: &Rig, mig: Mig| rig.set(0, serde_json::json!({"mig": serde_json::to_value(mig).unwrap()}));
    set(&rig, divided(&[(1, 3), (2, 4)]));
    rig.wait("an instance", |seen| matches!(seen, Observation::Appeared(gpu) if gpu.id.starts_with("MIG-")));
    rig.wait_sample("instances are read", |sample| {
        sample.instances.iter().filter(|said| said.memory.is_some() && said.activity.is_some()).count() == 2
    });
    set(&rig, divided(&[(7, 7)]));
    rig.wait("the old instances are gone", |seen| matches!(seen, Observation::Gone(id) if id.starts_with("MIG-")));
    rig.wait_sample("the new one is read", |sample| {
        sample.instances.len() == 1 && sample.instances[0].memory.is_some()
    });
    healthy(&mut rig, 1, "another one was divided in two ways");
    rig.forget();
    set(&rig, Mig::default());
    rig.wait("the last instance is gone", |seen| matches!(seen, Observation::Gone(id) if id.starts_with("MIG-")));
    rig.wait_sample("utilisation is told again", |sample| {
        *sample.gpu == *uuid(0) && sample.reading.utilization_pct.is_some()
    });
    assert!(rig.source.stop());
}

#[test]
fn xid_errors_come_from_the_driver_or_from_the_kernels_log() -> io::Result<()> {
    let mut rig = running(two());
    rig.send(&Command::Xid { device: 1, code: 79 });
    rig.wait("an event", |seen| {
        let kind = EventKind::Xid { code: 79, pid: None, source: XidSource::Driver };
        matches!(seen, Observation::Event(event) if event.kind == kind && *event.gpu == *uuid(1))
    });
    assert!(rig.source.stop());

    let log = std::env::temp_dir().join(format!("inferscope-gpu-kmsg-{}", std::process::id()));
    fs::write(&log, "")?;
    let mut rig = Rig::tuned(two(), |settings| settings.kmsg = Some(log.clone()))?;
    rig.wait_sample("a sample of the first device", |sample| *sample.gpu == *uuid(0));
    // Both tell of it: the driver with a number that is the last one's.
    fs::write(&log, "4,1,1,-;NVRM: Xid (PCI:0000:18:00): 94, pid=4242, name=python3, Contained\n")?;
    rig.send(&Command::Xid { device: 0, code: 45 });
    rig.wait("an event", |seen| {
        let kind = EventKind::Xid { code: 94, pid: Some(4242), source: XidSource::KernelLog };
        matches!(seen, Observation::Event(event) if event.kind == kind && *event.gpu == *uuid(0))
    });
    rig.watch(3 * INTERVAL);
    assert_eq!(rig.seen.iter().filter(|seen| matches!(seen, Observation::Event(_))).count(), 1, "one error, one event");
    assert!(rig.source.stop());
    fs::remove_file(&log)
}

#[test]
fn a_full_queue_loses_samples_and_keeps_states() {
    let mut rig = Rig::tuned(two(), |settings| settings.queue = 4).unwrap();
    let begun = Instant::now();
    while rig.source.lost() < 5 && begun.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(INTERVAL);
    }
    assert!(rig.source.lost() >= 5);
    rig.watch(Duration::from_secs(1));
    assert!(rig.seen.iter().any(|seen| matches!(seen, Observation::Driver(state) if ready(state))));
    for place in 0..2 {
        let appeared = |seen: &Observation| matches!(seen, Observation::Appeared(gpu) if *gpu.id == *uuid(place));
        assert!(rig.seen.iter().any(appeared), "device {place}");
    }
    assert!(rig.source.stop());
}

#[test]
fn processes_are_told_with_their_cgroup() {
    let own = process(std::process::id(), 5 << 30, 40.0);
    let mut rig = Rig::start(machine(1, &Device { process: vec![own], ..Device::default() })).unwrap();
    rig.wait_sample("this process holds it", |sample| {
        let found = sample.processes.iter().flatten().find(|one| one.pid == std::process::id());
        found.is_some_and(|one| one.memory == Some(5 << 30) && one.cgroup.is_some())
    });
    rig.wait_sample("this process uses it", |sample| {
        sample.uses.iter().flatten().any(|one| one.sm_pct == 40 && one.cgroup.is_some())
    });
    assert!(rig.source.stop());
}

#[test]
fn the_usual_places_are_looked_at() {
    let usual = inferscope::sources::gpu::Settings::default();
    assert_eq!(usual.libraries[0].to_str(), Some("libnvidia-ml.so.1"), "the loader's own search comes first");
    assert_eq!(settings(usual.libraries[0].as_path()).libraries.len(), 1);
}
