//! The model from observations to points.

mod conventions;
mod rig;

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::model::batch::{Data, Point, Temporality};
use crate::model::event::Severity;
use crate::model::metrics::MetricId;
use crate::model::workload::WorkloadId;

use rig::*;

#[test]
fn every_signal_has_the_name_and_shape_of_the_conventions() {
    let mut bench = Bench::new(Temporality::Cumulative);
    let costs = vec![
        Cost { call: Call::EnergyFields, nanos: 20_000, error: None },
        Cost { call: Call::Fans, nanos: 90_000, error: Some("unknown") },
    ];
    let processes = Some(vec![process(7, Some(55 << 30)), process(100, Some(1 << 30))]);
    bench.sample(Sample { processes, uses: Some(vec![]), costs, ..sample(1, full()) });
    let mut later = full();
    later.energy_mj = Some(1_650_000);
    later.ecc_corrected = Some(5);
    later.pcie_rx_bytes = Some((1 << 40) + 4096);
    later.nvlink_tx_kib = Some((1 << 20) + 4);
    later.throttled_ns[0] = Some(5_500_000_000);
    bench.sample(Sample { uses: Some(vec![used(7, 80), used(100, 20)]), ..sample(2, later) });
    bench.tell(Observation::Event(Event {
        gpu: Arc::from("GPU-1"),
        at: 2 * SECOND,
        kind: EventKind::Xid { code: 94, pid: Some(7), source: XidSource::KernelLog },
    }));
    insta::assert_snapshot!("gpu_points", told(&bench.flush(2)));
    insta::assert_snapshot!("workload_points", told(&bench.workload(7)));
    insta::assert_snapshot!("gpu_resource", format!("{:#?}", gpu("GPU-1").resource()));
}

#[test]
fn points_bear_attributes_of_their_row_and_values_of_its_type() {
    let mut bench = Bench::new(Temporality::Cumulative);
    bench.sample(Sample {
        processes: Some(vec![process(7, Some(1))]),
        uses: Some(vec![used(7, 1)]),
        ..sample(1, full())
    });
    bench.sample(Sample { uses: Some(vec![used(7, 1)]), ..sample(2, full()) });
    let mut points = bench.flush(2);
    points.extend(bench.workload(7));
    for point in points {
        let row = point.metric.row();
        assert!(point.attributes.iter().all(|(key, _)| row.attributes.contains(key)), "{}", row.name);
        let real = matches!(point.data, Data::Real(_) | Data::Histogram(_));
        assert_eq!(real, row.value == crate::model::metrics::ValueType::Double, "{}", row.name);
    }
}

#[test]
fn what_a_device_lacks_is_absent() {
    let mut bench = Bench::new(Temporality::Cumulative);
    bench.sample(sample(1, Reading { temperature: Some(40), ..Reading::default() }));
    let points = bench.flush(1);
    let expected = [MetricId::HwStatus, MetricId::HwTemperature, MetricId::HwTemperatureLimit, MetricId::GpuStatus];
    for point in &points {
        assert!(expected.contains(&point.metric), "{}", point.metric.row().name);
    }
}

#[test]
fn what_is_asked_for_and_not_answered_is_absent_and_the_rest_stays() {
    let mut bench = Bench::new(Temporality::Cumulative);
    let quick = Some(Groups::default());
    let processes = Some(vec![process(7, Some(1 << 30))]);
    bench.sample(Sample { processes, ..sample(1, full()) });
    assert!(has(&bench.flush(1), MetricId::GpuProcesses));
    assert!(has(&bench.workload(7), MetricId::WorkloadGpuMemory));
    // Memory failed, and neither health nor processes were asked for.
    bench.sample(Sample { asked: quick, ..sample(2, Reading { memory: None, ..joules(1_100_000, 90) }) });
    let points = bench.flush(2);
    assert!(!has(&points, MetricId::HwGpuMemoryUsage) && !has(&points, MetricId::HwPower));
    assert!(has(&points, MetricId::HwTemperature) && has(&points, MetricId::GpuActivity));
    assert!(has(&points, MetricId::GpuProcesses), "the list is cached");
    // Everything was asked for. The first temperature, one row counter, activity and the list failed.
    let rows = Remapped { corrected: None, pending: None, ..full().remapped };
    let lacks = Reading { temperature: None, remapped: rows, activity: None, ..full() };
    let asked = Some(Groups { uses: true, health: true, processes: true });
    bench.sample(Sample { asked, ..sample(3, lacks) });
    let points = bench.flush(3);
    let at = |place| total(&points, MetricId::HwTemperature, place);
    assert_eq!((at("gpu"), at("memory")), (0.0, 70.0));
    assert!(!has(&points, MetricId::GpuActivity) && !has(&points, MetricId::GpuProcesses));
    assert!(!has(&bench.workload(7), MetricId::WorkloadGpuMemory));
    assert_eq!(points.iter().filter(|point| point.metric == MetricId::GpuRemapState).count(), 1);
    // What is told again is no growth.
    bench.sample(sample(4, full()));
    assert_eq!(total(&bench.flush(4), MetricId::GpuRemappedRows, ""), 0.0);
}

