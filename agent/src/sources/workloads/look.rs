//! Looks at the machine: which sockets listen, and whose they are.
//!
//! Three looks, from cheap to dear:
//! - the **tables** of listening sockets, two files for each network namespace, twice a second: they show what came
//!   and what went. Whose a socket is is looked for once, when it is new;
//! - a **notice** from the kernel, that a socket of some cgroup began to listen, leads to namespaces not seen
//!   before, and to the few processes that may hold the socket;
//! - a **survey** of all processes, for their namespaces and for what changed without a sign: once in ten seconds.
//!
//! Each look says when the next of its kind may be, so that however large the machine, tables take no more than
//! 1 % of one processor's time, and surveys 0.5 %; a storm of notices is followed for 10 % of it at most. Measured with
//! 600 processes: 0.1 ms for the tables, 5 ms for a survey, 26 ms for the first one, which finds the owner of everything.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use inferscope_common::flow::Listen;

use super::directories::Directories;
use super::facts::Listener;
use super::owner::{Owner, Owners};
use crate::clock::thread_cpu;
use crate::host::cgroup::{self, Hierarchy};
use crate::host::sockets::{Listening, Namespaces, Tables};
use crate::host::{Host, process, sockets};

/// Between two readings of the tables without a notice.
const TABLES: Duration = Duration::from_millis(500);
/// Between two surveys.
const SURVEY: Duration = Duration::from_secs(10);
/// A survey that took a second is followed by none for this many.
const SURVEY_SHARE: u32 = 200;
/// The same for tables.
const TABLES_SHARE: u32 = 100;
/// The same for what notices lead to.
const NOTICES_SHARE: u32 = 10;
/// Notices kept until the next look; beyond them it is a survey.
const NOTICES: usize = 1024;
/// Processes through which a namespace's tables are read; more than one, since each may end.
const READERS: usize = 4;
/// Processes of a noticed cgroup whose namespaces are looked at.
const NOTICED: usize = 64;
/// Descriptors looked at in one search for holders.
const SEARCH: usize = 200_000;
/// Rest after a search in vain: 1 s, doubled up to 17 min.
const VAIN: Duration = Duration::from_secs(1);
const VAIN_DOUBLINGS: u32 = 10;

/// Sees what listens.
pub(super) struct Looker {
    owners: Owners,
    namespaces: Namespaces,
    sockets: BTreeMap<u64, Known>,
    /// Sockets that no visible process holds: the kernel's own, or another user's.
    orphans: HashMap<u64, Orphan>,
    notices: HashSet<Notice>,
    next_tables: Instant,
    next_notices: Instant,
    next_survey: Instant,
    figures: Figures,
}

/// Cgroup, port, and whether it listens.
type Notice = (u64, u32, bool);

struct Known {
    port: u16,
    pid: u32,
    start: u64,
    descriptor: u32,
    owner: Owner,
    /// Missing in the last table, though still open: tables may skip a row while another changes.
    missing: bool,
}

struct Orphan {
    until: Instant,
    tries: u32,
}

/// What looking cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Surveys made.
    pub surveys: u64,
    /// Processor time of the last one, tables and searches included.
    pub survey: Duration,
    /// Processor time of the last reading of the tables.
    pub tables: Duration,
    /// Processes of the last survey.
    pub processes: usize,
    /// Network namespaces known.
    pub namespaces: usize,
    /// Sockets that listen and whose owners are known.
    pub sockets: usize,
    /// Sockets that listen and that no visible process holds.
    pub orphans: usize,
}

impl Looker {
    /// Has seen nothing yet.
    pub(super) fn new(host: Host, hierarchy: Hierarchy, now: Instant) -> Self {
        Self {
            owners: Owners::new(host, Directories::new(hierarchy, now)),
            namespaces: Namespaces::new(),
            sockets: BTreeMap::new(),
            orphans: HashMap::new(),
            notices: HashSet::new(),
            next_tables: now,
            next_notices: now,
            next_survey: now,
            figures: Figures::default(),
        }
    }

