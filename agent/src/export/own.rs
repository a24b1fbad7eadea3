//! The agent's own metrics and logs, taken from OpenTelemetry's SDK into the queues of everything else.
//!
//! The SDK's own exporters give up after three tries; here the agent's telemetry outlasts an outage as its workloads'
//! does, over the same connections.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::logs::tonic::group_logs_by_resource_and_scope;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogExporter};
use opentelemetry_sdk::metrics::Temporality as SdkTemporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use prost::Message;

use crate::export::Line;
use crate::export::encode::Packer;
use crate::model::batch::Temporality;

/// Takes the agent's own metrics.
#[derive(Debug)]
pub struct OwnMetrics {
    line: Line,
    temporality: SdkTemporality,
}

impl OwnMetrics {
    pub(super) fn new(line: Line, temporality: Temporality) -> Self {
        let temporality = match temporality {
            Temporality::Delta => SdkTemporality::Delta,
            Temporality::Cumulative => SdkTemporality::Cumulative,
        };
        Self { line, temporality }
    }
}

impl PushMetricExporter for OwnMetrics {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let request = ExportMetricsServiceRequest::from(metrics);
        let mut packer = Packer::new(self.line.limit, |message: &_| self.line.push(message));
        for of_resource in &request.resource_metrics {
            let resource = of_resource.resource.as_ref().map(Message::encode_to_vec).unwrap_or_default();
            for of_scope in &of_resource.scope_metrics {
                let scope = of_scope.scope.as_ref().map(Message::encode_to_vec).unwrap_or_default();
                packer.group(&resource, &scope);
                for metric in &of_scope.metrics {
                    packer.item(&metric.encode_to_vec(), points(metric.data.as_ref()));
                }
            }
        }
        self.line.oversize(packer.finish());
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> SdkTemporality {
        self.temporality
    }
}

fn points(data: Option<&Data>) -> u64 {
    let points = match data {
        Some(Data::Gauge(gauge)) => gauge.data_points.len(),
        Some(Data::Sum(sum)) => sum.data_points.len(),
        Some(Data::Histogram(histogram)) => histogram.data_points.len(),
        Some(Data::ExponentialHistogram(histogram)) => histogram.data_points.len(),
        Some(Data::Summary(summary)) => summary.data_points.len(),
        None => 0,
    };
    points as u64
}

/// Takes the agent's own logs.
#[derive(Debug)]
pub struct OwnLogs {
    line: Line,
    resource: ResourceAttributesWithSchema,
}

impl OwnLogs {
    pub(super) fn new(line: Line) -> Self {
        Self { line, resource: ResourceAttributesWithSchema::default() }
    }
}

impl LogExporter for OwnLogs {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let mut packer = Packer::new(self.line.limit, |message: &_| self.line.push(message));
        for of_resource in group_logs_by_resource_and_scope(&batch, &self.resource) {
            let resource = of_resource.resource.map(|resource| resource.encode_to_vec()).unwrap_or_default();
            for of_scope in of_resource.scope_logs {
                let scope = of_scope.scope.map(|scope| scope.encode_to_vec()).unwrap_or_default();
                packer.group(&resource, &scope);
                for record in of_scope.log_records {
                    packer.item(&record.encode_to_vec(), 1);
                }
            }
        }
        self.line.oversize(packer.finish());
        Ok(())
    }

    fn set_resource(&mut self, resource: &opentelemetry_sdk::Resource) {
        self.resource = resource.into();
    }
}