#[test]
fn a_device_that_does_not_answer_shows_its_state_and_nothing_stale() {
    let mut bench = Bench::new(Temporality::Cumulative);
    bench.sample(sample(1, full()));
    bench.tell(Observation::State(Arc::from("GPU-1"), DeviceState::Stuck { call: Call::Fans, since: 2 * SECOND }));
    let points = bench.flush(7);
    assert_eq!(total(&points, MetricId::GpuCallStuck, "fans"), 5.0);
    assert_eq!(total(&points, MetricId::HwStatus, "degraded"), 1.0);
    assert_eq!(total(&points, MetricId::GpuStatus, "stuck"), 1.0);
    assert!(!has(&points, MetricId::HwTemperature) && !has(&points, MetricId::HwGpuMemoryUsage));
    assert!(has(&points, MetricId::HwErrors), "counters keep what they counted");
    bench.tell(Observation::State(Arc::from("GPU-1"), DeviceState::Ok));
    bench.sample(sample(8, full()));
    let points = bench.flush(8);
    assert!(has(&points, MetricId::HwTemperature) && !has(&points, MetricId::GpuCallStuck));
}

#[test]
fn what_is_used_while_others_hang_is_given_to_who_used_the_device_last() {
    let mut bench = Bench::new(Temporality::Cumulative);
    let processes = Some(vec![process(7, Some(1 << 30))]);
    bench.sample(Sample { processes, uses: Some(vec![used(7, 80)]), ..sample(1, joules(0, 80)) });
    bench.flush(1);
    bench.tell(Observation::Driver(DriverState::Stuck { call: Call::Events, since: SECOND }));
    bench.tell(Observation::State(Arc::from("GPU-1"), DeviceState::Waiting));
    let points = bench.flush(2);
    assert_eq!(total(&points, MetricId::GpuStatus, "waiting"), 1.0);
    assert!(!has(&points, MetricId::HwGpuUtilization), "what was read last is old");
    bench.tell(Observation::State(Arc::from("GPU-1"), DeviceState::Ok));
    bench.sample(Sample { uses: Some(vec![used(7, 80)]), ..sample(9, joules(2_400_000, 80)) });
    assert_eq!(total(&bench.flush(9), MetricId::GpuEnergyUnattributed, ""), 0.0);
    assert_eq!(total(&bench.workload(7), MetricId::Energy, ""), 2_400.0);
}

#[test]
fn the_last_interval_of_a_device_that_is_gone_goes_out() {
    let mut bench = Bench::new(Temporality::Delta);
    bench.sample(sample(1, joules(0, 0)));
    bench.sample(sample(2, joules(70_000, 0)));
    bench.tell(Observation::Gone(Arc::from("GPU-1")));
    let points = bench.flush(2);
    assert_eq!(total(&points, MetricId::HwEnergy, ""), 70.0);
    assert!(!has(&points, MetricId::HwStatus), "it has no state");
    assert_eq!(bench.flush(3), []);
}

#[test]
fn two_workloads_split_one_device() {
    let mut bench = Bench::new(Temporality::Delta);
    let processes = Some(vec![process(1, Some(30 << 30)), process(2, Some(10 << 30))]);
    bench.sample(Sample { processes, uses: Some(vec![]), ..sample(0, joules(0, 0)) });
    for second in 1..5 {
        bench.sample(Sample { uses: Some(vec![]), ..sample(second, joules(second * 100_000, 0)) });
    }
    bench.flush(4);
    bench.workload(1);
    bench.workload(2);
    for second in 5..15 {
        let uses = Some(vec![used(1, 60), used(2, 20)]);
        bench.sample(Sample { uses, ..sample(second, joules(400_000 + (second - 4) * 500_000, 80)) });
    }
    let device = bench.flush(14);
    let (one, two) = (bench.workload(1), bench.workload(2));
    assert_eq!(total(&one, MetricId::Energy, "active"), 3_000.0);
    assert_eq!(total(&two, MetricId::Energy, "active"), 1_000.0);
    assert_eq!(total(&one, MetricId::Energy, "idle"), 750.0);
    assert_eq!(total(&two, MetricId::Energy, "idle"), 250.0);
    assert_eq!(total(&device, MetricId::HwEnergy, ""), 5_000.0);
    assert!((total(&one, MetricId::WorkloadGpuUtilization, "") - 0.6).abs() < 1e-9);
    assert!((total(&two, MetricId::WorkloadGpuUtilization, "") - 0.2).abs() < 1e-9);
    assert_eq!(total(&one, MetricId::WorkloadGpuMemory, ""), f64::from(30u32) * (1u64 << 30) as f64);
}

