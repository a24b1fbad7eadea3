//! The cgroup2 hierarchy: where it is mounted, which directory a process's cgroup is, and its id.
//!
//! Sockets belong to cgroups of version 2 alone. A hybrid machine mounts that hierarchy beside version 1;
//! a container may see it from a namespace of its own, where a path can lead upwards (`/../../system.slice`).

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use super::{Host, LIST, read_bytes, read_text};

/// Bytes of `/proc/PID/cgroup` and of a mount table.
const LINES: u64 = 64 << 10;
/// Directories visited by a walk through the hierarchy.
const WALK: usize = 20_000;
/// Processes read of one cgroup.
const PROCS: u64 = 256 << 10;

/// How cgroups are mounted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// Version 2 alone.
    Unified,
    /// Version 2 beside version 1.
    Hybrid,
}

/// Why no cgroup can be watched.
#[derive(thiserror::Error, Debug, PartialEq, Eq)]
pub enum CgroupError {
    /// The mount table does not read.
    #[error("cannot read the mount table {path}: {why}")]
    Mounts {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// There is version 1 only.
    #[error(
        "cgroups are mounted in version 1 only, and sockets are told apart by version 2: mount it with \
         `mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified`, \
         or boot with systemd.unified_cgroup_hierarchy=1"
    )]
    OnlyVersion1,
    /// There is none.
    #[error(
        "no cgroup2 file system is mounted: mount it with `mount -t cgroup2 none /sys/fs/cgroup`, \
         or, in a container, mount the host's /sys/fs/cgroup into it"
    )]
    NotMounted,
}

/// The mounted cgroup2 hierarchy.
#[derive(Clone, Debug)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// How.
    pub version: Version,
    /// What the mount shows as its top, as this process's namespace names it.
    top: Vec<String>,
    /// This process's namespace below the top; an empty name is one that nobody knows.
    base: Vec<String>,
}

impl Hierarchy {
    /// Finds the mount that shows most of the hierarchy.
    pub fn find(host: &Host) -> Result<Self, CgroupError> {
        let path = host.path("/proc/self/mountinfo");
        let mounts = read_bytes(&path, LIST).map_err(|error| CgroupError::Mounts { path, why: error.to_string() })?;
        let mounts = String::from_utf8_lossy(&mounts);
        let mounts: Vec<Mount<'_>> = mounts.lines().filter_map(Mount::parse).collect();
        let has_version1 = mounts.iter().any(|mount| mount.kind == "cgroup");
        let Some(best) = mounts.iter().filter(|mount| mount.kind == "cgroup2").min_by_key(|mount| mount.rank()) else {
            return Err(if has_version1 { CgroupError::OnlyVersion1 } else { CgroupError::NotMounted });
        };
        let version = if has_version1 { Version::Hybrid } else { Version::Unified };
        let mut hierarchy = Self { mount: host.path(unescape(best.at)), version, top: Vec::new(), base: Vec::new() };
        match best.levels_above() {
            0 => hierarchy.top = names(best.root),
            levels => hierarchy.base = hierarchy.own_names(host, levels),
        }
        Ok(hierarchy)
    }

    /// The directory of a cgroup, given as `/proc/PID/cgroup` names it; `None` where the mount does not show it.
    pub fn directory(&self, cgroup: &str) -> Option<PathBuf> {
        let mut place: Vec<&str> = self.base.iter().map(String::as_str).collect();
        for name in cgroup.split('/').filter(|name| !name.is_empty() && *name != ".") {
            match name {
                ".." => drop(place.pop()?),
                name => place.push(name),
            }
        }
        let below =
            place.strip_prefix(self.top.as_slice().iter().map(String::as_str).collect::<Vec<_>>().as_slice())?;
        let known = below.iter().all(|name| !name.is_empty());
        known.then(|| below.iter().fold(self.mount.clone(), |path, name| path.join(name)))
    }

    /// A directory's place below the mount: `/` for the mount itself; `None` elsewhere.
    pub fn place(&self, directory: &Path) -> Option<String> {
        let below = directory.strip_prefix(&self.mount).ok()?;
        Some(format!("/{}", below.to_str()?))
    }

    /// The directory at a place below the mount.
    pub fn at(&self, place: &str) -> PathBuf {
        place.split('/').filter(|name| !name.is_empty()).fold(self.mount.clone(), |path, name| path.join(name))
    }

    /// Finds the directories of cgroups by their ids, in one walk. Ids without one stay away.
    pub fn find_ids(&self, ids: &[u64]) -> Vec<(u64, PathBuf)> {
        let mut found = Vec::new();
        self.walk(|directory, id| {
            if ids.contains(&id) {
                found.push((id, directory.to_owned()));
            }
            found.len() < ids.len()
        });
        found
    }

