//! Processes and cgroups of a workload, as `/proc` and the cgroup file system show them.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::host::{LIST, read_bytes, read_text};

/// Cgroups below a workload's own that are looked at.
const BELOW: usize = 256;
/// Parents followed upwards.
const ANCESTORS: usize = 64;
/// Bytes of a title: what it says stands at its beginning.
const TITLE: u64 = 512;

/// Processes of a cgroup and of those below it; of the root cgroup none, whose processes are everybody's.
pub(super) fn of_cgroup(cgroup: &Path) -> Vec<u32> {
    if !cgroup.join("cgroup.type").exists() {
        return Vec::new();
    }
    let directories = std::iter::once(cgroup.to_owned()).chain(directories_below(cgroup));
    let lists = directories.filter_map(|directory| read_text(&directory.join("cgroup.procs"), LIST));
    lists.flat_map(|list| list.lines().filter_map(|line| line.parse().ok()).collect::<Vec<u32>>()).collect()
}

/// Every process that there is now, with its parent.
pub(super) fn parents() -> HashMap<u32, u32> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbers.filter_map(|process| Some((process, parent(process)?))).collect()
}

fn parent(process: u32) -> Option<u32> {
    let stat = read_text(Path::new(&format!("/proc/{process}/stat")), LIST)?;
    // The name before may hold anything.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// A process and those below it.
pub(super) fn family(first: u32, parents: &HashMap<u32, u32>) -> Vec<u32> {
    let is_below = |process: u32| {
        let mut above = Some(process);
        // A child is younger than its parent, but numbers go round: no chain is longer than this.
        for _ in 0..ANCESTORS {
            match above {
                Some(found) if found == first => return true,
                Some(found) => above = parents.get(&found).copied(),
                None => return false,
            }
        }
        false
    };
    parents.keys().copied().filter(|&process| is_below(process)).collect()
}

/// Ids of the cgroups below one, as many as are looked at.
pub(super) fn cgroups_below(cgroup: &Path) -> Vec<u64> {
    directories_below(cgroup).iter().filter_map(|path| fs::metadata(path).ok()).map(|data| data.ino()).collect()
}

fn directories_below(cgroup: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![cgroup.to_owned()];
    while let Some(directory) = open.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            if found.len() == BELOW {
                return found;
            }
            found.push(entry.path());
            open.push(entry.path());
        }
    }
    found
}

/// A process's title, words apart by spaces; `None` where it has gone.
pub(super) fn title(process: u32) -> Option<String> {
    let mut bytes = read_bytes(Path::new(&format!("/proc/{process}/cmdline")), TITLE).ok()?;
    bytes.iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = b' ');
    Some(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}

/// The text of `/proc/PID/cgroup`; empty where the process has gone.
pub(super) fn membership(process: u32) -> String {
    read_text(Path::new(&format!("/proc/{process}/cgroup")), LIST).unwrap_or_default()
}

pub(super) fn is_alive(process: u32) -> bool {
    Path::new("/proc").join(process.to_string()).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_a_process_and_what_it_started() {
        let parents = HashMap::from([(2, 1), (3, 2), (4, 3), (5, 1), (6, 9), (7, 8), (8, 7)]);
        let mut found = family(2, &parents);
        found.sort_unstable();
        assert_eq!(found, [2, 3, 4]);
        assert!(family(9, &parents) == [6], "its own first process has gone");
    }

    #[test]
    fn a_process_s_parent_is_known() {
        assert_eq!(parents().get(&std::process::id()), Some(&std::os::unix::process::parent_id()));
    }
}