#[test]
fn joules_per_token_are_energy_over_tokens() {
    let mut bench = Bench::new(Temporality::Delta);
    let processes = Some(vec![process(1, Some(1 << 30))]);
    bench.sample(Sample { processes, uses: Some(vec![used(1, 50)]), ..sample(0, joules(0, 50)) });
    bench.gpus.settle();
    bench.gpus.progress(WorkloadId(1), 0, 0, 0);
    bench.sample(Sample { uses: Some(vec![used(1, 50)]), ..sample(1, joules(300_000, 50)) });
    bench.gpus.settle();
    bench.gpus.progress(WorkloadId(1), SECOND, 1_000, SECOND);
    bench.sample(Sample { uses: Some(vec![used(1, 50)]), ..sample(2, joules(600_000, 50)) });
    bench.gpus.settle();
    bench.gpus.progress(WorkloadId(1), 2 * SECOND, 2_000, 2 * SECOND);
    bench.flush(2);
    let points = bench.workload(1);
    assert_eq!(total(&points, MetricId::EnergyPerOutputToken, "sm_share"), 0.3);
    // A flush between two steps takes neither energy without its tokens, nor tokens without their energy.
    bench.sample(Sample { uses: Some(vec![used(1, 50)]), ..sample(3, joules(900_000, 50)) });
    bench.flush(3);
    assert!(!has(&bench.workload(1), MetricId::EnergyPerOutputToken));
    bench.gpus.progress(WorkloadId(1), 3 * SECOND, 3_000, 3 * SECOND);
    bench.flush(3);
    assert_eq!(total(&bench.workload(1), MetricId::EnergyPerOutputToken, "sm_share"), 0.3);
    bench.sample(Sample { uses: Some(vec![]), ..sample(4, joules(1_000_000, 0)) });
    bench.gpus.settle();
    bench.gpus.progress(WorkloadId(1), 4 * SECOND, 3_000, 4 * SECOND);
    bench.flush(4);
    assert!(!has(&bench.workload(1), MetricId::EnergyPerOutputToken), "no token, no figure");
}

#[test]
fn a_device_without_a_counter_is_charged_by_its_power() {
    let mut bench = Bench::new(Temporality::Cumulative);
    let watts = |mw| Reading { power_instant_mw: Some(mw), utilization_pct: Some(70), ..Reading::default() };
    let processes = Some(vec![process(1, Some(1 << 30))]);
    bench.sample(Sample { processes, uses: Some(vec![used(1, 70)]), ..sample(0, watts(50_000)) });
    bench.sample(Sample { uses: Some(vec![used(1, 70)]), ..sample(1, watts(70_000)) });
    bench.sample(Sample { uses: Some(vec![used(1, 70)]), ..sample(2, watts(70_000)) });
    let device = bench.flush(2);
    assert!(!has(&device, MetricId::HwEnergy), "it has no counter");
    assert_eq!(total(&bench.workload(1), MetricId::Energy, "power"), 60.0 + 70.0);
}

#[test]
fn memory_that_the_driver_does_not_tell_is_absent() {
    let mut bench = Bench::new(Temporality::Cumulative);
    bench.sample(Sample { processes: Some(vec![process(1, None)]), uses: Some(vec![]), ..sample(0, joules(0, 0)) });
    bench.sample(Sample { uses: Some(vec![]), ..sample(1, joules(10_000, 0)) });
    bench.flush(1);
    let points = bench.workload(1);
    assert!(!has(&points, MetricId::WorkloadGpuMemory));
    assert_eq!(total(&points, MetricId::Energy, "idle"), 10.0, "it holds the device all the same");
}

