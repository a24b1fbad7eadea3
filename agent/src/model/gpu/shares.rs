//! Who used a device and who holds it: from processes to claims.

use std::collections::BTreeMap;
use std::path::Path;

use super::facts::Instance;
use super::observation::{Process, ProcessKind, SmUse};
use crate::model::energy::{Claim, Method, Owner, split};
use crate::model::workload::WorkloadId;

/// Tells which workload a process belongs to, by its id and its cgroup.
pub(super) type Owners<'a> = dyn FnMut(u32, &Path) -> Option<WorkloadId> + 'a;

/// Of a divided device: an instance and its activity in hundredths of a percent, where that is measured.
pub(super) type InstanceUse = (Instance, Option<u32>);

/// The owner of a process.
pub(super) fn owner_of(process: &Process, owners: &mut Owners<'_>) -> Owner {
    owner(process.pid, process.cgroup.as_deref(), owners)
}

fn owner(pid: u32, cgroup: Option<&Path>, owners: &mut Owners<'_>) -> Owner {
    cgroup.and_then(|cgroup| owners(pid, cgroup)).map_or(Owner::Unmatched, Owner::Workload)
}

/// Bytes held, by process.
pub(super) fn holds(processes: &[Process], owners: &mut Owners<'_>) -> Vec<Claim> {
    let held = processes.iter().filter(|process| process.kind != ProcessKind::MpsServer);
    held.map(|process| claim(process, process.memory.unwrap_or(0), owners)).collect()
}

/// Measured use of the multiprocessors. What the MPS server used goes to its clients, by memory.
pub(super) fn uses(uses: &[SmUse], processes: &[Process], owners: &mut Owners<'_>) -> Vec<Claim> {
    let mut by_pid: BTreeMap<u32, (u64, Option<&Path>)> = BTreeMap::new();
    for one in uses {
        let (sum, cgroup) = by_pid.entry(one.pid).or_default();
        *sum += u64::from(one.sm_pct);
        *cgroup = one.cgroup.as_deref().or(*cgroup);
    }
    let mut claims = Vec::new();
    for (pid, (sum, cgroup)) in by_pid {
        let is_server = processes.iter().any(|process| process.pid == pid && process.kind == ProcessKind::MpsServer);
        let clients: Vec<&Process> = processes.iter().filter(|one| one.kind == ProcessKind::MpsClient).collect();
        let weights: Vec<u64> = clients.iter().map(|client| client.memory.unwrap_or(0)).collect();
        // Thousandths: a percent must go far among many clients.
        match split(sum * 1000, &weights).filter(|_| is_server) {
            Some(shares) => {
                claims.extend(clients.iter().zip(shares).map(|(client, share)| claim(client, share, owners)))
            }
            None => claims.push(Claim { owner: owner(pid, cgroup, owners), weight: sum * 1000 }),
        }
    }
    claims
}

/// Use of a divided device: by the activity of its instances where that of all is measured, else by the size of those that
/// anybody holds. Within an instance, by memory held.
pub(super) fn instances(
    instances: &[InstanceUse],
    processes: &[Process],
    owners: &mut Owners<'_>,
) -> (Method, Vec<Claim>) {
    let measured = instances.iter().all(|(_, activity)| activity.is_some());
    let mut claims = Vec::new();
    for (instance, activity) in instances {
        let within: Vec<&Process> = processes.iter().filter(|process| process.instance == Some(instance.id)).collect();
        let weight = match activity.filter(|_| measured) {
            Some(activity) => u64::from(activity) * u64::from(instance.multiprocessors),
            None if within.is_empty() => 0,
            None => u64::from(instance.multiprocessors),
        };
        let held: Vec<u64> = within.iter().map(|process| process.memory.unwrap_or(0).max(1)).collect();
        match split(weight * 1000, &held) {
            Some(shares) => claims.extend(within.iter().zip(shares).map(|(one, share)| claim(one, share, owners))),
            None => claims.push(Claim { owner: Owner::Nobody, weight: weight * 1000 }),
        }
    }
    (if measured { Method::MigActivity } else { Method::MigSlices }, claims)
}

fn claim(process: &Process, weight: u64, owners: &mut Owners<'_>) -> Claim {
    Claim { owner: owner_of(process, owners), weight }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn workload(id: u64) -> Owner {
        Owner::Workload(WorkloadId(id))
    }

    /// `/7` is the cgroup of workload 7.
    fn by_name(_: u32, path: &Path) -> Option<WorkloadId> {
        path.to_str()?.strip_prefix('/')?.parse().ok().map(WorkloadId)
    }

    fn process(pid: u32, kind: ProcessKind, memory: u64, instance: Option<u32>) -> Process {
        let cgroup = (pid < 100).then(|| Arc::from(Path::new(&format!("/{pid}"))));
        Process { pid, kind, memory: Some(memory), instance, cgroup }
    }

    fn used(pid: u32, sm_pct: u32) -> SmUse {
        SmUse { pid, sm_pct, cgroup: (pid < 100).then(|| Arc::from(Path::new(&format!("/{pid}")))) }
    }

    fn weight(claims: &[Claim], owner: Owner) -> u64 {
        claims.iter().filter(|claim| claim.owner == owner).map(|claim| claim.weight).sum()
    }

    #[test]
    fn periods_of_a_process_add_up() {
        let claims = uses(&[used(1, 30), used(2, 50), used(1, 20), used(100, 5)], &[], &mut by_name);
        assert_eq!(weight(&claims, workload(1)), 50_000);
        assert_eq!(weight(&claims, workload(2)), 50_000);
        assert_eq!(weight(&claims, Owner::Unmatched), 5_000);
    }

    #[test]
    fn what_the_mps_server_used_its_clients_used() {
        let processes = [
            process(50, ProcessKind::MpsServer, 1, None),
            process(1, ProcessKind::MpsClient, 3 << 30, None),
            process(2, ProcessKind::MpsClient, 1 << 30, None),
            process(3, ProcessKind::Compute, 1 << 30, None),
        ];
        let claims = uses(&[used(50, 80), used(3, 10)], &processes, &mut by_name);
        assert_eq!(weight(&claims, workload(1)), 60_000);
        assert_eq!(weight(&claims, workload(2)), 20_000);
        assert_eq!(weight(&claims, workload(3)), 10_000);
        assert_eq!(weight(&holds(&processes, &mut by_name), workload(50)), 0, "the server holds for its clients");
    }

    #[test]
    fn instances_weigh_by_activity_and_size() {
        let small = Instance { id: 1, multiprocessors: 16 };
        let large = Instance { id: 2, multiprocessors: 64 };
        let processes = [process(1, ProcessKind::Compute, 1, Some(1)), process(2, ProcessKind::Compute, 1, Some(2))];
        let measured = [(small, Some(10_000)), (large, Some(5_000))];
        let (method, claims) = instances(&measured, &processes, &mut by_name);
        assert_eq!(method, Method::MigActivity);
        assert_eq!(weight(&claims, workload(2)), 2 * weight(&claims, workload(1)));
        let (method, claims) = instances(&[(small, None), (large, None)], &processes[..1], &mut by_name);
        assert_eq!(method, Method::MigSlices);
        assert_eq!(weight(&claims, workload(2)), 0, "nobody holds it");
        assert_eq!(weight(&claims, workload(1)), 16_000);
        let (method, claims) = instances(&[(small, Some(10_000)), (large, None)], &processes, &mut by_name);
        assert_eq!(method, Method::MigSlices, "one that does not tell is not taken to be idle");
        assert_eq!(weight(&claims, workload(2)), 4 * weight(&claims, workload(1)));
    }
}
