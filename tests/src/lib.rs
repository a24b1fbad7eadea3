//! What needs root, a kernel, a real server or a real collector.
//!
//! A harness for tests, benchmarks and the demo: it starts real servers and clients in cgroups of their own, runs the
//! agent beside them, and reads what arrives at the other end.

pub mod affinity;
pub mod agent;
pub mod ask;
pub mod cgroup;
pub mod clients;
pub mod collector;
pub mod cpu_time;
pub mod gpu;
pub mod host;
pub mod machine;
pub mod matrices;
pub mod memory;
pub mod oracle;
pub mod process;
pub mod quantile;
pub mod received;
pub mod receiver;
pub mod report;
pub mod scene;
pub mod servers;
pub mod statistics;
pub mod tools;
pub mod turn;
pub mod unrelated;
pub mod wait;
