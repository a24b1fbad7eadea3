//! Whose a socket is: from the process that holds it to the server and the cgroup it belongs to.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::directories::Directories;
use super::facts::{Group, Server};
use super::recognise::{Kind, Recognised, recognise};
use crate::host::Host;
use crate::host::cgroup::{self, Membership};
use crate::host::patience::Patience;
use crate::host::place::{Place, Use};
use crate::host::process::{self, Process};
use crate::host::sockets::{self, Listening};

/// Parents followed upwards.
const ANCESTORS: usize = 16;
/// Processes asked whether they compute on a GPU.
const FAMILY: usize = 128;

/// Finds out whose sockets are, and remembers the cgroups and servers it has seen.
pub(super) struct Owners {
    pub(super) host: Host,
    pub(super) directories: Directories,
    patience: Patience,
    groups: HashMap<Arc<str>, Arc<Group>>,
    servers: HashMap<(u32, u64), Arc<Server>>,
}

/// Whose a socket is.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    pub(super) group: Arc<Group>,
    pub(super) server: Arc<Server>,
    /// The server's topmost process holds the socket itself.
    pub(super) first: bool,
}

impl Owners {
    pub(super) fn new(host: Host, directories: Directories) -> Self {
        Self { host, directories, patience: Patience::default(), groups: HashMap::new(), servers: HashMap::new() }
    }

    /// Whose a socket is that a process holds; `None` when the process is gone or the cgroup out of sight.
    pub(super) fn of(&mut self, socket: &Listening, pid: u32) -> Option<Owner> {
        let membership = cgroup::of_process(&self.host, pid)?;
        let own = self.directories.hierarchy.directory(membership.version2.as_deref()?);
        // A process may have moved since it made the socket, or got it from another one.
        let directory = match socket.cgroup {
            Some(id) if own.as_deref().and_then(|own| cgroup::id(own).ok()) != Some(id) => {
                self.directories.get(id)?.to_owned()
            }
            _ => own?,
        };
        let group = self.group(&directory)?;
        let (top, first) = self.topmost(socket.inode, pid, &group)?;
        let server = self.server(top, &group, &membership);
        Some(Owner { group, server, first })
    }

    /// Looks again at a server that nobody knew: it may have taken a title, or a GPU, since. `None` where nothing changed.
    pub(super) fn again(&mut self, server: &Server, group: &Group) -> Option<Arc<Server>> {
        if server.kind != Kind::Unknown || server.gpu {
            return None;
        }
        let process = Process::read(&self.host, server.pid, &self.patience)?;
        let Recognised { program, kind, ports } = recognise(&process);
        let gpu = self.computes(server.pid, group);
        let new = Server { program, kind, ports, gpu, ..server.clone() };
        if process.start != server.start || new == *server {
            return None;
        }
        let new = Arc::new(new);
        self.servers.insert((new.pid, new.start), Arc::clone(&new));
        Some(new)
    }

    /// Forgets servers and cgroups that no socket belongs to.
    pub(super) fn forget<'a>(&mut self, kept: impl Iterator<Item = &'a Owner>) {
        let (mut servers, mut groups) = (HashMap::new(), HashMap::new());
        for Owner { group, server, .. } in kept {
            servers.insert((server.pid, server.start), Arc::clone(server));
            groups.insert(Arc::clone(&group.path), Arc::clone(group));
        }
        (self.servers, self.groups) = (servers, groups);
    }

    /// The cgroup to watch for one that a socket belongs to.
    fn group(&mut self, directory: &Path) -> Option<Arc<Group>> {
        let hierarchy = &self.directories.hierarchy;
        let place = Place::of(&hierarchy.place(directory)?);
        let directory = hierarchy.at(&place.path);
        let id = cgroup::id(&directory).ok()?;
        if let Some(known) = self.groups.get(place.path.as_str()).filter(|known| known.id == id) {
            return Some(Arc::clone(known));
        }
        let Place { path, usage, name, container } = place;
        let group = Arc::new(Group { path: path.into(), directory, id, usage, name, container });
        self.groups.insert(Arc::clone(&group.path), Arc::clone(&group));
        Some(group)
    }

    /// The topmost process of the server, and whether it holds the socket. A process belongs to its parent's server
    /// where the parent holds the socket too, or is an inference server itself, in the same cgroup.
    fn topmost(&self, inode: u64, pid: u32, group: &Group) -> Option<(Process, bool)> {
        let mut top = Process::read(&self.host, pid, &self.patience)?;
        let mut first = true;
        for _ in 0..ANCESTORS {
            if top.parent <= 1 {
                break;
            }
            let holds = self.holds(top.parent, inode);
            let Some(parent) = Process::read(&self.host, top.parent, &self.patience) else { break };
            if !holds && !matches!(recognise(&parent).kind, Kind::Server(_)) || !self.is_in(parent.pid, group) {
                break;
            }
            (top, first) = (parent, holds);
        }
        Some((top, first))
    }

    fn holds(&self, pid: u32, inode: u64) -> bool {
        let mut found = false;
        sockets::held(&self.host, pid, |held, _descriptor| {
            found |= held == inode;
            !found
        });
        found
    }

    fn is_in(&self, pid: u32, group: &Group) -> bool {
        let place = || {
            let path = cgroup::of_process(&self.host, pid)?.version2?;
            let hierarchy = &self.directories.hierarchy;
            hierarchy.place(&hierarchy.directory(&path)?)
        };
        place().is_some_and(|place| *Place::of(&place).path == *group.path)
    }

    fn server(&mut self, process: Process, group: &Group, membership: &Membership) -> Arc<Server> {
        let key = (process.pid, process.start);
        if let Some(known) = self.servers.get(&key) {
            return Arc::clone(known);
        }
        let Recognised { program, mut kind, ports } = recognise(&process);
        if process.pid == std::process::id() {
            kind = Kind::Daemon;
        }
        let gpu = kind == Kind::Unknown && self.computes(process.pid, group);
        let container = membership.version1.as_deref().and_then(|path| Place::of(path).container);
        let server = Server { pid: key.0, start: key.1, program, kind, ports, gpu, container };
        let server = Arc::new(server);
        self.servers.insert(key, Arc::clone(&server));
        server
    }

    /// True where a process, one below it, or in a cgroup of its own any other, computes on a GPU.
    fn computes(&self, pid: u32, group: &Group) -> bool {
        let mut family = vec![pid];
        if group.usage == Use::Own {
            let mut open = vec![group.directory.clone()];
            while let Some(directory) = open.pop().filter(|_| family.len() < FAMILY) {
                family.extend(cgroup::processes(&directory));
                open.extend(cgroup::subdirectories(&directory));
            }
        } else {
            let mut next = 0;
            while let Some(&pid) = family.get(next).filter(|_| family.len() < FAMILY) {
                family.extend(process::children(&self.host, pid));
                next += 1;
            }
        }
        family.into_iter().take(FAMILY).any(|pid| process::computes_on_gpu(&self.host, pid))
    }
}
