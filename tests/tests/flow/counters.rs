//! Counts are exact, and what is lost is counted.

use std::time::Duration;

use inferscope::bell::{self, Bell, Woken};
use inferscope::bpf::Options;
use inferscope::sources::flow::ObserveError;
use inferscope_common::block::{Block, Counter, Hist};
use inferscope_common::exchange::HOLES;
use inferscope_tests::cgroup::Cgroup;
use inferscope_tests::wait::patient;

use crate::http::{DONE, REQUEST, SHORT, STREAM, event};
use crate::pair::{Family, Maker, Pair};
use crate::rig::{DEADLINE, Rig, workload};

/// Streams on every processor at once: counters, histogram and summaries agree with what was sent.
#[test]
fn counters_equal_what_was_sent() {
    let mut rig = Rig::new();
    let watched = rig.watch("exact");
    let mut maker = Maker::new(Family::V4, Some(&watched.cgroup), None, 64);
    let pairs: Vec<Pair> = (0..64).map(|_| maker.connect()).collect();
    // Of connection i each of the i % 4 + 1 requests gets i * 7 % 40 events.
    let (requests, events) = (0..64u64).fold((0, 0), |(requests, events), i| {
        let count = i % 4 + 1;
        (requests + count, events + count * (i * 7 % 40))
    });
    let mut groups: Vec<Vec<(u64, Pair)>> = (0..4).map(|_| Vec::new()).collect();
    for (i, pair) in (0u64..).zip(pairs) {
        groups[i as usize % 4].push((i, pair));
    }
    std::thread::scope(|scope| {
        for group in groups {
            scope.spawn(move || {
                for (i, mut pair) in group {
                    for _ in 0..i % 4 + 1 {
                        pair.ask(REQUEST);
                        pair.answer(STREAM);
                        for _ in 0..i * 7 % 40 {
                            pair.answer(event("x"));
                        }
                        pair.answer(DONE);
                    }
                }
            });
        }
    });
    let finished = rig.take(requests as usize);
    let counts = rig.counts(&watched);
    let begun_and_ended = (counts.get(Counter::RequestsBegun), counts.get(Counter::RequestsEnded));
    assert_eq!(begun_and_ended, (requests, requests));
    assert_eq!(counts.events(), events);
    assert_eq!(finished.iter().map(|request| u64::from(request.figures.events)).sum::<u64>(), events);
    // Gaps are those between the events of one request, and add up to the time from its first to its last.
    let gaps = finished.iter().map(|request| u64::from(request.figures.events.saturating_sub(1))).sum::<u64>();
    let streamed = finished.iter().map(|request| request.figures.last_content - request.figures.first_content).sum();
    assert_eq!(counts.hist(Hist::EventGap), (gaps, streamed));
    assert_eq!((counts.client_events(), counts.get(Counter::ClientRequestsEnded)), (0, 0));
    assert_eq!(counts.losses(), []);
}

/// Records of `requests` exchanges that are not taken from the ring before they are all over.
fn records(rig: &mut Rig, requests: u32) -> (usize, u64) {
    let watched = rig.watch("ring");
    let mut pair = Pair::served_by(&watched.cgroup);
    for _ in 0..requests {
        pair.ask(REQUEST);
        pair.answer(STREAM);
        pair.answer(event("x"));
        pair.answer(DONE);
    }
    let mut listens = 0;
    let records = rig.flows().poll(usize::MAX, |_| {}, |_| listens += 1);
    let counts = rig.counts(&watched);
    assert_eq!(counts.get(Counter::RequestsEnded), u64::from(requests), "counted whatever the ring holds");
    assert_eq!(counts.events(), u64::from(requests));
    (records - listens, counts.get(Counter::LostRing))
}

/// Records that find the ring full are counted: received and lost are all that there were.
#[test]
fn what_the_ring_cannot_hold_is_counted() {
    let mut ample = Rig::new();
    let (each, lost) = records(&mut ample, 1);
    assert_eq!(lost, 0);
    assert!(each >= 4, "a request, two pieces of its response and its end: {each}");
    drop(ample);
    let mut small = Rig::with(Options { workloads: 4, ring_bytes: 4096 });
    let (received, lost) = records(&mut small, 50);
    assert!(lost > 0 && received > 0, "{received} {lost}");
    assert_eq!(received as u64 + lost, 50 * each as u64);
    // Once it is empty it takes records again.
    let watched = small.watch("again");
    let mut pair = Pair::served_by(&watched.cgroup);
    pair.ask(REQUEST);
    pair.answer(SHORT);
    assert!(small.one().request_model.is_some());
}

