//! What the kernel half and the user half of inferscope share: record layouts, the word layout of
//! the per-workload block, histogram arithmetic, and the byte machines that meter an HTTP/1 exchange.
//!
//! Nothing here allocates, panics or knows of eBPF, so that one implementation runs in the kernel,
//! in the agent and in the tests.
#![cfg_attr(not(test), no_std)]

pub mod block;
pub mod body;
pub mod disk;
pub mod exchange;
pub mod flow;
pub mod head;
pub mod hist;
pub mod json;
pub mod message;
pub mod oom;
pub mod order;
pub mod sample;
#[cfg(test)]
mod samples;
pub mod sched;
pub mod shape;
pub mod sniff;
pub mod syscall;
pub mod watch;
mod words;
