//! Who is watched: a task's cgroup, found in the table of `inferscope_common::watch`.

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::btf_maps::Array;
use aya_ebpf::macros::btf_map;
use inferscope_common::watch::{self, BY_PROCESS, Bucket, KERNEL};

use super::cgroup::Cgroup;
use super::storage::MARKS;
use super::task::Task;
use crate::hist::add;

/// Slots by cgroup. The agent sets the number of buckets when it loads.
#[btf_map]
static WATCHED: Array<Bucket, 1, { BPF_F_MMAPABLE as usize }> = Array::new();

/// The slot of the workload that a task belongs to.
#[inline(always)]
pub(crate) fn slot(task: Task) -> Option<u32> {
    let slot = find(watch::key(task.cgroup()?.id()))?;
    if slot == BY_PROCESS { by_process(task) } else { Some(slot) }
}

/// The slot of a key.
#[inline(always)]
pub(crate) fn find(key: u64) -> Option<u32> {
    let bucket = WATCHED.get_ptr(watch::bucket(key))?;
    // SAFETY: a map value; each word is read whole.
    unsafe {
        let words = bucket.cast::<u64>();
        if *words == 0 {
            return None;
        }
        let mut place = 1;
        while place < KERNEL.end {
            if let Some(slot) = watch::slot_of(*words.add(place), key) {
                return Some(slot);
            }
            place += 1;
        }
    }
    None
}

/// A thread has the mark itself, or its process has: a thread may outlive the one that was its process's first.
#[inline(always)]
fn by_process(task: Task) -> Option<u32> {
    if task.has_storage()
        && let Some(mark) = MARKS.get(task)
    {
        return Some(watch::binding_slot(*mark));
    }
    let leader = task.leader();
    if leader.is_null() {
        return None;
    }
    MARKS.get(Task(leader)).map(|mark| watch::binding_slot(*mark))
}

/// Notes a cgroup that came up below a watched one; false when there is no room. The kernel runs this for one
/// cgroup at a time.
#[inline(always)]
pub(crate) fn inherit(cgroup: Cgroup, slot: u32) -> bool {
    let key = watch::key(cgroup.id());
    let Some(bucket) = WATCHED.get_ptr_mut(watch::bucket(key)) else { return false };
    // SAFETY: a map value, and words that only this program writes.
    unsafe {
        let words = bucket.cast::<u64>();
        let mut place = KERNEL.start;
        while place < KERNEL.end {
            if *words.add(place) == 0 {
                *words.add(place) = watch::entry(key, slot);
                add(words, 1);
                return true;
            }
            place += 1;
        }
    }
    false
}

/// Forgets a cgroup that [`inherit`] noted.
#[inline(always)]
pub(crate) fn disown(cgroup: Cgroup) {
    let key = watch::key(cgroup.id());
    let Some(bucket) = WATCHED.get_ptr_mut(watch::bucket(key)) else { return };
    // SAFETY: as above.
    unsafe {
        let words = bucket.cast::<u64>();
        let mut place = KERNEL.start;
        while place < KERNEL.end {
            if watch::slot_of(*words.add(place), key).is_some() {
                *words.add(place) = 0;
            }
            place += 1;
        }
    }
}
