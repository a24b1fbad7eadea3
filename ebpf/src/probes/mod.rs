//! The programs: one file for each signal.

mod connect;
mod disk;
mod flow;
mod nest;
mod oom;
mod read;
mod reset;
mod retransmit;
mod sched;
mod syscall;
