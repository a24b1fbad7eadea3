//! The simulator, as a program sees it that loads NVML.

use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, thread};

use nvidia_ml::control::Command;
use nvidia_ml::curve::Curve;
use nvidia_ml::faults::{Effect, Fault};
use nvidia_ml::features::Generation;
use nvidia_ml::place::Place;
use nvidia_ml::scenario::{Device, Driver, Instance, Kind, Mig, Process, Scenario};
use nvml_wrapper::Nvml;
use nvml_wrapper::enum_wrappers::device::{EccCounter, MemoryError, TemperatureSensor};
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::sys_exports::field_id::NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN;

fn process(pid: u32, sm_pct: f64) -> Process {
    Process { pid, memory: 1 << 30, sm_pct: Curve::Constant(sm_pct), kind: Kind::Compute, gpu_instance: None }
}

fn load(place: &Place) -> Result<Nvml, NvmlError> {
    Nvml::builder().lib_path(place.library().as_os_str()).init()
}

fn of(generation: Generation) -> Device {
    Device { generation, ..Device::default() }
}

#[test]
fn generations_differ_in_what_they_support() {
    let device = vec![of(Generation::H100), of(Generation::A100), of(Generation::Rtx4090), of(Generation::P4)];
    let place = Place::new(Scenario { device, ..Scenario::default() }).unwrap();
    let nvml = load(&place).unwrap();
    assert_eq!(nvml.device_count().unwrap(), 4);
    let has = |index, call: fn(&nvml_wrapper::Device<'_>) -> Result<(), NvmlError>| match call(
        &nvml.device_by_index(index).unwrap(),
    ) {
        Ok(()) => true,
        Err(NvmlError::NotSupported) => false,
        Err(error) => panic!("{error}"),
    };
    let energy = [0, 1, 2, 3].map(|index| has(index, |device| device.total_energy_consumption().map(drop)));
    assert_eq!(energy, [true, true, true, false]);
    let mig = [0, 1, 2, 3].map(|index| has(index, |device| device.mig_mode().map(drop)));
    assert_eq!(mig, [true, true, false, false]);
    let ecc = |device: &nvml_wrapper::Device<'_>| {
        device.total_ecc_errors(MemoryError::Corrected, EccCounter::Volatile).map(drop)
    };
    assert_eq!([0, 1, 2, 3].map(|index| has(index, ecc)), [true, true, false, true]);
    let gpm = [0, 1, 2, 3].map(|index| nvml.device_by_index(index).unwrap().gpm_support().unwrap());
    assert_eq!(gpm, [true, false, false, false]);
    assert_eq!(nvml.device_by_index(3).unwrap().name().unwrap(), "Tesla P4");
    assert!(nvml.device_by_index(0).unwrap().temperature(TemperatureSensor::Gpu).is_ok());
}

#[test]
fn a_shutdown_closes_the_nodes_and_unloads_the_library() {
    let place = Place::new(Scenario { device: vec![Device::default()], ..Scenario::default() }).unwrap();
    let held = |what: &Path| {
        let open = fs::read_dir("/proc/self/fd").unwrap().flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
        open.filter(|target| target.starts_with(what)).count()
    };
    let mapped = || fs::read_to_string("/proc/self/maps").unwrap().contains(place.library().to_str().unwrap());
    let nvml = load(&place).unwrap();
    assert_eq!(held(&place.nodes()), 1, "the control node");
    nvml.device_by_index(0).unwrap();
    assert_eq!(held(&place.nodes()), 2);
    assert!(mapped());
    nvml.shutdown().unwrap();
    assert_eq!(held(&place.nodes()), 0);
    assert!(!mapped(), "nothing in the library keeps it loaded");
}

#[test]
fn a_driver_of_another_version_is_refused() {
    let driver = Driver { module: Some("535.104.05".to_owned()), ..Driver::default() };
    let mut place = Place::new(Scenario { driver, ..Scenario::default() }).unwrap();
    assert!(matches!(load(&place), Err(NvmlError::LibRmVersionMismatch)));
    place.change(|scenario| scenario.driver.module = None).unwrap();
    assert_eq!(load(&place).unwrap().sys_driver_version().unwrap(), "570.172.08");
}

