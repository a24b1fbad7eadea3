//! The columns of the table, as data.

use super::row::{Row, Spread};
use super::text::clean;
use super::units::{count, duration, rate, share};

/// A column. Neighbours of the same group have its name above them.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) group: &'static str,
    pub(super) head: &'static str,
    /// The larger, the sooner it is left out where there is no room.
    pub(super) dispensable: u8,
    pub(super) kind: Kind,
    pub(super) cell: fn(&Row) -> String,
}

/// How a column takes its room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// As wide as its widest cell; stands to the right.
    Number,
    /// Between these widths, as there is room; stands to the left. Columns that are more dispensable than `before` are left
    /// out before it is cut.
    Text { least: usize, most: usize, before: u8 },
}

/// Names are what tells workloads from each other; without the columns up to this one a row says little.
const NAME: Kind = Kind::Text { least: 12, most: 40, before: 5 };
const MODELS: Kind = Kind::Text { least: 10, most: 36, before: u8::MAX };

const fn number(group: &'static str, head: &'static str, dispensable: u8, cell: fn(&Row) -> String) -> Column {
    Column { group, head, dispensable, kind: Kind::Number, cell }
}

/// Before the name in a row of requests that the workload makes.
pub(super) const ASKS: char = '→';

/// The group of columns that are there where a workload has a GPU.
pub(super) const GPU: &str = "GPU";

/// The columns that these rows need, in their order.
pub(super) fn columns(rows: &[Row]) -> impl Iterator<Item = &'static Column> {
    let have_gpus = have_gpus(rows);
    COLUMNS.iter().filter(move |column| have_gpus || column.group != GPU)
}

/// Whether a row has something to say in the columns of GPUs.
pub(super) fn have_gpus(rows: &[Row]) -> bool {
    rows.iter().any(|row| row.watts.is_some() || row.gpu.is_some())
}

/// Every column, in their order.
static COLUMNS: [Column; 26] = [
    Column { group: "", head: "workload", dispensable: 0, kind: NAME, cell: name },
    number("", "req/s", 1, |row| or_dash(row.requests_per_second, rate)),
    number("in", "flight", 6, |row| or_dash(row.in_flight, |count| count.to_string())),
    number("", "err", 3, |row| or_dash(row.failed, share)),
    number("TTFT", "p50", 2, |row| or_dash(row.first_token.map(p50), duration)),
    number("TTFT", "p99", 7, |row| or_dash(row.first_token.map(p99), duration)),
    number("per token", "p50", 4, |row| or_dash(row.per_token.map(p50), duration)),
    number("per token", "p99", 10, |row| or_dash(row.per_token.map(p99), duration)),
    number("gap", "p99", 14, |row| or_dash(row.event_gap, duration)),
    number("tokens/s", "in", 9, |row| or_dash(row.tokens_in, rate)),
    number("tokens/s", "out", 5, tokens_out),
    number(GPU, "used", 12, |row| or_dash(row.gpu, share)),
    number(GPU, "W", 9, |row| or_dash(row.watts, rate)),
    number(GPU, "J/token", 5, |row| or_dash(row.joules_per_token, rate)),
    number("duration", "p50", 8, |row| or_dash(row.duration.map(p50), duration)),
    number("duration", "p99", 17, |row| or_dash(row.duration.map(p99), duration)),
    number("read", "p99", 11, |row| or_dash(row.read_delay, duration)),
    number("CPU", "wait p99", 12, |row| or_dash(row.cpu_wait, duration)),
    number("CPU", "throttled", 13, |row| or_dash(row.throttled, share)),
    number("syscall", "p99", 15, |row| or_dash(row.calls, duration)),
    number("blocked", "p50", 21, |row| or_dash(row.blocked, duration)),
    number("disk", "faults/s", 16, |row| or_dash(row.faults, rate)),
    number("RTT", "p50", 18, |row| or_dash(row.round_trip, duration)),
    number("re-", "sent", 22, |row| count(row.retransmits)),
    number("", "aborts", 20, |row| count(row.aborted)),
    Column { group: "", head: "models", dispensable: 19, kind: MODELS, cell: models },
];

fn or_dash<T>(value: Option<T>, text: impl Fn(T) -> String) -> String {
    value.map_or_else(|| "–".to_owned(), text)
}

fn p50(spread: Spread) -> f64 {
    spread.p50
}

fn p99(spread: Spread) -> f64 {
    spread.p99
}

fn name(row: &Row) -> String {
    let name = if row.name.is_empty() { "–".to_owned() } else { clean(&row.name) };
    if row.asks { format!("{ASKS} {name}") } else { name }
}

fn tokens_out(row: &Row) -> String {
    let mark = if row.counted_by_events { "~" } else { "" };
    or_dash(row.tokens_out, |tokens| mark.to_owned() + &rate(tokens))
}

/// The model that is used most, by the last part of its name, and how many others there are.
fn models(row: &Row) -> String {
    let Some((first, others)) = row.models.split_first() else { return "–".to_owned() };
    let short = first.rsplit('/').find(|part| !part.is_empty()).unwrap_or(first);
    let more = if others.is_empty() { String::new() } else { format!(" +{}", others.len()) };
    clean(short) + &more
}
