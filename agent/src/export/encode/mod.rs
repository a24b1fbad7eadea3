//! Batches of the model become export requests.

mod address;
mod ids;
mod log;
mod metric;
mod pack;
mod resource;
#[cfg(test)]
mod samples;
mod sink;
mod span;
mod wire;

pub use pack::Message;
pub(super) use pack::Packer;
pub use resource::{Identity, SCOPE};

use prost::Message as _;

use crate::clock::Clock;
use crate::model::batch::{Batch, WorkloadBatch};
use crate::model::event::Subject;
use ids::IdSource;
use metric::Interval;

/// Turns batches into export requests of limited size. Nothing in it grows with use.
#[derive(Debug)]
pub struct Encoder {
    host: String,
    /// Encoded.
    scope: Vec<u8>,
    extra: Vec<(String, String)>,
    limit: usize,
    ids: IdSource,
}

impl Encoder {
    /// An encoder whose requests have `limit` bytes at most. `extra`: attributes of every resource.
    pub fn new(identity: &Identity, extra: &[(String, String)], limit: usize) -> Self {
        Self {
            host: identity.host.clone(),
            scope: resource::scope(identity),
            extra: extra.to_vec(),
            limit,
            ids: IdSource::default(),
        }
    }

    /// Gives requests with the batch's points to `emit`. Returns how many points fit no request.
    pub fn metrics(&self, batch: &Batch, emit: impl FnMut(&Message)) -> u64 {
        let mut packer = Packer::new(self.limit, emit);
        for workload in batch.workloads.iter().filter(|workload| !workload.points.is_empty()) {
            packer.group(&self.resource(workload), &self.scope);
            metric::pack(&workload.points, Interval::of(batch, workload), &mut packer);
        }
        for gpu in batch.gpus.iter().filter(|gpu| !gpu.points.is_empty()) {
            packer.group(&resource::gpu(&gpu.gpu, &self.host, &self.extra), &self.scope);
            metric::pack(&gpu.points, Interval::of_gpu(batch, gpu), &mut packer);
        }
        packer.finish()
    }

    /// Gives export requests with the batch's events as log records to `emit`. Returns how many records fit no request.
    pub fn events(&self, batch: &Batch, emit: impl FnMut(&Message)) -> u64 {
        let mut packer = Packer::new(self.limit, emit);
        for of_one in batch.events.chunk_by(|a, b| a.resource == b.resource) {
            let Some(first) = of_one.first() else { continue };
            packer.group(&self.subject(&first.resource), &self.scope);
            of_one.iter().for_each(|event| packer.item(&log::record(event, batch.time).encode_to_vec(), 1));
        }
        packer.finish()
    }

    /// Gives export requests with the batch's requests as spans to `emit`. Returns how many spans fit no request.
    pub fn spans(&mut self, batch: &Batch, clock: Clock, emit: impl FnMut(&Message)) -> u64 {
        let mut packer = Packer::new(self.limit, emit);
        let mut bytes = Vec::new();
        for workload in batch.workloads.iter().filter(|workload| !workload.requests.is_empty()) {
            packer.group(&self.resource(workload), &self.scope);
            for request in &workload.requests {
                let head = span::Head::of(request, self.ids.next(), clock);
                bytes.clear();
                span::write(request, workload.workload.engine, &head, &mut bytes);
                packer.item(&bytes, 1);
            }
        }
        packer.finish()
    }

    fn subject(&self, subject: &Subject) -> Vec<u8> {
        match subject {
            Subject::Workload(workload) => resource::workload(workload, &self.host, &self.extra),
            Subject::Gpu(gpu) => resource::gpu(gpu, &self.host, &self.extra),
        }
    }

