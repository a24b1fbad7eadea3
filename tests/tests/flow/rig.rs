//! The kernel half under test: loaded, with cgroups to watch and what came of them.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use inferscope::bpf::{Kernel, Options, object};
use inferscope::host::btf::{self, Btf};
use inferscope::model::request::Request;
use inferscope::model::workload::{Engine, Workload, WorkloadId};
use inferscope::sources::flow::Flows;
use inferscope::wire::Limits;
use inferscope_common::block::{Block, Counter, Hist};
use inferscope_tests::cgroup::Cgroup;
use inferscope_tests::wait::patient;

/// How long a test waits for what must come.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// Processes have one cgroup and this machine few processors: one test after the other. To verify the
/// programs takes longer than most tests: they stay loaded.
static LOADED: Mutex<Option<Flows>> = Mutex::new(None);

/// Options that nothing in these tests exceeds.
const AMPLE: Options = Options { workloads: 64, ring_bytes: 8 << 20 };

pub(crate) struct Rig {
    loaded: MutexGuard<'static, Option<Flows>>,
    /// Finished requests in the order in which they came.
    pub(crate) requests: Vec<Request>,
    watched: Vec<WorkloadId>,
    keeps: bool,
}

/// A cgroup that is watched.
pub(crate) struct Watched {
    pub(crate) cgroup: Cgroup,
    pub(crate) id: WorkloadId,
    baseline: Box<Block>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let mut loaded = turn();
        loaded.get_or_insert_with(|| Flows::new(load(AMPLE), Limits::default()));
        Self { loaded, requests: Vec::new(), watched: Vec::new(), keeps: true }
    }

    /// Programs of this test's own.
    pub(crate) fn with(options: Options) -> Self {
        let mut loaded = turn();
        *loaded = Some(Flows::new(load(options), Limits::default()));
        Self { loaded, requests: Vec::new(), watched: Vec::new(), keeps: false }
    }

    pub(crate) fn flows(&mut self) -> &mut Flows {
        self.loaded.as_mut().expect("loaded when the rig was made")
    }

    /// A new cgroup, watched from now on.
    pub(crate) fn watch(&mut self, name: &str) -> Watched {
        let cgroup = Cgroup::create(name).unwrap();
        self.watch_port(cgroup, None)
    }

    /// Another workload in a cgroup that somebody else owns.
    pub(crate) fn watch_path(&mut self, path: &Path, port: Option<u16>) -> WorkloadId {
        let workload = workload(next_id(), path, port);
        self.flows().add(&workload, &mut Block::zeroed()).unwrap();
        self.watched.push(workload.id);
        workload.id
    }

    pub(crate) fn watch_port(&mut self, cgroup: Cgroup, port: Option<u16>) -> Watched {
        let workload = workload(next_id(), cgroup.path(), port);
        let mut baseline = Box::new(Block::zeroed());
        self.flows().add(&workload, &mut baseline).unwrap();
        self.watched.push(workload.id);
        Watched { cgroup, id: workload.id, baseline }
    }

    /// Watches a cgroup no longer.
    pub(crate) fn forget(&mut self, watched: Watched) {
        self.flows().remove(watched.id);
    }

    /// Takes what the ring holds.
    pub(crate) fn poll(&mut self) {
        let (Some(flows), requests, watched) = (self.loaded.as_mut(), &mut self.requests, &self.watched) else {
            return;
        };
        // A test that failed may have left some.
        let mut take = |request: Request| {
            if watched.contains(&request.workload) {
                requests.push(request);
            }
        };
        while flows.poll(1 << 16, &mut take, |_| {}) == 1 << 16 {}
    }

    /// The next `count` finished requests; more than that is an error, as is waiting in vain.
    pub(crate) fn take(&mut self, count: usize) -> Vec<Request> {
        let deadline = Instant::now() + patient(DEADLINE);
        self.poll();
        while self.requests.len() < count && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
            self.poll();
        }
        let requests = std::mem::take(&mut self.requests);
        assert_eq!(requests.len(), count, "{requests:#?}");
        requests
    }

    /// The only request of an exchange.
    pub(crate) fn one(&mut self) -> Request {
        self.take(1).remove(0)
    }

    /// What was counted for a workload since it is watched.
    pub(crate) fn counts(&mut self, watched: &Watched) -> Counts {
        let mut block = Box::new(Block::zeroed());
        assert!(self.flows().read(watched.id, &mut block));
        for (word, before) in block.counters.iter_mut().zip(&watched.baseline.counters) {
            *word -= before;
        }
        for (hist, before) in block.hists.iter_mut().zip(&watched.baseline.hists) {
            hist.sum -= before.sum;
            for (word, before) in hist.slots.iter_mut().zip(&before.slots) {
                *word -= before;
            }
        }
        Counts(block)
    }

    /// Waits until the counters say so.
    pub(crate) fn until(&mut self, watched: &Watched, what: &str, is_so: impl Fn(&Counts) -> bool) -> Counts {
        wait_for(what, || {
            let counts = self.counts(watched);
            is_so(&counts).then_some(counts)
        })
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if !self.keeps {
            *self.loaded = None;
        }
        if let Some(flows) = self.loaded.as_mut() {
            self.watched.iter().for_each(|id| flows.remove(*id));
        }
    }
}

fn turn() -> MutexGuard<'static, Option<Flows>> {
    LOADED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Never used again, as the agent's are not.
fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn load(options: Options) -> Kernel {
    let types = Btf::load(Path::new(btf::VMLINUX)).unwrap();
    Kernel::load(object::OBJECT, Some(&types), options).unwrap_or_else(|error| panic!("{error}"))
}

/// A workload's counters and histograms.
pub(crate) struct Counts(Box<Block>);

impl Counts {
    pub(crate) fn get(&self, counter: Counter) -> u64 {
        self.0.counters[counter as usize]
    }

    /// Values counted, and their sum in nanoseconds.
    pub(crate) fn hist(&self, hist: Hist) -> (u64, u64) {
        let words = &self.0.hists[hist as usize];
        (words.in_use().map(|(_, count)| u64::from(count)).sum(), words.sum)
    }

    /// The slots that hold something, lowest first.
    pub(crate) fn slots(&self, hist: Hist) -> Vec<usize> {
        self.0.hists[hist as usize].in_use().map(|(slot, _)| slot).collect()
    }

    /// All events with content that were streamed.
    pub(crate) fn events(&self) -> u64 {
        self.get(Counter::Events) + self.hist(Hist::EventGap).0
    }

    /// All events with content that were received.
    pub(crate) fn client_events(&self) -> u64 {
        self.get(Counter::ClientEvents) + self.hist(Hist::ClientEventGap).0
    }

    /// Whatever is counted as lost, by name.
    pub(crate) fn losses(&self) -> Vec<(Counter, u64)> {
        let lost = Counter::ALL.into_iter().filter(|counter| *counter as u32 >= Counter::LostRing as u32);
        lost.map(|counter| (counter, self.get(counter))).filter(|(_, count)| *count > 0).collect()
    }
}

pub(crate) fn workload(id: u64, cgroup: &Path, port: Option<u16>) -> Workload {
    Workload {
        id: WorkloadId(id),
        name: Arc::from("test"),
        engine: Engine::Unknown,
        cgroup: cgroup.to_owned(),
        cgroup_id: std::fs::metadata(cgroup).unwrap().ino(),
        port,
        container: None,
    }
}

/// Waits for something that must come.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patient(DEADLINE);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