#[test]
fn a_divided_device_is_split_over_its_instances() {
    let mut bench = Bench::new(Temporality::Cumulative);
    for (id, multiprocessors) in [(1, 16), (2, 48)] {
        let part = Gpu {
            parent: Some(Arc::from("GPU-1")),
            instance: Some(Instance { id, multiprocessors }),
            ..gpu(&format!("MIG-{id}"))
        };
        bench.tell(Observation::Appeared(Arc::new(part)));
    }
    let within = |pid, instance| Process { instance: Some(instance), ..process(pid, Some(1 << 30)) };
    let said = |id: u32, sm| InstanceSample {
        gpu: Arc::from(format!("MIG-{id}")),
        memory: Some(Memory { total: 10 << 30, used: 1 << 30 }),
        activity: Some(Activity { sm: Some(sm), ..Activity::default() }),
    };
    let energy = |mj| Reading { energy_mj: Some(mj), ..Reading::default() };
    let processes = Some(vec![within(1, 1), within(2, 2)]);
    let instances = vec![said(1, 9_000), said(2, 3_000)];
    bench.sample(Sample { processes, uses: Some(vec![]), instances: instances.clone(), ..sample(0, energy(0)) });
    bench.sample(Sample { uses: Some(vec![]), instances, ..sample(1, energy(400_000)) });
    let device = bench.flush(1);
    assert_eq!(total(&bench.workload(1), MetricId::Energy, "mig_activity"), 200.0);
    assert_eq!(total(&bench.workload(2), MetricId::Energy, "mig_activity"), 200.0);
    let used: Vec<_> = device.iter().filter(|point| point.metric == MetricId::HwGpuMemoryUsage).collect();
    assert_eq!(used.len(), 2, "instances tell of their memory");
    assert_eq!(total(&device, MetricId::GpuProcesses, ""), 2.0, "they are counted on the whole");
}

#[test]
fn events_beyond_their_room_are_counted() {
    let mut bench = Bench::new(Temporality::Cumulative);
    let kind = EventKind::Xid { code: 31, pid: None, source: XidSource::Driver };
    for at in 0..300 {
        bench.tell(Observation::Event(Event { gpu: Arc::from("GPU-1"), at, kind }));
    }
    let batch = bench.gpus.flush(0, 0).remove(0);
    let lost = total(&batch.points, MetricId::GpuEventsLost, "") as usize;
    assert_eq!((batch.events.len() + lost, total(&batch.points, MetricId::GpuXid, "")), (300, 300.0));
    assert!(lost > 0);
}

#[test]
fn a_workload_that_is_gone_is_given_nothing_more() {
    let mut bench = Bench::new(Temporality::Cumulative);
    bench.sample(Sample { processes: Some(vec![process(7, Some(1 << 30))]), ..sample(1, joules(0, 90)) });
    bench.sample(Sample { uses: Some(vec![used(7, 90)]), ..sample(2, joules(100_000, 90)) });
    bench.flush(2);
    let told = total(&bench.workload(7), MetricId::Energy, "");
    bench.gpus.forget(WorkloadId(7));
    bench.sample(sample(3, joules(250_000, 90)));
    let points = bench.flush(3);
    assert!(!bench.gpus.has(WorkloadId(7)));
    let rest = total(&points, MetricId::GpuEnergyUnattributed, "");
    assert!((told + rest - total(&points, MetricId::HwEnergy, "")).abs() < 0.000_5, "{told} + {rest}");
}

#[test]
fn a_stuck_call_is_told_with_its_name_and_age() {
    let (call, since) = (Call::Memory, 2 * SECOND);
    let kind = EventKind::State(DeviceState::Stuck { call, since });
    let event = Event { gpu: Arc::from("GPU-1"), at: 4 * SECOND + SECOND / 2, kind };
    let record = event.record(&Arc::new(gpu("GPU-1")), 0);
    assert!(record.body.contains("a call into the driver (memory) has not returned for 2.5 s"), "{}", record.body);
    assert!(record.attributes.contains(&(crate::model::attr::GPU_CALL, "memory".into())));
    for state in [DriverState::Stuck { call, since }, DriverState::Releasing { stuck: Some((call, since)) }] {
        let detail = state.detail(5 * SECOND);
        assert!(detail.starts_with("a call into the driver (memory) has not returned for 3.0 s"), "{detail}");
    }
}

#[test]
fn a_mismatch_names_what_is_known_of_both() {
    let told = |library: Option<&str>, module: Option<&str>| {
        DriverState::Mismatch { library: library.map(str::to_owned), module: module.map(str::to_owned) }.detail(0)
    };
    assert_eq!(told(Some("570.1"), Some("535.2")), "library 570.1 does not fit kernel module 535.2");
    assert!(told(Some("570.1"), None).starts_with("library 570.1 does not fit kernel module of"));
}

