//! Documents that are made from the code are as the code says. `cargo xtask codegen` writes them anew.
#![expect(clippy::unwrap_used, reason = "that is how a test fails")]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use inferscope::export::LossCause;
use inferscope::governor::detail::{FOR_CPU, FOR_MEMORY, Rung};
use inferscope::model::gpu;
use inferscope::model::host::{self, lost_cause};
use inferscope::model::metrics::{Instrument, METRICS, Metric, Resource, Source};
use inferscope::model::spans::{Kind, SPAN_ATTRIBUTES, SpanAttribute};
use inferscope::model::{EVENT_QUEUE, SPAN_QUEUE, SPAN_SHED, loss_cause};
use inferscope::telemetry::{PROBE_LOSSES, WIRE_LOSSES};
use inferscope_common::block::Counter;

const HEAD: &str = "\
# Metrics

Made from `agent/src/model/metrics.rs` by `cargo xtask codegen`. Units are UCUM's. Every histogram is a base-2
exponential one of scale 5: a quantile read from it is off by 1.1 % at most. Where a name comes from:

- **stable**, **development**: OpenTelemetry's semantic conventions, by the name's state there;
- **own**: inferscope's; all of them begin with `inferscope.`.
";

const LOSSES: &str = "
## Loss

Nothing is lost in silence: `inferscope.loss` counts what could not be metered or kept, by `inferscope.loss.cause`.

One thing is not known and so not counted: a response that was under way when its workload began to be watched. Without its head nobody can tell it from
other bytes; its connection is followed from the next request or answer on.
";

const SPANS: &str = "\
# Spans

Made from `agent/src/model/spans.rs` by `cargo xtask codegen`. Every finished request becomes a span, of kind server or
client by the workload's part in it. It is called after its operation and model (`chat llama-3`), or after its method
and route (`GET /health`); it belongs to the trace that its `traceparent` names, or to one of its own. Its status is an
error where it failed: an HTTP server is not to blame for a 4xx or for a client that went away.

A value that is not known is absent, never zero. Where a name comes from stands in [metrics.md](metrics.md). `url.path`,
`url.query` and `url.full`, which the conventions ask for, are left out: they hold whatever a caller writes.

| attribute | type | source | meaning |
| --- | --- | --- | --- |
";

#[test]
fn metrics() {
    let mut text = HEAD.to_owned();
    for (resource, title) in [
        (Resource::Workload, "Of each workload"),
        (Resource::Gpu, "Of each GPU"),
        (Resource::Agent, "Of the agent itself"),
    ] {
        write!(text, "\n## {title}\n").unwrap();
        let rows = || METRICS.iter().filter(|metric| metric.resource == resource);
        let mut sections: Vec<&str> = Vec::new();
        for metric in rows() {
            if !sections.contains(&section(metric.name)) {
                sections.push(section(metric.name));
            }
        }
        for name in sections {
            write!(text, "\n### `{name}`\n\n| name | instrument | unit | attributes | source | meaning |\n").unwrap();
            text.push_str("| --- | --- | --- | --- | --- | --- |\n");
            rows().filter(|metric| section(metric.name) == name).for_each(|metric| text.push_str(&row(metric)));
        }
    }
    text.push_str(LOSSES);
    let own = [lost_cause(), SPAN_QUEUE, SPAN_SHED, EVENT_QUEUE];
    causes(&mut text, Counter::ALL.into_iter().filter_map(loss_cause).chain(own));
    text.push_str("\n`inferscope.agent.loss` counts what the agent could not join or keep:\n");
    causes(&mut text, WIRE_LOSSES.into_iter().chain(PROBE_LOSSES));
    text.push_str("\n`inferscope.agent.export.loss` counts what was not delivered:\n");
    causes(&mut text, LossCause::ALL.map(|cause| (cause.name(), cause.meaning())));
    compare("metrics.md", &text);
}

