//! How long the programs run. The kernel charges that to whoever they run in, and says it when asked to.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use aya::Ebpf;
use aya::programs::ProgramInfo;
use aya::sys::{Stats, enable_stats};

use super::Kernel;

/// While this lives the kernel takes the time of every program of this machine, which costs each run some 100 ns.
#[derive(Debug)]
pub struct RunStats {
    _enabled: OwnedFd,
}

impl RunStats {
    /// Needs `CAP_SYS_ADMIN`.
    pub fn enable() -> io::Result<Self> {
        Ok(Self { _enabled: enable_stats(Stats::RunTime).map_err(|error| error.io_error)? })
    }
}

impl Kernel {
    /// How long the programs have run altogether while statistics were taken.
    pub fn run_time(&self) -> Duration {
        run_time(&self.ebpf)
    }
}

/// The same of any object; programs that were taken out of it are not among them.
pub(super) fn run_time(ebpf: &Ebpf) -> Duration {
    let loaded = ebpf.programs().filter_map(|(_, program)| program.info().ok());
    loaded.map(|info: ProgramInfo| info.run_time()).sum()
}
