//! From bytes and kernel records to [`crate::model::request::Request`]s. Does no I/O.
//!
//! One path for every source. The kernel's records enter an [`Assembler`] as they are; byte streams
//! that the kernel does not meter (plaintext of TLS, recordings) pass a [`Meter`], which runs the
//! same machines in user space and produces the same records. Bytes live only in the assembler's
//! bounded buffers: nothing that holds them can be printed.

pub mod answered;
pub mod api;
pub mod asked;
pub mod assembler;
pub mod head;
pub mod judge;
pub mod labels;
pub mod meter;
pub mod pieces;
mod read;
pub mod scan;

pub use assembler::{Assembler, Limits, Losses};
pub use labels::Labels;
pub use meter::{Direction, Meter, Segment};
