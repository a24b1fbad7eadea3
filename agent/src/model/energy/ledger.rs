//! One device's energy, interval by interval.

use std::collections::BTreeMap;

use super::split::split;
use crate::model::workload::WorkloadId;

const NANOS: u128 = 1_000_000_000;
/// Shortest idle time that tells idle power, in nanoseconds: counters move in steps of some 100 ms.
const TELLING: u64 = 900_000_000;

/// Who energy is given to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Owner {
    /// An observed workload.
    Workload(WorkloadId),
    /// A process that belongs to no observed workload.
    Unmatched,
    /// Nobody: no process had the device, or nothing tells which one used it.
    Nobody,
}

/// What part of the device's energy a share is of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// Above the device's idle power.
    Active,
    /// At the device's idle power.
    Idle,
    /// Not told apart, because the device was not seen idle yet.
    Whole,
}

/// How a share came about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Method {
    /// By measured use of the multiprocessors.
    SmShare,
    /// By measured activity of MIG instances, weighed by their multiprocessors.
    MigActivity,
    /// By the multiprocessors of the MIG instances that processes have.
    MigSlices,
    /// One owner alone had the device.
    SoleHolder,
    /// In equal parts: several had the device, and nothing tells who used it.
    EqualHolders,
    /// By memory held.
    MemoryHeld,
    /// Given to nobody.
    Unattributed,
}

impl Kind {
    /// Its name in attributes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Idle => "idle",
            Self::Whole => "whole",
        }
    }
}

impl Method {
    /// Its name in attributes.
    pub fn name(self) -> &'static str {
        match self {
            Self::SmShare => "sm_share",
            Self::MigActivity => "mig_activity",
            Self::MigSlices => "mig_slices",
            Self::SoleHolder => "sole_holder",
            Self::EqualHolders => "equal_holders",
            Self::MemoryHeld => "memory_held",
            Self::Unattributed => "unattributed",
        }
    }
}

/// Who bears what a device draws while it does nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum IdlePolicy {
    /// Those that hold its memory, by bytes held: a device that is held cannot be used by others.
    #[default]
    Holders,
    /// Those that hold its memory, in equal parts.
    HoldersEqually,
    /// Nobody.
    Nobody,
}

/// A claim of an owner: of use, or of memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    /// Whose.
    pub owner: Owner,
    /// How much, in whatever unit all claims of a list are.
    pub weight: u64,
}

/// A reading of the device and what was measured since the one before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// When, in nanoseconds of `CLOCK_MONOTONIC`.
    pub at: u64,
    /// The energy counter, in millijoules.
    pub counter: u64,
    /// Anything ran.
    pub active: bool,
    /// What `uses` are.
    pub method: Method,
    /// Measured use; empty where none can be measured.
    pub uses: Vec<Claim>,
    /// Bytes of memory held.
    pub holds: Vec<Claim>,
}

/// A share of an interval's energy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    /// Whose.
    pub owner: Owner,
    /// Of which part.
    pub kind: Kind,
    /// By which method.
    pub method: Method,
    /// Millijoules.
    pub millijoules: u64,
}

/// Splits one device's energy. Parts of an interval add up to the growth of the counter exactly.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    policy: IdlePolicy,
    last: Option<(u64, u64)>,
    interrupted: bool,
    /// Where idle time began that is not learnt from yet: when, and the counter then.
    idle_since: Option<(u64, u64)>,
    /// Idle power in milliwatts while somebody holds the device, and while nobody does.
    held: Option<u64>,
    free: Option<u64>,
}

impl Ledger {
    /// A ledger that has seen nothing.
    pub fn new(policy: IdlePolicy) -> Self {
        Self { policy, ..Self::default() }
    }

    /// Idle power in milliwatts as measured: while the device is held, and while it is not.
    pub fn idle_power(&self) -> (Option<u64>, Option<u64>) {
        (self.held, self.free)
    }

    /// Nobody watched the device since the last reading: what it used until the next one is given to nobody.
    pub fn interrupt(&mut self) {
        self.interrupted = true;
        self.idle_since = None;
    }

    /// Splits the energy since the last reading. Empty for the first one.
    pub fn step(&mut self, step: &Step) -> Vec<Part> {
        let Some((at, counter)) = self.last.replace((step.at, step.counter)) else { return Vec::new() };
        let mut parts = Vec::new();
        let grown = step.counter.checked_sub(counter);
        let interrupted = std::mem::take(&mut self.interrupted);
        let Some(grown) = grown.filter(|_| !interrupted) else {
            // A counter that fell began anew with the driver; what it shows was used since, by whomever.
            let unwatched = grown.unwrap_or(step.counter);
            self.idle_since = None;
            push(Kind::Whole, Method::Unattributed, unwatched, &nobody(), &mut parts);
            return parts;
        };
        let nanos = step.at.saturating_sub(at);
        let holds = merged(&step.holds);
        if step.active {
            self.idle_since = None;
            let known = if holds.is_empty() { self.free } else { self.held.or(self.free) };
            let idle = known.map(|milliwatts| energy(milliwatts, nanos).min(grown));
            let kind = if idle.is_some() { Kind::Active } else { Kind::Whole };
            share_use(step, &holds, kind, grown - idle.unwrap_or(0), &mut parts);
            self.share_idle(&holds, idle.unwrap_or(0), &mut parts);
        } else {
            self.learn(!holds.is_empty(), step);
            self.share_idle(&holds, grown, &mut parts);
        }
        parts
    }