    /// What looking cost.
    pub(super) fn figures(&self) -> Figures {
        self.figures
    }

    /// Takes note that a socket began or ceased to listen.
    pub(super) fn notice(&mut self, listen: &Listen) {
        if self.notices.len() < NOTICES {
            self.notices.insert((listen.cgroup, listen.port, listen.listening != 0));
        }
    }

    /// Looks as far as it is time to, and says what listens.
    pub(super) fn look(&mut self, now: Instant) -> Vec<Listener> {
        let begun = thread_cpu();
        let noticed = !self.notices.is_empty() && now >= self.next_notices;
        if now >= self.next_survey || noticed && self.notices.len() == NOTICES {
            self.notices.clear();
            let pids = self.survey();
            self.refresh();
            self.tables(now, &pids, true);
            self.figures.survey = thread_cpu().saturating_sub(begun);
            self.figures.surveys += 1;
            self.next_survey = now + SURVEY.max(self.figures.survey * SURVEY_SHARE);
        } else if now >= self.next_tables || noticed {
            let pids = self.follow(now);
            self.tables(now, &pids, false);
        } else {
            return self.listeners();
        }
        self.next_tables = now + TABLES.max(self.figures.tables * TABLES_SHARE);
        self.next_notices = now + thread_cpu().saturating_sub(begun) * NOTICES_SHARE;
        self.figures.namespaces = self.namespaces.len();
        self.figures.sockets = self.sockets.len();
        self.figures.orphans = self.orphans.len();
        self.listeners()
    }

    fn listeners(&self) -> Vec<Listener> {
        let listeners = self.sockets.values().map(|Known { port, owner, .. }| {
            let Owner { group, server, first } = owner.clone();
            Listener { group, server, port: *port, first }
        });
        listeners.collect()
    }

    /// Takes in every process's namespace; all processes, the youngest first.
    fn survey(&mut self) -> Vec<u32> {
        let mut pids = self.owners.host.pids();
        pids.reverse();
        self.namespaces.clear();
        pids.iter().for_each(|&pid| self.enter(pid));
        self.figures.processes = pids.len();
        pids
    }

    /// Takes in the namespaces of noticed cgroups; the processes that may hold the new sockets.
    fn follow(&mut self, now: Instant) -> Vec<u32> {
        let notices = std::mem::take(&mut self.notices).into_iter();
        let begun: HashSet<u64> = notices.filter(|(.., listening)| *listening).map(|(cgroup, ..)| cgroup).collect();
        self.owners.directories.find(now, begun.iter().copied());
        let directories = begun.iter().filter_map(|&id| self.owners.directories.get(id));
        let mut pids = Vec::new();
        let noticed: Vec<Vec<u32>> = directories.map(cgroup::processes).collect();
        for of_cgroup in noticed {
            of_cgroup.iter().rev().take(NOTICED).for_each(|&pid| self.enter(pid));
            pids.extend(of_cgroup.into_iter().rev());
        }
        pids
    }

    /// Notes a process's namespace.
    fn enter(&mut self, pid: u32) {
        if let Some(namespace) = sockets::namespace(&self.owners.host, pid) {
            let readers = self.namespaces.entry(namespace).or_default();
            if readers.len() < READERS && !readers.contains(&pid) {
                readers.push(pid);
            }
        }
    }

