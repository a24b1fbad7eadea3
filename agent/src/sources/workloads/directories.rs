//! Directories of cgroups by their ids.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::clock::thread_cpu;
use crate::host::cgroup::{self, Hierarchy};

/// Cgroups remembered.
const REMEMBERED: usize = 4096;
/// A walk through the hierarchy that took a second is followed by none for this many.
const SHARE: u32 = 100;

/// Finds directories by walks through the hierarchy, and remembers them.
pub(super) struct Directories {
    pub(super) hierarchy: Hierarchy,
    by_id: HashMap<u64, PathBuf>,
    next_walk: Instant,
}

impl Directories {
    pub(super) fn new(hierarchy: Hierarchy, now: Instant) -> Self {
        Self { hierarchy, by_id: HashMap::new(), next_walk: now }
    }

    /// Looks for what is not known of `ids`, in one walk, unless the last one was just now.
    pub(super) fn find(&mut self, now: Instant, ids: impl Iterator<Item = u64>) {
        let unknown: Vec<u64> = ids.filter(|id| self.get(*id).is_none()).collect();
        if unknown.is_empty() || now < self.next_walk {
            return;
        }
        if self.by_id.len() + unknown.len() > REMEMBERED {
            self.by_id.clear();
        }
        let begun = thread_cpu();
        self.by_id.extend(self.hierarchy.find_ids(&unknown));
        self.next_walk = now + thread_cpu().saturating_sub(begun) * SHARE;
    }

    /// A cgroup's directory, if it is known and still there.
    pub(super) fn get(&self, id: u64) -> Option<&Path> {
        let path = self.by_id.get(&id)?;
        (cgroup::id(path).ok() == Some(id)).then_some(path)
    }
}
