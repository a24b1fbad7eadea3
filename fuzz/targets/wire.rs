//! Byte streams of several connections, in any order and with any gaps, through meter and assembler: nothing panics,
//! and what is held stays within its bounds.
//!
//! Input: steps of an operation, a connection, a length (two bytes, little-endian) and so many bytes.
#![no_main]

use inferscope::model::workload::WorkloadId;
use inferscope::wire::meter::Link;
use inferscope::wire::{Assembler, Direction, Limits, Meter, Segment};
use inferscope_common::flow::{Endpoints, Role};
use libfuzzer_sys::fuzz_target;

/// Few and small, so that short inputs reach them.
const LIMITS: Limits = Limits { exchanges: 3, bytes: 6000, labels: 4 };
const CONNECTIONS: u8 = 4;

fuzz_target!(|input: &[u8]| {
    let mut world = World::new();
    let mut rest = input;
    while let [operation, connection, low, high, more @ ..] = rest {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(more.len());
        let (bytes, after) = more.split_at(length);
        rest = after;
        world.step(*operation, connection % CONNECTIONS, bytes);
        assert!(world.assembler.bytes() <= LIMITS.bytes);
        assert!(world.assembler.open() <= LIMITS.exchanges);
    }
});

struct World {
    meter: Meter,
    assembler: Assembler,
    time: u64,
    offsets: [[u64; 2]; CONNECTIONS as usize],
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            meter: Meter::default(),
            assembler: Assembler::new(LIMITS),
            time: 1_000_000_000,
            offsets: Default::default(),
        };
        for slot in 0..CONNECTIONS {
            world.assembler.bind(slot.into(), WorkloadId(slot.into()));
            world.open(slot, slot % 2 == 1);
        }
        world
    }

    fn open(&mut self, connection: u8, client: bool) {
        let role = if client { Role::Client } else { Role::Server };
        let link = Link { slot: connection.into(), role, endpoints: Endpoints::default() };
        self.meter.open(connection.into(), 0, link);
        self.offsets[usize::from(connection)] = [0; 2];
    }

    fn step(&mut self, operation: u8, connection: u8, bytes: &[u8]) {
        self.time += 1_000_000;
        let direction = if operation & 1 == 0 { Direction::In } else { Direction::Out };
        let next = &mut self.offsets[usize::from(connection)][usize::from(operation & 1)];
        let offset = match operation >> 1 & 7 {
            // What passed comes once more.
            4 => next.saturating_sub(bytes.len() as u64 / 2),
            // Something never came.
            5 => *next + u64::from(operation >> 4) * 100,
            6 => return self.close(connection, direction, operation & 16 != 0),
            7 => return self.change(connection, operation),
            _ => *next,
        };
        *next = (*next).max(offset + bytes.len() as u64);
        let segment = Segment { connection: connection.into(), stream: 0, direction, offset, time: self.time, bytes };
        let Self { meter, assembler, .. } = self;
        meter.feed(&segment, |header, record| drop(assembler.take(header, record)));
    }

    fn close(&mut self, connection: u8, by: Direction, reset: bool) {
        let Self { meter, assembler, time, .. } = self;
        meter.close((connection.into(), 0), by, reset, *time, |header, record| drop(assembler.take(header, record)));
        self.open(connection, connection % 2 == 1);
    }

    /// A slot loses its workload, gets another one, or its connection another part.
    fn change(&mut self, connection: u8, operation: u8) {
        match operation >> 4 {
            0 => self.assembler.unbind(connection.into()),
            1 => self.open(connection, operation & 1 != 0),
            other => self.assembler.bind(connection.into(), WorkloadId(other.into())),
        }
    }
}
