//! Which TCP sockets listen, and who holds them.
//!
//! The kernel lists those of a network namespace over netlink ([`diag`]), in 20 µs. Where a namespace is not to be
//! entered, `/proc/PID/net/tcp` and `tcp6` of a process in it say the same but for the cgroup. They list what
//! listens before everything else, so reading stops at the first socket that does not; still
//! the kernel fills a page first, and searches all its 260,000 hash buckets for it where there is little: 1 ms.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use super::{Host, diag};
use crate::clock::thread_cpu;

/// Sockets taken of one table, and descriptors looked at in one process.
const SOCKETS: usize = 16_384;
const DESCRIPTORS: usize = 65_536;

/// A socket that listens.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Listening {
    /// Names the socket in `/proc/PID/fd` while it is open.
    pub inode: u64,
    /// Its port.
    pub port: u16,
    /// Its cgroup's id, where the kernel tells.
    pub cgroup: Option<u64>,
}

/// Network namespaces by their ids, each with processes in it.
pub type Namespaces = HashMap<u64, Vec<u32>>;

/// What listens.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tables {
    /// The sockets, in no order.
    pub sockets: Vec<Listening>,
    /// Some namespaces could not be read: their processes are gone.
    pub incomplete: bool,
    /// Processor time that it took to find out.
    pub cost: Duration,
}

/// Sockets that listen in all of these namespaces.
pub fn listening(host: &Host, namespaces: &Namespaces) -> Tables {
    let begun = thread_cpu();
    let own = fs::read_link(host.path("/proc/self/ns/net")).ok().and_then(|link| identity(&link, "net:["));
    let (mut tables, mut rest) = (Tables::default(), Vec::new());
    for (namespace, pids) in namespaces {
        let here = if host.is_real() && Some(*namespace) == own { diag::listening().ok() } else { None };
        match here {
            Some(sockets) => tables.sockets.extend(sockets),
            None => rest.push(pids.as_slice()),
        }
    }
    if !rest.is_empty() {
        // A thread of its own, since it does not come back from the namespaces it enters.
        let others = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("namespaces".to_owned());
            thread.spawn_scoped(scope, || elsewhere(host, &rest)).map(|thread| thread.join())
        });
        let Tables { sockets, incomplete, cost } =
            others.ok().and_then(Result::ok).unwrap_or(Tables { incomplete: true, ..Tables::default() });
        tables.sockets.extend(sockets);
        (tables.incomplete, tables.cost) = (incomplete, cost);
    }
    tables.cost += thread_cpu().saturating_sub(begun);
    tables
}

/// Those of other namespaces, each through any of the processes in it. In a thread that does nothing else.
fn elsewhere(host: &Host, namespaces: &[&[u32]]) -> Tables {
    let mut tables = Tables::default();
    for pids in namespaces {
        match pids.iter().find_map(|&pid| of_process(host, pid).ok()) {
            Some(sockets) => tables.sockets.extend(sockets),
            None => tables.incomplete = true,
        }
    }
    tables.cost = thread_cpu();
    tables
}

/// Those of the namespace that a process is in; an error when the process is gone.
fn of_process(host: &Host, pid: u32) -> io::Result<Vec<Listening>> {
    if host.is_real()
        && let Ok(namespace) = File::open(host.of_process(pid, "ns/net"))
        && let Ok(found) = diag::listening_in(&namespace)
    {
        return Ok(found);
    }
    tables(host, pid)
}

/// The same by the tables of a process; a kernel without IPv6 is no error.
fn tables(host: &Host, pid: u32) -> io::Result<Vec<Listening>> {
    let mut found = Vec::new();
    read_table(&host.of_process(pid, "net/tcp"), &mut found)?;
    match read_table(&host.of_process(pid, "net/tcp6"), &mut found) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(found),
    }
}

fn read_table(path: &Path, found: &mut Vec<Listening>) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut chunk = [0; 8192];
    let mut kept = Vec::with_capacity(chunk.len());
    let mut title = true;
    loop {
        let count = file.read(&mut chunk)?;
        if count == 0 {
            return Ok(());
        }
        kept.extend_from_slice(&chunk[..count]);
        let mut begin = 0;
        while let Some(length) = memchr::memchr(b'\n', &kept[begin..]) {
            let line = &kept[begin..begin + length];
            begin += length + 1;
            if std::mem::take(&mut title) {
                continue;
            }
            match parse_line(line) {
                Line::Listening(socket) if socket.inode != 0 && found.len() < SOCKETS => found.push(socket),
                Line::Listening(_) => {}
                Line::Other => return Ok(()),
            }
        }
        kept.drain(..begin);
    }
}

enum Line {
    Listening(Listening),
    Other,
}

/// `  0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1234 …`
fn parse_line(line: &[u8]) -> Line {
    let parse = || {
        let text = std::str::from_utf8(line).ok()?;
        let mut fields = text.split_ascii_whitespace();
        let (_, port) = fields.nth(1)?.rsplit_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        let listens = fields.nth(1)? == "0A";
        let inode = fields.nth(5)?.parse().ok()?;
        listens.then_some(Listening { inode, port, cgroup: None })
    };
    parse().map_or(Line::Other, Line::Listening)
}

