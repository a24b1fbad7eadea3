//! Who is watched, who is on trial, who rests: from candidates to changes. Reads nothing and has no clock.
//!
//! # Servers that nobody knows
//! A listener that no name and no GPU tells apart may serve models all the same, so it is watched for a while
//! (`trial`); the first request to a model makes it permanent. One that shows none is let go, and tried again
//! after a rest as long as the trial, then twice as long, and so on up to `longest_rest`, since an idle server
//! looks like any other. A server that is started anew begins with a trial at once. At most `trials` are
//! on trial; those tried least often come first, then those that waited longest.
//!
//! What it costs: a server on trial is metered like any other, and in a shared cgroup its programs run for
//! every packet of that cgroup. With the defaults an idle unknown server is on trial for 6 % of the time, and one that
//! gets its first traffic after hours of silence is found within 15 minutes, 7 on the average; no
//! request of it is seen before. Name the cgroup of such a server to have it watched always.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Change;
use super::candidates::{Candidate, Key};
use super::settings::Settings;
use crate::model::workload::{Engine, Workload, WorkloadId};

/// Servers that are gone and whose names are kept.
const REMEMBERED: usize = 1024;

/// What became of every candidate.
#[derive(Debug)]
pub(super) struct Ledger {
    trial: Duration,
    trials: usize,
    longest_rest: Duration,
    entries: BTreeMap<Key, Entry>,
    /// The next identity.
    next: u64,
}

/// A candidate that is there, or was.
#[derive(Debug)]
struct Entry {
    /// Waits for the return of a server that goes.
    name: Arc<str>,
    /// What the candidate was called when it got the name, and whether it was certain then.
    named_for: (String, bool),
    /// The program that is known to serve models here, by its requests.
    confirmed: Option<Arc<str>>,
    /// The identity it has, or had last.
    id: Option<WorkloadId>,
    /// Trials ever begun.
    tries: u32,
    seen: Instant,
    live: Option<Live>,
}

/// A candidate that is there.
#[derive(Debug)]
struct Live {
    candidate: Candidate,
    stage: Stage,
    /// Trials of this server that showed nothing.
    rests: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Watched for good.
    Certain,
    /// Watched until then.
    Trial(Instant),
    /// Not watched until then at least.
    Resting(Instant),
}

/// How many candidates there are in each stage.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stages {
    /// Watched for good.
    pub certain: usize,
    /// On trial.
    pub trial: usize,
    /// Between two trials, or waiting for one.
    pub resting: usize,
}

impl Ledger {
    /// An empty one.
    pub(super) fn new(settings: &Settings) -> Self {
        let Settings { trial, trials, longest_rest, .. } = *settings;
        Self { trial, trials, longest_rest, entries: BTreeMap::new(), next: 1 }
    }

    /// Takes the candidates as they are now, no key twice, and says what changed: what vanished comes first.
    pub(super) fn step(&mut self, now: Instant, candidates: Vec<Candidate>) -> Vec<Change> {
        let mut changes: Vec<Change> = self.depart(&candidates).into_iter().map(Change::Vanished).collect();
        changes.extend(self.end_trials(now).into_iter().map(Change::Vanished));
        let certain: Vec<Workload> =
            candidates.into_iter().filter_map(|candidate| self.admit(now, candidate)).collect();
        changes.extend(certain.into_iter().chain(self.begin_trials(now)).map(Change::Appeared));
        self.forget();
        changes
    }

    /// A request to a model was seen: the workload is watched for good, now and when its server returns.
    pub(super) fn confirm(&mut self, id: WorkloadId) {
        let Some(entry) = self.entries.values_mut().find(|entry| entry.id == Some(id)) else { return };
        let Some(live) = &mut entry.live else { return };
        entry.confirmed = Some(Arc::clone(&live.candidate.program));
        // One whose trial has just ended is watched again from the next step on.
        if let Stage::Trial(_) = live.stage {
            live.stage = Stage::Certain;
        }
    }

    /// True until a request to a model is seen, for what nothing else tells.
    pub(super) fn is_on_trial(&self, id: WorkloadId) -> bool {
        let live = self.entries.values().find(|entry| entry.id == Some(id)).and_then(|entry| entry.live.as_ref());
        live.is_some_and(|live| live.stage != Stage::Certain)
    }

    /// The first process of a workload that is told apart by its port.
    pub(super) fn process(&self, id: WorkloadId) -> Option<u32> {
        let live = self.entries.values().find(|entry| entry.id == Some(id)).and_then(|entry| entry.live.as_ref())?;
        live.candidate.process.filter(|_| live.candidate.key.port.is_some())
    }

    /// The topmost process of each server that is there and was given an identity.
    pub(super) fn servers(&self) -> impl Iterator<Item = (WorkloadId, u32)> {
        self.entries.values().filter_map(|entry| Some((entry.id?, entry.live.as_ref()?.candidate.process?)))
    }

    /// How many there are in each stage.
    pub(super) fn stages(&self) -> Stages {
        let mut stages = Stages::default();
        for live in self.entries.values().filter_map(|entry| entry.live.as_ref()) {
            *match live.stage {
                Stage::Certain => &mut stages.certain,
                Stage::Trial(_) => &mut stages.trial,
                Stage::Resting(_) => &mut stages.resting,
            } += 1;
        }
        stages
    }

    /// Lets go of what is no longer there, is there in a new cgroup of the same path, or is better known than before.
    fn depart(&mut self, candidates: &[Candidate]) -> Vec<WorkloadId> {
        let here: HashMap<&Key, &Candidate> = candidates.iter().map(|candidate| (&candidate.key, candidate)).collect();
        let mut vanished = Vec::new();
        for (key, entry) in &mut self.entries {
            let stays = |live: &Live| here.get(key).is_some_and(|new| live.candidate.is_still(new));
            if entry.live.as_ref().is_some_and(|live| !stays(live)) {
                vanished.extend(entry.depart());
            }
        }
        vanished
    }

