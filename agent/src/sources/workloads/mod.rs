//! Which workloads there are, without asking an orchestrator: cgroups that were named, and inference servers that are
//! found by what listens on this machine.

mod candidates;
mod directories;
mod facts;
mod given;
mod ledger;
mod look;
mod owner;
mod products;
mod recognise;
pub mod settings;

use std::time::Instant;

use inferscope_common::flow::Listen;

pub use given::DiscoverError;
pub use ledger::Stages;
pub use look::Figures;
pub use settings::Settings;

use crate::host::Host;
use crate::host::cgroup::Hierarchy;
use crate::model::workload::{Workload, WorkloadId};
use candidates::{Candidate, candidates, whole};
use facts::Listener;
use given::Given;
use ledger::Ledger;
use look::Looker;

/// A workload came or went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// It is to be watched.
    Appeared(Workload),
    /// It is no longer there, or no longer of interest.
    Vanished(WorkloadId),
}

/// Finds workloads.
pub struct Discovery {
    given: Vec<Given>,
    looker: Looker,
    discover: bool,
    ledger: Ledger,
}

impl Discovery {
    /// Checks what was given; looks at nothing yet.
    pub fn new(host: Host, settings: &Settings) -> Result<Self, DiscoverError> {
        let hierarchy = Hierarchy::find(&host)?;
        let given = settings.cgroups.iter().map(|path| Given::check(path, &hierarchy)).collect::<Result<_, _>>()?;
        Ok(Self {
            given,
            looker: Looker::new(host, hierarchy, Instant::now()),
            discover: settings.discover,
            ledger: Ledger::new(settings),
        })
    }

    /// Looks for what came and went. To be called once a second at least; more often it costs nothing until it is time to
    /// look again, or the kernel gave notice.
    pub fn scan(&mut self) -> Vec<Change> {
        let now = Instant::now();
        let listeners = self.looker.look(now);
        let candidates = self.candidates(listeners);
        self.ledger.step(now, candidates)
    }

    /// Takes note that a socket began or ceased to listen; the next [`Self::scan`] looks there.
    pub fn notice(&mut self, listen: &Listen) {
        self.looker.notice(listen);
    }

    /// The first request to a model was seen: the workload is not on trial any more, nor when it returns.
    pub fn confirm(&mut self, id: WorkloadId) {
        self.ledger.confirm(id);
    }

    /// True for a workload that may turn out not to serve models: what is seen of it is not to be shipped yet.
    pub fn is_on_trial(&self, id: WorkloadId) -> bool {
        self.ledger.is_on_trial(id)
    }

    /// The first process of a workload that shares its cgroup with others; those that it started are its own, too.
    pub fn process(&self, id: WorkloadId) -> Option<u32> {
        self.ledger.process(id)
    }

    /// The topmost process of each server that is watched, or was before it went on to rest.
    pub fn servers(&self) -> impl Iterator<Item = (WorkloadId, u32)> {
        self.ledger.servers()
    }

    /// How many candidates are in each stage.
    pub fn stages(&self) -> Stages {
        self.ledger.stages()
    }

    /// What looking cost.
    pub fn figures(&self) -> Figures {
        self.looker.figures()
    }

    /// Given cgroups stand for everything below them.
    fn candidates(&mut self, mut listeners: Vec<Listener>) -> Vec<Candidate> {
        let mut found: Vec<Candidate> = Vec::new();
        for given in &mut self.given {
            let Some(group) = given.look() else { continue };
            let within = |listener: &&Listener| listener.group.is_within(&group.path);
            let mut servers = listeners.iter().filter(within).map(|listener| listener.server.as_ref());
            let candidate = whole(group, servers.find(|server| server.is_certain()), true);
            if found.iter().all(|other| other.key != candidate.key) {
                found.push(candidate);
            }
        }
        listeners.retain(|listener| !found.iter().any(|given| listener.group.is_within(&given.group.path)));
        if self.discover {
            found.extend(candidates(&listeners));
        }
        found
    }
}
