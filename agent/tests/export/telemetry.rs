//! What the agent tells of itself, by way of its exporter.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use inferscope::bpf::{Hook, HookState};
use inferscope::export::{Compression, Signal};
use inferscope::governor;
use inferscope::host::own::CpuTime;
use inferscope::model::Taken;
use inferscope::model::batch::Temporality;
use inferscope::telemetry::{self, AgentState, Options};
use inferscope::wire::Losses;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, NumberDataPoint};
use prost::Message;
use tracing::level_filters::LevelFilter;

use crate::common::{destination, start, traces, until};
use crate::receiver::{Receiver, Reply};

fn texts(attributes: &[KeyValue]) -> BTreeMap<&str, String> {
    let text = |value: &KeyValue| match value.value.as_ref().unwrap().value.as_ref().unwrap() {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    };
    attributes.iter().map(|attribute| (attribute.key.as_str(), text(attribute))).collect()
}

fn resource(attributes: &[KeyValue]) {
    let named = texts(attributes);
    let expected = [
        ("deployment.environment.name", "test"),
        ("host.name", "here"),
        ("service.instance.id", "here"),
        ("service.name", "mine"),
        ("service.version", "1.2.3"),
    ];
    assert_eq!(named, expected.map(|(name, value)| (name, value.to_owned())).into());
}

fn values(points: &[NumberDataPoint]) -> Vec<(String, f64)> {
    let value = |point: &NumberDataPoint| {
        let value = match point.value {
            Some(Number::AsInt(value)) => value as f64,
            Some(Number::AsDouble(value)) => value,
            None => panic!("{point:?}"),
        };
        (texts(&point.attributes).into_values().collect::<Vec<_>>().join(" "), value)
    };
    let mut values: Vec<_> = points.iter().map(value).collect();
    values.sort_by(|one, other| one.0.cmp(&other.0));
    values
}

/// One test for all of it: a process has one log.
#[tokio::test]
async fn the_agent_tells_of_itself_and_not_of_telling() {
    let metrics = Receiver::start(false, vec![]).await;
    // Two failures to ship: what the exporter writes of them must not become something to ship.
    let logs = Receiver::start(false, vec![Reply::status(503), Reply::status(503)]).await;
    let plain = |receiver: &Receiver| {
        let mut destination = destination(false, &format!("http://{}/v1/any", receiver.address));
        destination.compression = Compression::None;
        destination
    };
    let mut settings = traces(plain(&metrics));
    (settings.traces, settings.metrics, settings.logs) = (None, Some(plain(&metrics)), Some(plain(&logs)));
    settings.resource = vec![("deployment.environment.name".into(), "test".into()), ("host.name".into(), "x".into())];
    let exporter = start(settings);
    let state = Arc::new(AgentState::default());
    let options = Options {
        level: LevelFilter::INFO,
        service: "mine".into(),
        interval: Duration::from_secs(3600),
        temporality: Temporality::Delta,
    };
    let told = telemetry::start(&options, &exporter, Arc::clone(&state)).unwrap();
    assert!(telemetry::start(&options, &exporter, Arc::clone(&state)).is_err(), "a process has one log");

    state.update(
        Taken { workloads: 3, requests: 1000, orphans: 2 },
        Losses { evicted: 5, oversize: 0, unbound: 0, labels: 0 },
    );
    state.set_governor(governor::State {
        reading: Some(governor::Reading {
            cpu: governor::Cpu { user: 0.5, system: 0.125, programs: None },
            memory: Some(1024),
            spinning: None,
        }),
        time: CpuTime { user: Duration::from_millis(1500), system: Duration::from_millis(250) },
        parts: vec![(governor::Part::Spans, true)],
        ..governor::State::default()
    });
    let reason = HookState::Unavailable("no BTF".into());
    state.set_hooks(&[Hook { name: "tcp_send_reset", signal: "resets sent", state: reason }]);
    tracing::info!(target: "inferscope::pipeline", workload = "vllm", port = 8000, "watching");
    tracing::debug!(target: "inferscope::pipeline", "not as important as is asked for");
    tracing::error!(target: "inferscope::export::ship", "of the exporter");
    tracing::error!(target: "hyper", "of a library");
    until(|| exporter.stats().of(Signal::Logs).delivered_items() == 1).await;

    told.shutdown();
    let stats = Arc::clone(exporter.stats());
    assert!(exporter.shutdown().await.is_empty());
    let account = stats.of(Signal::Logs);
    assert_eq!((account.delivered_items(), account.retries(), account.lost_in_all()), (1, 2, 0));

    let received = logs.received();
    assert_eq!(received.len(), 3, "the same three times");
    let request = ExportLogsServiceRequest::decode(&received[2].body[..]).unwrap();
    let of_agent = &request.resource_logs[0];
    resource(&of_agent.resource.as_ref().unwrap().attributes);
    assert_eq!(of_agent.scope_logs.len(), 1);
    let record = &of_agent.scope_logs[0].log_records[0];
    assert_eq!(of_agent.scope_logs[0].scope.as_ref().unwrap().name, "inferscope::pipeline");
    assert_eq!(record.body.as_ref().unwrap().value, Some(Value::StringValue("watching".into())));
    assert_eq!(record.severity_text, "INFO");
    assert_eq!(texts(&record.attributes), [("port", "8000".into()), ("workload", "vllm".into())].into());

    let received = metrics.received();
    assert_eq!(received.len(), 1, "the last one, at the end");
    points_are_those_of_the_state(&received[0].body);
}

/// What the state above leads to.
fn points_are_those_of_the_state(body: &[u8]) {
    let request = ExportMetricsServiceRequest::decode(body).unwrap();
    let of_agent = &request.resource_metrics[0];
    resource(&of_agent.resource.as_ref().unwrap().attributes);
    let mut told = BTreeMap::new();
    for metric in &of_agent.scope_metrics[0].metrics {
        let points = match metric.data.as_ref().unwrap() {
            Data::Gauge(gauge) => values(&gauge.data_points),
            Data::Sum(sum) => {
                // What also shrinks is always told as it stands.
                let delta = sum.aggregation_temporality() == AggregationTemporality::Delta;
                assert_eq!(sum.is_monotonic, delta, "{}", metric.name);
                values(&sum.data_points)
            }
            other => panic!("{other:?}"),
        };
        told.insert(metric.name.as_str(), points);
    }
    assert_eq!(told["inferscope.agent.workloads"], [(String::new(), 3.0)]);
    assert_eq!(told["inferscope.agent.requests"], [(String::new(), 1000.0)]);
    assert_eq!(told["inferscope.agent.loss"], [("evicted".to_owned(), 5.0)]);
    assert_eq!(told["inferscope.agent.hook.up"], [("tcp_send_reset no BTF".to_owned(), 0.0)]);
    assert_eq!(told["inferscope.agent.export.items"], [("logs".to_owned(), 1.0), ("metrics".to_owned(), 0.0)]);
    assert_eq!(told["inferscope.agent.export.retries"], [("logs".to_owned(), 2.0), ("metrics".to_owned(), 0.0)]);
    assert_eq!(told["process.cpu.time"], [("system".to_owned(), 0.25), ("user".to_owned(), 1.5)]);
    assert_eq!(told["process.memory.usage"], [(String::new(), 1024.0)]);
    assert_eq!(told["inferscope.agent.cpu.usage"], [("system".to_owned(), 0.125), ("user".to_owned(), 0.5)]);
    assert_eq!(told["inferscope.agent.governor.shed"], [("spans".to_owned(), 1.0)]);
    assert!(!told.contains_key("inferscope.agent.export.loss"), "nothing was lost");
}
