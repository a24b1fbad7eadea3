//! Made-up machines for tests: a `/proc` and a `/sys` in a directory of their own.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use super::Host;

/// A machine that is removed when dropped.
pub(crate) struct Machine {
    host: Host,
    directory: tempfile::TempDir,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { host: Host::at(directory.path()), directory }
    }

    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    fn path(&self, path: &str) -> PathBuf {
        let path = self.directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    pub(crate) fn file(&self, path: &str, text: &str) {
        self.bytes(path, text.as_bytes());
    }

    pub(crate) fn bytes(&self, path: &str, bytes: &[u8]) {
        fs::write(self.path(path), bytes).unwrap();
    }

    pub(crate) fn directory(&self, path: &str) {
        fs::create_dir_all(self.path(path)).unwrap();
    }

    pub(crate) fn link(&self, path: &str, target: &str) {
        let path = self.path(path);
        drop(fs::remove_file(&path));
        symlink(target, path).unwrap();
    }

    /// A file whose reader waits.
    pub(crate) fn fifo(&self, path: &str) {
        let path = self.path(path);
        drop(fs::remove_file(&path));
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    }

    /// Lets the reader of [`Self::fifo`] go.
    pub(crate) fn release_fifo(&self, path: &str) {
        drop(fs::OpenOptions::new().read(true).write(true).open(self.path(path)).unwrap());
    }

    /// A device on the PCI bus.
    pub(crate) fn pci(&self, address: &str, vendor: &str, class: &str) {
        self.file(&format!("sys/bus/pci/devices/{address}/vendor"), &format!("{vendor}\n"));
        self.file(&format!("sys/bus/pci/devices/{address}/class"), &format!("{class}\n"));
    }

    /// A process with a parent of 1, that began at the tick of its id.
    pub(crate) fn process(&self, pid: u32, comm: &str, arguments: &[&str]) {
        let stat = format!("{pid} ({comm}) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {pid} 0 0\n");
        self.file(&format!("proc/{pid}/stat"), &stat);
        let line: String = arguments.iter().map(|argument| format!("{argument}\0")).collect();
        self.file(&format!("proc/{pid}/cmdline"), &line);
        self.directory(&format!("proc/{pid}/fd"));
    }

    /// A process in a network namespace and a cgroup of the machine's only hierarchy, with sockets that it holds as
    /// (inode, port).
    pub(crate) fn server(&self, pid: u32, arguments: &[&str], namespace: u64, cgroup: &str, sockets: &[(u64, u16)]) {
        self.process(pid, "x", arguments);
        self.file(&format!("proc/{pid}/cgroup"), &format!("0::{cgroup}\n"));
        self.file(&format!("sys/fs/cgroup{cgroup}/cgroup.procs"), &format!("{pid}\n"));
        self.link(&format!("proc/{pid}/ns/net"), &format!("net:[{namespace}]"));
        self.link(&format!("proc/{pid}/net"), &format!("../../namespaces/{namespace}"));
        for (descriptor, (inode, _)) in sockets.iter().enumerate() {
            self.link(&format!("proc/{pid}/fd/{}", descriptor + 3), &format!("socket:[{inode}]"));
        }
    }

    /// What a namespace's table of listening sockets holds, as (inode, port).
    pub(crate) fn table(&self, namespace: u64, sockets: &[(u64, u16)]) {
        let row = |(inode, port): &(u64, u16)| format!("  0: 00000000:{port:04X} 0:0 0A 0:0 0:0 0 0 0 {inode}\n");
        let rows: String = sockets.iter().map(row).collect();
        self.file(&format!("namespaces/{namespace}/tcp"), &format!("title\n{rows}"));
    }

    /// The process ends.
    pub(crate) fn kill(&self, pid: u32) {
        fs::remove_dir_all(self.path(&format!("proc/{pid}"))).unwrap();
    }
}
