//! Cgroups of the harness's own.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::wait;

/// What every cgroup's name begins with; the process that made it follows.
const PREFIX: &str = "inferscope-test-";
/// Longest wait for killed processes to be gone.
const EMPTY_WITHIN: Duration = Duration::from_secs(5);

/// A cgroup. When dropped, whatever runs in it is killed and it is removed.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
}

/// Where cgroup2 is mounted.
pub fn mount() -> Result<PathBuf> {
    mounted("cgroup2", None)?.context("no cgroup2 file system is mounted")
}

/// Where a file system of cgroups is mounted, of version 1 the one that has a controller.
fn mounted(kind: &str, controller: Option<&str>) -> Result<Option<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    Ok(mounts.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        let [_, directory, found, options, ..] = fields[..] else { return None };
        let has = controller.is_none_or(|name| options.split(',').any(|option| option == name));
        (found == kind && has).then(|| PathBuf::from(directory))
    }))
}

impl Cgroup {
    /// A new, empty cgroup at the top of the hierarchy of version 2.
    pub fn create(name: &str) -> Result<Self> {
        Self::at_top(&mount()?, name)
    }

    /// The same in the hierarchy of version 1 that has a controller; `None` where there is none.
    pub fn v1(controller: &str, name: &str) -> Result<Option<Self>> {
        mounted("cgroup", Some(controller))?.map(|mount| Self::at_top(&mount, name)).transpose()
    }

    /// A new one below this one.
    pub fn child(&self, name: &str) -> Result<Self> {
        let path = self.path.join(name);
        fs::create_dir(&path).with_context(|| format!("cannot create the cgroup {}", path.display()))?;
        Ok(Self { path })
    }

    /// Limits memory, in bytes. On machines where version 1 does that, its cgroup is to take the same processes.
    pub fn limit_memory(&self, bytes: u64) -> Result<Option<Self>> {
        let bytes = bytes.to_string();
        self.limit("memory", &[("memory.limit_in_bytes", &bytes)], &[("memory.max", &bytes)])
    }

    /// Limits CPU time to `quota` of each `period`, in microseconds; as [`Self::limit_memory`].
    pub fn limit_cpu(&self, quota: u64, period: u64) -> Result<Option<Self>> {
        let (both, quota, period) = (format!("{quota} {period}"), quota.to_string(), period.to_string());
        let old = [("cpu.cfs_period_us", period.as_str()), ("cpu.cfs_quota_us", &quota)];
        self.limit("cpu", &old, &[("cpu.max", &both)])
    }

    fn limit(&self, controller: &str, v1: &[(&str, &str)], v2: &[(&str, &str)]) -> Result<Option<Self>> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.rsplit('-').nth(1).unwrap_or(&name);
        let old = Self::v1(controller, name)?;
        let (cgroup, settings) = old.as_ref().map_or((self, v2), |old| (old, v1));
        if old.is_none() {
            self.enable(controller).with_context(|| format!("the controller {controller} is in neither hierarchy"))?;
        }
        for (file, value) in settings {
            let path = cgroup.path.join(file);
            fs::write(&path, value).with_context(|| format!("cannot write {value} to {}", path.display()))?;
        }
        Ok(old)
    }

    /// Gives it and its neighbours a controller of version 2.
    pub fn enable(&self, controller: &str) -> Result<()> {
        let parent = self.path.parent().context("the root has no controllers")?;
        Ok(fs::write(parent.join("cgroup.subtree_control"), format!("+{controller}"))?)
    }

    fn at_top(mount: &Path, name: &str) -> Result<Self> {
        sweep(mount);
        Self::below(mount, name)
    }

    /// A new, empty cgroup inside another one.
    pub fn below(parent: &Path, name: &str) -> Result<Self> {
        let pid = std::process::id();
        let mut number = 0;
        loop {
            let path = parent.join(format!("{PREFIX}{pid}-{name}-{number}"));
            match fs::create_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                made => {
                    made.with_context(|| format!("cannot create the cgroup {} (run as root)", path.display()))?;
                    return Ok(Self { path });
                }
            }
        }
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its id, as the kernel's programs see it.
    pub fn id(&self) -> Result<u64> {
        Ok(fs::metadata(&self.path)?.ino())
    }

    /// Moves a running process into it. Sockets that it has already stay where they were.
    pub fn take(&self, pid: u32) -> Result<()> {
        fs::write(self.path.join("cgroup.procs"), pid.to_string()).context("cannot move a process into the cgroup")
    }

    /// Does something as a member of it: sockets belong to the cgroup of the process that makes them.
    pub fn inside<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        let home = Home::of_this_process()?;
        self.take(std::process::id())?;
        let result = work();
        drop(home);
        Ok(result)
    }

    /// Lets what `command` starts be born in it: the child moves itself before it becomes another program.
    pub fn adopt(&self, command: &mut Command) -> Result<()> {
        let members = OpenOptions::new().write(true).open(self.path.join("cgroup.procs"))?;
        let join = move || join(&members);
        // SAFETY: between fork and exec it only calls `write`, on a file that is open.
        unsafe { command.pre_exec(join) };
        Ok(())
    }
}

/// Where the process was; it returns there when this is dropped, also by a panic.
struct Home(PathBuf);

impl Home {
    fn of_this_process() -> Result<Self> {
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let path = own.lines().find_map(|line| line.strip_prefix("0::/")).context("this process has no cgroup")?;
        Ok(Self(mount()?.join(path)))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Err(error) = fs::write(self.0.join("cgroup.procs"), "0") {
            eprintln!("cannot return to the cgroup {}: {error}", self.0.display());
        }
    }
}

fn join(members: &File) -> io::Result<()> {
    // SAFETY: one readable byte; zero stands for the process that writes.
    let written = unsafe { libc::write(members.as_raw_fd(), b"0".as_ptr().cast(), 1) };
    if written == 1 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Removes what earlier runs left that were killed themselves.
fn sweep(mount: &Path) {
    let Ok(entries) = fs::read_dir(mount) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let maker = name.to_str().and_then(|name| name.strip_prefix(PREFIX)).and_then(|rest| rest.split('-').next());
        if maker.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            remove(&entry.path());
        }
    }
}

fn remove(path: &Path) {
    let gone = wait::until_ok(EMPTY_WITHIN, "the end of its processes", || {
        // Version 1 kills nobody by itself.
        if fs::write(path.join("cgroup.kill"), "1").is_err() {
            let list = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
            for process in list.lines().filter_map(|line| line.parse::<i32>().ok()) {
                // SAFETY: a signal to a process of this test.
                unsafe { libc::kill(process, libc::SIGKILL) };
            }
        }
        match fs::remove_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Ok(None),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(Some(())),
        }
    });
    if let Err(error) = gone {
        eprintln!("cannot remove the cgroup {}: {error:#}", path.display());
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A process that moved itself in must not kill itself.
        let own = fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default();
        if own.lines().any(|pid| pid.parse() == Ok(std::process::id()))
            && let Some(parent) = self.path.parent()
            && let Err(error) = fs::write(parent.join("cgroup.procs"), "0")
        {
            eprintln!("cannot leave the cgroup {}: {error}", self.path.display());
            return;
        }
        remove(&self.path);
    }
}
