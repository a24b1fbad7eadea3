//! The programs: one file for each signal.

mod connect;
mod flow;
mod read;
mod reset;
mod retransmit;
