//! What was seen: plain facts, from which the rest of discovery decides.

use std::path::PathBuf;
use std::sync::Arc;

use super::recognise::Kind;
use crate::host::place::Use;

/// A cgroup that may be watched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Group {
    /// Its path below the cgroup2 mount.
    pub(super) path: Arc<str>,
    /// Its directory.
    pub(super) directory: PathBuf,
    /// The directory's inode.
    pub(super) id: u64,
    /// Whether it was made for one program.
    pub(super) usage: Use,
    /// A name for people, from the path.
    pub(super) name: Option<String>,
    /// The container's id, from the path.
    pub(super) container: Option<Arc<str>>,
}

impl Group {
    /// True for this cgroup and those below it.
    pub(super) fn is_within(&self, above: &str) -> bool {
        above == "/" || self.path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// A server: the topmost of the processes that belong together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Server {
    /// Its process.
    pub(super) pid: u32,
    /// When the process began, which tells it from a later one with the same id.
    pub(super) start: u64,
    /// A short name for people.
    pub(super) program: Arc<str>,
    /// What it is.
    pub(super) kind: Kind,
    /// Ports that its command line names.
    pub(super) ports: Vec<u16>,
    /// Whether it computes on a GPU, or anything else does in a cgroup that was made for it.
    pub(super) gpu: bool,
    /// The container's id where cgroups of version 1 alone tell it.
    pub(super) container: Option<Arc<str>>,
}

impl Server {
    /// True for what serves models as far as names and devices tell.
    pub(super) fn is_certain(&self) -> bool {
        match self.kind {
            Kind::Server(_) => true,
            Kind::Daemon => false,
            Kind::Unknown => self.gpu,
        }
    }
}

/// A port that a server listens on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Listener {
    /// The server's cgroup.
    pub(super) group: Arc<Group>,
    /// Who listens.
    pub(super) server: Arc<Server>,
    /// Where.
    pub(super) port: u16,
    /// False where a process below the server's topmost one holds the socket alone.
    pub(super) first: bool,
}

/// Made-up facts for tests.
#[cfg(test)]
pub(super) mod made_up {
    use super::*;
    use crate::host::place::Place;
    use crate::host::process::Process;
    use crate::sources::workloads::recognise::recognise;

    pub(in crate::sources::workloads) fn group(path: &str, id: u64) -> Arc<Group> {
        let Place { path, usage, name, container } = Place::of(path);
        let directory = PathBuf::from(format!("/sys/fs/cgroup{path}"));
        Arc::new(Group { path: path.into(), directory, id, usage, name, container })
    }

    pub(in crate::sources::workloads) fn server(pid: u32, line: &str) -> Server {
        let command_line: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let process = Process { pid, parent: 1, start: 0, comm: String::new(), command_line, exe: None };
        let found = recognise(&process);
        let (program, kind, ports) = (found.program, found.kind, found.ports);
        Server { pid, start: 0, program, kind, ports, gpu: false, container: None }
    }

    pub(in crate::sources::workloads) fn listener(group: &Arc<Group>, server: &Server, port: u16) -> Listener {
        Listener { group: Arc::clone(group), server: Arc::new(server.clone()), port, first: true }
    }
}
