//! Batches to send, and exporters that hurry.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use inferscope::clock::Clock;
use inferscope::export::{
    Compression, Destination, Exporter, Identity, LossCause, Pace, Protocol, Settings, Signal, SignalStats, Tls,
};
use inferscope::model::batch::{Batch, Data, Point, Temporality, WorkloadBatch};
use inferscope::model::metrics::MetricId;
use inferscope::model::request::{Operation, Request};
use inferscope::model::workload::{Engine, Workload, WorkloadId};
use inferscope_common::exchange::Figures;
use inferscope_common::flow::Role;
use tokio::net::TcpListener;

use crate::voice::keep_every_line_wanted;

/// Longest time that anything here may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// A credential that may appear nowhere.
pub(crate) const SECRET: &str = "Bearer canary-of-the-sender";

pub(crate) fn destination(grpc: bool, url: &str) -> Destination {
    Destination {
        protocol: if grpc { Protocol::Grpc } else { Protocol::HttpProtobuf },
        endpoint: url.parse().unwrap(),
        headers: vec![("authorization".into(), SECRET.into())],
        compression: Compression::Gzip,
        timeout: Duration::from_secs(5),
        tls: Tls::default(),
    }
}

/// Sends traces to a destination and nothing else anywhere.
pub(crate) fn traces(destination: Destination) -> Settings {
    Settings {
        metrics: None,
        traces: Some(destination),
        logs: None,
        queue_bytes: 1 << 20,
        request_bytes: 1 << 20,
        shutdown: Duration::from_secs(10),
        resource: Vec::new(),
    }
}

pub(crate) fn start(settings: Settings) -> Exporter {
    keep_every_line_wanted();
    let identity = Identity { host: "here".into(), version: "1.2.3".into(), instance: "here".into() };
    let pace = Pace { first: Duration::from_millis(10), longest: Duration::from_millis(40) };
    Exporter::with_pace(settings, identity, pace).unwrap()
}

/// An exporter of traces to a receiver at `address`.
pub(crate) fn start_traces(grpc: bool, address: SocketAddr) -> Exporter {
    let path = if grpc { "" } else { "/v1/traces" };
    start(traces(destination(grpc, &format!("http://{address}{path}"))))
}

pub(crate) fn workload() -> Arc<Workload> {
    Arc::new(Workload {
        id: WorkloadId(1),
        name: "vllm".into(),
        engine: Engine::Vllm,
        cgroup: PathBuf::from("/sys/fs/cgroup/vllm"),
        cgroup_id: 1,
        port: None,
        container: None,
    })
}

/// A batch of `spans` requests, told apart by `mark`, which becomes the request's bytes.
pub(crate) fn spans(spans: u64, mark: u64) -> Batch {
    let requests = (0..spans).map(|_| request(mark)).collect();
    batch(Vec::new(), requests)
}

/// A batch of one point.
pub(crate) fn point() -> Batch {
    let point = Point { metric: MetricId::Requests, attributes: Vec::new(), data: Data::Sum(7) };
    batch(vec![point], Vec::new())
}

fn batch(points: Vec<Point>, requests: Vec<Request>) -> Batch {
    let workload = WorkloadBatch { workload: workload(), start: 0, since: 0, points, requests };
    Batch { time: 1, temporality: Temporality::Delta, workloads: vec![workload], ..Batch::default() }
}

fn request(mark: u64) -> Request {
    Request {
        method: "POST",
        route: Some("/v1/chat/completions".into()),
        started: Some(1_000),
        figures: Figures { request_bytes: mark, ..Figures::default() },
        ..Request::bare(WorkloadId(1), Role::Server, Operation::Chat, 2_000)
    }
}

pub(crate) fn offer(exporter: &Exporter, batch: &Batch) {
    exporter.offer(batch, Clock::with_offset(0));
}

pub(crate) fn of_traces(exporter: &Exporter) -> &SignalStats {
    exporter.stats().of(Signal::Traces)
}

/// Delivered, lost by cause in the order of [`LossCause::ALL`], retries.
pub(crate) fn account(stats: &SignalStats) -> (u64, [u64; 6], u64) {
    (stats.delivered_items(), LossCause::ALL.map(|cause| stats.lost(cause)), stats.retries())
}

/// Lost for one cause, and nothing for any other.
pub(crate) fn lost(cause: LossCause, items: u64) -> [u64; 6] {
    LossCause::ALL.map(|other| if other == cause { items } else { 0 })
}

/// An address where nobody listens, and nobody else in these tests will: each has one of its own.
pub(crate) async fn away(test: u8) -> SocketAddr {
    TcpListener::bind((Ipv4Addr::new(127, 1, 1, test), 0)).await.unwrap().local_addr().unwrap()
}

/// Waits until `condition` holds.
#[track_caller]
pub(crate) fn until(mut condition: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let start = Instant::now();
        while !condition() {
            assert!(start.elapsed() < DEADLINE, "waited in vain at {caller}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}
