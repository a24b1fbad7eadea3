//! The kernel half, seen from the agent. The only module that knows aya.

pub mod bench;
mod blocks;
mod hooks;
pub mod host;
mod live;
mod load;
mod mapping;
pub mod object;
mod on_demand;
mod records;
mod stats;

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use aya::maps::{HashMap, MapData, RingBuf};
use aya::programs::cgroup_skb::CgroupSkbLinkId;
use aya::programs::{CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, ProgramError};
use aya::{Ebpf, Pod};
use inferscope_common::flow::SlotKey;

pub use blocks::{MappedBlock, Steps};
pub use hooks::{Hook, HookState};
pub use live::LiveHist;
pub use load::{LoadError, Options};
pub use records::Record;
pub use stats::RunStats;

use blocks::Blocks;

/// A key as the kernel's map takes it.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Key(SlotKey);

// SAFETY: `SlotKey` is `repr(C)`, plain numbers without padding.
unsafe impl Pod for Key {}

/// The loaded programs and their maps; everything is detached and freed when it is dropped.
pub struct Kernel {
    ebpf: Ebpf,
    slots: HashMap<MapData, Key, u32>,
    ring: RingBuf<MapData>,
    blocks: Blocks,
    hooks: Vec<Hook>,
}

/// The flow programs on one cgroup.
#[derive(Debug)]
pub struct Attachment {
    ingress: CgroupSkbLinkId,
    egress: CgroupSkbLinkId,
}

/// Why a cgroup cannot be observed.
#[derive(thiserror::Error, Debug)]
pub enum AttachError {
    /// Its directory does not open.
    #[error("cannot open the cgroup {path}: {source}")]
    Open {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The kernel refused the program.
    #[error("cannot attach {program} to the cgroup {path}: {source}")]
    Attach {
        /// Which program.
        program: &'static str,
        /// The directory.
        path: PathBuf,
        /// Why.
        source: ProgramError,
    },
    /// The map of observed workloads is full, or gone.
    #[error("cannot note a workload in the kernel: {0}")]
    Slot(#[from] aya::maps::MapError),
}

impl Kernel {
    /// What became of each hook.
    pub fn hooks(&self) -> &[Hook] {
        &self.hooks
    }

    /// Slots that there are.
    pub fn slots(&self) -> u32 {
        self.blocks.len()
    }

    /// Attaches the flow programs to a cgroup. Nothing is counted before [`Self::observe`] names its slot.
    pub fn attach(&mut self, cgroup: &Path) -> Result<Attachment, AttachError> {
        let directory = File::open(cgroup).map_err(|source| AttachError::Open { path: cgroup.to_owned(), source })?;
        let egress = self.attach_one(load::EGRESS, CgroupSkbAttachType::Egress, &directory, cgroup)?;
        match self.attach_one(load::INGRESS, CgroupSkbAttachType::Ingress, &directory, cgroup) {
            Ok(ingress) => Ok(Attachment { ingress, egress }),
            Err(error) => {
                self.detach_one(load::EGRESS, egress);
                Err(error)
            }
        }
    }

    /// Takes the flow programs off a cgroup; of one that no longer exists the kernel has done it already.
    pub fn detach(&mut self, attachment: Attachment) {
        self.detach_one(load::EGRESS, attachment.egress);
        self.detach_one(load::INGRESS, attachment.ingress);
    }

    /// Counts what matches `key` under `slot` from now on.
    pub fn observe(&mut self, key: SlotKey, slot: u32) -> Result<(), AttachError> {
        Ok(self.slots.insert(Key(key), slot, 0)?)
    }

    /// Counts nothing new under `key`.
    pub fn forget(&mut self, key: SlotKey) {
        // A key that is not there is as good as removed.
        drop(self.slots.remove(&Key(key)));
    }

    /// The counters of a slot, mapped for as long as they are read.
    pub fn block(&self, slot: u32) -> std::io::Result<MappedBlock> {
        self.blocks.map(slot)
    }

    /// The ring of records: readable when it is worth a look, not with each record.
    pub fn ring(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }

    /// How far the workload of a slot is.
    pub fn steps(&self, slot: u32) -> std::io::Result<Steps> {
        self.blocks.steps(slot)
    }

    /// Takes the records that wait, `limit` at most, and says how many there were.
    pub fn records(&mut self, limit: usize, mut take: impl FnMut(Record<'_>)) -> usize {
        let mut taken = 0;
        while taken < limit {
            let Some(item) = self.ring.next() else { break };
            if let Some(record) = Record::parse(&item) {
                take(record);
            }
            taken += 1;
        }
        taken
    }

    fn attach_one(
        &mut self,
        program: &'static str,
        way: CgroupSkbAttachType,
        directory: &File,
        path: &Path,
    ) -> Result<CgroupSkbLinkId, AttachError> {
        let attached = self.flow_program(program).and_then(|p| p.attach(directory, way, CgroupAttachMode::Single));
        attached.map_err(|source| AttachError::Attach { program, path: path.to_owned(), source })
    }

    fn detach_one(&mut self, program: &'static str, link: CgroupSkbLinkId) {
        // A link that is gone needs no detaching.
        drop(self.flow_program(program).and_then(|p| p.detach(link)));
    }

    fn flow_program(&mut self, name: &str) -> Result<&mut CgroupSkb, ProgramError> {
        self.ebpf.program_mut(name).ok_or(ProgramError::NotLoaded)?.try_into()
    }
}
