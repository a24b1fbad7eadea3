//! The protocols as others implement them: tonic's server, TLS, and what stands in the headers.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use inferscope::export::{Compression, EndpointError, ExportError, Exporter, Identity, Signal, Tls, TlsError};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tonic::codec::CompressionEncoding;
use tonic::{Request, Response, Status};

use crate::common::{SECRET, destination, of_traces, offer, point, spans, start, start_traces, traces, until};
use crate::receiver::Receiver;
use crate::voice::Page;

/// Requests and the metadata that came with them.
type Taken = Arc<Mutex<Vec<(tonic::metadata::MetadataMap, ExportTraceServiceRequest)>>>;

struct Collector(Taken);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        self.0.lock().unwrap().push((metadata, message));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tokio::test]
async fn tonics_own_server_takes_spans() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let taken = Taken::default();
    let service = TraceServiceServer::new(Collector(Arc::clone(&taken)))
        .accept_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Gzip);
    let server = tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new()).http2_only();
                drop(server.serve_connection(TokioIo::new(socket), service).await);
            });
        }
    });
    for compression in [Compression::Gzip, Compression::None] {
        let mut destination = destination(true, &format!("http://{address}"));
        destination.compression = compression;
        let exporter = start(traces(destination));
        offer(&exporter, &spans(3, 1));
        assert!(exporter.shutdown().await.is_empty());
    }
    server.abort();
    let taken = taken.lock().unwrap();
    assert_eq!(taken.len(), 2);
    for (metadata, request) in taken.iter() {
        assert_eq!(request.resource_spans[0].scope_spans[0].spans.len(), 3);
        assert_eq!(metadata.get("authorization").unwrap(), SECRET);
        assert_eq!(metadata.get("user-agent").unwrap(), "inferscope/1.2.3");
        assert_eq!(metadata.get("grpc-timeout").unwrap(), "5000m");
    }
}

#[tokio::test]
async fn signals_go_where_they_belong() {
    let grpc = Receiver::start(true, vec![]).await;
    let http = Receiver::start(false, vec![]).await;
    let mut settings = traces(destination(true, &format!("http://{}/behind/a/proxy/", grpc.address)));
    settings.metrics = Some(destination(false, &format!("http://{}/v1/metrics?tenant=7", http.address)));
    let exporter = start(settings);
    offer(&exporter, &spans(1, 1));
    offer(&exporter, &point());
    until(|| Signal::ALL[..2].iter().all(|&signal| exporter.stats().of(signal).delivered_items() == 1)).await;
    let (spans, points) = (&grpc.received()[0], &http.received()[0]);
    assert_eq!(spans.path, "/behind/a/proxy/opentelemetry.proto.collector.trace.v1.TraceService/Export");
    assert_eq!(
        (&spans.headers["content-type"], &spans.headers["te"]),
        (&"application/grpc".parse().unwrap(), &"trailers".parse().unwrap())
    );
    assert_eq!(points.path, "/v1/metrics");
    assert_eq!(points.headers["content-type"], "application/x-protobuf");
    assert_eq!(points.headers["content-encoding"], "gzip");
    assert_eq!(points.headers["authorization"], SECRET);
    assert!(exporter.stats().of(Signal::Metrics).delivered_bytes() > points.body.len() as u64, "before compression");
}

#[tokio::test]
async fn connections_are_kept() {
    for grpc in [false, true] {
        let receiver = Receiver::start(grpc, vec![]).await;
        let exporter = start_traces(grpc, receiver.address);
        for mark in 1..=20 {
            offer(&exporter, &spans(1, mark));
            until(|| of_traces(&exporter).delivered_items() == mark).await;
        }
        assert_eq!(receiver.connections(), 1);
    }
}

/// A file of the certificates for tests.
fn pem(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/export/tls").join(name)
}

