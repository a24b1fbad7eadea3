//! Loads the probes of the host.

use std::fs;
use std::io;

use aya::maps::{HashMap, Map, MapData, MapError, PerCpuArray, RingBuf};
use aya::{Btf, Ebpf, EbpfError, EbpfLoader, Pod};
use inferscope_common::disk::Disk;
use inferscope_common::sched::{Name, Role, Row, SlotRows};
use inferscope_common::syscall::traits::DESCRIPTOR;
use inferscope_common::syscall::{Counts, Latencies, MAX_STRIPES, NUMBERS};
use inferscope_common::watch::{BUCKETS, Bucket, MAX_SLOTS};

use super::calls::Links;
use super::mapped::{Mapped, Words};
use super::members::Members;
use super::table::Table;
use super::{Host, OFF, SCHED, TRACKER, kfunc};
use crate::bpf::hooks::{self, Hook, HookState};
use crate::bpf::mapping::Access;
use crate::bpf::on_demand::OnDemand;
use crate::host::btf as host_btf;

/// Name of the hook on system calls, whichever way it is done.
pub(super) const SYSCALLS: &str = "syscalls";

/// Tracepoints, and what is lost without each; all but the first are always on.
const POINTS: [(&str, &str); 9] = [
    (TRACKER, "who runs: without it, neither system calls nor the scheduler"),
    ("cgroup_attach_task", "system calls of tasks that change their cgroup while they run"),
    ("cgroup_transfer_tasks", "system calls of tasks that change their cgroup while they run"),
    ("cgroup_mkdir", "cgroups that come up below a watched one"),
    ("cgroup_rmdir", "room in the table of cgroups"),
    ("sched_process_fork", "children of processes that are told apart one by one"),
    ("task_rename", "roles of threads that change their name"),
    ("mark_victim", "records of kills for want of memory"),
    ("block_rq_complete", "block I/O"),
];

/// Sizes that are fixed when the programs load.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Workloads observed at the same time.
    pub workloads: u32,
    /// Roles of all workloads together.
    pub rows: u32,
}

impl Options {
    /// Bytes of the arrays that the probes keep in the kernel, on a machine with `cpus` of them. Only a word for who runs
    /// is there for each CPU; counters of system calls have as many copies, but 16 at most.
    ///
    /// To this comes what tasks of watched workloads keep while they live, some 200 bytes each.
    pub fn kernel_bytes(self, cpus: u32) -> usize {
        let stripes = cpus.next_power_of_two().min(MAX_STRIPES) as usize;
        let slot = stripes * size_of::<Counts>() + size_of::<Latencies>() + size_of::<Disk>() + size_of::<SlotRows>();
        let table = BUCKETS as usize * size_of::<Bucket>();
        self.workloads as usize * slot + self.rows as usize * size_of::<Row>() + table + OOM_RING
    }
}

/// Bytes of the ring for kills.
const OOM_RING: usize = 1 << 16;

/// What is observed from the beginning; the rest can be switched on later.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Begin {
    /// System calls.
    pub syscalls: bool,
    /// The scheduler.
    pub scheduler: bool,
}

impl Begin {
    /// Everything that this kernel allows.
    pub const ALL: Self = Self { syscalls: true, scheduler: true };
}

