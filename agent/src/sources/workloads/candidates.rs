//! Which workloads the servers of a machine make up.
//!
//! A cgroup of its own (a container, a service, a group made by hand) is one workload, watched as a whole, so that
//! the requests it sends are seen too. However many sockets its processes listen on, it stays one: a server's
//! metrics port, the ports between its workers, or a helper beside it are parts of it. Only where two
//! servers that are known to be inference servers, neither of them started by the other, share such a cgroup, each is
//! a workload of its own, told apart by port.
//!
//! In a cgroup that many share (the root of a bare machine, a login session) every workload is told apart by port. A
//! server that is known serves on the port that its command line names, else on its usual one, else on
//! its only one, and its other ports are no workloads; where none of this holds, each port of its
//! first process is tried. Servers that nobody knows are tried on each of their ports.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::facts::{Group, Listener, Server};
use super::recognise::{Kind, tidy};
use crate::host::place::Use;
use crate::model::workload::Engine;

/// Tells workloads apart for as long as the machine runs: a server that is started anew keeps its key.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct Key {
    /// The cgroup's path below the mount.
    pub(super) path: Arc<str>,
    /// The port, where the cgroup is not watched as a whole.
    pub(super) port: Option<u16>,
}

/// What may become a workload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Candidate {
    /// Who it is.
    pub(super) key: Key,
    /// The cgroup to watch.
    pub(super) group: Arc<Group>,
    /// What serves.
    pub(super) engine: Engine,
    /// True where it is known to serve models; else the wire decides.
    pub(super) certain: bool,
    /// A name for people, not yet unique.
    pub(super) name: String,
    /// The program that serves: what is remembered of one says nothing about another.
    pub(super) program: Arc<str>,
    /// The container's id.
    pub(super) container: Option<Arc<str>>,
    /// The first process of what serves.
    pub(super) process: Option<u32>,
}

/// Digits of a container's id that people use.
const SHORT_ID: usize = 12;

/// Makes candidates of listeners. No two have the same key.
pub(super) fn candidates(listeners: &[Listener]) -> Vec<Candidate> {
    let mut groups: BTreeMap<&str, Vec<&Listener>> = BTreeMap::new();
    for listener in listeners.iter().filter(|listener| listener.server.kind != Kind::Daemon) {
        groups.entry(&listener.group.path).or_default().push(listener);
    }
    groups.into_values().flat_map(of_group).collect()
}

/// One cgroup as a whole, given by name or found to be one workload.
pub(super) fn whole(group: &Arc<Group>, server: Option<&Server>, certain: bool) -> Candidate {
    let key = Key { path: Arc::clone(&group.path), port: None };
    candidate(group, key, server, certain, whole_name(group, server))
}

/// Those of one cgroup. `listeners` is not empty.
fn of_group(listeners: Vec<&Listener>) -> Vec<Candidate> {
    let Some(group) = listeners.first().map(|listener| &listener.group) else { return Vec::new() };
    let mut servers: BTreeMap<(u32, u64), Vec<&Listener>> = BTreeMap::new();
    for listener in &listeners {
        servers.entry((listener.server.pid, listener.server.start)).or_default().push(listener);
    }
    let known = |sockets: &[&Listener]| matches!(sockets[0].server.kind, Kind::Server(_));
    if group.usage == Use::Own && servers.values().filter(|sockets| known(sockets)).count() < 2 {
        // The known one, else the one that began first.
        let best = servers.values().min_by_key(|sockets| !known(sockets)).map(|sockets| sockets[0].server.as_ref());
        let certain = listeners.iter().any(|listener| listener.server.is_certain());
        return vec![whole(group, best, certain)];
    }
    // Namespaces may hold one port twice in one cgroup; the kernel counts both under it.
    let mut by_port: BTreeMap<u16, Candidate> = BTreeMap::new();
    for sockets in servers.values() {
        let Some(server) = sockets.first().map(|listener| &listener.server) else { continue };
        for (port, certain) in served(server, sockets) {
            let name = match group.usage {
                Use::Own => format!("{}:{port}", whole_name(group, Some(server))),
                Use::Shared => format!("{}:{port}", server.program),
            };
            let key = Key { path: Arc::clone(&group.path), port: Some(port) };
            let new = candidate(group, key, Some(server), certain, name);
            let kept = by_port.entry(port).or_insert_with(|| new.clone());
            if new.certain && !kept.certain {
                *kept = new;
            }
        }
    }
    by_port.into_values().collect()
}

