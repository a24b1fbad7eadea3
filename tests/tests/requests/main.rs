//! Requests of every kind, as spans and metrics tell them.

mod bounds;
mod connections;
mod ends;
mod tokens;

use anyhow::{Context, Result};
use inferscope_tests::clients::Seen;
use inferscope_tests::received::Span;

/// Agent and client may differ by this much for one request, in nanoseconds, on a machine with other things to do.
const NEAR: u64 = 5_000_000;
/// Kinds of spans.
const SERVER: i32 = 2;
const CLIENT: i32 = 3;

fn near(agent: Option<u64>, client: Option<u64>) -> bool {
    matches!((agent, client), (Some(agent), Some(client)) if agent.abs_diff(client) <= NEAR)
}

fn span_of<'a>(spans: &'a [Span], seen: &Seen) -> Result<&'a Span> {
    let id = seen.id.as_deref().context("a response without an id")?;
    let found = spans.iter().find(|span| span.response_id() == Some(id));
    found.with_context(|| format!("no span of {id} among {spans:#?}"))
}
