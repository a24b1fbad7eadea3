//! What the host does for the observed workloads: system calls, the scheduler, block I/O, memory.

mod beneath;
pub mod calls;
pub mod devices;
pub mod files;
mod processes;
pub mod roles;
mod totals;

use std::collections::{HashMap, HashSet, VecDeque};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use inferscope_common::oom::OomKill;
use inferscope_common::sched::{ROLES, Role};
use inferscope_common::watch::{BY_PROCESS, binding, binding_slot, blkio_key, key};

use crate::bpf::host::{Begin, Calls, Host as Probes, LoadError, Options};
use crate::host::btf::Btf;
use crate::model::host::Totals;
use crate::model::request::Label;
use crate::model::workload::{Workload, WorkloadId};
pub use beneath::Beneath;

/// What the kernel half is told of system calls on this machine; `None` on an architecture that nobody put in.
pub fn calls() -> Option<Calls> {
    let arch = calls::Arch::this()?;
    Some(Calls {
        traits: calls::by_number(arch),
        functions: calls::of_interest(arch).map(|name| arch.function(name)).collect(),
        names: roles::NAMES.to_vec(),
        gpu_majors: devices::gpus(),
    })
}

/// What is observed of the host, and for how many workloads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// System calls.
    pub syscalls: bool,
    /// The scheduler.
    pub scheduler: bool,
    /// Workloads observed at the same time, slot 0 included.
    pub workloads: u32,
}

/// Loads the probes and attaches what the settings name and `begin` allows. What the settings alone name can be switched on
/// later.
pub fn load(object: &[u8], types: &Btf, settings: Settings, begin: Begin) -> Result<Host, LoadError> {
    load_with(object, types, settings, calls().ok_or(LoadError::Architecture)?, begin)
}

/// The same to see whether it can be done: of the calls that could have programs of their own one is tried, since the
/// kernel's functions for them are made alike, and all of them take seconds.
pub fn try_out(object: &[u8], types: &Btf, settings: Settings) -> Result<Host, LoadError> {
    let mut calls = calls().ok_or(LoadError::Architecture)?;
    calls.functions.truncate(1);
    load_with(object, types, settings, calls, Begin::ALL)
}

fn load_with(
    object: &[u8],
    types: &Btf,
    settings: Settings,
    mut calls: Calls,
    begin: Begin,
) -> Result<Host, LoadError> {
    if !settings.syscalls {
        // Nothing is to be attached to them in vain.
        calls.functions.clear();
    }
    // On the average a workload has one role besides the one that each has; where rows run out, that one counts.
    let options = Options { workloads: settings.workloads, rows: settings.workloads.saturating_mul(2) };
    let begin =
        Begin { syscalls: settings.syscalls && begin.syscalls, scheduler: settings.scheduler && begin.scheduler };
    Ok(Host::new(Probes::load(object, types, options, &calls, begin)?))
}

/// A killed process's name; what is no text in it is replaced.
pub fn name_of(kill: &OomKill) -> Label {
    let bytes = kill.name.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(bytes).into()
}

/// Watches the host beneath the workloads.
pub struct Host {
    probes: Probes,
    observed: HashMap<WorkloadId, Observed>,
    /// Slots that no workload has; the one free for longest comes first.
    free: VecDeque<u32>,
    free_rows: Vec<u32>,
    /// The last owner's number.
    owner: u16,
    /// Keys in the table, and how many workloads need them.
    keys: HashMap<u64, usize>,
    /// One call in 2^k is timed of workloads that are yet to come.
    k: u32,
}

struct Observed {
    slot: u32,
    owner: u16,
    cgroup: PathBuf,
    keys: Vec<u64>,
    /// The workload shares its cgroup: only these processes are its own.
    claimed: Option<HashSet<u32>>,
    rows: [Option<u32>; ROLES],
    /// Roles of processes as the kernel half was told.
    roles: HashMap<u32, Option<Role>>,
}

