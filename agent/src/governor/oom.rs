//! The kernel's counts of kills for want of memory, in the cgroups that this process is in.

use std::path::{Path, PathBuf};

use crate::host::cgroup::Hierarchy;
use crate::host::{Host, read_text};

/// Bytes of `/proc/self/cgroup` and of a mount table.
const LINES: u64 = 1 << 20;

/// The files that count such kills of this process, or of the cgroup right above its own, which outlives it where a new
/// one is made for each run; and what they count now. None of them where the kernel or a container hides them.
pub(super) fn kills(host: &Host) -> Vec<(PathBuf, u64)> {
    let own = read_text(&host.path("/proc/self/cgroup"), LINES).unwrap_or_default();
    let mut files = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else { continue };
        if controllers.is_empty() {
            let Ok(hierarchy) = Hierarchy::find(host) else { continue };
            for path in [Some(path), above(path)].into_iter().flatten() {
                files.extend(hierarchy.directory(path).map(|directory| directory.join("memory.events")));
            }
        } else if controllers.split(',').any(|controller| controller == "memory") {
            for path in [Some(path), above(path)].into_iter().flatten() {
                files.extend(version1(host, path).map(|directory| directory.join("memory.oom_control")));
            }
        }
    }
    files.into_iter().filter_map(|file| Some((counted(&file)?, file))).map(|(count, file)| (file, count)).collect()
}

/// The first of the files that counts more than it did.
pub(super) fn grown(then: &[(PathBuf, u64)]) -> Option<PathBuf> {
    then.iter().find(|(file, count)| counted(file).is_some_and(|now| now > *count)).map(|(file, _)| file.clone())
}

fn above(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(above, _)| above).filter(|above| !above.is_empty())
}

/// The directory of a cgroup of version 1's memory controller.
fn version1(host: &Host, path: &str) -> Option<PathBuf> {
    let mounts = read_text(&host.path("/proc/self/mountinfo"), LINES)?;
    mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - cgroup ")?;
        right.split(' ').nth(1)?.split(',').find(|option| *option == "memory")?;
        let mut left = left.split(' ');
        let (root, at) = (left.nth(3)?, left.next()?);
        let below = path.strip_prefix(root.trim_end_matches('/'))?;
        Some(host.path(at).join(below.trim_start_matches('/')))
    })
}

fn counted(file: &Path) -> Option<u64> {
    let text = read_text(file, LINES)?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::made_up::Machine;

    #[test]
    fn both_versions_are_read_and_what_grows_is_found() {
        let machine = Machine::new();
        let mounts = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup memory rw,memory\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        machine.file("proc/self/mountinfo", mounts);
        machine.file("proc/self/cgroup", "4:cpu:/x\n3:memory:/pod/agent\n0::/pods/pod/agent\nnonsense\n");
        let v1 = "sys/fs/cgroup/memory/pod/agent/memory.oom_control";
        let v2 = "sys/fs/cgroup/unified/pods/pod/memory.events";
        machine.file(v1, "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n");
        machine.file(v2, "low 0\noom 9\noom_kill 2\noom_group_kill 1\n");
        let host = machine.host();
        let then = kills(host);
        assert_eq!(then, [(host.path(Path::new("/").join(v1)), 3), (host.path(Path::new("/").join(v2)), 2)]);
        assert_eq!(grown(&then), None);
        machine.file(v2, "oom_kill 3\n");
        assert_eq!(grown(&then), Some(then[1].0.clone()));
        machine.file(v1, "oom_kill many\n");
        assert_eq!(grown(&then[..1]), None);
        assert_eq!(grown(&[("/nowhere".into(), 0)]), None);
    }

    #[test]
    fn a_machine_that_tells_nothing_counts_nothing() {
        assert_eq!(kills(Machine::new().host()), []);
        let machine = Machine::new();
        machine.file("proc/self/cgroup", "3:memory:/elsewhere\n0::/\n");
        machine
            .file("proc/self/mountinfo", "35 31 0:32 /docker/x /sys/fs/cgroup/memory rw - cgroup memory rw,memory\n");
        assert_eq!(kills(machine.host()), [], "a container's mount shows its own alone");
    }
}