    /// Takes a candidate in; a workload if it is watched from now on, for certain.
    fn admit(&mut self, now: Instant, candidate: Candidate) -> Option<Workload> {
        if self.entries.get(&candidate.key).is_none_or(|entry| entry.live.is_none()) {
            let name = self.name_for(&candidate);
            let entry = self.entries.entry(candidate.key.clone()).or_insert_with(|| Entry::new(now));
            if entry.name != name {
                entry.name = name;
                entry.named_for = (candidate.name.clone(), candidate.certain);
            }
            entry.live = Some(Live { candidate: candidate.clone(), stage: Stage::Resting(now), rests: 0 });
        }
        let entry = self.entries.get_mut(&candidate.key)?;
        entry.seen = now;
        let certain = candidate.certain || entry.confirmed.as_ref() == Some(&candidate.program);
        let live = entry.live.as_mut()?;
        // A server that was started anew is the same workload.
        live.candidate.process = candidate.process;
        if !certain {
            return None;
        }
        match std::mem::replace(&mut live.stage, Stage::Certain) {
            Stage::Certain | Stage::Trial(_) => None,
            Stage::Resting(_) => entry.appear(&mut self.next),
        }
    }

    fn end_trials(&mut self, now: Instant) -> Vec<WorkloadId> {
        let mut vanished = Vec::new();
        for entry in self.entries.values_mut() {
            let Some(live) = &mut entry.live else { continue };
            if matches!(live.stage, Stage::Trial(ends) if ends <= now) {
                let rest = self.trial.saturating_mul(1 << live.rests.min(20)).min(self.longest_rest);
                live.stage = Stage::Resting(now + rest);
                live.rests += 1;
                vanished.extend(entry.id);
            }
        }
        vanished
    }

    fn begin_trials(&mut self, now: Instant) -> Vec<Workload> {
        let free = self.trials.saturating_sub(self.stages().trial);
        let ready = |entry: &Entry| match entry.live.as_ref().map(|live| live.stage) {
            Some(Stage::Resting(until)) if until <= now => Some((entry.tries, until)),
            _ => None,
        };
        let mut waiting: Vec<_> = self.entries.values_mut().filter_map(|entry| Some((ready(entry)?, entry))).collect();
        waiting.sort_by_key(|(order, _)| *order);
        let next = &mut self.next;
        let begun = waiting.into_iter().take(free).filter_map(|(_, entry)| {
            entry.tries = entry.tries.saturating_add(1);
            if let Some(live) = &mut entry.live {
                live.stage = Stage::Trial(now + self.trial);
            }
            entry.appear(next)
        });
        begun.collect()
    }

    /// The name it had before, else its own, told apart from those of all others that are there. In a cgroup watched as a
    /// whole another of its processes may come first after a start: that changes the name only once, when it is
    /// known what serves.
    fn name_for(&self, candidate: &Candidate) -> Arc<str> {
        let others = self.entries.iter().filter(|(key, entry)| entry.live.is_some() && **key != candidate.key);
        let taken: HashSet<&str> = others.map(|(_, entry)| entry.name.as_ref()).collect();
        let keeps = |entry: &&Entry| {
            let (name, certain) = &entry.named_for;
            let whole = candidate.key.port.is_none() && (*certain || !candidate.certain);
            (whole || *name == candidate.name) && !taken.contains(entry.name.as_ref())
        };
        if let Some(entry) = self.entries.get(&candidate.key).filter(keeps) {
            return Arc::clone(&entry.name);
        }
        let mut name = candidate.name.clone();
        let mut number = 1;
        while taken.contains(name.as_str()) {
            number += 1;
            name = format!("{}-{number}", candidate.name);
        }
        name.into()
    }

    /// Keeps what is remembered of servers that are gone within its bound; those gone longest go first.
    fn forget(&mut self) {
        let mut gone: Vec<(Instant, Key)> = Vec::new();
        let all = self.entries.iter().filter(|(_, entry)| entry.live.is_none());
        gone.extend(all.map(|(key, entry)| (entry.seen, key.clone())));
        let surplus = gone.len().saturating_sub(REMEMBERED);
        if surplus > 0 {
            gone.sort_unstable();
            gone.truncate(surplus);
            gone.iter().for_each(|(_, key)| drop(self.entries.remove(key)));
        }
    }
}

impl Entry {
    fn new(now: Instant) -> Self {
        Self {
            name: "".into(),
            named_for: (String::new(), false),
            confirmed: None,
            id: None,
            tries: 0,
            seen: now,
            live: None,
        }
    }

    /// A new identity for what is there.
    fn appear(&mut self, next: &mut u64) -> Option<Workload> {
        let candidate = &self.live.as_ref()?.candidate;
        let id = WorkloadId(*next);
        *next += 1;
        self.id = Some(id);
        Some(Workload {
            id,
            name: Arc::clone(&self.name),
            engine: candidate.engine,
            cgroup: candidate.group.directory.clone(),
            cgroup_id: candidate.group.id,
            port: candidate.key.port,
            container: candidate.container.clone(),
        })
    }

    /// It is no longer there; its identity, if it was watched.
    fn depart(&mut self) -> Option<WorkloadId> {
        let live = self.live.take()?;
        self.id.filter(|_| !matches!(live.stage, Stage::Resting(_)))
    }
}

impl Candidate {
    fn is_still(&self, new: &Self) -> bool {
        let learned = self.engine == Engine::Unknown && new.engine != Engine::Unknown;
        self.group.id == new.group.id && !learned
    }
}

#[cfg(test)]
mod tests;