/// Why the host beneath a workload cannot be observed.
#[derive(thiserror::Error, Debug)]
pub enum ObserveError {
    /// Every slot is taken.
    #[error("all {0} slots are taken: raise max_workloads")]
    Full(u32),
    /// The table of cgroups has no room where this one belongs.
    #[error("the kernel's table of cgroups has no room for {0}: watch fewer workloads")]
    Crowded(PathBuf),
    /// Its counters cannot be reached.
    #[error("cannot map its counters into memory: {0}")]
    Map(#[from] io::Error),
}

impl Host {
    /// Watches nothing yet.
    pub fn new(probes: Probes) -> Self {
        Self {
            // Slot 0 and row 0 stay empty: one that was never set shows.
            free: (1..probes.slots()).collect(),
            free_rows: (1..probes.rows()).rev().collect(),
            probes,
            observed: HashMap::new(),
            owner: 0,
            keys: HashMap::new(),
            k: 0,
        }
    }

    /// The probes, for their state.
    pub fn probes(&self) -> &Probes {
        &self.probes
    }

    /// The probes, to switch them.
    pub fn probes_mut(&mut self) -> &mut Probes {
        &mut self.probes
    }

    /// Begins to watch a workload. One that shares its cgroup is nothing but the processes that [`Self::claim`] names.
    pub fn add(&mut self, workload: &Workload) -> Result<(), ObserveError> {
        let slot = self.free.pop_front().ok_or(ObserveError::Full(self.probes.slots().saturating_sub(1)))?;
        self.owner = self.owner.checked_add(1).unwrap_or(1);
        let mut observed = Observed {
            slot,
            owner: self.owner,
            cgroup: workload.cgroup.clone(),
            keys: Vec::new(),
            claimed: workload.port.map(|_| HashSet::new()),
            rows: [None; ROLES],
            roles: HashMap::new(),
        };
        let begun = self.begin(&mut observed, workload.cgroup_id);
        self.observed.insert(workload.id, observed);
        if begun.is_err() {
            self.remove(workload.id);
        } else {
            self.refresh(workload.id);
        }
        begun
    }

    /// Counts for a workload in its slot, from nothing on.
    fn begin(&mut self, observed: &mut Observed, cgroup: u64) -> Result<(), ObserveError> {
        self.probes.bind(observed.slot, observed.owner, self.k)?;
        self.give_row(observed, Role::Other)?;
        let slot = if observed.claimed.is_some() { BY_PROCESS } else { observed.slot };
        // The cgroup itself comes first: from then on the kernel notes by itself what comes up below it.
        let root = !observed.cgroup.join("cgroup.type").exists();
        let below = if root { Vec::new() } else { processes::cgroups_below(&observed.cgroup) };
        for id in std::iter::once(cgroup).chain(below) {
            if !self.note(observed, key(id), slot)? {
                return Err(ObserveError::Crowded(observed.cgroup.clone()));
            }
        }
        Ok(())
    }

    /// Ceases to watch a workload.
    pub fn remove(&mut self, id: WorkloadId) {
        let Some(observed) = self.observed.remove(&id) else { return };
        for key in &observed.keys {
            let needed = self.keys.get_mut(key).map_or(0, |count| {
                *count -= 1;
                *count
            });
            if needed == 0 {
                self.keys.remove(key);
                // Where that fails, so does what follows.
                drop(self.probes.ignore(*key));
            }
        }
        for process in observed.claimed.iter().flatten() {
            self.probes.unmark(*process);
        }
        for process in observed.roles.keys() {
            // A role that is not there is as good as removed.
            drop(self.probes.set_role(*process, None));
        }
        match self.probes.unbind(observed.slot, observed.rows.iter().flatten().copied()) {
            Ok(()) => self.free.push_back(observed.slot),
            Err(error) => tracing::warn!(%error, slot = observed.slot, "a slot stays unused: it cannot be cleared"),
        }
        self.free_rows.extend(observed.rows.iter().flatten());
    }

    /// Says which processes a workload that shares its cgroup consists of; their children come with them. A process is
    /// one workload's: who claimed it first keeps it.
    pub fn claim(&mut self, id: WorkloadId, processes: &[u32]) {
        let taken = |process: &u32| {
            let others = self.observed.iter().filter(|(other, _)| **other != id);
            others.filter_map(|(_, other)| other.claimed.as_ref()).any(|claimed| claimed.contains(process))
        };
        let free: Vec<u32> = processes.iter().copied().filter(|process| !taken(process)).collect();
        let Some(observed) = self.observed.get_mut(&id) else { return };
        let mark = binding(observed.slot, observed.owner.into());
        let Some(claimed) = &mut observed.claimed else { return };
        for process in free {
            // A process that has gone meanwhile needs no mark.
            if claimed.insert(process) && self.probes.mark(process, mark).is_err() {
                claimed.remove(&process);
            }
        }
        self.refresh(id);
    }