fn causes<'a>(text: &mut String, causes: impl IntoIterator<Item = (&'a str, &'a str)>) {
    text.push_str("\n| cause | what is counted |\n| --- | --- |\n");
    causes.into_iter().for_each(|(cause, meaning)| writeln!(text, "| `{cause}` | {meaning} |").unwrap());
}

#[test]
fn spans() {
    let mut text = SPANS.to_owned();
    for SpanAttribute { key, kind, source, description } in SPAN_ATTRIBUTES {
        let kind = match kind {
            Kind::Text => "string",
            Kind::Texts => "strings",
            Kind::Int => "int",
            Kind::Double => "double",
            Kind::Bool => "boolean",
        };
        writeln!(text, "| `{key}` | {kind} | {} | {description} |", source_name(*source)).unwrap();
    }
    compare("spans.md", &text);
}

const EVENTS_HEAD: &str = "\
# Log records

Made from `EVENTS` in `agent/src/model/host` and `agent/src/model/gpu` by `cargo xtask codegen`. What happens to a workload or a GPU
at one moment is a log record of its resource, told apart by its event's name; it travels with the agent's own log, and by the same contract.

| event | severity | attributes | meaning |
| --- | --- | --- | --- |
";

#[test]
fn events() {
    let mut text = EVENTS_HEAD.to_owned();
    for kind in host::EVENTS.iter().chain(&gpu::EVENTS) {
        let attributes: Vec<String> = kind.attributes.iter().map(|name| format!("`{name}`")).collect();
        writeln!(
            text,
            "| `{}` | {} | {} | {} |",
            kind.name,
            kind.severities,
            attributes.join("<br>"),
            kind.description
        )
        .unwrap();
    }
    compare("events.md", &text);
}

/// The rest of that document is written by hand.
#[test]
fn the_published_order_is_the_one_in_force() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/governor.md");
    let document = std::fs::read_to_string(path).unwrap();
    for order in [&FOR_CPU[..], &FOR_MEMORY] {
        let rows = order.iter().enumerate().map(|(place, rung)| {
            let Rung { part, loses, .. } = rung;
            format!("| {} | `{}` | {loses} |\n", place + 1, part.name())
        });
        let table: String = rows.collect();
        assert!(document.contains(&table), "docs/governor.md lacks the order:\n{table}");
    }
}

/// What names that belong together begin with: two words, or one where nothing shares the second of our own.
fn section(name: &str) -> &str {
    let mut dots = name.match_indices('.').map(|(at, _)| &name[..=at]);
    let first = dots.next().unwrap_or(name);
    let shared = |words: &&str| METRICS.iter().filter(|metric| metric.name.starts_with(*words)).count() > 1;
    let words = dots.next().filter(|words| !words.starts_with("inferscope.") || shared(words));
    words.unwrap_or(first).trim_end_matches('.')
}

fn row(metric: &Metric) -> String {
    let instrument = match metric.instrument {
        Instrument::Counter => "counter",
        Instrument::UpDownCounter => "up-down counter",
        Instrument::Histogram => "histogram",
        Instrument::Gauge => "gauge",
    };
    let source = source_name(metric.source);
    let attributes: Vec<String> = metric.attributes.iter().map(|name| format!("`{name}`")).collect();
    let (attributes, meaning) = (attributes.join("<br>"), metric.description.replace('|', "\\|"));
    format!("| `{}` | {instrument} | `{}` | {attributes} | {source} | {meaning} |\n", metric.name, metric.unit)
}

fn source_name(source: Source) -> &'static str {
    match source {
        Source::Stable => "stable",
        Source::Development => "development",
        Source::Own => "own",
    }
}

/// Fails where the document is not this text; writes it when told so.
fn compare(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let written = std::fs::write(&path, text);
        assert!(written.is_ok(), "cannot write {}: {written:?}", path.display());
        return;
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let differ: Vec<String> = lines(text).symmetric_difference(&lines(&written)).take(5).cloned().collect();
    assert!(written == text, "docs/{name} is out of date: run `cargo xtask codegen`; lines that differ: {differ:#?}");
}
