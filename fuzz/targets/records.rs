//! Records as they come out of the kernel's ring, whatever is in them: nothing panics, and what is held stays bounded.
//!
//! Input: records, each behind its length (two bytes, little-endian).
#![no_main]

use inferscope::bpf::Record;
use inferscope::model::workload::WorkloadId;
use inferscope::wire::{Assembler, Limits};
use libfuzzer_sys::fuzz_target;

/// Few and small, so that short inputs reach them.
const LIMITS: Limits = Limits { exchanges: 3, bytes: 6000, labels: 4 };

fuzz_target!(|input: &[u8]| {
    let mut assembler = Assembler::new(LIMITS);
    for slot in 0..4 {
        assembler.bind(slot, WorkloadId(slot.into()));
    }
    let mut rest = input;
    while let [low, high, more @ ..] = rest {
        let (record, after) = more.split_at(usize::from(u16::from_le_bytes([*low, *high])).min(more.len()));
        rest = after;
        match Record::parse(record) {
            Some(Record::Piece(header, bytes)) => assembler.record(&header, bytes),
            Some(Record::End(header, summary)) => drop(assembler.end(&header, &summary)),
            Some(Record::Listen(_)) | None => {}
        }
        assert!(assembler.bytes() <= LIMITS.bytes);
        assert!(assembler.open() <= LIMITS.exchanges);
    }
});