/// Ports of a server that are workloads, and whether that is certain.
fn served(server: &Server, sockets: &[&Listener]) -> Vec<(u16, bool)> {
    let first_only = sockets.iter().any(|socket| socket.first);
    let mut ports: Vec<u16> = sockets.iter().filter(|s| s.first || !first_only).map(|socket| socket.port).collect();
    ports.sort_unstable();
    ports.dedup();
    if !server.is_certain() {
        return ports.into_iter().map(|port| (port, false)).collect();
    }
    let every = |port: &u16| sockets.iter().any(|socket| socket.port == *port);
    let named: Vec<u16> = server.ports.iter().copied().filter(every).collect();
    if !named.is_empty() {
        return named.into_iter().map(|port| (port, true)).collect();
    }
    if let Kind::Server(product) = server.kind
        && every(&product.port)
    {
        return vec![(product.port, true)];
    }
    let certain = ports.len() == 1;
    ports.into_iter().map(|port| (port, certain)).collect()
}

fn whole_name(group: &Group, server: Option<&Server>) -> String {
    if let Some(name) = &group.name {
        return tidy(name);
    }
    let program = server.map_or("container", |server| &server.program);
    match &group.container {
        Some(id) => format!("{program}-{}", id.get(..SHORT_ID).unwrap_or(id)),
        None => "host".to_owned(),
    }
}

fn candidate(group: &Arc<Group>, key: Key, server: Option<&Server>, certain: bool, name: String) -> Candidate {
    let engine = match server.map(|server| server.kind) {
        Some(Kind::Server(product)) => product.engine,
        _ => Engine::Unknown,
    };
    let container = group.container.clone().or_else(|| server?.container.clone());
    let program = server.map_or_else(|| "".into(), |server| Arc::clone(&server.program));
    let process = server.map(|server| server.pid);
    Candidate { key, group: Arc::clone(group), engine, certain, name, program, container, process }
}

#[cfg(test)]
mod tests {
    use super::super::facts::made_up::{group, listener, server};
    use super::*;

    const CONTAINER: &str = "/docker/1c33afbc9e5aa6c69150d1af05254b562a4b17c313fc6153e3625cf456922bfe";

