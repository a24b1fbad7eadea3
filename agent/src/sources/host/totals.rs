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
    // A task that preempts another as it wakes up has waited for 0 ns: that moves a slot and no sum.
    if sum != histogram.sum() || kernel.shortest() != histogram.shortest() as u32 {
        histogram.follow(kernel.slots(), sum);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use inferscope_common::slim::SlimHist;

    use super::*;

    #[test]
    fn values_of_no_time_are_taken_over() {
        let words: Vec<AtomicU64> = (0..size_of::<SlimHist>() / 8).map(|_| AtomicU64::new(0)).collect();
        let mut histogram = Histogram::default();
        let count = |histogram: &mut Histogram| {
            follow(histogram, Slim::within(&words, 0));
            (histogram.count(), histogram.sum())
        };
        words[0].store(3, Ordering::Relaxed);
        assert_eq!(count(&mut histogram), (3, 0));
        words[1].store(1, Ordering::Relaxed);
        words[words.len() - 1].store(70, Ordering::Relaxed);
        assert_eq!(count(&mut histogram), (4, 70));
        words[0].store(2, Ordering::Relaxed);
        assert_eq!(count(&mut histogram).0, 1 + u64::from(u32::MAX) + 3);
    }
}
