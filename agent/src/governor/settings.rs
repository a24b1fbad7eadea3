//! The budget, and how patiently it is held.

use std::path::PathBuf;
use std::time::Duration;

/// What the agent may use.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    /// Part of the node's CPUs, 1 being all of them.
    pub cpu_share: f64,
    /// CPUs, however many the node has.
    pub cpu_most: f64,
    /// Bytes of resident memory.
    pub memory: u64,
    /// Time for which the budget is to hold in the mean.
    pub window: Duration,
    /// Shortest calm before something returns that was shed.
    pub hold: Duration,
    /// Where it is kept how the agent ended.
    pub state: PathBuf,
    /// A run of this length is no failed start.
    pub healthy: Duration,
}

/// What the agent may use on this node.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Budget {
    /// CPUs.
    pub cpu: f64,
    /// Bytes of resident memory.
    pub memory: u64,
}

impl Settings {
    /// The budget on a node with so many CPUs.
    pub fn budget(&self, cpus: usize) -> Budget {
        // No node has so many that a float could not tell them apart.
        let share = self.cpu_share * cpus as f64;
        Budget { cpu: share.min(self.cpu_most), memory: self.memory }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_of_share_and_cpus_is_the_budget() {
        let settings = Settings {
            cpu_share: 0.01,
            cpu_most: 0.5,
            memory: 64 << 20,
            window: Duration::from_secs(10),
            hold: Duration::from_secs(30),
            state: PathBuf::new(),
            healthy: Duration::from_secs(600),
        };
        for (cpus, cpu) in [(2, 0.02), (50, 0.5), (192, 0.5)] {
            assert_eq!(settings.budget(cpus), Budget { cpu, memory: 64 << 20 });
        }
    }
}