    fn resource(&self, workload: &WorkloadBatch) -> Vec<u8> {
        resource::workload(&workload.workload, &self.host, &self.extra)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use inferscope_common::block::{Block, Counter, Hist};
    use inferscope_common::flow::Role;
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use std::sync::Arc;

    use crate::model::batch::{Data, Point, Temporality};
    use crate::model::gpu::{self, GpuBatch};
    use crate::model::metrics::MetricId;
    use crate::model::request::{Operation, Outcome, Request, TokenSource, Traceparent};
    use crate::model::workload::WorkloadId;
    use crate::model::{Limits, Model};

    const START: u64 = 1_700_000_000_000_000_000;
    const SECOND: u64 = 1_000_000_000;

    fn encoder() -> Encoder {
        let identity = Identity { host: "gpu-7".into(), version: "1.2.3".into(), instance: "gpu-7".into() };
        Encoder::new(&identity, &[("deployment.environment.name".into(), "test".into())], 4 << 20)
    }

    /// Requests of two workloads, as the model flushes them.
    fn batch(temporality: Temporality) -> Batch {
        let mut model = Model::new(Limits { temporality, series: 100, requests: 100 });
        let mut block = Box::new(Block::zeroed());
        model.add(Arc::new(samples::workload()), &block, START);
        let second = WorkloadId(2);
        model.add(
            Arc::new(crate::model::workload::Workload { id: second, ..(*samples::container()).clone() }),
            &block,
            START,
        );
        model.request(samples::stream());
        let parent = Traceparent { trace_id: [1; 16], span_id: [2; 8], flags: 1 };
        let cut = Request { outcome: Outcome::Aborted, parent: Some(parent), finish: None, ..samples::stream() };
        // Cut short: the server told its input tokens at the start, and no count of its output.
        model.request(Request { token_source: TokenSource::Events, ..cut });
        model.request(Request {
            workload: second,
            status: 503,
            outcome: Outcome::Status(503),
            duration: Some(2_000_000),
            ..samples::bare(Role::Server, Operation::Http)
        });
        block.counters[Counter::RequestsEnded as usize] = 2;
        block.counters[Counter::LostRing as usize] = 3;
        for nanos in [300_000, 340_000, 340_000, 2_000_000] {
            block.hists[Hist::Rtt as usize].record(nanos);
        }
        model.block(WorkloadId(1), &block);
        model.flush(START + 10 * SECOND)
    }

    fn metrics(temporality: Temporality) -> ExportMetricsServiceRequest {
        let mut messages = Vec::new();
        let oversize = encoder().metrics(&batch(temporality), |message| messages.push(message.clone()));
        assert_eq!((messages.len(), oversize), (1, 0));
        ExportMetricsServiceRequest::decode(&messages[0].bytes[..]).unwrap()
    }

    #[test]
    fn metrics_of_two_workloads() {
        insta::assert_json_snapshot!("delta", metrics(Temporality::Delta));
        insta::assert_json_snapshot!("cumulative", metrics(Temporality::Cumulative));
    }

    #[test]
    fn spans_of_two_workloads() {
        let mut messages = Vec::new();
        let (batch, clock) = (batch(Temporality::Delta), Clock::with_offset(START as i64));
        let oversize = encoder().spans(&batch, clock, |message| messages.push(message.clone()));
        assert_eq!((messages.len(), messages[0].items, oversize), (1, 3, 0));
        let mut request = ExportTraceServiceRequest::decode(&messages[0].bytes[..]).unwrap();
        for of_resource in &mut request.resource_spans {
            for span in &mut of_resource.scope_spans[0].spans {
                // Random, unless the parent gave them.
                span.span_id = vec![0xaa; span.span_id.len()];
                if span.parent_span_id.is_empty() {
                    span.trace_id = vec![0xbb; span.trace_id.len()];
                }
            }
        }
        insta::assert_json_snapshot!("spans", request);
    }

    #[test]
    fn a_gpu_has_a_resource_of_its_own_and_its_events_are_records() {
        let gpu = Arc::new(samples::gpu());
        let point = Point { metric: MetricId::HwEnergy, attributes: vec![], data: Data::Real(12.5) };
        let of_gpu =
            GpuBatch { gpu: Arc::clone(&gpu), start: START, since: START, points: vec![point], events: Vec::new() };
        let xid = gpu::Event {
            gpu: Arc::clone(&gpu.id),
            at: 0,
            kind: gpu::EventKind::Xid { code: 79, pid: Some(4242), source: gpu::XidSource::Driver },
        };
        let events = vec![xid.record(&gpu, START + SECOND)];
        let batch = Batch { time: START + 2 * SECOND, gpus: vec![of_gpu], events, ..Batch::default() };
        let mut messages = Vec::new();
        let oversize = encoder().metrics(&batch, |message| messages.push(message.clone()));
        assert_eq!((messages.len(), oversize), (1, 0));
        let metrics = ExportMetricsServiceRequest::decode(&messages[0].bytes[..]).unwrap();
        messages.clear();
        let oversize = encoder().events(&batch, |message| messages.push(message.clone()));
        assert_eq!((messages.len(), messages[0].items, oversize), (1, 1, 0));
        let logs = ExportLogsServiceRequest::decode(&messages[0].bytes[..]).unwrap();
        insta::assert_json_snapshot!("gpu", (metrics, logs));
    }

    #[test]
    fn what_is_empty_makes_no_request() {
        let empty = Batch { workloads: Vec::new(), ..batch(Temporality::Delta) };
        let emit = |message: &Message| panic!("{message:?}");
        assert_eq!(encoder().events(&empty, emit), 0);
        assert_eq!((encoder().metrics(&empty, emit), encoder().spans(&empty, Clock::with_offset(0), emit)), (0, 0));
    }
}
