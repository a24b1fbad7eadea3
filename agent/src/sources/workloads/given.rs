//! Cgroups that were named to be watched.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::facts::Group;
use crate::host::cgroup::{self, CgroupError, Hierarchy};
use crate::host::place::Place;

/// Why discovery does not begin.
#[derive(thiserror::Error, Debug)]
pub enum DiscoverError {
    /// There are no cgroups that sockets belong to.
    #[error(transparent)]
    Cgroups(#[from] CgroupError),
    /// A given cgroup does not exist.
    #[error("cannot watch the cgroup {path}: {source}{hint}")]
    Open {
        /// As it was given.
        path: PathBuf,
        /// Why.
        source: io::Error,
        /// A directory that may have been meant.
        hint: String,
    },
    /// A given cgroup is not one of version 2.
    #[error(
        "cannot watch {path}: it lies outside of the cgroup2 file system mounted at {mount}; \
         give a directory below it (`0::PATH` in /proc/PID/cgroup is its path there)"
    )]
    Elsewhere {
        /// As it was given.
        path: PathBuf,
        /// Where cgroups of version 2 are.
        mount: PathBuf,
    },
}

/// A cgroup that is watched as a whole whenever it exists.
#[derive(Debug)]
pub(super) struct Given {
    directory: PathBuf,
    path: Arc<str>,
    place: Place,
    group: Option<Arc<Group>>,
}

impl Given {
    /// Checks a directory that was given. It must exist now; later it may come and go.
    pub(super) fn check(path: &Path, hierarchy: &Hierarchy) -> Result<Self, DiscoverError> {
        let open = |source| DiscoverError::Open { path: path.to_owned(), source, hint: hint(path, hierarchy) };
        let directory = path.canonicalize().map_err(open)?;
        cgroup::id(&directory).map_err(open)?;
        let elsewhere = || DiscoverError::Elsewhere { path: path.to_owned(), mount: hierarchy.mount.clone() };
        let place = hierarchy.place(&directory).ok_or_else(elsewhere)?;
        Ok(Self { directory, path: place.as_str().into(), place: Place::of(&place), group: None })
    }

    /// Its cgroup, if it exists now.
    pub(super) fn look(&mut self) -> Option<&Arc<Group>> {
        let id = cgroup::id(&self.directory).ok();
        if self.group.as_ref().map(|group| group.id) != id {
            self.group = id.map(|id| {
                Arc::new(Group {
                    path: Arc::clone(&self.path),
                    directory: self.directory.clone(),
                    id,
                    usage: self.place.usage,
                    name: self.place.name.clone(),
                    container: self.place.container.clone(),
                })
            });
        }
        self.group.as_ref()
    }
}

/// Where a path that was meant below the mount is.
fn hint(path: &Path, hierarchy: &Hierarchy) -> String {
    let meant = hierarchy.mount.join(path.strip_prefix("/").unwrap_or(path));
    if meant.is_dir() { format!(" (there is {})", meant.display()) } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::made_up::Machine;

    #[test]
    fn a_directory_that_is_no_cgroup_is_refused_with_what_mends_it() {
        let machine = Machine::new();
        machine.file("proc/self/mountinfo", "29 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        machine.file("sys/fs/cgroup/system.slice/vllm.service/cgroup.procs", "");
        machine.directory("sys/fs/memory/vllm");
        let hierarchy = Hierarchy::find(machine.host()).unwrap();
        let check = |path: PathBuf| Given::check(&path, &hierarchy).map_err(|error| error.to_string());
        let at = |path: &str| machine.host().path(path);

        let mut given = check(at("/sys/fs/cgroup/system.slice/vllm.service")).unwrap();
        let group = given.look().unwrap();
        assert_eq!((group.path.as_ref(), group.name.as_deref()), ("/system.slice/vllm.service", Some("vllm.service")));

        let error = check(at("/sys/fs/memory/vllm")).unwrap_err();
        assert!(error.contains("sys/fs/cgroup") && error.contains("0::PATH"), "{error}");
        let error = check(at("/sys/fs/cgroup/nowhere")).unwrap_err();
        assert!(error.contains("nowhere: No such file"), "{error}");
        let error = check("/system.slice/vllm.service".into()).unwrap_err();
        assert!(
            error.contains("(there is ") && error.ends_with("/sys/fs/cgroup/system.slice/vllm.service)"),
            "{error}"
        );
        let error = check(at("/sys/fs/cgroup/system.slice/vllm.service/cgroup.procs")).unwrap_err();
        assert!(error.contains("ot a directory"), "{error}");
    }

    #[test]
    fn it_comes_and_goes() {
        let machine = Machine::new();
        machine.file("proc/self/mountinfo", "29 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        machine.directory("sys/fs/cgroup/a");
        let directory = machine.host().path("/sys/fs/cgroup/a");
        let mut given = Given::check(&directory, &Hierarchy::find(machine.host()).unwrap()).unwrap();
        let id = given.look().unwrap().id;
        std::fs::remove_dir(&directory).unwrap();
        assert!(given.look().is_none());
        machine.directory("sys/fs/cgroup/other");
        machine.directory("sys/fs/cgroup/a");
        assert_eq!(given.look().unwrap().id, cgroup::id(&directory).unwrap());
        assert!(id > 0);
    }
}
