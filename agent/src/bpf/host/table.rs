//! The agent's part of the table of watched cgroups.

use std::io;
use std::sync::atomic::Ordering;

use inferscope_common::watch::{AGENT, Bucket, bucket, entry, slot_of};

use crate::bpf::on_demand::OnDemand;

/// Slots by cgroup, shared with the kernel.
pub(super) struct Table(pub(super) OnDemand<Bucket>);

impl Table {
    /// Puts a key in, or gives it another slot; false when its bucket is full.
    pub(super) fn insert(&self, key: u64, slot: u32) -> io::Result<bool> {
        let bucket = self.0.element(bucket(key))?;
        let words = bucket.words();
        let Some(mine) = words.get(AGENT) else { return Ok(false) };
        let load = |at: usize| mine[at].load(Ordering::Relaxed);
        let places = 0..mine.len();
        let known = places.clone().find(|&at| slot_of(load(at), key).is_some());
        let Some(place) = known.or_else(|| places.clone().find(|&at| load(at) == 0)) else { return Ok(false) };
        mine[place].store(entry(key, slot), Ordering::Relaxed);
        // The first word tells the kernel to look at the others.
        words[0].fetch_add(1, Ordering::Release);
        Ok(true)
    }

    /// Takes a key out.
    pub(super) fn remove(&self, key: u64) -> io::Result<()> {
        for word in self.0.element(bucket(key))?.words().iter().skip(AGENT.start) {
            if slot_of(word.load(Ordering::Relaxed), key).is_some() {
                word.store(0, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Takes out what belongs to a slot, whoever put it in: nobody writes to a word that is in use.
    pub(super) fn remove_slot(&self, slot: u32) -> io::Result<()> {
        for words in self.0.all()?.words().chunks_exact(size_of::<Bucket>() / size_of::<u64>()) {
            if words[0].load(Ordering::Relaxed) == 0 {
                continue;
            }
            for word in &words[AGENT.start..] {
                let value = word.load(Ordering::Relaxed);
                if value != 0 && (value >> 48) as u32 == slot {
                    word.store(0, Ordering::Relaxed);
                }
            }
        }
        Ok(())
    }
}
