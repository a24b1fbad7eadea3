//! Which workload a process belongs to, by its cgroup and its ancestors.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use crate::model::workload::{Workload, WorkloadId};

/// Ancestors of a process that are looked at.
const ANCESTORS: usize = 16;

/// A workload, and the topmost process of its server where that is known.
pub type Served<'a> = (&'a Workload, Option<u32>);

/// Workloads by cgroup. Where several share a cgroup, told apart by port, a process belongs to the server with which it shares its
/// nearest ancestor: workers are children of their server, or of what started both. Where two servers are equally near, it
/// is nobody's.
#[derive(Debug)]
pub struct CgroupOwners {
    by_path: BTreeMap<PathBuf, Vec<WorkloadId>>,
    /// Each server's process and those above it, upwards.
    lines: HashMap<WorkloadId, Vec<u32>>,
    /// What was found of processes in cgroups that workloads share.
    found: HashMap<u32, Option<WorkloadId>>,
}

impl CgroupOwners {
    /// Of workloads whose cgroups lie below `mount`, where cgroup2 is mounted. `parent` tells a process's parent.
    pub fn new<'a>(
        mount: &Path,
        workloads: impl IntoIterator<Item = Served<'a>>,
        parent: &dyn Fn(u32) -> Option<u32>,
    ) -> Self {
        let mut by_path: BTreeMap<PathBuf, Vec<WorkloadId>> = BTreeMap::new();
        let mut lines = HashMap::new();
        for (workload, server) in workloads {
            let Ok(below) = workload.cgroup.strip_prefix(mount) else { continue };
            by_path.entry(Path::new("/").join(below)).or_default().push(workload.id);
            if let Some(server) = server.filter(|_| workload.port.is_some()) {
                lines.insert(workload.id, line(server, parent).collect());
            }
        }
        Self { by_path, lines, found: HashMap::new() }
    }

    /// The workload of a process whose cgroup is given as `/proc/<pid>/cgroup` tells it: that of the cgroup, or of the nearest
    /// one above it.
    pub fn find(&mut self, pid: u32, cgroup: &Path, parent: &dyn Fn(u32) -> Option<u32>) -> Option<WorkloadId> {
        let Self { by_path, lines, found } = self;
        match cgroup.ancestors().find_map(|above| by_path.get(above))?.as_slice() {
            [only] if !lines.contains_key(only) => Some(*only),
            several => *found.entry(pid).or_insert_with(|| nearest(pid, several, lines, parent)),
        }
    }
}

/// Of the servers that share the nearest ancestor with a process, the only one.
fn nearest(
    pid: u32,
    servers: &[WorkloadId],
    lines: &HashMap<WorkloadId, Vec<u32>>,
    parent: &dyn Fn(u32) -> Option<u32>,
) -> Option<WorkloadId> {
    for above in line(pid, parent) {
        let mut near = servers.iter().filter(|id| lines.get(id).is_some_and(|line| line.contains(&above)));
        if let Some(first) = near.next() {
            return near.next().is_none().then_some(*first);
        }
    }
    None
}

/// A process and those above it, but for the machine's first, which is above all.
fn line(pid: u32, parent: &dyn Fn(u32) -> Option<u32>) -> impl Iterator<Item = u32> {
    std::iter::successors(Some(pid), |pid| parent(*pid)).take(ANCESTORS).take_while(|pid| *pid > 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::workload::Engine;
    use std::sync::Arc;

    fn workload(id: u64, cgroup: &str, port: Option<u16>) -> Workload {
        Workload {
            id: WorkloadId(id),
            name: Arc::from("w"),
            engine: Engine::Vllm,
            cgroup: PathBuf::from(cgroup),
            cgroup_id: id,
            port,
            container: None,
        }
    }

    const MOUNT: &str = "/sys/fs/cgroup";

    #[test]
    fn a_process_belongs_to_the_nearest_workload_above_it() {
        let workloads = [
            workload(1, "/sys/fs/cgroup/pods/a", None),
            workload(2, "/sys/fs/cgroup/pods/a/inner", None),
            workload(5, "/elsewhere/b", None),
        ];
        let alone = |_: u32| None;
        let mut owners = CgroupOwners::new(MOUNT.as_ref(), workloads.iter().map(|workload| (workload, None)), &alone);
        let mut find = |cgroup: &str| owners.find(10, cgroup.as_ref(), &alone).map(|id| id.0);
        assert_eq!(find("/pods/a"), Some(1));
        assert_eq!(find("/pods/a/worker"), Some(1));
        assert_eq!(find("/pods/a/inner/worker"), Some(2));
        assert_eq!(find("/pods"), None);
        assert_eq!(find("/b"), None);
        assert_eq!(find("/"), None);
    }

    #[test]
    fn servers_of_one_cgroup_have_the_workers_that_they_or_their_launchers_started() {
        // 100 starts two launchers, 110 and 120, each of a server (111, 121) and a worker (112, 122) beside it; the first
        // server has a worker of its own below another process (115). 130 was started by 100 itself.
        let parents = HashMap::from([
            (100, 1),
            (110, 100),
            (120, 100),
            (111, 110),
            (112, 110),
            (121, 120),
            (122, 120),
            (114, 111),
            (115, 114),
            (130, 100),
        ]);
        let parent = |pid: u32| parents.get(&pid).copied();
        let one = workload(3, "/sys/fs/cgroup/one.service", Some(8000));
        let two = workload(4, "/sys/fs/cgroup/one.service", Some(8001));
        let mut owners = CgroupOwners::new(MOUNT.as_ref(), [(&one, Some(111)), (&two, Some(121))], &parent);
        let mut find = |pid| owners.find(pid, "/one.service".as_ref(), &parent).map(|id| id.0);
        assert_eq!([111, 112, 115].map(&mut find), [Some(3); 3]);
        assert_eq!([121, 122].map(&mut find), [Some(4); 2]);
        assert_eq!(find(130), None, "both servers are equally near");
        assert_eq!(find(999), None, "nothing tells whose it is");
    }

    #[test]
    fn one_server_in_a_cgroup_that_many_share_has_its_own_processes_alone() {
        let parents = HashMap::from([(50, 1), (51, 50), (60, 1)]);
        let parent = |pid: u32| parents.get(&pid).copied();
        let only = workload(7, MOUNT, Some(8000));
        let mut owners = CgroupOwners::new(MOUNT.as_ref(), [(&only, Some(50))], &parent);
        assert_eq!(owners.find(51, "/".as_ref(), &parent), Some(WorkloadId(7)));
        assert_eq!(owners.find(60, "/elsewhere".as_ref(), &parent), None);
    }
}