/// What the kernel half is told of system calls.
#[derive(Clone, Debug)]
pub struct Calls {
    /// What is known of each, by number.
    pub traits: [u16; NUMBERS],
    /// Kernel functions that get programs of their own where that is possible.
    pub functions: Vec<String>,
    /// Roles by the names of threads, at most 15 bytes each.
    pub names: Vec<(&'static str, Role)>,
    /// Major numbers of GPUs' character devices.
    pub gpu_majors: Vec<u32>,
}

/// Why the host cannot be probed.
#[derive(thiserror::Error, Debug)]
pub enum LoadError {
    /// The agent was built without its kernel half.
    #[error("this binary was built without its kernel half: build it with `cargo xtask build`")]
    NoObject,
    /// Nobody put in the numbers of this architecture's system calls.
    #[error("the system calls of this processor architecture are not known")]
    Architecture,
    /// The kernel's types lack what every probe needs.
    #[error("cannot tell tasks apart on this kernel: {0}")]
    Types(#[from] host_btf::BtfError),
    /// The loader cannot read the kernel's types.
    #[error("cannot read the kernel's types: {0}")]
    Btf(#[from] aya::BtfError),
    /// The kernel refused a map.
    #[error("the kernel refused to load: {}", hooks::reason(.0))]
    Object(#[from] EbpfError),
    /// A map is missing or of another kind.
    #[error("the kernel half has no usable map {0}")]
    Map(&'static str),
    /// A map does not take what belongs in it.
    #[error("cannot fill the map {0}: {1}")]
    Fill(&'static str, #[source] MapError),
    /// A map does not map into memory.
    #[error("cannot map {0} into memory: {1}")]
    Mmap(&'static str, #[source] io::Error),
}

/// A name as the kernel's map takes it.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct NameKey(Name);

// SAFETY: bytes.
unsafe impl Pod for NameKey {}

impl Host {
    /// Loads `object` and attaches what this kernel allows of what is to begin; the rest is told by [`Host::hooks`].
    pub fn load(
        object: &[u8],
        types: &host_btf::Btf,
        options: Options,
        calls: &Calls,
        begin: Begin,
    ) -> Result<Self, LoadError> {
        if object.is_empty() {
            return Err(LoadError::NoObject);
        }
        let members = Members::find(types)?;
        let cast = members.descriptors.is_ok().then(|| types.function_id("bpf_rdonly_cast")).flatten();
        let files = types.struct_id("files_struct").filter(|_| cast.is_some()).unwrap_or(0);
        let mut object = object.to_vec();
        kfunc::resolve(&mut object, cast.unwrap_or(0));
        let workloads = options.workloads.clamp(1, MAX_SLOTS);
        let rows = options.rows.max(2);
        let cpus = cpus();
        let stripes = cpus.next_power_of_two().min(MAX_STRIPES);
        let (mask, shared) = (stripes - 1, u32::from(cpus > stripes));
        let mut traits = calls.traits;
        if members.descriptors.is_err() {
            traits.iter_mut().for_each(|traits| *traits &= !DESCRIPTOR);
        }
        let btf = Btf::from_sys_fs()?;
        let mut loader = EbpfLoader::new();
        // The flow programs are not loaded here, and need no room.
        loader.btf(Some(&btf)).allow_unsupported_maps().map_max_entries("BLOCKS", 1).map_max_entries("SLOTS", 1);
        loader.map_max_entries("RECORDS", 1 << 16);
        for (name, value) in &members.values {
            loader.override_global(name, value, true);
        }
        loader.override_global("FILES_TYPE", &files, true).override_global("STRIPE_MASK", &mask, true);
        loader.override_global("STRIPES_SHARED", &shared, true);
        loader.override_global("TRAITS", &traits[..], true);
        loader.map_max_entries("WATCHED", BUCKETS).map_max_entries("SYSCALL_COUNTS", workloads * stripes);
        for name in ["SYSCALL_LATENCIES", "SLOT_ROWS", "DISKS"] {
            loader.map_max_entries(name, workloads);
        }
        loader.map_max_entries("SCHED_ROWS", rows);
        let ebpf = loader.load(&object)?;
        let functions = types.functions_among(&calls.functions);
        let mut host = Self::of_maps(ebpf, [workloads, stripes, rows], functions)?;
        host.fill(calls)?;
        host.attach(&members, &btf, begin);
        drop(btf);
        Ok(host)
    }

    fn of_maps(ebpf: Ebpf, sizes: [u32; 3], functions: Vec<String>) -> Result<Self, LoadError> {
        let mut ebpf = ebpf;
        let [workloads, stripes, rows] = sizes;
        let Some(Map::Unsupported(marks)) = ebpf.take_map("MARKS") else { return Err(LoadError::Map("MARKS")) };
        let roles = ebpf.take_map("PROCESS_ROLES").ok_or(LoadError::Map("PROCESS_ROLES"))?;
        let spun = ebpf.take_map("SPUN").ok_or(LoadError::Map("SPUN"))?;
        let kills = ebpf.take_map("OOM_KILLS").ok_or(LoadError::Map("OOM_KILLS"))?;
        Ok(Self {
            table: Table(on_demand(&ebpf, "WATCHED", BUCKETS)?),
            counts: mapped(&ebpf, "SYSCALL_COUNTS", workloads * stripes)?,
            latencies: apart(&ebpf, "SYSCALL_LATENCIES", workloads)?,
            rows: apart(&ebpf, "SCHED_ROWS", rows)?,
            slots: mapped(&ebpf, "SLOT_ROWS", workloads)?,
            control: mapped(&ebpf, "CONTROL", 1)?,
            disks: on_demand(&ebpf, "DISKS", workloads)?,
            roles: HashMap::try_from(roles).map_err(|error| LoadError::Fill("PROCESS_ROLES", error))?,
            gpu_majors: mapped(&ebpf, "GPU_MAJORS", 1)?,
            spun: PerCpuArray::try_from(spun).map_err(|error| LoadError::Fill("SPUN", error))?,
            kills: RingBuf::try_from(kills).map_err(|error| LoadError::Fill("OOM_KILLS", error))?,
            ebpf,
            functions,
            stripes,
            marks,
            calls: Links::default(),
            points: Vec::new(),
            hooks: Vec::new(),
            not_per_call: None,
        })
    }

    fn fill(&mut self, calls: &Calls) -> Result<(), LoadError> {
        let names = self.ebpf.map_mut("NAME_ROLES").ok_or(LoadError::Map("NAME_ROLES"))?;
        let fill = |error| LoadError::Fill("NAME_ROLES", error);
        let mut names = HashMap::<_, NameKey, u32>::try_from(names).map_err(fill)?;
        for &(text, role) in &calls.names {
            let mut name = Name::default();
            name.iter_mut().zip(text.bytes().take(15)).for_each(|(to, from)| *to = from);
            names.insert(NameKey(name), role as u32, 0).map_err(fill)?;
        }
        self.set_gpu_majors(&calls.gpu_majors);
        self.moved();
        self.renew();
        Ok(())
    }

    fn attach(&mut self, members: &Members, types: &Btf, begin: Begin) {
        let state = |missing: &Result<(), host_btf::BtfError>| match missing {
            Ok(()) => HookState::Unavailable(OFF.to_owned()),
            Err(error) => HookState::Unavailable(error.to_string()),
        };
        for (name, signal) in POINTS {
            let missing = if name == "block_rq_complete" { &members.disk } else { &Ok(()) };
            self.hooks.push(Hook { name, signal, state: state(missing) });
            // Who runs is kept track of while somebody needs it.
            if missing.is_ok() && name != TRACKER {
                self.switch_point(name, Ok(types));
            }
        }
        let signal = "run-queue delay, blocked time, switches, migrations, major faults, storage bytes, by role";
        self.hooks.push(Hook { name: SCHED, signal, state: state(&members.sched) });
        if members.sched.is_ok() && begin.scheduler {
            self.switch_sched(Ok(types));
        }
        let signal = "calls, errors and latencies of system calls, by class";
        self.hooks.push(Hook { name: SYSCALLS, signal, state: state(&members.syscalls) });
        if members.syscalls.is_ok() && begin.syscalls {
            self.switch_calls(Ok(types));
        }
    }
}

/// All of a small array, or one that the kernel adds to.
fn mapped<T: Words>(ebpf: &Ebpf, name: &'static str, count: u32) -> Result<Mapped<T>, LoadError> {
    Mapped::whole(array(ebpf, name)?.fd(), count).map_err(|error| LoadError::Mmap(name, error))
}

/// An array of which a piece is mapped while somebody looks at it.
fn on_demand<T>(ebpf: &Ebpf, name: &'static str, count: u32) -> Result<OnDemand<T>, LoadError> {
    OnDemand::new(array(ebpf, name)?.fd(), count, Access::ReadWrite).map_err(|error| LoadError::Mmap(name, error))
}

/// An array whose elements are mapped while somebody uses them.
fn apart<T: Words>(ebpf: &Ebpf, name: &'static str, count: u32) -> Result<Mapped<T>, LoadError> {
    Mapped::apart(array(ebpf, name)?.fd(), count).map_err(|error| LoadError::Mmap(name, error))
}

fn array<'a>(ebpf: &'a Ebpf, name: &'static str) -> Result<&'a MapData, LoadError> {
    match ebpf.map(name) {
        Some(Map::Array(data)) => Ok(data),
        _ => Err(LoadError::Map(name)),
    }
}

/// CPUs that there can be, by the highest number; more than there are copies of the counters where the kernel does not
/// say.
fn cpus() -> u32 {
    let possible = fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
    let last = possible.trim().rsplit(['-', ',']).next().and_then(|last| last.parse::<u32>().ok());
    last.map_or(MAX_STRIPES + 1, |last| last.saturating_add(1))
}
