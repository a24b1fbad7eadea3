//! What the kernel half has counted, taken over.

use inferscope_common::disk::Direction;
use inferscope_common::sched::{ROLES, Role};

use crate::bpf::host::{Host, Mode, Slim};
use crate::model::Histogram;
use crate::model::host::Totals;

/// Brings totals up to what the kernel half has counted for a slot. They began when the slot was bound.
pub(super) fn update(totals: &mut Totals, host: &Host, slot: u32, rows: &[Option<u32>; ROLES]) {
    for (place, histogram) in totals.latencies.iter_mut().enumerate() {
        follow(histogram, host.latency(slot, place));
    }
    totals.observed = host.mode().0 != Mode::Off;
    let counts = host.read_counts(slot);
    (totals.calls, totals.errors) = (counts.calls, counts.errors);
    (totals.restarts, totals.file_bytes_read) = (counts.restarts, counts.file_bytes_read);
    (totals.lost_state, totals.k) = (counts.lost_state, counts.k);
    // The stripes are not of one instant: one that has the end of a call may be read before one that has its sleep.
    totals.asleep = counts.asleep.map(|count| u64::try_from(count.cast_signed()).unwrap_or(0));
    for role in Role::ALL {
        let Some(row) = rows[role as usize] else { continue };
        let (counters, run_delay, blocked) = host.row(row);
        let of_role = totals.roles[role as usize].get_or_insert_default();
        of_role.counters = counters;
        follow(&mut of_role.run_delay, run_delay);
        follow(&mut of_role.blocked, blocked);
    }
    for direction in Direction::ALL {
        let (counters, latency) = host.disk(slot, direction);
        let way = &mut totals.disk[direction as usize];
        [way.requests, way.errors, way.bytes] = counters;
        follow(&mut way.latency, latency);
    }
}

fn follow(histogram: &mut Histogram, kernel: Slim<'_>) {
    let sum = kernel.sum();
    if sum != histogram.sum() {
        histogram.follow(kernel.slots(), sum);
    }
}
