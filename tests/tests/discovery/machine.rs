//! Servers, and the part of the agent that finds them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use inferscope::bpf::{Kernel, Options, Record, object};
use inferscope::host::Host;
use inferscope::host::btf::{self, Btf};
use inferscope::model::workload::{Workload, WorkloadId};
use inferscope::sources::workloads::{Change, Discovery, Settings};
use inferscope_tests::wait::patient;

/// Longest wait for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A server that is killed when dropped.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) listening: Instant,
}

impl Server {
    /// Starts a program in a cgroup, and waits until it says on its standard output that it listens.
    pub(crate) fn start(program: &str, arguments: &[&str], cgroup: Option<&Path>) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::null());
        let procs = cgroup.map(|cgroup| cgroup.join("cgroup.procs"));
        // SAFETY: between fork and exec it writes one file.
        unsafe { command.pre_exec(move || procs.as_ref().map_or(Ok(()), |procs| fs::write(procs, "0"))) };
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "{program} did not start");
        Self { child, listening: Instant::now() }
    }

    pub(crate) fn python(port: u16, cgroup: Option<&Path>) -> Self {
        Self::start("python3", &["-u", "-m", "http.server", &port.to_string()], cgroup)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The agent's part that matters here.
pub(crate) struct Agent {
    kernel: Option<Kernel>,
    pub(crate) discovery: Discovery,
    pub(crate) watched: Vec<Workload>,
}

impl Agent {
    pub(crate) fn new(settings: &Settings, with_kernel: bool) -> Self {
        let kernel = with_kernel.then(|| {
            let btf = Btf::load(Path::new(btf::VMLINUX)).unwrap();
            Kernel::load(object::OBJECT, Some(&btf), Options { workloads: 8, ring_bytes: 1 << 20 }).unwrap()
        });
        let mut agent =
            Self { kernel, discovery: Discovery::new(Host::default(), settings).unwrap(), watched: Vec::new() };
        agent.scan();
        agent
    }

    pub(crate) fn scan(&mut self) {
        if let Some(kernel) = &mut self.kernel {
            kernel.records(4096, |record| {
                if let Record::Listen(listen) = record {
                    self.discovery.notice(&listen);
                }
            });
        }
        for change in self.discovery.scan() {
            match change {
                Change::Appeared(workload) => {
                    assert!(self.watched.iter().all(|other| other.name != workload.name), "{workload:?} twice");
                    self.watched.push(workload);
                }
                Change::Vanished(id) => {
                    let before = self.watched.len();
                    self.watched.retain(|workload| workload.id != id);
                    assert_eq!(self.watched.len() + 1, before, "{id:?} was not there");
                }
            }
        }
    }

    /// Scans until `found` is content.
    pub(crate) fn until<T>(&mut self, what: &str, mut found: impl FnMut(&[Workload]) -> Option<T>) -> T {
        let deadline = Instant::now() + patient(DEADLINE);
        loop {
            self.scan();
            if let Some(found) = found(&self.watched) {
                return found;
            }
            assert!(Instant::now() < deadline, "{what}: {:?}", self.watched);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The workload in a cgroup, once it is watched.
    pub(crate) fn in_cgroup(&mut self, cgroup: &Path) -> Workload {
        self.until("in the cgroup", |all| all.iter().find(|workload| workload.cgroup == cgroup).cloned())
    }

    pub(crate) fn on_port(&mut self, port: u16) -> Workload {
        self.until("on the port", |all| all.iter().find(|workload| workload.port == Some(port)).cloned())
    }

    /// How long until it is let go.
    pub(crate) fn gone(&mut self, id: WorkloadId) -> Duration {
        let begun = Instant::now();
        self.until("to go", |all| all.iter().all(|workload| workload.id != id).then_some(()));
        begun.elapsed()
    }
}

/// A port that nobody has.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