#[test]
fn commands_are_in_force_for_calls_that_follow() {
    let device = Device { process: vec![process(7, 50.0)], ..Device::default() };
    let place = Place::new(Scenario { device: vec![device], ..Scenario::default() }).unwrap();
    let nvml = load(&place).unwrap();
    let gpu = nvml.device_by_index(0).unwrap();
    assert_eq!(gpu.running_compute_processes().unwrap().len(), 1);
    place.send(&Command::Set { device: 0, fields: serde_json::json!({"temperature": 80, "process": []}) }).unwrap();
    assert_eq!(gpu.temperature(TemperatureSensor::Gpu).unwrap(), 80);
    assert_eq!(gpu.running_compute_processes().unwrap().len(), 0);
    place.send(&Command::Add(Box::default())).unwrap();
    assert_eq!(nvml.device_count().unwrap(), 2);
    place.send(&Command::Fault(Fault::new("nvmlDeviceGetPowerUsage", Some(0), Effect::Error(999)).times(1))).unwrap();
    assert!(matches!(gpu.power_usage(), Err(NvmlError::Unknown)));
    assert!(gpu.power_usage().is_ok());
    place.send(&Command::Set { device: 0, fields: serde_json::json!({"lost": true}) }).unwrap();
    assert!(matches!(gpu.power_usage(), Err(NvmlError::GpuLost)));
    assert!(matches!(nvml.device_by_index(0), Err(NvmlError::GpuLost)));
    assert!(nvml.device_by_index(1).is_ok());
}

#[test]
fn a_hang_ends_when_it_is_healed_and_others_are_not_held_up() {
    let place =
        Place::new(Scenario { device: vec![Device::default(), Device::default()], ..Scenario::default() }).unwrap();
    let nvml = load(&place).unwrap();
    place.send(&Command::Fault(Fault::new("*", Some(0), Effect::Hang))).unwrap();
    thread::scope(|scope| {
        let stuck = scope.spawn(|| nvml.device_by_index(0).unwrap().power_usage().unwrap());
        let other = nvml.device_by_index(1).unwrap();
        let until = Instant::now() + Duration::from_millis(50);
        while Instant::now() < until {
            other.power_usage().unwrap();
        }
        assert!(!stuck.is_finished());
        place.send(&Command::Heal { call: "*".to_owned(), device: Some(0) }).unwrap();
        assert_eq!(stuck.join().unwrap(), 70_000);
    });
}

#[test]
fn a_divided_gpu_answers_as_the_real_one_does() {
    let instance = |gpu_instance, slices| Instance {
        gpu_instance,
        uuid: None,
        slices,
        memory: u64::from(slices) * (10 << 30),
        sm_pct: Curve::Constant(40.0),
    };
    let mig = Mig { enabled: true, instance: vec![instance(1, 3), instance(2, 4)] };
    let of_instance = Process { gpu_instance: Some(2), ..process(9, 0.0) };
    let device = Device { mig, process: vec![of_instance], ..Device::default() };
    let place = Place::new(Scenario { device: vec![device], ..Scenario::default() }).unwrap();
    let nvml = load(&place).unwrap();
    let gpu = nvml.device_by_index(0).unwrap();
    assert!(matches!(gpu.utilization_rates(), Err(NvmlError::NotSupported)));
    assert!(matches!(gpu.process_utilization_stats(None), Err(NvmlError::NotSupported)));
    assert!(gpu.total_energy_consumption().is_ok(), "energy is told of the whole");
    let second = gpu.mig_device_by_index(1).unwrap();
    assert!(second.uuid().unwrap().starts_with("MIG-"));
    assert_eq!(second.attributes().unwrap().multiprocessor_count, 64);
    assert_eq!(second.running_compute_processes().unwrap()[0].pid, 9);
    assert_eq!(gpu.mig_device_by_index(0).unwrap().running_compute_processes().unwrap().len(), 0);
    assert!(matches!(second.power_usage(), Err(NvmlError::NotSupported)));
    let (one, two) = (gpu.gpm_mig_sample(2).unwrap(), gpu.gpm_mig_sample(2).unwrap());
    let metric = nvml_wrapper::enums::gpm::GpmMetricId::SmUtil;
    let told = nvml_wrapper::gpm::gpm_metrics_get(&nvml, &one, &two, &[metric]).unwrap();
    assert!((told[0].as_ref().unwrap().value - 40.0).abs() < 1e-6);
    place.send(&Command::Set { device: 0, fields: serde_json::json!({"mig": {"instance": []}}) }).unwrap();
    assert!(matches!(second.uuid(), Err(NvmlError::InvalidArg)), "handles die with their instance");
}

#[test]
fn throttle_times_are_found_on_both_sides_of_their_renumbering() {
    for version in ["570.172.08", "580.95.05"] {
        let mut device = Device::default();
        device.throttled_ns.insert("sw_thermal".to_owned(), 1_234);
        let driver = Driver { library: version.to_owned(), ..Driver::default() };
        let place = Place::new(Scenario { driver, device: vec![device], ..Scenario::default() }).unwrap();
        let nvml = load(&place).unwrap();
        let field = FieldId(NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN);
        let mut told = nvml.device_by_index(0).unwrap().field_values_for(&[field]).unwrap();
        let value = told.remove(0).unwrap().value.unwrap();
        assert_eq!(value, nvml_wrapper::enums::device::SampleValue::U64(1_234), "{version}");
    }
}
