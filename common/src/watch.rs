//! How a program finds the workload of a task in a few loads: a table of cgroup ids that both sides write.
//!
//! The table is an array of [`Bucket`]s, each one cache line. Its first word counts what was ever put in, so that one
//! load rejects a cgroup that nobody watches. The agent writes the words of [`AGENT`], the kernel those of [`KERNEL`]:
//! no word has two writers.

use core::ops::Range;

/// Number of buckets.
pub const BUCKETS: u32 = 1 << 14;
/// Entries of a bucket that the agent fills.
pub const AGENT: Range<usize> = 1..5;
/// Entries of a bucket that the kernel fills, one program at a time, when a cgroup comes up below a watched one.
pub const KERNEL: Range<usize> = 5..8;

/// How often a bucket was written, and its entries; 0 = none.
pub type Bucket = [u64; 8];

/// The slot that stands for "ask the process": several workloads share the cgroup, see `MARKS` of the kernel half.
pub const BY_PROCESS: u32 = 0xffff;
/// Slots that there can be.
pub const MAX_SLOTS: u32 = BY_PROCESS;

const KEY_BITS: u32 = 48;
const BLKIO: u64 = 1 << (KEY_BITS - 1);

/// A cgroup's id as the table has it. Kernfs counts ids up and needs 2^46 of them before two could be taken for one.
#[inline(always)]
pub const fn key(cgroup: u64) -> u64 {
    cgroup & (BLKIO - 1)
}

/// The key of a cgroup of the version 1 hierarchy `blkio`, whose ids say nothing in the others.
#[inline(always)]
pub const fn blkio_key(cgroup: u64) -> u64 {
    key(cgroup) | BLKIO
}

/// Where in the table a key belongs.
#[inline(always)]
pub const fn bucket(key: u64) -> u32 {
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 50) as u32 & (BUCKETS - 1)
}

/// The entry of a key.
#[inline(always)]
pub const fn entry(key: u64, slot: u32) -> u64 {
    key | (slot as u64) << KEY_BITS
}

/// The slot, where the entry is the key's.
#[inline(always)]
pub const fn slot_of(entry: u64, key: u64) -> Option<u32> {
    if entry != 0 && (entry ^ key) << (64 - KEY_BITS) == 0 { Some((entry >> KEY_BITS) as u32) } else { None }
}

/// A slot together with the number of its present owner, so that what began under the last one is not charged to it.
#[inline(always)]
pub const fn binding(slot: u32, owner: u32) -> u32 {
    slot | owner << 16
}

/// The slot of a binding.
#[inline(always)]
pub const fn binding_slot(binding: u32) -> u32 {
    binding & 0xffff
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn entries_keep_key_and_slot(cgroup in 1u64..1 << 47, slot in 0..=MAX_SLOTS, other in 1u64..1 << 47) {
            for key in [key(cgroup), blkio_key(cgroup)] {
                prop_assert_eq!(slot_of(entry(key, slot), key), Some(slot));
                prop_assert!(bucket(key) < BUCKETS);
            }
            prop_assert_eq!(slot_of(entry(key(cgroup), slot), blkio_key(cgroup)), None);
            if other != cgroup {
                prop_assert_eq!(slot_of(entry(key(cgroup), slot), key(other)), None);
            }
        }
    }

    #[test]
    fn an_empty_entry_is_nobodys() {
        assert_eq!(slot_of(0, 0), None);
        assert_eq!(slot_of(entry(key(5), 0), key(5)), Some(0));
    }

    #[test]
    fn ids_in_a_row_spread() {
        let mut fill = std::vec![0; BUCKETS as usize];
        // A cgroup and its files take some forty ids.
        (1..2000u64).for_each(|n| fill[bucket(key(n * 41)) as usize] += 1);
        assert!(fill.iter().all(|&count| count <= AGENT.len()), "{:?}", fill.iter().max());
    }
}
