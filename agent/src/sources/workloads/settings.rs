//! What to watch, and how unknown servers are tried: checked values that the configuration fills in.

use std::path::PathBuf;
use std::time::Duration;

/// Everything that discovery needs to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Cgroups to watch as a whole: their directories in the cgroup2 file system.
    pub cgroups: Vec<PathBuf>,
    /// Whether inference servers are found without being named.
    pub discover: bool,
    /// How long a server that nobody knows is watched before it is let go, unless it served a request to a model.
    pub trial: Duration,
    /// Servers on trial at the same time.
    pub trials: usize,
    /// Longest time between two trials of one server.
    pub longest_rest: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cgroups: Vec::new(),
            discover: true,
            trial: Duration::from_secs(60),
            trials: 16,
            longest_rest: Duration::from_secs(900),
        }
    }
}