/// Records are passed quietly until a quarter of the ring is full; a socket that listens does not wait.
#[test]
fn the_ring_calls_when_it_fills_and_when_a_socket_listens() {
    let mut rig = Rig::with(Options { workloads: 4, ring_bytes: 1 << 16 });
    let watched = rig.watch("calls");
    let (_stop, stopped) = bell::stop().unwrap();
    let bell = Bell::new(rig.flows().kernel().ring(), &stopped).unwrap();
    let mut pair = Pair::served_by(&watched.cgroup);
    assert_eq!(bell.sleep(patient(DEADLINE)).unwrap(), Woken::Called, "its server listens");
    let mut exchange = || {
        pair.ask(REQUEST);
        pair.answer(SHORT);
    };
    // Somebody else's sockets may listen, too.
    let mut quiet = false;
    for _ in 0..10 {
        rig.poll();
        exchange();
        quiet |= bell.sleep(Duration::from_millis(10)).unwrap() == Woken::Slept;
    }
    assert!(quiet, "no record of an exchange waits for another");
    rig.poll();
    let called = (0..100).any(|_| {
        exchange();
        bell.sleep(Duration::ZERO).unwrap() == Woken::Called
    });
    assert!(called);
    assert_eq!(rig.counts(&watched).get(Counter::LostRing), 0, "called in time");
}

/// Workloads beyond the slots are refused by name, and the others go on.
#[test]
fn slots_run_out_with_an_error() {
    let mut rig = Rig::with(Options { workloads: 2, ring_bytes: 1 << 16 });
    let first = rig.watch("first");
    let second = Cgroup::create("second").unwrap();
    let refused = rig.flows().add(&workload(u64::MAX, second.path(), None), &mut Block::zeroed());
    assert!(matches!(refused, Err(ObserveError::Full(1))), "slot 0 belongs to nobody");
    let mut pair = Pair::served_by(&first.cgroup);
    pair.ask(REQUEST);
    pair.answer(SHORT);
    assert_eq!(rig.one().workload, first.id);
    let id = first.id;
    rig.forget(first);
    rig.watch_port(second, None);
    assert!(!rig.flows().read(id, &mut Block::zeroed()));
}

/// Servers that share a cgroup are told apart by their ports.
#[test]
fn ports_tell_workloads_of_one_cgroup_apart() {
    let mut rig = Rig::new();
    let cgroup = Cgroup::create("shared").unwrap();
    let (mut one, mut two) =
        (Maker::new(Family::V4, Some(&cgroup), None, 1), Maker::new(Family::V4, Some(&cgroup), None, 1));
    let path = cgroup.path().to_owned();
    let first = rig.watch_port(cgroup, Some(one.port()));
    let second = rig.watch_path(&path, Some(two.port()));
    for (maker, id) in [(&mut one, first.id), (&mut two, second)] {
        let mut pair = maker.connect();
        pair.ask(REQUEST);
        pair.answer(SHORT);
        assert_eq!(rig.one().workload, id);
    }
}

/// A connection that outlives its workload counts for nobody, and for the next one once there is one.
#[test]
fn a_connection_may_outlive_its_workload() {
    let mut rig = Rig::with(Options { workloads: 3, ring_bytes: 1 << 16 });
    let watched = rig.watch("outlived");
    let mut pair = Pair::served_by(&watched.cgroup);
    pair.ask(REQUEST);
    pair.answer(SHORT);
    rig.one();
    let old = watched.id;
    rig.flows().remove(old);
    pair.ask(REQUEST);
    pair.answer(SHORT);
    assert_eq!(rig.take(0), []);
    // Two slots: the second one is taken now, then the first again.
    let (path, other) = (watched.cgroup.path().to_owned(), rig.watch("other"));
    let again = rig.watch_path(&path, None);
    pair.ask(REQUEST);
    pair.answer(SHORT);
    let request = rig.one();
    assert_eq!(request.workload, again);
    // What passed meanwhile is no part of it.
    assert_eq!((request.figures.flags & HOLES, request.figures.response_bytes), (0, SHORT.len() as u64));
    assert_eq!(rig.counts(&other).get(Counter::RequestsEnded), 0);
}