    /// Reads every table: forgets what is gone, finds the owners of what is new among `pids`, then among all.
    fn tables(&mut self, now: Instant, pids: &[u32], all: bool) {
        let Tables { sockets, incomplete, cost } = sockets::listening(&self.owners.host, &self.namespaces);
        self.figures.tables = cost;
        let listening: HashMap<u64, Listening> = sockets.into_iter().map(|socket| (socket.inode, socket)).collect();
        let host = &self.owners.host;
        self.sockets.retain(|inode, known| {
            let missing = !listening.contains_key(inode);
            // A socket in a namespace that nobody reads any more is judged by its holder alone.
            let twice = std::mem::replace(&mut known.missing, missing) && !incomplete;
            !missing || !twice && sockets::holds(host, known.pid, known.descriptor, *inode)
        });
        self.orphans.retain(|inode, _| listening.contains_key(inode));
        let rests = |inode: &u64| self.orphans.get(inode).is_some_and(|orphan| orphan.until > now);
        let mut wanted = listening;
        wanted.retain(|inode, _| !self.sockets.contains_key(inode) && !rests(inode));
        if wanted.is_empty() {
            return;
        }
        self.owners.directories.find(now, wanted.values().filter_map(|socket| socket.cgroup));
        let vain: HashSet<u64> = wanted.keys().copied().collect();
        self.search(&mut wanted, pids);
        if !wanted.is_empty() && !all {
            let mut rest = self.owners.host.pids();
            rest.reverse();
            self.search(&mut wanted, &rest);
        }
        for inode in vain.into_iter().filter(|inode| !self.sockets.contains_key(inode)) {
            let orphan = self.orphans.entry(inode).or_insert(Orphan { until: now, tries: 0 });
            orphan.until = now + VAIN * (1 << orphan.tries.min(VAIN_DOUBLINGS));
            orphan.tries += 1;
        }
    }

    /// Looks for the holders of sockets among processes, and takes those it finds from `wanted`.
    fn search(&mut self, wanted: &mut HashMap<u64, Listening>, pids: &[u32]) {
        let mut looked = 0;
        for &pid in pids {
            if wanted.is_empty() || looked > SEARCH {
                return;
            }
            let mut found = Vec::new();
            looked += sockets::held(&self.owners.host, pid, |inode, descriptor| {
                found.extend(wanted.remove(&inode).map(|socket| (socket, descriptor)));
                !wanted.is_empty()
            });
            for (socket, descriptor) in found {
                let owner = self.owners.of(&socket, pid);
                if let (Some(owner), Some(start)) = (owner, process::start(&self.owners.host, pid)) {
                    self.orphans.remove(&socket.inode);
                    let known = Known { port: socket.port, pid, start, descriptor, owner, missing: false };
                    self.sockets.insert(socket.inode, known);
                }
            }
        }
    }

