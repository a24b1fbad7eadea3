//! Recordings played through real sockets give what the meter in user space makes of them.

use std::net::Shutdown;

use inferscope::model::request::Request;
use inferscope::model::workload::WorkloadId;
use inferscope_common::block::Counter;
use inferscope_common::exchange::Figures;
use inferscope_common::flow::{Endpoints, Role};

use crate::pair::{Family, Maker, Pair, Span, pass, reset};
use crate::recording::{self, Recording, Timed, Write};
use crate::rig::Rig;

/// Every recording, in both roles and over every family of addresses.
#[test]
fn recordings_give_what_the_meter_makes_of_them() {
    let (recordings, mut rig) = (recording::all(), Rig::new());
    for family in Family::ALL {
        compare(&mut rig, &recordings, family);
    }
}

/// Each write in parts of a few bytes to a few hundred.
#[test]
fn writes_in_many_parts_change_nothing() {
    let mut rig = Rig::new();
    for (seed, longest) in [(1, 3), (2, 40), (3, 300)] {
        let cut: Vec<Recording> = recording::all().iter().map(|recording| recording.shred(seed, longest)).collect();
        compare(&mut rig, &cut, Family::V4);
    }
}

/// Writes of one side in one.
#[test]
fn merged_writes_change_nothing() {
    let merged: Vec<Recording> = recording::all().iter().map(merge).collect();
    compare(&mut Rig::new(), &merged, Family::V4);
}

/// Writes that follow one another in the same direction, as one: an event may share its packet with the next.
fn merge(recording: &Recording) -> Recording {
    let mut writes: Vec<Timed> = Vec::new();
    for write in &recording.writes {
        match writes.last_mut() {
            Some(Timed { from_client, what: Write::Bytes(before), .. })
                if *from_client == write.from_client && !write.bytes().is_empty() =>
            {
                before.extend_from_slice(write.bytes());
            }
            _ => writes.push(write.clone()),
        }
    }
    Recording { writes, ..recording.clone() }
}

fn compare(rig: &mut Rig, recordings: &[Recording], family: Family) {
    for role in [Role::Server, Role::Client] {
        let watched = rig.watch("conformance");
        let place = |which: Role| (role == which).then_some(&watched.cgroup);
        let mut maker = Maker::new(family, place(Role::Server), place(Role::Client), recordings.len());
        for recording in recordings {
            let name = format!("{} as {role:?} over {family:?}", recording.name);
            let wanted = recording.play(role);
            let spans = play(recording, maker.connect());
            let got = rig.take(wanted.len());
            for (got, wanted) in got.iter().zip(&wanted) {
                same(&untimed(got), &untimed(wanted), &name);
                agree_on_times(got, wanted, recording, &spans, &name);
            }
        }
        // Pieces beyond an exchange's allowance are missing in the meter, too: writes of a few bytes use it up.
        let lost: Vec<_> = rig.counts(&watched).losses();
        assert!(lost.iter().all(|(counter, _)| *counter == Counter::LostBudget), "{role:?} over {family:?}: {lost:?}");
        rig.forget(watched);
    }
}

/// Plays a recording: each write is read before the next one begins.
fn play(recording: &Recording, pair: Pair) -> Vec<Span> {
    let (mut server, mut client) = (Some(pair.server), Some(pair.client));
    let mut spans = Vec::new();
    for write in &recording.writes {
        let (from, to) = if write.from_client { (&mut client, &mut server) } else { (&mut server, &mut client) };
        let (Some(sender), Some(receiver)) = (from.as_mut(), to.as_mut()) else { panic!("a write after its end") };
        spans.push(match &write.what {
            Write::Bytes(bytes) => pass(sender, receiver, bytes),
            end => {
                let begun = inferscope::clock::monotonic_nanos();
                let stream = from.take().unwrap();
                if *end == Write::Rst {
                    reset(stream)
                } else {
                    stream.shutdown(Shutdown::Write).unwrap()
                }
                Span { begun, read: inferscope::clock::monotonic_nanos() }
            }
        });
    }
    // The client goes first, as clients do.
    drop(client);
    drop(server);
    spans
}

/// Tells only what differs: a request has many members.
fn same(got: &Request, wanted: &Request, name: &str) {
    if got != wanted {
        let (got, wanted) = (format!("{got:#?}"), format!("{wanted:#?}"));
        let differ = got.lines().zip(wanted.lines()).filter(|(got, wanted)| got != wanted);
        panic!("{name}: (got, wanted)\n{:#?}", differ.collect::<Vec<_>>());
    }
}

/// What does not depend on when it happened.
fn untimed(request: &Request) -> Request {
    let f = request.figures;
    let mark = |instant: u64| u64::from(instant != 0);
    Request {
        workload: WorkloadId(0),
        started: request.started.map(mark),
        ended: 0,
        duration: request.duration.map(|_| 0),
        time_to_first_token: request.time_to_first_token.map(|_| 0),
        time_per_output_token: request.time_per_output_token.map(|_| 0),
        endpoints: Endpoints::default(),
        figures: Figures {
            request_first: mark(f.request_first),
            request_last: mark(f.request_last),
            response_first: mark(f.response_first),
            first_content: mark(f.first_content),
            last_content: mark(f.last_content),
            terminal: mark(f.terminal),
            last: mark(f.last),
            stalled: 0,
            read_delay: 0,
            longest_gap: 0,
            rtt: 0,
            rtt_min: 0,
            retransmits: 0,
            ..f
        },
        ..request.clone()
    }
}

/// Each instant that the kernel took lies within the write that the meter took it from.
fn agree_on_times(got: &Request, wanted: &Request, recording: &Recording, spans: &[Span], name: &str) {
    let times = |f: &Figures| {
        [f.request_first, f.request_last, f.response_first, f.first_content, f.last_content, f.terminal, f.last]
    };
    for (place, (got, wanted)) in times(&got.figures).into_iter().zip(times(&wanted.figures)).enumerate() {
        if wanted == 0 {
            continue;
        }
        let fits = recording
            .writes
            .iter()
            .zip(spans)
            .any(|(write, span)| write.time == wanted && (span.begun..=span.read).contains(&got));
        assert!(fits, "{name}: time {place} is {got}, none of the spans {spans:?}");
    }
}
