//! Joins the pieces of an exchange with its summary into a request.

use std::collections::{HashMap, VecDeque};

use inferscope_common::flow::{Header, Kind, Role, Summary};

use crate::model::request::{Label, Request};
use crate::model::workload::WorkloadId;
use crate::wire::api::APIS;
use crate::wire::labels::{Charset, Labels};
use crate::wire::meter::Record;
use crate::wire::pieces::Pieces;
use crate::wire::read;

/// Bounds of what an [`Assembler`] holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Exchanges under way of which pieces are held; beyond them the oldest is forgotten.
    pub exchanges: usize,
    /// Bytes of pieces held in all; beyond them the oldest exchange is forgotten.
    pub bytes: usize,
    /// Distinct labels of each kind for one workload.
    pub labels: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { exchanges: 8192, bytes: 16 << 20, labels: 100 }
    }
}

/// What was lost on the way, each counted once.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Losses {
    /// Exchanges whose pieces were forgotten before their end came.
    pub evicted: u64,
    /// Pieces beyond the bounds of one exchange.
    pub oversize: u64,
    /// Records of a slot that no workload has, or of no known kind.
    pub unbound: u64,
    /// Labels that were replaced by the overflow value.
    pub labels: u64,
}

/// Names an exchange: its connection and its number there.
type Key = (u64, u32);

/// Pieces of an exchange under way.
#[derive(Default)]
pub(super) struct Open {
    pub(super) request: Pieces,
    pub(super) response: Pieces,
    slot: u32,
    /// Tells this one from an earlier exchange of the same name.
    serial: u64,
}

impl Open {
    fn bytes(&self) -> usize {
        self.request.len() + self.response.len()
    }
}

/// A workload as the wire knows it.
pub(super) struct Names {
    pub(super) workload: WorkloadId,
    pub(super) models: Labels,
    pub(super) errors: Labels,
}

/// Buffers kept for exchanges to come, and the memory that each may keep.
const SPARE: usize = 64;
const SPARE_BYTES: usize = 4096;

/// Takes records and gives requests. Bounded in memory whatever it is fed.
pub struct Assembler {
    limits: Limits,
    open: HashMap<Key, Open>,
    /// Oldest first; holds names of exchanges that have ended, too, until it is swept.
    order: VecDeque<(Key, u64)>,
    spare: Vec<Open>,
    bytes: usize,
    serial: u64,
    names: HashMap<u32, Names>,
    routes: Vec<Label>,
    losses: Losses,
}

impl Assembler {
    /// An assembler that knows no workload yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            open: HashMap::new(),
            order: VecDeque::new(),
            spare: Vec::new(),
            bytes: 0,
            serial: 0,
            names: HashMap::new(),
            routes: APIS.iter().map(|api| Label::from(api.route)).collect(),
            losses: Losses::default(),
        }
    }

    /// Says which workload a slot stands for from now on. Its labels begin anew if it is another one.
    pub fn bind(&mut self, slot: u32, workload: WorkloadId) {
        if self.names.get(&slot).is_some_and(|names| names.workload == workload) {
            return;
        }
        self.unbind(slot);
        let labels = self.limits.labels;
        let (models, errors) = (Labels::new(labels, Charset::Printable), Labels::new(labels, Charset::Identifier));
        self.names.insert(slot, Names { workload, models, errors });
    }

    /// Forgets a slot's workload and whatever it has under way.
    pub fn unbind(&mut self, slot: u32) {
        if self.names.remove(&slot).is_none() {
            return;
        }
        self.open.retain(|_, open| open.slot != slot);
        self.bytes = self.open.values().map(Open::bytes).sum();
    }

    /// Takes a piece of a request or a response: [`Kind::Request`], [`Kind::Response`].
    pub fn record(&mut self, header: &Header, payload: &[u8]) {
        if !self.names.contains_key(&header.slot) {
            self.losses.unbound += 1;
            return;
        }
        let captured = usize::try_from(header.captured).unwrap_or(usize::MAX).min(payload.len());
        let piece = &payload[..captured];
        let is_request = header.kind == Kind::Request as u8;
        if !is_request && header.kind != Kind::Response as u8 {
            self.losses.unbound += 1;
            return;
        }
        let open = self.opened(header);
        let pieces = if is_request { &mut open.request } else { &mut open.response };
        let before = pieces.len();
        let taken = pieces.add(header.offset, piece);
        let grown = pieces.len() - before;
        self.bytes += grown;
        self.losses.oversize += u64::from(!taken);
        self.evict();
    }

    /// Takes the end of an exchange: [`Kind::End`]. `None` where no workload has its slot.
    pub fn end(&mut self, header: &Header, summary: &Summary) -> Option<Request> {
        let key = (header.connection, header.exchange);
        let mut open = match self.open.remove(&key) {
            Some(open) => open,
            None => self.spare.pop().unwrap_or_default(),
        };
        self.bytes -= open.bytes();
        let Some(names) = self.names.get_mut(&header.slot) else {
            self.losses.unbound += 1;
            self.keep_spare(open);
            return None;
        };
        let refused = names.models.refused() + names.errors.refused();
        let role = if header.role == Role::Client as u8 { Role::Client } else { Role::Server };
        let request = read::request(names, &self.routes, &mut open, role, header.time, summary);
        self.losses.labels += names.models.refused() + names.errors.refused() - refused;
        self.keep_spare(open);
        Some(request)
    }

    /// Takes what a [`crate::wire::Meter`] says.
    pub fn take(&mut self, header: &Header, record: Record<'_>) -> Option<Request> {
        match record {
            Record::Piece(bytes) => {
                self.record(header, bytes);
                None
            }
            Record::End(summary) => self.end(header, summary),
        }
    }

    /// What was lost since the assembler began.
    pub fn losses(&self) -> Losses {
        self.losses
    }

    /// Exchanges under way of which pieces are held.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Bytes of pieces held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn opened(&mut self, header: &Header) -> &mut Open {
        let key = (header.connection, header.exchange);
        let Self { open, spare, serial, order, .. } = self;
        open.entry(key).or_insert_with(|| {
            *serial += 1;
            order.push_back((key, *serial));
            let mut new = spare.pop().unwrap_or_default();
            new.slot = header.slot;
            new.serial = *serial;
            new
        })
    }

    /// Forgets the oldest exchanges until the bounds hold, and names of ended ones where they pile up.
    fn evict(&mut self) {
        while self.open.len() > self.limits.exchanges || self.bytes > self.limits.bytes {
            let Some((key, serial)) = self.order.pop_front() else { return };
            if self.open.get(&key).is_none_or(|open| open.serial != serial) {
                continue;
            }
            if let Some(open) = self.open.remove(&key) {
                self.bytes -= open.bytes();
                self.losses.evicted += 1;
                self.keep_spare(open);
            }
        }
        if self.order.len() > 2 * self.open.len() + SPARE {
            let open = &self.open;
            self.order.retain(|(key, serial)| open.get(key).is_some_and(|open| open.serial == *serial));
        }
    }

    fn keep_spare(&mut self, mut open: Open) {
        if self.spare.len() < SPARE {
            open.request.clear(SPARE_BYTES);
            open.response.clear(SPARE_BYTES);
            self.spare.push(open);
        }
    }
}
