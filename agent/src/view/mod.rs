//! Batches as a table for people: what `inferscope top` and the demo print.
//!
//! A [`Summary`] adds up batches, [`Summary::rows`] takes the figures from it, and [`render`] makes text of them for a screen,
//! [`Plain`] for pipes and files.
//! Names come from the outside: nothing but what has a width of its own on a screen is passed on.

mod columns;
mod figures;
mod governed;
mod gpus;
mod notes;
mod row;
mod summary;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod units;

pub use governed::governed;
pub use gpus::render_gpus;
pub use row::{Loss, Row, Spread};
pub use summary::Summary;
pub use table::{Plain, render};