/// A server that is `localhost`; `asks`: for a certificate that its own authority signed.
fn acceptor(asks: bool) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = if asks {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(pem("ca.pem")).unwrap()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        builder.unwrap().with_client_cert_verifier(verifier)
    } else {
        builder.unwrap().with_no_client_auth()
    };
    let certificate = CertificateDer::from_pem_file(pem("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(pem("server.key")).unwrap();
    let mut config = builder.with_single_cert(vec![certificate], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn tls_with_an_authority_of_its_own_and_client_certificates() {
    for (grpc, asks) in [(false, false), (false, true), (true, false), (true, true)] {
        let receiver = Receiver::start_tls(grpc, acceptor(asks)).await;
        let mut destination = destination(grpc, &format!("https://localhost:{}/v1/traces", receiver.address.port()));
        let client = asks.then(|| (pem("client.pem"), pem("client.key")));
        destination.tls = Tls { ca: Some(pem("ca.pem")), client };
        let exporter = start(traces(destination));
        offer(&exporter, &spans(2, 1));
        until(|| of_traces(&exporter).delivered_items() == 2).await;
        assert_eq!(of_traces(&exporter).retries(), 0);
    }
}

#[tokio::test]
async fn who_is_not_trusted_gets_nothing_and_the_log_says_so() {
    let page = Page::default();
    let _guard = page.open();
    // The agent does not trust the server, and a server does not trust the agent.
    for (grpc, ca, asks) in
        [(true, "other.pem", false), (false, "other.pem", false), (true, "ca.pem", true), (false, "ca.pem", true)]
    {
        let receiver = Receiver::start_tls(grpc, acceptor(asks)).await;
        let mut destination = destination(grpc, &format!("https://localhost:{}", receiver.address.port()));
        destination.tls.ca = Some(pem(ca));
        let exporter = start(traces(destination));
        offer(&exporter, &spans(2, 1));
        until(|| of_traces(&exporter).retries() >= 2).await;
        assert!(receiver.received().is_empty());
        let line = page.lines().pop().unwrap();
        assert!(line.contains("TLS failed") && line.contains("check the CA file"), "{grpc} {ca} {line}");
    }
}

fn refusal(change: impl FnOnce(&mut inferscope::export::Destination)) -> String {
    let mut destination = destination(true, "https://localhost:4317");
    change(&mut destination);
    let identity = Identity { host: "h".into(), version: "1".into(), instance: "i".into() };
    Exporter::start(traces(destination), identity).unwrap_err().to_string()
}

#[tokio::test]
async fn what_cannot_be_used_is_refused_at_the_start() {
    let url = |text: &str| refusal(|destination| destination.endpoint = text.parse().unwrap());
    assert_eq!(
        url("localhost:4317"),
        "cannot export traces: localhost:4317 is no endpoint: it must be http://HOST[:PORT][/PATH] or https://…"
    );
    assert!(url("ftp://host/?secret").contains("ftp://host/ is no endpoint"));
    let user = url("https://user:secret@host/");
    assert!(user.contains("https://host/") && user.contains("header") && !user.contains("secret"), "{user}");
    assert!(url("/v1/traces").contains("no endpoint"));
    let header = refusal(|destination| destination.headers.push(("bad name".into(), "secret".into())));
    assert!(header.contains("\"bad name\"") && !header.contains("secret"), "{header}");
    let value = refusal(|destination| destination.headers.push(("x-key".into(), "secret\n".into())));
    assert!(value.contains("\"x-key\"") && !value.contains("secret"), "{value}");
    let missing = refusal(|destination| destination.tls.ca = Some("/does/not/exist.pem".into()));
    assert!(missing.contains("/does/not/exist.pem") && missing.contains("PEM"), "{missing}");
    let no_certificate = refusal(|destination| destination.tls.ca = Some(pem("client.key")));
    assert!(no_certificate.contains("a certificate"), "{no_certificate}");
    let mismatch = refusal(|destination| destination.tls.client = Some((pem("client.pem"), pem("other.key"))));
    assert!(mismatch.contains("client.pem") && mismatch.contains("other.key"), "{mismatch}");
}

#[test]
fn an_exporter_needs_a_runtime() {
    let identity = Identity { host: "h".into(), version: "1".into(), instance: "i".into() };
    let error = Exporter::start(traces(destination(true, "http://localhost:4317")), identity).unwrap_err();
    assert!(matches!(error, ExportError::Runtime(_)), "{error}");
}

#[test]
fn errors_name_their_kind() {
    // The variants are part of the interface.
    let error = ExportError::Endpoint { signal: "traces", source: EndpointError::Header("x".into()) };
    assert!(error.to_string().starts_with("cannot export traces: header \"x\""));
    assert!(TlsError::NoRoots.to_string().contains("ca-certificates"));
}