    /// A socket: process, command line, port.
    type Socket = (u32, &'static str, u16);
    /// A candidate: name, port or 0, certain.
    type Row = (&'static str, u16, bool);

    /// Candidates of one cgroup.
    fn of(path: &str, sockets: &[Socket]) -> Vec<(String, Option<u16>, bool)> {
        let group = group(path, 1);
        let listeners: Vec<Listener> =
            sockets.iter().map(|(pid, line, port)| listener(&group, &server(*pid, line), *port)).collect();
        let found = candidates(&listeners);
        found.into_iter().map(|found| (found.name, found.key.port, found.certain)).collect()
    }

    fn expected(rows: &[Row]) -> Vec<(String, Option<u16>, bool)> {
        let port = |port| if port == 0 { None } else { Some(port) };
        rows.iter().map(|(name, number, certain)| ((*name).to_owned(), port(*number), *certain)).collect()
    }

    #[test]
    fn cgroups_of_their_own_are_watched_whole() {
        let table: [(&str, &[Socket], &[Row]); 9] = [
            ("/system.slice/vllm.service", &[(2, "vllm serve m", 8000)], &[("vllm.service", 0, true)]),
            ("/system.slice/app.service", &[(2, "python3 app.py", 9000)], &[("app.service", 0, false)]),
            (CONTAINER, &[(2, "vllm serve m", 8000)], &[("vllm-1c33afbc9e5a", 0, true)]),
            (
                CONTAINER,
                &[(2, "python3 app.py", 8000), (2, "python3 app.py", 9090)],
                &[("app.py-1c33afbc9e5a", 0, false)],
            ),
            // A helper and a daemon beside it are parts of it.
            (
                CONTAINER,
                &[(2, "nginx", 80), (3, "vllm serve m", 8000), (4, "sshd", 22)],
                &[("vllm-1c33afbc9e5a", 0, true)],
            ),
            (CONTAINER, &[(2, "node a.js", 80), (3, "node b.js", 81)], &[("a.js-1c33afbc9e5a", 0, false)]),
            ("/system.slice/ssh.service", &[(2, "sshd", 22)], &[]),
            // Two inference servers that have nothing to do with each other.
            (
                "/llamas",
                &[(2, "llama-server --port 8081", 8081), (3, "llama-server --port 8082", 8082), (4, "node x.js", 80)],
                &[("llamas:80", 80, false), ("llamas:8081", 8081, true), ("llamas:8082", 8082, true)],
            ),
            (
                "/system.slice/ray.service",
                &[(2, "raylet", 6380), (3, "ray::ProxyActor", 8000), (4, "ray::ServeReplica:x", 40000)],
                &[("ray.service", 0, true)],
            ),
        ];
        for (path, sockets, rows) in table {
            assert_eq!(of(path, sockets), expected(rows), "{path} {sockets:?}");
        }
    }

    #[test]
    fn in_shared_ones_workloads_are_told_apart_by_port() {
        let table: [(&[Socket], &[Row]); 8] = [
            (
                &[(2, "vllm serve m --port 8001", 8001), (2, "vllm serve m --port 8001", 35001)],
                &[("vllm:8001", 8001, true)],
            ),
            (
                &[(2, "tritonserver", 8000), (2, "tritonserver", 8001), (2, "tritonserver", 8002)],
                &[("triton:8000", 8000, true)],
            ),
            (&[(2, "vllm serve m", 9000)], &[("vllm:9000", 9000, true)]),
            (
                &[(2, "vllm serve m", 9000), (2, "vllm serve m", 9001)],
                &[("vllm:9000", 9000, false), ("vllm:9001", 9001, false)],
            ),
            (
                &[(2, "uvicorn app:app", 8000), (3, "node server.js", 3000)],
                &[("server.js:3000", 3000, false), ("uvicorn:8000", 8000, false)],
            ),
            (&[(2, "sshd", 22), (3, "systemd-resolved", 53), (4, "etcd", 2379)], &[]),
            // Twice in two namespaces, or once for each address family.
            (&[(2, "node a.js", 80), (3, "vllm serve m", 80), (3, "vllm serve m", 80)], &[("vllm:80", 80, true)]),
            (&[], &[]),
        ];
        for (sockets, rows) in table {
            assert_eq!(of("/", sockets), expected(rows), "{sockets:?}");
        }
    }

    #[test]
    fn sockets_of_processes_below_count_where_the_first_one_has_none() {
        let root = group("/", 1);
        let below = |line: &str, port| Listener { first: false, ..listener(&root, &server(2, line), port) };
        let ports = |listeners: &[Listener]| candidates(listeners).iter().map(|c| c.key.port).collect::<Vec<_>>();
        let ollama = [listener(&root, &server(2, "ollama serve"), 11434), below("ollama serve", 40000)];
        assert_eq!(ports(&ollama), [Some(11434)], "its runner is a part of it");
        assert_eq!(ports(&[below("vllm serve m", 9000)]), [Some(9000)]);
        let unknown = [listener(&root, &server(2, "gunicorn"), 80), below("gunicorn", 40000)];
        assert_eq!(ports(&unknown), [Some(80)]);
    }

    #[test]
    fn a_gpu_makes_unknown_servers_certain_and_names_containers_of_version_1() {
        let server = Server { gpu: true, container: Some("abc".into()), ..server(2, "python3 app.py") };
        let found = candidates(&[listener(&group("/", 1), &server, 80)]);
        assert_eq!((found[0].certain, found[0].engine), (true, Engine::Unknown));
        assert_eq!(found[0].container.as_deref(), Some("abc"));
        let found = candidates(&[listener(&group(CONTAINER, 1), &server, 80), listener(&group("/x", 2), &server, 81)]);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].container.as_deref(), CONTAINER.strip_prefix("/docker/"));
    }

    #[test]
    fn a_given_cgroup_has_a_name_whatever_it_is() {
        assert_eq!(whole(&group("/", 1), None, true).name, "host");
        assert_eq!(whole(&group(CONTAINER, 1), None, true).name, "container-1c33afbc9e5a");
        assert_eq!(whole(&group("/a b/c\n", 1), None, true).name, "c_");
    }
}
