//! Requests and responses of the observed workloads: the kernel's flow programs, joined with the wire.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use inferscope_common::block::Block;
use inferscope_common::flow::{Listen, SlotKey};

use crate::bpf::{AttachError, Attachment, Kernel, Record, Steps};
use crate::model::request::Request;
use crate::model::workload::{Workload, WorkloadId};
use crate::wire::{Assembler, Limits};

/// Cgroups below a workload's own that are noted with it, for programs that see a socket's own cgroup alone.
const DESCENDANTS: usize = 64;

/// Watches workloads in the kernel.
pub struct Flows {
    kernel: Kernel,
    assembler: Assembler,
    observed: HashMap<WorkloadId, Observed>,
    attached: HashMap<PathBuf, Attached>,
    /// Slots that no workload has; the one free for longest comes first, since a slot's last
    /// connections may outlive its workload for a while.
    free: VecDeque<u32>,
}

struct Observed {
    slot: u32,
    keys: Vec<SlotKey>,
    cgroup: PathBuf,
}

struct Attached {
    attachment: Attachment,
    workloads: usize,
}

/// Why a workload cannot be observed.
#[derive(thiserror::Error, Debug)]
pub enum ObserveError {
    /// The kernel refused.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// Its counters cannot be read.
    #[error("cannot map its counters into memory: {0}")]
    Map(#[from] io::Error),
    /// Every slot is taken.
    #[error("all {0} slots are taken: raise max_workloads")]
    Full(u32),
}

impl Flows {
    /// Watches nothing yet.
    pub fn new(kernel: Kernel, limits: Limits) -> Self {
        // Slot 0 stays empty: a slot that was never set shows.
        let free = (1..kernel.slots()).collect();
        Self { kernel, assembler: Assembler::new(limits), observed: HashMap::new(), attached: HashMap::new(), free }
    }

    /// What became of the kernel's hooks.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// What the wire lost.
    pub fn assembler(&self) -> &Assembler {
        &self.assembler
    }

    /// Begins to watch a workload and reads its slot as it stands: what is there belongs to nobody.
    pub fn add(&mut self, workload: &Workload, baseline: &mut Block) -> Result<(), ObserveError> {
        let slot = self.free.pop_front().ok_or(ObserveError::Full(self.kernel.slots().saturating_sub(1)))?;
        match self.observe(workload, slot, baseline) {
            Ok(observed) => {
                self.assembler.bind(slot, workload.id);
                self.observed.insert(workload.id, observed);
                Ok(())
            }
            Err(error) => {
                self.free.push_front(slot);
                Err(error)
            }
        }
    }

    /// Ceases to watch a workload. Call [`Self::read`] before: its counters cannot be read afterwards.
    pub fn remove(&mut self, id: WorkloadId) {
        let Some(observed) = self.observed.remove(&id) else { return };
        for key in observed.keys {
            self.kernel.forget(key);
        }
        self.assembler.unbind(observed.slot);
        self.free.push_back(observed.slot);
        self.release(&observed.cgroup);
    }

    /// Copies a workload's counters; false where it is not watched, or cannot be read now: the next reading makes it up.
    pub fn read(&self, id: WorkloadId, into: &mut Block) -> bool {
        // Mapped for the moment of reading alone: 60 KiB that count as the agent's memory, for some microseconds.
        let block = self.observed.get(&id).and_then(|observed| self.kernel.block(observed.slot).ok());
        block.map(|block| block.read(into)).is_some()
    }

    /// How far a workload is; `None` where it is not watched, or cannot be read now.
    pub fn steps(&self, id: WorkloadId) -> Option<Steps> {
        self.kernel.steps(self.observed.get(&id)?.slot).ok()
    }

    /// Takes the records that wait, `limit` at most, and says how many there were.
    pub fn poll(&mut self, limit: usize, mut ended: impl FnMut(Request), mut listens: impl FnMut(Listen)) -> usize {
        let assembler = &mut self.assembler;
        self.kernel.records(limit, |record| match record {
            Record::Piece(header, bytes) => assembler.record(&header, bytes),
            Record::End(header, summary) => {
                if let Some(request) = assembler.end(&header, &summary) {
                    ended(request);
                }
            }
            Record::Listen(listen) => listens(listen),
        })
    }

    fn observe(&mut self, workload: &Workload, slot: u32, baseline: &mut Block) -> Result<Observed, ObserveError> {
        self.kernel.block(slot)?.read(baseline);
        let port = u32::from(workload.port.unwrap_or(0));
        let ids = std::iter::once(workload.cgroup_id).chain(descendants(&workload.cgroup));
        let keys: Vec<SlotKey> = ids.map(|cgroup| SlotKey { cgroup, port, reserved: 0 }).collect();
        for (noted, key) in keys.iter().enumerate() {
            if let Err(error) = self.kernel.observe(*key, slot) {
                self.forget(&keys[..noted]);
                return Err(error.into());
            }
        }
        if let Err(error) = self.attach(&workload.cgroup) {
            self.forget(&keys);
            return Err(error.into());
        }
        Ok(Observed { slot, keys, cgroup: workload.cgroup.clone() })
    }

    fn forget(&mut self, keys: &[SlotKey]) {
        for key in keys {
            self.kernel.forget(*key);
        }
    }

    fn attach(&mut self, cgroup: &Path) -> Result<(), AttachError> {
        if let Some(attached) = self.attached.get_mut(cgroup) {
            attached.workloads += 1;
            return Ok(());
        }
        let attachment = self.kernel.attach(cgroup)?;
        self.attached.insert(cgroup.to_owned(), Attached { attachment, workloads: 1 });
        Ok(())
    }

    fn release(&mut self, cgroup: &Path) {
        if let Some(attached) = self.attached.get_mut(cgroup) {
            attached.workloads -= 1;
            if attached.workloads > 0 {
                return;
            }
        }
        if let Some(attached) = self.attached.remove(cgroup) {
            self.kernel.detach(attached.attachment);
        }
    }
}

/// Ids of the cgroups below one, as many as are noted. The root's are not: they are workloads of their own.
fn descendants(cgroup: &Path) -> Vec<u64> {
    let mut found = Vec::new();
    let mut open = vec![cgroup.to_owned()];
    if !cgroup.join("cgroup.type").exists() {
        return found;
    }
    while let Some(directory) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            let is_directory: io::Result<bool> = entry.file_type().map(|kind| kind.is_dir());
            if !is_directory.unwrap_or(false) {
                continue;
            }
            if found.len() == DESCENDANTS {
                return found;
            }
            if let Ok(data) = entry.metadata() {
                found.push(data.ino());
            }
            open.push(entry.path());
        }
    }
    found
}
