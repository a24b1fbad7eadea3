//! An OTLP/gRPC receiver within this process: what arrives can be looked at at once.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::codec::CompressionEncoding;
use tonic::{Request, Response, Status};

use crate::received::Received;
use crate::wait;

/// A running receiver; it stops when dropped.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    store: Store,
    // Its threads serve as long as it lives.
    _runtime: Runtime,
}

#[derive(Clone, Default, Debug)]
struct Store(Arc<Mutex<Received>>);

impl Store {
    fn keep(&self, change: impl FnOnce(&mut Received)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Receiver {
    /// Listens on a free port of the loopback.
    pub fn start() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).context("cannot listen for OTLP")?;
        let address = listener.local_addr()?;
        let store = Store::default();
        macro_rules! service {
            ($server:ident) => {
                $server::new(store.clone()).accept_compressed(CompressionEncoding::Gzip)
            };
        }
        let serve = tonic::transport::Server::builder()
            .add_service(service!(MetricsServiceServer))
            .add_service(service!(TraceServiceServer))
            .add_service(service!(LogsServiceServer))
            .serve_with_incoming(TcpListenerStream::new(listener));
        runtime.spawn(async move {
            if let Err(error) = serve.await {
                eprintln!("the OTLP receiver failed: {error}");
            }
        });
        Ok(Self { address, store, _runtime: runtime })
    }

    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` is to be.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What has arrived so far.
    pub fn received(&self) -> Received {
        self.store.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until what has arrived is as wanted.
    pub fn until<T>(&self, within: Duration, what: &str, mut look: impl FnMut(&Received) -> Option<T>) -> Result<T> {
        wait::until(within, what, || look(&self.store.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

#[tonic::async_trait]
impl MetricsService for Store {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.keep(|received| received.metrics.extend(request.into_inner().resource_metrics));
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl TraceService for Store {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.keep(|received| received.spans.extend(request.into_inner().resource_spans));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Store {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        self.keep(|received| received.logs.extend(request.into_inner().resource_logs));
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}