    fn share_idle(&self, holds: &BTreeMap<Owner, u64>, millijoules: u64, parts: &mut Vec<Part>) {
        let equal: BTreeMap<Owner, u64> = holds.keys().map(|owner| (*owner, 1)).collect();
        let shared = match self.policy {
            IdlePolicy::Holders => {
                push(Kind::Idle, Method::MemoryHeld, millijoules, holds, parts)
                    || push(Kind::Idle, Method::EqualHolders, millijoules, &equal, parts)
            }
            IdlePolicy::HoldersEqually => push(Kind::Idle, Method::EqualHolders, millijoules, &equal, parts),
            IdlePolicy::Nobody => false,
        };
        if !shared {
            push(Kind::Idle, Method::Unattributed, millijoules, &nobody(), parts);
        }
    }

    /// The first idle interval after work still cools down: it tells nothing.
    fn learn(&mut self, held: bool, step: &Step) {
        let (at, counter) = *self.idle_since.get_or_insert((step.at, step.counter));
        let nanos = step.at.saturating_sub(at);
        if nanos < TELLING {
            return;
        }
        self.idle_since = Some((step.at, step.counter));
        let seen = (u128::from(step.counter.saturating_sub(counter)) * NANOS / u128::from(nanos)) as u64;
        let known = if held { &mut self.held } else { &mut self.free };
        // Down fast and up slowly: unseen work may only raise it.
        let nearer = |old: u64| if seen < old { old - (old - seen) / 2 } else { old + (seen - old) / 8 };
        *known = Some(known.map_or(seen, nearer));
    }
}

/// By measured use; else to those that hold the device; else to nobody.
fn share_use(step: &Step, holds: &BTreeMap<Owner, u64>, kind: Kind, millijoules: u64, parts: &mut Vec<Part>) {
    let equal: BTreeMap<Owner, u64> = holds.keys().map(|owner| (*owner, 1)).collect();
    let method = if equal.len() == 1 { Method::SoleHolder } else { Method::EqualHolders };
    let _ = push(kind, step.method, millijoules, &merged(&step.uses), parts)
        || push(kind, method, millijoules, &equal, parts)
        || push(kind, Method::Unattributed, millijoules, &nobody(), parts);
}

/// Appends the split; false where nothing has weight.
fn push(kind: Kind, method: Method, millijoules: u64, by: &BTreeMap<Owner, u64>, parts: &mut Vec<Part>) -> bool {
    let weights: Vec<u64> = by.values().copied().collect();
    let Some(shares) = split(millijoules, &weights) else { return false };
    let shares = by.keys().zip(shares).filter(|(_, share)| *share > 0);
    parts.extend(shares.map(|(owner, millijoules)| Part { owner: *owner, kind, method, millijoules }));
    true
}

fn nobody() -> BTreeMap<Owner, u64> {
    BTreeMap::from([(Owner::Nobody, 1)])
}

fn merged(claims: &[Claim]) -> BTreeMap<Owner, u64> {
    let mut by_owner = BTreeMap::new();
    for claim in claims {
        let weight: &mut u64 = by_owner.entry(claim.owner).or_default();
        *weight = weight.saturating_add(claim.weight);
    }
    by_owner
}

