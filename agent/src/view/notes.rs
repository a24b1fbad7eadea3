//! What stands below the table.

use std::collections::BTreeMap;

use inferscope_common::block::Counter;

use super::columns::ASKS;
use super::figures::SERIES;
use super::row::Row;
use super::text::{clean, wrap};
use super::units::count;
use crate::model::host::lost_cause;
use crate::model::{EVENT_QUEUE, SPAN_QUEUE, SPAN_SHED, loss_cause};

/// Lines that explain marks and tell of losses.
pub(super) fn notes(rows: &[Row], width: usize) -> Vec<String> {
    let mut notes = Vec::new();
    if rows.iter().any(|row| row.counted_by_events && row.tokens_out.is_some()) {
        notes.push("~ counted by events, where the server tells no usage".to_owned());
    }
    if rows.iter().any(|row| row.asks) {
        notes.push(format!("{ASKS} requests that the workload makes, not those that it serves"));
    }
    for row in rows.iter().filter(|row| row.killed > 0) {
        notes.push(format!("! killed for want of memory: {} {}", clean(&row.name), count(row.killed)));
    }
    let mut losses: BTreeMap<&str, Vec<(&str, u64)>> = BTreeMap::new();
    for row in rows {
        for loss in &row.losses {
            losses.entry(&loss.cause).or_default().push((&row.name, loss.count));
        }
    }
    for (cause, of) in losses {
        let parts: Vec<String> = of.iter().map(|(name, lost)| format!("{} {}", clean(name), count(*lost))).collect();
        let meaning = meaning(cause).map(|meaning| format!(" ({meaning})")).unwrap_or_default();
        notes.push(format!("! lost: {}{meaning}: {}", clean(cause), parts.join(", ")));
    }
    notes.iter().flat_map(|note| wrap(note, width)).collect()
}

fn meaning(cause: &str) -> Option<&'static str> {
    let own = [
        SPAN_QUEUE,
        SPAN_SHED,
        EVENT_QUEUE,
        lost_cause(),
        (SERIES, "measurements without a series of their own: raise metrics.series"),
    ];
    let all = Counter::ALL.into_iter().filter_map(loss_cause).chain(own);
    all.into_iter().find(|(name, _)| *name == cause).map(|(_, meaning)| meaning)
}
