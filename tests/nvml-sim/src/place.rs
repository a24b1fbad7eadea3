//! Sets a simulated machine up for a test: a directory with the library under its real name, the scenario and the socket.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process};

use crate::account::Spent;
use crate::control::{self, Command};
use crate::hardware::monotonic;
use crate::scenario::Scenario;

/// A simulated machine. Gone with its directory when dropped.
#[derive(Debug)]
pub struct Place {
    directory: PathBuf,
    scenario: Scenario,
}

impl Place {
    /// Sets a machine up whose time starts now. The library is copied, so that each place has a machine of its own even
    /// where several are loaded into one process.
    pub fn new(scenario: Scenario) -> io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("nvml-sim-{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = env::temp_dir().join(name);
        fs::create_dir_all(directory.join("dev"))?;
        let mut place = Self { directory, scenario };
        place.scenario.socket = Some(place.directory.join("control.sock"));
        place.scenario.nodes = Some(place.directory.join("dev"));
        place.scenario.epoch = Some(monotonic());
        place.write()?;
        fs::copy(built()?, place.library())?;
        Ok(place)
    }

    /// The library to load.
    pub fn library(&self) -> PathBuf {
        self.directory.join("libnvidia-ml.so.1")
    }

    /// The directory of the files that stand for device nodes.
    pub fn nodes(&self) -> PathBuf {
        self.directory.join("dev")
    }

    /// The same machine for somebody else, who only looks: in another process a control socket can be heard once only. What
    /// is changed over the socket does not show here.
    pub fn observer(&self) -> io::Result<Self> {
        let mut observer = Self::new(self.scenario.clone())?;
        observer.change(|scenario| {
            (scenario.socket, scenario.account) = (None, None);
            scenario.epoch = self.scenario.epoch;
        })?;
        Ok(observer)
    }

    /// The same machine, with an account of what callers spend in it.
    pub fn with_account(mut self) -> io::Result<Self> {
        self.scenario.account = Some(self.account());
        self.write()?;
        Ok(self)
    }

    /// What callers spent in it so far.
    pub fn spent(&self) -> io::Result<Spent> {
        Spent::read(&self.account())
    }

    fn account(&self) -> PathBuf {
        self.directory.join("account")
    }

    /// Changes the machine that runs.
    pub fn send(&self, command: &Command) -> io::Result<()> {
        control::send(&self.directory.join("control.sock"), command)
    }

    /// Changes the machine that the next `nvmlInit` finds.
    pub fn change(&mut self, change: impl FnOnce(&mut Scenario)) -> io::Result<()> {
        change(&mut self.scenario);
        self.write()
    }

    fn write(&self) -> io::Result<()> {
        let text = toml::to_string(&self.scenario).map_err(|error| io::Error::new(ErrorKind::InvalidInput, error))?;
        fs::write(self.directory.join("scenario.toml"), text)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What is left over lies in the directory for temporary files.
        drop(fs::remove_dir_all(&self.directory));
    }
}

/// The built library: Cargo puts it beside a test's binary, or into `deps` beside a program's.
fn built() -> io::Result<PathBuf> {
    let program = env::current_exe()?;
    let beside = program.parent().unwrap_or(Path::new("."));
    let candidates = [beside.join("libnvidia_ml.so"), beside.join("deps/libnvidia_ml.so")];
    let found = candidates.into_iter().find(|path| path.exists());
    found.ok_or_else(|| io::Error::new(ErrorKind::NotFound, format!("no libnvidia_ml.so in {}", beside.display())))
}