/// Millijoules at a power for a time.
fn energy(milliwatts: u64, nanos: u64) -> u64 {
    (u128::from(milliwatts) * u128::from(nanos) / NANOS).min(u128::from(u64::MAX)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const A: Owner = Owner::Workload(WorkloadId(1));
    const B: Owner = Owner::Workload(WorkloadId(2));
    const SECOND: u64 = 1_000_000_000;

    fn claims(weights: &[(Owner, u64)]) -> Vec<Claim> {
        weights.iter().map(|&(owner, weight)| Claim { owner, weight }).collect()
    }

    fn step(second: u64, counter: u64, uses: &[(Owner, u64)], holds: &[(Owner, u64)]) -> Step {
        Step {
            at: second * SECOND,
            counter,
            active: uses.iter().any(|(_, weight)| *weight > 0),
            method: Method::SmShare,
            uses: claims(uses),
            holds: claims(holds),
        }
    }

    fn given(parts: &[Part], owner: Owner, kind: Kind) -> u64 {
        parts.iter().filter(|part| part.owner == owner && part.kind == kind).map(|part| part.millijoules).sum()
    }

    /// Idle for three seconds at 100 W while A holds 3 GiB and B 1 GiB.
    fn idled() -> Ledger {
        let mut ledger = Ledger::new(IdlePolicy::Holders);
        for second in 0..4 {
            ledger.step(&step(second, second * 100_000, &[], &[(A, 3), (B, 1)]));
        }
        ledger
    }

    #[test]
    fn active_energy_goes_by_use_and_idle_energy_by_memory() {
        let mut ledger = idled();
        assert_eq!(ledger.idle_power(), (Some(100_000), None));
        let parts = ledger.step(&step(4, 300_000 + 500_000, &[(A, 75), (B, 25)], &[(A, 3), (B, 1)]));
        assert_eq!(given(&parts, A, Kind::Active), 300_000);
        assert_eq!(given(&parts, B, Kind::Active), 100_000);
        assert_eq!(given(&parts, A, Kind::Idle), 75_000);
        assert_eq!(given(&parts, B, Kind::Idle), 25_000);
    }

    #[test]
    fn what_was_never_idle_is_not_told_apart() {
        let mut ledger = Ledger::new(IdlePolicy::Holders);
        ledger.step(&step(0, 0, &[(A, 1)], &[(A, 1)]));
        let parts = ledger.step(&step(1, 500_000, &[(A, 1)], &[(A, 1)]));
        assert_eq!(given(&parts, A, Kind::Whole), 500_000);
    }

    #[test]
    fn without_measured_use_holders_bear_it() {
        let mut ledger = idled();
        let busy = |counter, holds: &[(Owner, u64)]| Step { active: true, ..step(4, counter, &[], holds) };
        let parts = ledger.clone().step(&busy(700_000, &[(B, 9)]));
        assert_eq!((given(&parts, B, Kind::Active), parts[0].method), (300_000, Method::SoleHolder));
        let parts = ledger.step(&busy(700_000, &[(A, 9), (B, 1)]));
        assert_eq!((given(&parts, A, Kind::Active), parts[0].method), (150_000, Method::EqualHolders));
    }

    #[test]
    fn an_unheld_device_is_nobodys() {
        let mut ledger = Ledger::new(IdlePolicy::Holders);
        ledger.step(&step(0, 0, &[], &[]));
        let parts = ledger.step(&step(1, 70_000, &[], &[]));
        assert_eq!(
            parts,
            [Part { owner: Owner::Nobody, kind: Kind::Idle, method: Method::Unattributed, millijoules: 70_000 }]
        );
    }

    #[test]
    fn what_nobody_watched_is_given_to_nobody() {
        let unwatched =
            |millijoules| [Part { owner: Owner::Nobody, kind: Kind::Whole, method: Method::Unattributed, millijoules }];
        let mut ledger = idled();
        ledger.interrupt();
        assert_eq!(ledger.step(&step(9, 9_300_000, &[(A, 1)], &[(A, 1)])), unwatched(9_000_000));
        let parts = ledger.step(&step(10, 9_700_000, &[(A, 1)], &[(A, 1)]));
        assert_eq!((given(&parts, A, Kind::Active), given(&parts, A, Kind::Idle)), (300_000, 100_000));
        assert_eq!(ledger.step(&step(11, 5_000, &[(A, 1)], &[(A, 1)])), unwatched(5_000), "the driver began anew");
    }

    #[test]
    fn cooling_down_does_not_pass_for_idle_power() {
        let mut ledger = idled();
        ledger.step(&step(4, 900_000, &[(A, 1)], &[(A, 1)]));
        ledger.step(&step(5, 1_200_000, &[], &[(A, 1)]));
        assert_eq!(ledger.idle_power().0, Some(100_000));
    }

    fn owner() -> impl Strategy<Value = Owner> {
        prop_oneof![
            (0u64..4).prop_map(|id| Owner::Workload(WorkloadId(id))),
            Just(Owner::Unmatched),
            Just(Owner::Nobody)
        ]
    }

    prop_compose! {
        fn any_step()(
            nanos in 1u64..20 * SECOND,
            counter in prop_oneof![4 => 0u64..1 << 40, 1 => any::<u64>()],
            active in any::<bool>(),
            method in prop_oneof![Just(Method::SmShare), Just(Method::MigActivity), Just(Method::MigSlices)],
            uses in vec((owner(), prop_oneof![0u64..101, any::<u64>()]), 0..8),
            holds in vec((owner(), prop_oneof![0u64..1 << 40, any::<u64>()]), 0..8),
        ) -> Step {
            Step { at: nanos, counter, active, method, uses: claims(&uses), holds: claims(&holds) }
        }
    }

    proptest! {
        #[test]
        fn parts_add_up_to_the_counter(
            steps in vec((any_step(), proptest::bool::weighted(0.1)), 1..30),
            policy in prop_oneof![Just(IdlePolicy::Holders), Just(IdlePolicy::HoldersEqually), Just(IdlePolicy::Nobody)],
        ) {
            let mut ledger = Ledger::new(policy);
            let (mut at, mut last) = (0, None);
            for (mut step, interrupt) in steps {
                at += step.at;
                if interrupt {
                    ledger.interrupt();
                }
                step.at = at;
                let parts = ledger.step(&step);
                let grown = last.map_or(0, |last: u64| step.counter.checked_sub(last).unwrap_or(step.counter));
                let sum: u128 = parts.iter().map(|part| u128::from(part.millijoules)).sum();
                prop_assert_eq!(sum, u128::from(grown));
                last = Some(step.counter);
            }
        }
    }
}