/// The network namespace of a process; `None` when it is gone, or not for this process to know.
pub fn namespace(host: &Host, pid: u32) -> Option<u64> {
    identity(&fs::read_link(host.of_process(pid, "ns/net")).ok()?, "net:[")
}

/// Calls `held` for every socket that a process holds, with its descriptor, until it says false.
/// Says how many descriptors were looked at.
pub fn held(host: &Host, pid: u32, mut held: impl FnMut(u64, u32) -> bool) -> usize {
    let Ok(descriptors) = fs::read_dir(host.of_process(pid, "fd")) else { return 0 };
    let mut looked = 0;
    for descriptor in descriptors.flatten().take(DESCRIPTORS) {
        looked += 1;
        let Some(inode) = socket(&descriptor.path()) else { continue };
        let number = descriptor.file_name().to_str().and_then(|name| name.parse().ok()).unwrap_or_default();
        if !held(inode, number) {
            break;
        }
    }
    looked
}

/// True while a process holds this socket under this descriptor.
pub fn holds(host: &Host, pid: u32, descriptor: u32, inode: u64) -> bool {
    socket(&host.of_process(pid, &format!("fd/{descriptor}"))) == Some(inode)
}

fn socket(descriptor: &Path) -> Option<u64> {
    identity(&fs::read_link(descriptor).ok()?, "socket:[")
}

/// The number in a link such as `socket:[123]`.
fn identity(link: &Path, prefix: &str) -> Option<u64> {
    link.to_str()?.strip_prefix(prefix)?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::made_up::Machine;

    const TITLE: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

    fn listening(inode: u64, port: u16) -> Listening {
        Listening { inode, port, cgroup: None }
    }

    #[test]
    fn reads_listeners_of_both_families_and_stops_behind_them() {
        let machine = Machine::new();
        let table = format!(
            "{TITLE}   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 0 100 0\n\
             \x20  1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1 0 100 0\n\
             \x20  2: 0100007F:1F90 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 13 1 0 100 0\n\
             \x20  3: 00000000:0017 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 14 1 0 100 0\n"
        );
        machine.file("proc/7/net/tcp", &table);
        let expected = vec![listening(11, 8080), listening(12, 22)];
        assert_eq!(tables(machine.host(), 7).unwrap(), expected, "no IPv6 is no error");
        let six = format!(
            "{TITLE}   0: 00000000000000000000000000000000:2CAA 00000000000000000000000000000000:0000 0A \
             00000000:00000000 00:00000000 00000000     0        0 15 1 0 100 0\n"
        );
        machine.file("proc/7/net/tcp6", &six);
        assert_eq!(tables(machine.host(), 7).unwrap().last(), Some(&listening(15, 11434)));
        assert!(tables(machine.host(), 8).is_err(), "gone");
    }

    #[test]
    fn long_tables_and_nonsense_are_bounded() {
        let machine = Machine::new();
        let mut table = TITLE.to_owned();
        for inode in 1..=20_000 {
            table.push_str(&format!("{inode:4}: 00000000:0050 00000000:0000 0A 0:0 0:0 0 0 0 {inode}\n"));
        }
        machine.file("proc/7/net/tcp", &table);
        assert_eq!(tables(machine.host(), 7).unwrap().len(), SOCKETS);
        machine.file("proc/7/net/tcp", &format!("{TITLE}\u{fffd} :\n  0: 0:ZZZZ 0 0A\n"));
        assert_eq!(tables(machine.host(), 7).unwrap(), []);
    }

    #[test]
    fn any_process_of_a_namespace_will_do() {
        let machine = Machine::new();
        machine.file("proc/7/net/tcp", &format!("{TITLE}   0: 0:0050 0:0 0A 0:0 0:0 0 0 0 11\n"));
        let read = |pids: &[u32]| {
            let Tables { sockets, incomplete, .. } =
                super::listening(machine.host(), &Namespaces::from([(1, pids.to_vec())]));
            (sockets, incomplete)
        };
        assert_eq!(read(&[6, 7]), (vec![listening(11, 80)], false));
        assert_eq!(read(&[6]), (vec![], true));
        assert_eq!(super::listening(machine.host(), &Namespaces::new()).sockets, []);
    }

    #[test]
    fn finds_who_holds_a_socket() {
        let machine = Machine::new();
        machine.link("proc/7/fd/0", "/dev/null");
        machine.link("proc/7/fd/3", "socket:[11]");
        machine.link("proc/7/fd/4", "socket:[nonsense]");
        machine.link("proc/7/ns/net", "net:[4026531840]");
        let mut seen = Vec::new();
        assert_eq!(
            held(machine.host(), 7, |inode, descriptor| {
                seen.push((inode, descriptor));
                true
            }),
            3
        );
        assert_eq!(seen, [(11, 3)]);
        assert!(
            holds(machine.host(), 7, 3, 11) && !holds(machine.host(), 7, 3, 12) && !holds(machine.host(), 7, 9, 11)
        );
        assert_eq!((namespace(machine.host(), 7), namespace(machine.host(), 8)), (Some(4026531840), None));
    }
}