    /// Charges block I/O to a workload by a cgroup of version 1, where that hierarchy has the controller.
    pub fn charge_disk(&mut self, id: WorkloadId, blkio: &Path) {
        let Some(key) = fs::metadata(blkio).ok().map(|data| blkio_key(data.ino())) else { return };
        let Some(mut observed) = self.observed.remove(&id) else { return };
        // Those who share a cgroup share its disk requests, which no process is told of.
        if observed.claimed.is_none() && !observed.keys.contains(&key) {
            let slot = observed.slot;
            // Without room for it the requests go uncounted, and nothing else does.
            drop(self.note(&mut observed, key, slot));
        }
        self.observed.insert(id, observed);
    }

    /// Times one in 2^k calls of a workload from now on; calls and errors stay exact.
    pub fn set_sampling(&mut self, id: WorkloadId, k: u32) {
        if let Some(observed) = self.observed.get(&id) {
            self.probes.set_k(observed.slot, k);
        }
    }

    /// Times one in 2^k calls of every workload from now on.
    pub fn set_sampling_of_all(&mut self, k: u32) {
        self.k = k;
        for observed in self.observed.values() {
            self.probes.set_k(observed.slot, k);
        }
    }

    /// Looks at a workload's processes: what they do shows in their titles.
    pub fn refresh(&mut self, id: WorkloadId) {
        let Some(mut observed) = self.observed.remove(&id) else { return };
        let present = match &mut observed.claimed {
            Some(claimed) => {
                claimed.retain(|&process| processes::is_alive(process));
                claimed.iter().copied().collect()
            }
            None => processes::of_cgroup(&observed.cgroup),
        };
        let present: HashSet<u32> = present.into_iter().collect();
        observed.roles.retain(|process, _| {
            let stays = present.contains(process);
            if !stays {
                // A role that is not there is as good as removed.
                drop(self.probes.set_role(*process, None));
            }
            stays
        });
        for process in present {
            let role = processes::title(process).as_deref().and_then(roles::by_title);
            let told = observed.roles.insert(process, role);
            // Without room for its role a process goes by the names of its threads.
            if told != Some(role) && (role.is_some() || told.is_some()) && self.probes.set_role(process, role).is_err()
            {
                observed.roles.remove(&process);
            }
        }
        let wanted: Vec<Role> = self.probes.wanted(observed.slot).collect();
        let titled: Vec<Role> = observed.roles.values().copied().flatten().collect();
        for role in wanted.into_iter().chain(titled) {
            // Without a row of its own a role counts as `Role::Other`.
            drop(self.give_row(&mut observed, role));
        }
        self.observed.insert(id, observed);
    }

    /// Brings totals up to what a workload has done since it is watched; false where it is not. They are to be those of the
    /// reading before, empty at first.
    pub fn read(&self, id: WorkloadId, into: &mut Totals) -> bool {
        let Some(observed) = self.observed.get(&id) else { return false };
        totals::update(into, &self.probes, observed.slot, &observed.rows);
        true
    }

    /// Takes the kills for want of memory that wait.
    pub fn kills(&mut self, mut take: impl FnMut(WorkloadId, OomKill)) {
        let observed = &self.observed;
        self.probes.kills(|kill| {
            let slot = binding_slot(kill.binding);
            let whose =
                observed.iter().find(|(_, of)| of.slot == slot && binding(of.slot, of.owner.into()) == kill.binding);
            if let Some((&id, _)) = whose {
                take(id, kill);
            }
        });
    }

    /// Charges a key to a slot; false when there is no room. Who came first keeps what two workloads would share.
    fn note(&mut self, observed: &mut Observed, key: u64, slot: u32) -> io::Result<bool> {
        let count = self.keys.entry(key).or_default();
        *count += 1;
        observed.keys.push(key);
        if *count > 1 { Ok(true) } else { self.probes.watch(key, slot) }
    }

    fn give_row(&mut self, observed: &mut Observed, role: Role) -> io::Result<()> {
        let place = &mut observed.rows[role as usize];
        if place.is_none()
            && let Some(row) = self.free_rows.pop()
        {
            if let Err(error) = self.probes.assign(observed.slot, role, row) {
                self.free_rows.push(row);
                return Err(error);
            }
            *place = Some(row);
        }
        Ok(())
    }
}