    /// Visits directories from the top downwards until `visit` says false.
    fn walk(&self, mut visit: impl FnMut(&Path, u64) -> bool) {
        let mut open = vec![self.mount.clone()];
        let mut visited = 0;
        while let Some(directory) = open.pop() {
            visited += 1;
            let Some(id) = id(&directory).ok().filter(|_| visited <= WALK) else { continue };
            if !visit(&directory, id) {
                return;
            }
            open.extend(subdirectories(&directory));
        }
    }

    /// Names that lead from the top to this process's own cgroup, `levels` of them; unknown ones are empty.
    fn own_names(&self, host: &Host, levels: usize) -> Vec<String> {
        let unknown = vec![String::new(); levels];
        // A process that has left the top of its namespace stands elsewhere than the namespace begins.
        let own = read_text(&host.path("/proc/self/cgroup"), LINES).and_then(|text| of_lines(&text).version2);
        if own.as_deref() != Some("/") {
            return unknown;
        }
        let this = std::process::id();
        let mut found = unknown;
        self.walk(|directory, _id| {
            let below = directory.strip_prefix(&self.mount).map(Path::components);
            let place: Vec<_> = below.into_iter().flatten().collect();
            if place.len() != levels || !processes(directory).contains(&this) {
                return true;
            }
            found = place.iter().filter_map(|name| name.as_os_str().to_str().map(str::to_owned)).collect();
            false
        });
        found
    }
}

/// A cgroup's id: the inode of its directory.
pub fn id(directory: &Path) -> io::Result<u64> {
    let data = fs::symlink_metadata(directory)?;
    if data.is_dir() { Ok(data.ino()) } else { Err(io::ErrorKind::NotADirectory.into()) }
}

/// Processes of a cgroup itself, without those below it; the youngest are likely to be the last ones.
pub fn processes(directory: &Path) -> Vec<u32> {
    let text = read_text(&directory.join("cgroup.procs"), PROCS).unwrap_or_default();
    // Zeroes are processes of a namespace that this one does not see.
    let mut pids: Vec<u32> = text.lines().filter_map(|line| line.parse().ok()).filter(|&pid| pid != 0).collect();
    pids.sort_unstable();
    pids.dedup();
    pids
}

/// The cgroups right below one.
pub fn subdirectories(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

/// Which cgroups a process is in.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Membership {
    /// Its path in version 2; `None` where that is not mounted.
    pub version2: Option<String>,
    /// The longest of its paths in version 1: on hybrid machines containers may be told apart there alone.
    pub version1: Option<String>,
}

/// The cgroups of a process; `None` when it is gone.
pub fn of_process(host: &Host, pid: u32) -> Option<Membership> {
    read_text(&host.of_process(pid, "cgroup"), LINES).map(|text| of_lines(&text))
}

fn of_lines(text: &str) -> Membership {
    let mut found = Membership::default();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(number), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let path = path.strip_suffix(" (deleted)").unwrap_or(path);
        if number == "0" && controllers.is_empty() {
            found.version2 = Some(path.to_owned());
        } else if found.version1.as_ref().is_none_or(|longest| longest.len() < path.len()) {
            found.version1 = Some(path.to_owned());
        }
    }
    found
}

/// A line of the mount table.
struct Mount<'a> {
    root: &'a str,
    at: &'a str,
    kind: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        // Optional fields stand between, closed by a hyphen.
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ');
        let (root, at) = (left.nth(3)?, left.next()?);
        Some(Self { root, at, kind: right.split(' ').next()? })
    }

    fn levels_above(&self) -> usize {
        names(self.root).iter().take_while(|name| *name == "..").count()
    }

    /// The smaller, the more it shows.
    fn rank(&self) -> (std::cmp::Reverse<usize>, usize) {
        (std::cmp::Reverse(self.levels_above()), names(self.root).len())
    }
}

fn names(path: &str) -> Vec<String> {
    let components = Path::new(path).components().filter(|part| !matches!(part, Component::RootDir));
    components.filter_map(|part| part.as_os_str().to_str().map(str::to_owned)).collect()
}

