//! What the kernel half has counted, taken over.

use inferscope_common::disk::Direction;
use inferscope_common::sched::{ROLES, Role};

use crate::bpf::LiveHist;
use crate::bpf::host::{Host, Mode};
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
    // Few workloads have any, and to look is dear. What cannot be mapped now is looked at the next time.
    if counts.disk != totals.disk_steps
        && let Ok(disk) = host.disk(slot)
    {
        totals.disk_steps = counts.disk;
        for direction in Direction::ALL {
            let (counters, latency) = disk.way(direction);
            let way = &mut totals.disk[direction as usize];
            [way.requests, way.errors, way.bytes] = counters;
            follow(&mut way.latency, latency);
        }
    }
}

fn follow(histogram: &mut Histogram, kernel: LiveHist<'_>) {
    let sum = kernel.sum();
    // A task that preempts another as it wakes up has waited for 0 ns: that moves a slot and no sum.
    if sum != histogram.sum() || kernel.shortest() != histogram.shortest() as u32 {
        histogram.follow(kernel.slots(), sum);
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;
    use std::sync::atomic::{AtomicU64, Ordering};

    use inferscope_common::hist::{HistWords, OCTAVES, PER_OCTAVE};

    use super::*;

    /// A histogram as the kernel half keeps it.
    struct Kernel(Vec<AtomicU64>);

    impl Kernel {
        fn new() -> Self {
            Self((0..size_of::<HistWords>() / 8).map(|_| AtomicU64::new(0)).collect())
        }

        /// Sets two slots that share a word.
        fn set(&self, even: usize, counts: [u32; 2]) {
            let [low, high] = counts.map(u32::to_ne_bytes);
            let pair = u64::from_ne_bytes([low, high].concat().try_into().unwrap());
            self.0[even / 2].store(pair, Ordering::Relaxed);
            let octave = even / PER_OCTAVE;
            let touched = &self.0[(offset_of!(HistWords, touched) + octave) / 8];
            let mut bytes = touched.load(Ordering::Relaxed).to_ne_bytes();
            bytes[octave % 8] = 1;
            touched.store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
        }

        fn set_sum(&self, sum: u64) {
            self.0[offset_of!(HistWords, sum) / 8].store(sum, Ordering::Relaxed);
        }

        fn followed_by(&self, histogram: &mut Histogram) -> (u64, u64) {
            follow(histogram, LiveHist::within(&self.0, 0));
            (histogram.count(), histogram.sum())
        }
    }

    #[test]
    fn values_of_no_time_are_taken_over() {
        let (kernel, mut histogram) = (Kernel::new(), Histogram::default());
        kernel.set(0, [3, 0]);
        assert_eq!(kernel.followed_by(&mut histogram), (3, 0));
        kernel.set(2, [1, 0]);
        kernel.set_sum(70);
        assert_eq!(kernel.followed_by(&mut histogram), (4, 70));
        kernel.set(0, [2, 0]);
        assert_eq!(kernel.followed_by(&mut histogram).0, 1 + u64::from(u32::MAX) + 3);
    }

    #[test]
    fn every_slot_is_found_where_it_was_touched() {
        for octave in 0..OCTAVES {
            let (kernel, mut histogram) = (Kernel::new(), Histogram::default());
            let (first, last) = (octave * PER_OCTAVE, (octave + 1) * PER_OCTAVE - 1);
            kernel.set(first, [5, 0]);
            kernel.set(last - 1, [0, 7]);
            kernel.set_sum(1);
            assert_eq!(kernel.followed_by(&mut histogram), (12, 1));
            let (begin, counts) = histogram.slots();
            assert_eq!((begin, counts[0], begin + counts.len() - 1, counts[counts.len() - 1]), (first, 5, last, 7));
        }
    }
}
