//! What the tests and benchmarks of the host's probes share: processes in cgroups, and the probes on them.

pub mod books;
pub mod file;
pub mod load;
pub mod strace;
pub mod watch;
