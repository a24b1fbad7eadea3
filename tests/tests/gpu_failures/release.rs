//! Letting go of the devices, on request and at the end.

use super::*;

#[test]
fn a_release_closes_every_node_and_unloads_the_library_and_all_comes_back() {
    let mut rig = running(two());
    assert_eq!(open_below(&rig.place.nodes()), 3, "nvidiactl and two devices");
    let begun = Instant::now();
    rig.source.release();
    rig.wait_driver("released", |state| *state == DriverState::Released);
    eprintln!("every node closed {:?} after the request", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(open_below(&rig.place.nodes()), 0);
    assert!(!is_loaded(&rig.place.library()));
    rig.forget();
    rig.watch(3 * INTERVAL);
    assert!(rig.seen.is_empty(), "nothing is read");
    let begun = Instant::now();
    rig.source.acquire();
    rig.wait_sample("a sample", |_| true);
    eprintln!("read again {:?} after the request", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(rig.source.stop());
}

#[test]
fn a_release_with_a_stuck_call_says_what_it_waits_for() {
    // Stuck where a device is read, where nobody in particular is asked, and where all are.
    for (call, device) in [("*", Some(0)), ("nvmlEventSetWait_v2", None), ("*", None)] {
        let mut rig = running(two());
        rig.send(&hang(call, device));
        rig.wait("stuck", |seen| {
            matches!(
                seen,
                Observation::State(_, DeviceState::Stuck { .. }) | Observation::Driver(DriverState::Stuck { .. })
            )
        });
        rig.source.release();
        rig.wait_driver("releasing", |state| matches!(state, DriverState::Releasing { stuck: Some(_) }));
        rig.send(&heal());
        rig.wait_driver("released", |state| *state == DriverState::Released);
        assert_eq!(open_below(&rig.place.nodes()), 0, "{call} {device:?}");
        assert!(!is_loaded(&rig.place.library()));
        rig.source.acquire();
        rig.wait_driver("ready", ready);
        assert!(rig.source.stop());
    }
}

#[test]
fn a_release_while_a_device_is_being_attached_lets_go_of_it_too() {
    let fault = vec![Fault::new("nvmlDeviceGetHandleByIndex_v2", Some(0), Effect::Hang)];
    let mut rig = Rig::start(Scenario { fault, ..two() }).unwrap();
    rig.wait_device("stuck", |state| matches!(state, DeviceState::Stuck { call: Call::Handle, .. }));
    rig.source.release();
    rig.wait_driver("releasing", |state| matches!(state, DriverState::Releasing { stuck: Some(_) }));
    rig.send(&Command::Fault(Fault::new("*", Some(0), Effect::Error(999))));
    rig.send(&Command::Heal { call: "nvmlDeviceGetHandleByIndex_v2".to_owned(), device: Some(0) });
    rig.wait_driver("released", |state| *state == DriverState::Released);
    assert_eq!(open_below(&rig.place.nodes()), 0);
    assert!(rig.source.stop());
}

#[test]
fn it_ends_in_time_even_with_a_stuck_call() {
    let mut rig = running(two());
    rig.send(&hang("*", Some(0)));
    rig.wait_device("stuck", |state| matches!(state, DeviceState::Stuck { .. }));
    let begun = Instant::now();
    let Rig { place, source, .. } = rig;
    assert!(!source.stop(), "the call is stuck still");
    assert!(begun.elapsed() < Duration::from_millis(2_500), "{:?}", begun.elapsed());
    place.send(&heal()).unwrap();
}

#[test]
fn an_end_closes_every_node() {
    let rig = running(two());
    let Rig { place, source, .. } = rig;
    assert!(source.stop());
    assert_eq!(open_below(&place.nodes()), 0);
    assert!(!is_loaded(&place.library()));
}