    /// Forgets sockets whose holders or servers are gone, so that it is found out who holds them now, and looks again at
    /// servers that nobody knew.
    fn refresh(&mut self) {
        let host = self.owners.host.clone();
        let lives = |pid, start| process::start(&host, pid) == Some(start);
        self.sockets.retain(|_, Known { pid, start, owner: Owner { server, .. }, .. }| {
            lives(*pid, *start) && (server.pid == *pid || lives(server.pid, server.start))
        });
        let mut again = HashMap::new();
        for Known { owner: Owner { server, group, .. }, .. } in self.sockets.values_mut() {
            let new = again.entry((server.pid, server.start)).or_insert_with(|| self.owners.again(server, group));
            *server = new.clone().unwrap_or_else(|| Arc::clone(server));
        }
        self.owners.forget(self.sockets.values().map(|known| &known.owner));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::made_up::Machine;
    use crate::sources::workloads::recognise::Kind;

    struct Run {
        machine: Machine,
        looker: Looker,
        now: Instant,
    }

    impl Run {
        fn new(prepare: impl FnOnce(&Machine)) -> Self {
            let machine = Machine::new();
            machine.file("proc/self/mountinfo", "29 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
            prepare(&machine);
            let now = Instant::now();
            let hierarchy = Hierarchy::find(machine.host()).unwrap();
            let looker = Looker::new(machine.host().clone(), hierarchy, now);
            Self { machine, looker, now }
        }

        /// What is seen a while later, as `cgroup program:port`.
        fn after(&mut self, millis: u64) -> Vec<String> {
            self.now += Duration::from_millis(millis);
            let mut seen: Vec<String> = self
                .looker
                .look(self.now)
                .iter()
                .map(|seen| format!("{} {}:{}", seen.group.path, seen.server.program, seen.port))
                .collect();
            seen.sort_unstable();
            seen
        }

        fn notice(&mut self, cgroup: &str, port: u32, listening: u32) {
            let id = cgroup::id(&self.machine.host().path(format!("/sys/fs/cgroup{cgroup}"))).unwrap();
            self.looker.notice(&Listen { cgroup: id, port, listening });
        }
    }

    #[test]
    fn what_listens_is_seen_and_what_ceases_is_gone() {
        let mut run = Run::new(|machine| {
            machine.server(10, &["vllm", "serve"], 1, "/", &[(100, 8000), (101, 9000)]);
            machine.server(20, &["node", "a.js"], 2, "/docker/x", &[(200, 80)]);
            machine.table(1, &[(100, 8000), (101, 9000)]);
            machine.table(2, &[(200, 80)]);
            machine.file("proc/30/stat", "hostile");
            machine.file("proc/31/cmdline", "");
        });
        assert_eq!(run.after(0), ["/ vllm:8000", "/ vllm:9000", "/docker/x a.js:80"]);
        // Closed: no longer in the table, no longer open.
        run.machine.table(1, &[(100, 8000)]);
        std::fs::remove_file(run.machine.host().path("/proc/10/fd/4")).unwrap();
        assert_eq!(run.after(500), ["/ vllm:8000", "/docker/x a.js:80"]);
        // Killed, with its namespace.
        run.machine.kill(20);
        assert_eq!(run.after(500), ["/ vllm:8000"]);
    }

    #[test]
    fn a_row_that_a_table_skips_once_is_not_gone() {
        let mut run = Run::new(|machine| {
            machine.server(10, &["vllm", "serve"], 1, "/", &[(100, 8000)]);
            machine.table(1, &[(100, 8000)]);
        });
        assert_eq!(run.after(0).len(), 1);
        run.machine.table(1, &[]);
        assert_eq!(run.after(500).len(), 1, "still open");
        run.machine.table(1, &[(100, 8000)]);
        assert_eq!(run.after(500).len(), 1);
        run.machine.table(1, &[]);
        assert_eq!(run.after(500).len(), 1);
        assert_eq!(run.after(500).len(), 0, "open, but it listens no more");
    }

    #[test]
    fn a_notice_leads_to_a_cgroup_and_a_namespace_never_seen() {
        let mut run = Run::new(|machine| machine.server(10, &["sh"], 1, "/", &[]));
        run.machine.table(1, &[]);
        assert!(run.after(0).is_empty());
        run.machine.server(20, &["ollama", "serve"], 2, "/system.slice/ollama.service", &[(200, 11434)]);
        run.machine.table(2, &[(200, 11434)]);
        assert!(run.after(1).is_empty(), "nobody said so");
        run.notice("/system.slice/ollama.service", 11434, 1);
        assert_eq!(run.after(400), ["/system.slice/ollama.service ollama:11434"]);
        run.machine.table(2, &[]);
        std::fs::remove_file(run.machine.host().path("/proc/20/fd/3")).unwrap();
        run.notice("/system.slice/ollama.service", 11434, 0);
        assert!(run.after(100).is_empty());
        assert_eq!(run.looker.figures().surveys, 1);
    }

    #[test]
    fn a_storm_of_notices_becomes_one_survey() {
        let mut run = Run::new(|machine| machine.server(10, &["sh"], 1, "/", &[]));
        run.after(0);
        for port in 0..3 * NOTICES as u32 {
            run.notice("/", port, 1);
        }
        assert_eq!(run.looker.notices.len(), NOTICES);
        run.after(1000);
        run.after(1000);
        assert_eq!(run.looker.figures().surveys, 2);
    }

    #[test]
    fn without_a_notice_a_survey_finds_new_namespaces() {
        let mut run = Run::new(|machine| machine.server(10, &["sh"], 1, "/", &[]));
        run.after(0);
        run.machine.server(20, &["ollama"], 2, "/x", &[(200, 80)]);
        run.machine.table(2, &[(200, 80)]);
        assert!(run.after(9_000).is_empty());
        assert_eq!(run.after(11_000), ["/x ollama:80"]);
    }

    #[test]
    fn a_socket_that_nobody_holds_is_looked_for_ever_more_seldom() {
        let mut run = Run::new(|machine| {
            machine.server(10, &["sh"], 1, "/", &[]);
            machine.table(1, &[(100, 2049)]);
        });
        run.after(0);
        let mut tries = Vec::new();
        for half_second in 1..=60 {
            let before = run.looker.orphans[&100].tries;
            run.after(500);
            if run.looker.orphans[&100].tries > before {
                tries.push(half_second);
            }
        }
        assert_eq!(tries, [2, 6, 14, 30]);
        run.machine.table(1, &[]);
        run.after(500);
        assert_eq!(run.looker.figures().orphans, 0);
    }

    #[test]
    fn workers_belong_to_the_process_that_started_them() {
        let mut run = Run::new(|machine| {
            // A master and its worker share a socket; so do they with nobody the shell above them.
            machine.server(10, &["bash"], 1, "/", &[]);
            machine.server(11, &["gunicorn"], 1, "/", &[(100, 80)]);
            machine.server(12, &["python3", "-c", "x"], 1, "/", &[(100, 80)]);
            // A runner has a socket of its own, and an inference server for a parent.
            machine.server(21, &["ollama", "serve"], 1, "/", &[(200, 11434)]);
            machine.server(22, &["llama-server"], 1, "/", &[(201, 40000)]);
            // The same parent in another cgroup is another matter.
            machine.server(32, &["llama-server"], 1, "/other", &[(300, 40001)]);
            for (pid, parent) in [(11, 10), (12, 11), (22, 21), (32, 21)] {
                machine.file(
                    &format!("proc/{pid}/stat"),
                    &format!("{pid} (x) S {parent} 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {pid} 0 0\n"),
                );
            }
            machine.table(1, &[(100, 80), (200, 11434), (201, 40000), (300, 40001)]);
        });
        assert_eq!(run.after(0), ["/ gunicorn:80", "/ ollama:11434", "/ ollama:40000", "/other llama-server:40001"]);
        let first: Vec<(u16, bool)> = run.looker.look(run.now).iter().map(|seen| (seen.port, seen.first)).collect();
        assert_eq!(first, [(80, true), (11434, true), (40000, false), (40001, true)]);
        // The worker lives on when its master ends.
        run.machine.kill(11);
        assert!(run.after(11_000).contains(&"/ python3:80".to_owned()));
    }

    #[test]
    fn what_nobody_knew_is_looked_at_again() {
        let mut run = Run::new(|machine| {
            machine.server(10, &["python3", "app.py"], 1, "/app", &[(100, 80)]);
            machine.server(11, &["python3", "b.py"], 1, "/", &[(101, 81)]);
            machine.table(1, &[(100, 80), (101, 81)]);
        });
        run.after(0);
        run.machine.file("proc/11/cmdline", "VLLM::APIServer_0\0");
        // A GPU in use by another process of the same cgroup.
        run.machine.process(12, "worker", &["worker"]);
        run.machine.link("proc/12/fd/9", "/dev/nvidia-uvm");
        run.machine.file("sys/fs/cgroup/app/worker/cgroup.procs", "12\n");
        assert_eq!(run.after(9_000), ["/ b.py:81", "/app app.py:80"]);
        assert_eq!(run.after(2_000), ["/ vllm:81", "/app app.py:80"]);
        let seen = run.looker.look(run.now);
        assert!(seen[0].server.gpu && seen[0].server.kind == Kind::Unknown);
        assert!(matches!(seen[1].server.kind, Kind::Server(_)));
    }
}
