//! What the agent reads from simulated GPUs of several generations, beside what NVIDIA's own binding for Python reads.

use anyhow::{Result, ensure};
use inferscope::clock::monotonic_nanos;
use inferscope_tests::gpu::{INTERVAL, Rig, machine, process, uuid};
use inferscope_tests::oracle::{self, EVERYTHING, Values};
use inferscope_tests::tools;
use nvidia_ml::curve::Curve;
use nvidia_ml::features::Generation;
use nvidia_ml::scenario::{Device, Driver, Instance, Kind, Mig, Process, Scenario};

/// A GPU of which every quantity is another number.
fn device(generation: Generation) -> Device {
    let causes = ["power_cap", "sync_boost", "sw_thermal", "hw_thermal", "hw_power_brake"];
    let constant = Curve::Constant;
    let with = |kind, pid, sm_pct| Process { kind, ..process(pid, u64::from(pid) << 20, sm_pct) };
    Device {
        generation,
        serial: Some("1650924000123".to_owned()),
        power_w: constant(312.5),
        energy_mj: 9_000_000_000,
        utilization_pct: constant(71.0),
        memory_pct: constant(23.0),
        encoder_pct: constant(5.0),
        decoder_pct: constant(7.0),
        temperature: constant(61.0),
        memory_temperature: constant(73.0),
        sm_mhz: constant(1755.0),
        memory_mhz: constant(2619.0),
        throttle: 0x4 | 0x20 | 0x80,
        throttled_ns: causes.into_iter().zip(1..).map(|(cause, n)| (cause.to_owned(), n * 1_000_003)).collect(),
        ecc: (17, 3),
        remapped: (2, 1, 1, 0),
        pcie_bytes_per_s: (constant(5e9), constant(3e8)),
        pcie_replays: 11,
        pcie_link: (4, 8, 5, 16),
        nvlink_kib_per_s: (constant(9e6), constant(8e6)),
        nvlink_errors: (31, 32, 33, 34),
        activity_pct: (constant(41.25), constant(12.5), constant(63.75)),
        process: vec![with(Kind::Compute, 4100, 40.0), with(Kind::Graphics, 4200, 0.0), with(Kind::Mps, 4300, 20.0)],
        ..Device::default()
    }
}

/// What the agent reads of everything from now on; activity lies between two readings.
fn read(rig: &mut Rig) -> Result<Values> {
    let since = monotonic_nanos() + 2 * INTERVAL.as_nanos() as u64;
    rig.wait_sample("a sample of everything", |sample| sample.at > since && sample.asked == EVERYTHING);
    oracle::told(&rig.seen, &uuid(0))
}

/// Both read the same of a GPU.
fn agree(device: &Device) -> Result<()> {
    // The binding knows the numbers that fields have from driver 580.82 on; other tests hold the older ones.
    let driver = Driver { library: "580.95.05".to_owned(), ..Driver::default() };
    let mut rig = Rig::start(Scenario { driver, ..machine(1, device) })?;
    let before = read(&mut rig)?;
    let observer = rig.place.observer()?;
    let theirs = oracle::by_binding(&tools::python()?, observer.library().parent())?;
    let after = read(&mut rig)?;
    ensure!(rig.source.stop(), "a call has not returned");
    assert!(theirs.len() > 50, "{theirs:?}");
    assert_eq!(oracle::differences(&before, &theirs, &after, &[]), [""; 0], "{:?}", device.generation);
    Ok(())
}

#[test]
fn every_generation_is_read_as_nvidias_binding_reads_it() -> Result<()> {
    agree(&device(Generation::H100))?;
    agree(&device(Generation::A100))?;
    agree(&Device { fan: vec![(55, 1_800), (60, 2_000)], ..device(Generation::Rtx4090) })?;
    agree(&device(Generation::P4))
}

#[test]
fn the_parts_of_a_divided_gpu_are_read_as_nvidias_binding_reads_them() -> Result<()> {
    let part = |gpu_instance, slices, sm_pct| Instance {
        gpu_instance,
        uuid: None,
        slices,
        memory: u64::from(slices) * (10 << 30),
        sm_pct: Curve::Constant(sm_pct),
    };
    let within = |pid, instance| Process { gpu_instance: Some(instance), ..process(pid, u64::from(pid) << 20, 0.0) };
    let mig = Mig { enabled: true, instance: vec![part(1, 4, 87.5), part(5, 2, 12.25)] };
    for generation in [Generation::H100, Generation::A100] {
        agree(&Device { mig: mig.clone(), process: vec![within(4100, 1), within(4200, 5)], ..device(generation) })?;
    }
    Ok(())
}