/// The mount table writes blanks in octal.
fn unescape(path: &str) -> String {
    path.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::made_up::Machine;

    const V1: &str = "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n";

    fn find(mounts: &str) -> Result<Hierarchy, CgroupError> {
        let machine = Machine::new();
        machine.file("proc/self/mountinfo", mounts);
        Hierarchy::find(machine.host()).map(|found| Hierarchy { mount: at(&machine, &found.mount), ..found })
    }

    /// A path of the made-up machine as the machine itself names it.
    fn at(machine: &Machine, path: &Path) -> PathBuf {
        Path::new("/").join(path.strip_prefix(machine.host().path("/")).unwrap())
    }

    #[test]
    fn finds_every_kind_of_mount() {
        let unified = find("29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n").unwrap();
        assert_eq!((unified.mount.as_path(), unified.version), (Path::new("/sys/fs/cgroup"), Version::Unified));
        let hybrid = find(&format!("{V1}41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n")).unwrap();
        assert_eq!((hybrid.mount.as_path(), hybrid.version), (Path::new("/sys/fs/cgroup/unified"), Version::Hybrid));
        assert_eq!(hybrid.directory("/a/b"), Some(hybrid.mount.join("a/b")));
        assert_eq!(hybrid.directory("/"), Some(hybrid.mount.clone()));
        assert_eq!(hybrid.directory("/../x"), None, "outside of the namespace");
        let blank = find("29 23 0:26 / /mnt/my\\040cgroups rw - cgroup2 cgroup2 rw\n").unwrap();
        assert_eq!(blank.mount, Path::new("/mnt/my cgroups"));
    }

    #[test]
    fn says_what_mends_a_machine_without_one() {
        assert_eq!(find(V1).err(), Some(CgroupError::OnlyVersion1));
        assert_eq!(find("22 1 0:20 / / rw - ext4 /dev/vda rw\nnonsense\n").err(), Some(CgroupError::NotMounted));
        assert!(CgroupError::OnlyVersion1.to_string().contains("mount -t cgroup2"));
        let missing = Hierarchy::find(&Host::at("/nowhere")).err().unwrap();
        assert!(missing.to_string().contains("/nowhere/proc/self/mountinfo"), "{missing}");
    }

    #[test]
    fn a_mount_of_a_part_shows_that_part() {
        let part = find("29 23 0:26 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n").unwrap();
        assert_eq!(part.directory("/docker/abc/x"), Some(part.mount.join("x")));
        assert_eq!(part.directory("/docker/abcd"), None);
        assert_eq!(part.directory("/system.slice"), None);
    }

    #[test]
    fn from_a_namespace_the_host_is_above() {
        let machine = Machine::new();
        let mounts = "29 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n\
                      30 23 0:26 /../../.. /host/cgroup rw - cgroup2 cgroup2 rw\n";
        machine.file("proc/self/mountinfo", mounts);
        machine.file("proc/self/cgroup", "0::/\n");
        machine.directory("host/cgroup/kubepods/podX/other");
        let hierarchy = Hierarchy::find(machine.host()).unwrap();
        let mount = machine.host().path("/host/cgroup");
        assert_eq!(hierarchy.mount, mount, "the one that shows more");
        assert_eq!(hierarchy.directory("/../../../system.slice/a.service"), Some(mount.join("system.slice/a.service")));
        assert_eq!(hierarchy.directory("/../other"), None, "its neighbours are unknown while its own name is");
        machine.file("host/cgroup/kubepods/podX/own/cgroup.procs", &std::process::id().to_string());
        let hierarchy = Hierarchy::find(machine.host()).unwrap();
        assert_eq!(hierarchy.directory("/../other"), Some(mount.join("kubepods/podX/other")));
        assert_eq!(hierarchy.directory("/below"), Some(mount.join("kubepods/podX/own/below")));
        assert_eq!(hierarchy.directory("/../../../.."), None, "above the host's top");
        assert_eq!(hierarchy.place(&mount.join("a/b")).as_deref(), Some("/a/b"));
        assert_eq!(hierarchy.place(&mount).as_deref(), Some("/"));
        let written = |place| hierarchy.at(place).into_os_string();
        assert_eq!(
            (written("/"), written("/a/b")),
            (mount.clone().into(), mount.join("a/b").into()),
            "no slash at the end"
        );
    }

    #[test]
    fn memberships_of_hybrid_machines() {
        let text = "9:name=systemd:/\n4:memory:/docker/a:b (deleted)\n0::/x\nnonsense\n";
        let found = of_lines(text);
        assert_eq!(found.version2.as_deref(), Some("/x"));
        assert_eq!(found.version1.as_deref(), Some("/docker/a:b"));
        assert_eq!(of_lines(""), Membership::default());
    }

    #[test]
    fn ids_lead_back_to_directories() {
        let machine = Machine::new();
        machine.file("proc/self/mountinfo", "29 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        machine.file("sys/fs/cgroup/a/b/cgroup.procs", "30\n0\n4\n30\n");
        let hierarchy = Hierarchy::find(machine.host()).unwrap();
        let directory = hierarchy.mount.join("a/b");
        let wanted = id(&directory).unwrap();
        assert_eq!(hierarchy.find_ids(&[wanted, 1]), [(wanted, directory.clone())]);
        assert_eq!(processes(&directory), [4, 30]);
        assert!(id(&directory.join("cgroup.procs")).is_err(), "a file is no cgroup");
    }
}