#[test]
fn throttling_is_an_event_when_it_begins() {
    let mut bench = Bench::new(Temporality::Cumulative);
    let hot = Reading { throttle: Some(Throttle::default().with(ThrottleCause::HwThermal)), ..Reading::default() };
    let cool = Reading { throttle: Some(Throttle::default()), ..Reading::default() };
    for (second, reading) in [(0, &cool), (1, &hot), (2, &hot), (3, &cool), (10, &hot), (200, &hot)] {
        bench.sample(sample(second, reading.clone()));
    }
    let events: Vec<Event> = bench.gpus.flush(0, 0).into_iter().flat_map(|batch| batch.events).collect();
    assert_eq!(events.iter().map(|event| event.at / SECOND).collect::<Vec<_>>(), [1, 200], "flapping is one event");
    assert_eq!(events[0].severity(), Severity::Warn);
    assert!(events[0].body().contains("check cooling"));
}

prop_compose! {
    fn any_sample()(
        nanos in 1u64..4 * SECOND,
        energy in prop_oneof![8 => (0u64..2_000_000).prop_map(Some), 1 => Just(None)],
        utilization in 0u32..101,
        uses in proptest::option::of(vec((0u32..6, 0u32..101), 0..5)),
        processes in proptest::option::of(vec((0u32..6, 0u64..1 << 36), 0..5)),
    ) -> (u64, Option<u64>, Sample) {
        let pid = |pid: u32| if pid > 3 { 100 + pid } else { pid };
        let reading = Reading { utilization_pct: Some(utilization), ..Reading::default() };
        let sample = Sample {
            uses: uses.map(|uses| uses.into_iter().map(|(of, pct)| used(pid(of), pct)).collect()),
            processes: processes.map(|all| all.into_iter().map(|(of, bytes)| process(pid(of), Some(bytes))).collect()),
            ..sample(0, reading)
        };
        (nanos, energy, sample)
    }
}

#[derive(Clone, Debug)]
enum Turn {
    Sample(u64, Option<u64>, Box<Sample>),
    Reload,
    Hang,
    Release,
    Flush,
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let turn = prop_oneof![
        12 => any_sample().prop_map(|(nanos, energy, sample)| Turn::Sample(nanos, energy, Box::new(sample))),
        1 => Just(Turn::Reload),
        1 => Just(Turn::Hang),
        1 => Just(Turn::Release),
        2 => Just(Turn::Flush),
    ];
    vec(turn, 1..60)
}

fn milli(points: &[Point], metric: MetricId) -> u64 {
    (total(points, metric, "") * 1e3).round() as u64
}

proptest! {
    /// At every flush, whatever happened before: what workloads were given and what nobody was given is what the device's
    /// counter grew by, to the millijoule.
    #[test]
    fn shares_and_rest_are_the_counter(turns in turns()) {
        let mut bench = Bench::new(Temporality::Cumulative);
        let (mut at, mut counter, mut grown, mut first) = (0, 1_000, 0, true);
        let check = |bench: &mut Bench, grown: u64| -> Result<(), TestCaseError> {
            let device = bench.flush(0);
            let given: u64 = (0..6).map(|id| milli(&bench.workload(id), MetricId::Energy)).sum();
            prop_assert_eq!(given + milli(&device, MetricId::GpuEnergyUnattributed), grown);
            prop_assert_eq!(milli(&device, MetricId::HwEnergy), grown);
            Ok(())
        };
        for turn in turns {
            match turn {
                Turn::Sample(nanos, energy, mut sample) => {
                    at += nanos;
                    sample.at = at;
                    if let Some(energy) = energy {
                        counter += energy;
                        grown += if std::mem::take(&mut first) { 0 } else { energy };
                        sample.reading.energy_mj = Some(counter);
                    }
                    bench.sample(*sample);
                }
                Turn::Reload => {
                    // What was used before the reload and not read is lost with the old driver.
                    bench.tell(Observation::Driver(DriverState::NotLoaded));
                    let mut after = sample(0, joules(77, 0));
                    at += SECOND;
                    after.at = at;
                    bench.sample(after);
                    grown += if std::mem::take(&mut first) { 0 } else if counter > 77 { 77 } else { 77 - counter };
                    counter = 77;
                }
                Turn::Hang => bench.tell(Observation::State(
                    Arc::from("GPU-1"),
                    DeviceState::Stuck { call: Call::EnergyFields, since: at },
                )),
                Turn::Release => bench.tell(Observation::Driver(DriverState::Released)),
                Turn::Flush => check(&mut bench, grown)?,
            }
        }
        check(&mut bench, grown)?;
    }
}
