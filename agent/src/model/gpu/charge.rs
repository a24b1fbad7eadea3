//! What a device's energy is split by, and how far it is split.

use crate::model::energy::{Claim, IdlePolicy, Ledger, Method, Owner, Part, Step};
use crate::model::histogram::grown;
use crate::model::workload::WorkloadId;

const NANOS_PER_MILLI: u128 = 1_000_000_000;

/// Who used the device and who held it, as last measured.
#[derive(Clone, Debug)]
pub(super) struct Claims {
    /// What `uses` are.
    pub(super) method: Method,
    pub(super) uses: Vec<Claim>,
    pub(super) holds: Vec<Claim>,
}

/// An interval that was split.
#[derive(Debug)]
pub(super) struct Charged {
    pub(super) parts: Vec<Part>,
    /// Its end, and its length, in nanoseconds.
    pub(super) at: u64,
    pub(super) nanos: u64,
    /// Processes held the device, and nothing ran.
    pub(super) in_vain: bool,
    /// Where the energy was read, as `inferscope.energy.source` tells it.
    pub(super) source: &'static str,
}

/// Splits a device's energy as it is read.
#[derive(Debug)]
pub(super) struct Charge {
    ledger: Ledger,
    claims: Claims,
    /// The device's counter as it was last read.
    counter: Option<u64>,
    /// Millijoules since the first reading, and when the last one was.
    total: u64,
    read: Option<u64>,
    /// Up to when it is split.
    settled: Option<u64>,
    /// Anything ran since.
    busy: bool,
    power: Integral,
}

/// Power added up over time, where a device has no counter.
#[derive(Debug, Default)]
struct Integral {
    last: Option<(u64, u32)>,
    /// In milliwatts × nanoseconds.
    sum: u128,
}

impl Charge {
    pub(super) fn new(policy: IdlePolicy) -> Self {
        Self {
            ledger: Ledger::new(policy),
            claims: Claims { method: Method::SmShare, uses: Vec::new(), holds: Vec::new() },
            counter: None,
            total: 0,
            read: None,
            settled: None,
            busy: false,
            power: Integral::default(),
        }
    }

    /// Nobody watches the device for a while.
    pub(super) fn interrupt(&mut self) {
        self.ledger.interrupt();
        self.power.last = None;
        self.busy = false;
    }

    /// Takes the counter, or power in milliwatts where there never was a counter, and whether anything runs.
    pub(super) fn read(&mut self, at: u64, counter: Option<u64>, power: Option<u32>, busy: bool) {
        self.busy |= busy;
        if let Some(now) = counter {
            if let Some(before) = self.counter.replace(now) {
                self.total += grown(now, before);
                if now < before {
                    self.ledger.interrupt();
                }
            }
        } else if let Some(milliwatts) = power.filter(|_| self.counter.is_none()) {
            self.total = self.power.add(at, milliwatts);
        } else {
            return;
        }
        self.read = Some(at);
        if self.settled.is_none() {
            // The first reading is where splitting begins.
            drop(self.settle());
        }
    }

    /// What the energy is split by from now on; what was read so far is split by it too.
    pub(super) fn claim(&mut self, claims: Claims) -> Option<Charged> {
        self.claims = claims;
        self.settle()
    }

    /// A workload is not there any more.
    pub(super) fn disown(&mut self, id: WorkloadId) {
        for claim in self.claims.uses.iter_mut().chain(&mut self.claims.holds) {
            if claim.owner == Owner::Workload(id) {
                claim.owner = Owner::Unmatched;
            }
        }
    }

    pub(super) fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Splits what was read since the last time.
    pub(super) fn settle(&mut self) -> Option<Charged> {
        let at = self.read.filter(|at| self.settled.is_none_or(|settled| settled < *at))?;
        let Claims { method, uses, holds } = self.claims.clone();
        // Nothing tells whether a divided device without GPM runs anything: held is taken for used.
        let active = match method {
            Method::MigSlices => !holds.is_empty(),
            _ => self.busy || uses.iter().any(|claim| claim.weight > 0 && claim.owner != Owner::Nobody),
        };
        self.busy = false;
        let in_vain = !active && !holds.is_empty();
        let parts = self.ledger.step(&Step { at, counter: self.total, active, method, uses, holds });
        let nanos = self.settled.replace(at).map_or(0, |before| at.saturating_sub(before));
        let source = if self.counter.is_some() { "counter" } else { "power" };
        Some(Charged { at, parts, nanos, in_vain, source })
    }
}

impl Integral {
    /// Millijoules so far; power is taken to change evenly between two readings.
    fn add(&mut self, at: u64, milliwatts: u32) -> u64 {
        if let Some((before, power)) = self.last.replace((at, milliwatts)) {
            let mean = (u128::from(power) + u128::from(milliwatts)) / 2;
            self.sum += mean * u128::from(at.saturating_sub(before));
        }
        (self.sum / NANOS_PER_MILLI) as u64
    }
}
