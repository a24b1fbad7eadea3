//! The receiver and the real collector hand on exactly what was sent to them.

use std::time::Duration;

use anyhow::Result;
use inferscope_tests::collector::Place;
use inferscope_tests::received::{Received, Totals};
use inferscope_tests::receiver::Receiver;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogram, ExponentialHistogramDataPoint, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum,
};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

const ARRIVED_WITHIN: Duration = Duration::from_secs(10);

fn attribute(value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) });
    KeyValue { key: "key".to_owned(), value, ..KeyValue::default() }
}

fn histogram(count: u64) -> Metric {
    let point = ExponentialHistogramDataPoint {
        attributes: vec![attribute("a")],
        start_time_unix_nano: 1,
        time_unix_nano: u64::MAX / 3,
        count,
        sum: Some(0.25),
        scale: 5,
        positive: Some(Buckets { offset: -7, bucket_counts: vec![0, count, 0] }),
        ..ExponentialHistogramDataPoint::default()
    };
    let temporality = AggregationTemporality::Delta as i32;
    let data = ExponentialHistogram { data_points: vec![point], aggregation_temporality: temporality };
    Metric { name: "histogram".to_owned(), data: Some(Data::ExponentialHistogram(data)), ..Metric::default() }
}

fn counter(value: i64) -> Metric {
    let point = |value, key| NumberDataPoint {
        attributes: vec![attribute(key)],
        value: Some(Number::AsInt(value)),
        ..NumberDataPoint::default()
    };
    let temporality = AggregationTemporality::Cumulative as i32;
    let data_points = vec![point(value, "a"), point(10, "b")];
    let data = Sum { data_points, aggregation_temporality: temporality, is_monotonic: true };
    Metric { name: "counter".to_owned(), data: Some(Data::Sum(data)), ..Metric::default() }
}

/// What is sent, in two requests for metrics.
fn sent() -> Received {
    let metrics = |metrics| ResourceMetrics {
        scope_metrics: vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }],
        ..ResourceMetrics::default()
    };
    let span = Span { name: "a span".to_owned(), trace_id: vec![7; 16], span_id: vec![8; 8], ..Span::default() };
    let log = LogRecord { attributes: vec![attribute("needle")], ..LogRecord::default() };
    Received {
        metrics: vec![metrics(vec![histogram(3), counter(4)]), metrics(vec![histogram(5), counter(9)])],
        spans: vec![ResourceSpans {
            scope_spans: vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        }],
        logs: vec![ResourceLogs {
            scope_logs: vec![ScopeLogs { log_records: vec![log], ..ScopeLogs::default() }],
            ..ResourceLogs::default()
        }],
    }
}

fn send(endpoint: &str) -> Result<()> {
    let Received { metrics, spans, logs } = sent();
    let endpoint = endpoint.to_owned();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mut client = MetricsServiceClient::connect(endpoint.clone()).await?;
        for part in metrics {
            client.export(ExportMetricsServiceRequest { resource_metrics: vec![part] }).await?;
        }
        let spans = ExportTraceServiceRequest { resource_spans: spans };
        TraceServiceClient::connect(endpoint.clone()).await?.export(spans).await?;
        let logs = ExportLogsServiceRequest { resource_logs: logs };
        LogsServiceClient::connect(endpoint).await?.export(logs).await?;
        Ok(())
    })
}

fn check(received: &Received) {
    assert_eq!(received.total("histogram", &[("key", "a")]), Totals { count: 8, sum: 0.5 }, "deltas add up");
    assert_eq!(received.total("counter", &[]).count, 19, "the last of each series counts");
    assert_eq!(received.total("counter", &[("key", "b")]).count, 10);
    assert!(received.holds("needle") && !received.holds("haystack"));
    assert_eq!((received.spans()[0].name.as_str(), received.spans()[0].trace[0]), ("a span", 7));
}

#[test]
fn the_receiver_keeps_what_arrives() -> Result<()> {
    let receiver = Receiver::start()?;
    send(&receiver.endpoint())?;
    let (received, Received { metrics, spans, logs }) = (receiver.received(), sent());
    check(&received);
    assert_eq!((received.metrics, received.spans, received.logs), (metrics, spans, logs));
    Ok(())
}

#[test]
fn the_collector_keeps_what_arrives() -> Result<()> {
    let place = Place::new()?;
    let collector = place.start()?;
    send(&place.grpc())?;
    place.until(ARRIVED_WITHIN, "all signals", |received| (received.logs.len() == 1).then_some(()))?;
    collector.stop()?;
    check(&place.received()?);
    // Another one adds to what is there.
    let again = place.start()?;
    send(&place.grpc())?;
    again.stop()?;
    assert_eq!(place.received()?.total("histogram", &[]).count, 16);
    Ok(())
}
