//! Wires that treat segments by their number, and streams of events over them.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use inferscope_common::flow::Role;

use crate::http::{DONE, STREAM, event};
use crate::link::{Fate, Link, Policy, delayed, either};
use crate::pair::{Maker, Pair};
use crate::rig::Watched;
use crate::segment::Segment;

/// One way from end to end, where nothing happens.
pub(crate) const TRIP: Duration = Duration::from_millis(3);
/// Between two events of a stream.
pub(crate) const PACE: Duration = Duration::from_millis(1);
pub(crate) const EVENTS: u64 = 300;
/// Two line breaks and two digits.
pub(crate) const FRAMING: u64 = 6;

/// A connection over the link: the server at the near end.
pub(crate) fn connect(link: &Link, watched: &Watched, role: Role, v6: bool) -> Pair {
    let place = |which: Role| (role == which).then_some(&watched.cgroup);
    Maker::over(link, either(v6, &link.near), place(Role::Server), place(Role::Client)).connect()
}

/// Streams events at a pace, whatever becomes of them on the way, and reads them all.
pub(crate) fn stream(pair: &mut Pair, events: u64) {
    let mut server = pair.server.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            server.write_all(STREAM.as_bytes()).unwrap();
            for _ in 0..events {
                std::thread::sleep(PACE);
                server.write_all(event("x").as_bytes()).unwrap();
            }
            std::thread::sleep(PACE);
            server.write_all(DONE.as_bytes()).unwrap();
        });
        let mut got = vec![0; STREAM.len() + events as usize * event("x").len() + DONE.len()];
        pair.client.read_exact(&mut got).unwrap();
    });
}

/// What passed the wire with payload, by sender: sequence numbers seen, and segments without a new byte.
#[derive(Default)]
pub(crate) struct Seen {
    next: HashMap<u16, u32>,
    known: HashMap<u16, u64>,
    sent: HashMap<u16, u64>,
}

impl Seen {
    /// Notes a segment; returns its number among those of its sender.
    fn note(&mut self, segment: &Segment) -> u64 {
        let end = segment.seq().wrapping_add(segment.payload().len() as u32);
        let next = self.next.entry(segment.port()).or_insert(segment.seq());
        if (end.wrapping_sub(*next) as i32) > 0 {
            *next = end;
        } else {
            *self.known.entry(segment.port()).or_default() += 1;
        }
        let sent = self.sent.entry(segment.port()).or_default();
        *sent += 1;
        *sent
    }

    pub(crate) fn known(&self, port: u16) -> u64 {
        self.known.get(&port).copied().unwrap_or_default()
    }
}

/// A wire that treats segments with payload by their number, and others with a delay alone.
pub(crate) fn by_number(
    seen: &Arc<Mutex<Seen>>,
    mut fate: impl FnMut(u64, &Segment) -> Fate + Send + 'static,
) -> Policy {
    let seen = Arc::clone(seen);
    Box::new(move |segment| {
        if segment.payload().is_empty() {
            return delayed(segment, TRIP);
        }
        let number = seen.lock().unwrap().note(segment);
        fate(number, segment)
    })
}

/// Numbers that look like chance and are the same every time.
pub(crate) fn chance(number: u64) -> u64 {
    (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) % 100
}
