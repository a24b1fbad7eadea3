//! Where attributes go: onto the wire, or into OpenTelemetry's own messages.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};

use crate::model::attr::Value;

/// Takes attributes, each name once.
pub(super) trait Sink {
    fn text(&mut self, name: &'static str, value: &str);
    fn texts(&mut self, name: &'static str, values: &[&str]);
    fn int(&mut self, name: &'static str, value: i64);
    fn double(&mut self, name: &'static str, value: f64);
    fn bool(&mut self, name: &'static str, value: bool);

    /// Takes an attribute of the model.
    fn value(&mut self, name: &'static str, value: &Value) {
        match value {
            Value::Word(word) => self.text(name, word),
            Value::Label(label) => self.text(name, label),
            Value::Int(number) => self.int(name, *number),
            Value::Seconds(nanos) => self.double(name, *nanos as f64 / 1e9),
            Value::Bool(flag) => self.bool(name, *flag),
        }
    }
}

impl Sink for Vec<KeyValue> {
    fn text(&mut self, name: &'static str, value: &str) {
        self.push(key_value(name, Any::StringValue(value.to_owned())));
    }

    fn texts(&mut self, name: &'static str, values: &[&str]) {
        let any = |value: &&str| AnyValue { value: Some(Any::StringValue((*value).to_owned())) };
        let values = values.iter().map(any).collect();
        self.push(key_value(name, Any::ArrayValue(ArrayValue { values })));
    }

    fn int(&mut self, name: &'static str, value: i64) {
        self.push(key_value(name, Any::IntValue(value)));
    }

    fn double(&mut self, name: &'static str, value: f64) {
        self.push(key_value(name, Any::DoubleValue(value)));
    }

    fn bool(&mut self, name: &'static str, value: bool) {
        self.push(key_value(name, Any::BoolValue(value)));
    }
}

/// One attribute of a message.
pub(super) fn key_value(name: &str, value: Any) -> KeyValue {
    KeyValue { key: name.to_owned(), value: Some(AnyValue { value: Some(value) }), key_strindex: 0 }
}
