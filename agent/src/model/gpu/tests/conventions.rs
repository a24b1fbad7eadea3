//! Names as OpenTelemetry's model of hardware metrics has them, written down once more: the table is held against them.

use std::collections::BTreeSet;

use crate::model::metrics::{Instrument, METRICS, Source, ValueType};

/// Name, instrument, unit, type of the values, and attributes; of optional ones, those that are in use.
type Row = (&'static str, Instrument, &'static str, ValueType, &'static [&'static str]);

const CONVENTIONS: [Row; 13] = [
    ("hw.gpu.utilization", Instrument::Gauge, "1", ValueType::Double, &["hw.id", "hw.gpu.task"]),
    ("hw.gpu.memory.limit", Instrument::UpDownCounter, "By", ValueType::Int, &["hw.id"]),
    ("hw.gpu.memory.usage", Instrument::UpDownCounter, "By", ValueType::Int, &["hw.id"]),
    ("hw.gpu.memory.utilization", Instrument::Gauge, "1", ValueType::Double, &["hw.id"]),
    ("hw.gpu.io", Instrument::Counter, "By", ValueType::Int, &["hw.id", "network.io.direction"]),
    ("hw.power", Instrument::Gauge, "W", ValueType::Double, &["hw.id", "hw.type"]),
    ("hw.energy", Instrument::Counter, "J", ValueType::Double, &["hw.id", "hw.type"]),
    ("hw.errors", Instrument::Counter, "{error}", ValueType::Int, &["hw.id", "hw.type", "error.type"]),
    ("hw.status", Instrument::UpDownCounter, "1", ValueType::Int, &["hw.id", "hw.type", "hw.state"]),
    ("hw.temperature", Instrument::Gauge, "Cel", ValueType::Double, &["hw.id", "hw.sensor_location"]),
    (
        "hw.temperature.limit",
        Instrument::Gauge,
        "Cel",
        ValueType::Double,
        &["hw.id", "hw.sensor_location", "hw.limit_type"],
    ),
    ("hw.fan.speed", Instrument::Gauge, "rpm", ValueType::Int, &["hw.id", "hw.parent"]),
    ("hw.fan.speed_ratio", Instrument::Gauge, "1", ValueType::Double, &["hw.id", "hw.parent"]),
];

#[test]
fn what_is_called_as_in_the_conventions_is_what_they_say() {
    let ours = METRICS.iter().filter(|row| row.name.starts_with("hw."));
    let mut named = BTreeSet::new();
    for row in ours {
        let (_, instrument, unit, value, attributes) = *CONVENTIONS.iter().find(|said| said.0 == row.name).unwrap();
        assert_eq!((row.instrument, row.unit, row.value), (instrument, unit, value), "{}", row.name);
        assert_eq!(row.attributes, attributes, "{}", row.name);
        assert_eq!(row.source, Source::Development, "{}", row.name);
        named.insert(row.name);
    }
    assert_eq!(named.len(), CONVENTIONS.len(), "each is there");
}
