//! Sends requests to one endpoint. gRPC and HTTP share connections, TLS and limits; only the framing differs.

use std::error::Error;
use std::io;
use std::time::{Duration, SystemTime};

use bytes::buf::Chain;
use bytes::{Buf, Bytes};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::response::Parts;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::export::answer::{Answer, Why};
use crate::export::body::{self, Unread};
use crate::export::payload::Payload;
use crate::export::settings::{Destination, Protocol, shown};
use crate::export::stats::Signal;
use crate::export::tls::{self, TlsError};
use crate::export::{grpc, partial};

/// Longest time for a connection to come about, where a request may take longer.
const CONNECT: Duration = Duration::from_secs(5);
/// An idle connection is asked for a sign of life this often.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// An idle connection is closed after this time.
const IDLE: Duration = Duration::from_secs(120);

/// Why an endpoint cannot be used.
#[derive(thiserror::Error, Debug)]
pub enum EndpointError {
    /// It is no URL of a server.
    #[error("{0} is no endpoint: it must be http://HOST[:PORT][/PATH] or https://…")]
    Url(String),
    /// It holds a user, which libraries log.
    #[error("{0} is given with a name or password, which is not used; put credentials into a header")]
    Credentials(String),
    /// A header that HTTP does not allow. Its value is not told: it may be a secret.
    #[error("header {0:?} of the OTLP endpoint has a name or a value that HTTP does not allow")]
    Header(String),
    /// TLS cannot be set up.
    #[error("TLS for {endpoint}: {source}")]
    Tls {
        /// The endpoint.
        endpoint: String,
        /// Why.
        source: Box<TlsError>,
    },
}

type Body = Full<Chain<Bytes, Bytes>>;

/// A client of one endpoint for one signal.
#[derive(Debug)]
pub(super) struct Transport {
    client: Client<HttpsConnector<HttpConnector>, Body>,
    protocol: Protocol,
    uri: Uri,
    headers: HeaderMap,
    timeout: Duration,
}

impl Transport {
    /// A client that connects when it is first used. `agent`: how it names itself.
    pub(super) fn new(signal: Signal, destination: &Destination, agent: &str) -> Result<Self, EndpointError> {
        let endpoint = || shown(&destination.endpoint);
        let https = destination.endpoint.scheme() == Some(&Scheme::HTTPS);
        if destination.endpoint.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(EndpointError::Credentials(endpoint()));
        }
        let uri = uri(signal, destination).ok_or_else(|| EndpointError::Url(endpoint()))?;
        let config = if https { tls::client(&destination.tls) } else { tls::unused() };
        let config = config.map_err(|source| EndpointError::Tls { endpoint: endpoint(), source: source.into() })?;
        let schemes = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http();
        let tcp = tcp(destination.timeout);
        let grpc = destination.protocol == Protocol::Grpc;
        let connector =
            if grpc { schemes.enable_http2().wrap_connector(tcp) } else { schemes.enable_http1().wrap_connector(tcp) };
        let client = Client::builder(TokioExecutor::new())
            .http2_only(grpc)
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(1)
            .build(connector);
        let headers = headers(destination, agent)?;
        Ok(Self { client, protocol: destination.protocol, uri, headers, timeout: destination.timeout })
    }

    /// Sends a request and says what became of it.
    pub(super) async fn send(&self, payload: &Payload) -> Answer {
        let answer = tokio::time::timeout(self.timeout, self.exchange(payload)).await;
        answer.unwrap_or(Answer::Retry { after: None, why: Why::Timeout(self.timeout) })
    }

    async fn exchange(&self, payload: &Payload) -> Answer {
        let retry = |why| Answer::Retry { after: None, why };
        let response = match self.client.request(self.request(payload)).await {
            Ok(response) => response,
            Err(error) => return retry(why(&error)),
        };
        let (head, body) = response.into_parts();
        let (bytes, trailers) = match body::read(body).await {
            Ok(read) => read,
            Err(Unread::TooLarge) => return Answer::TooLarge,
            Err(Unread::Broken(error)) => return retry(Why::Disconnect(outermost(&*error))),
        };
        match self.protocol {
            Protocol::Grpc => grpc::answer(&head, &bytes, trailers.as_ref(), payload.items),
            Protocol::HttpProtobuf => http_answer(&head, bytes, payload.items),
        }
    }

    fn request(&self, payload: &Payload) -> Request<Body> {
        let grpc = self.protocol == Protocol::Grpc;
        let head = if grpc { grpc::frame_head(payload) } else { Bytes::new() };
        let mut request = Request::new(Full::new(head.chain(Bytes::clone(&payload.body))));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        if payload.gzip {
            let name = if grpc { HeaderName::from_static("grpc-encoding") } else { CONTENT_ENCODING };
            request.headers_mut().insert(name, HeaderValue::from_static("gzip"));
        }
        request
    }
}

fn http_answer(head: &Parts, bytes: Bytes, items: u64) -> Answer {
    let text = |name| head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let gzip = text(CONTENT_ENCODING).is_some_and(|encoding| encoding.eq_ignore_ascii_case("gzip"));
    let bytes = match if gzip { body::gunzip(&bytes) } else { Ok(bytes) } {
        Ok(bytes) => bytes,
        Err(_) => return Answer::TooLarge,
    };
    match Answer::of_http(head.status, text(RETRY_AFTER), SystemTime::now()) {
        Answer::Accepted { .. } => partial::read(&bytes, items),
        answer => answer,
    }
}

fn uri(signal: Signal, destination: &Destination) -> Option<Uri> {
    let mut parts = destination.endpoint.clone().into_parts();
    parts.scheme.as_ref().filter(|scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme))?;
    parts.authority.as_ref().filter(|authority| !authority.host().is_empty())?;
    if destination.protocol == Protocol::Grpc {
        // A path that stands before the method is that of a proxy.
        let prefix = destination.endpoint.path().trim_end_matches('/');
        parts.path_and_query = Some(PathAndQuery::try_from(format!("{prefix}{}", grpc::method(signal))).ok()?);
    }
    Uri::from_parts(parts).ok()
}

fn headers(destination: &Destination, agent: &str) -> Result<HeaderMap, EndpointError> {
    let mut headers = HeaderMap::new();
    let agent = (USER_AGENT.to_string(), agent.to_owned());
    for (name, value) in std::iter::once(&agent).chain(&destination.headers) {
        let (name, value) = header(name, value).ok_or_else(|| EndpointError::Header(name.clone()))?;
        headers.insert(name, value);
    }
    match destination.protocol {
        Protocol::Grpc => grpc::headers(destination.timeout, &mut headers),
        Protocol::HttpProtobuf => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        }
    }
    Ok(headers)
}

fn header(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some((HeaderName::from_bytes(name.as_bytes()).ok()?, value))
}

fn tcp(timeout: Duration) -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(timeout.min(CONNECT)));
    tcp.set_keepalive(Some(KEEPALIVE));
    // A peer that vanished is noticed as soon as a request would be, and the next try finds another connection.
    tcp.set_tcp_user_timeout(Some(timeout));
    tcp
}

fn why(error: &legacy::Error) -> Why {
    match io_error(error) {
        // What TLS objects to reaches the client as data that is not valid.
        Some(io) if io.kind() == io::ErrorKind::InvalidData => Why::Tls(io.to_string()),
        io => {
            let cause = io.map_or_else(|| outermost(error), ToString::to_string);
            if error.is_connect() { Why::Connect(cause) } else { Why::Disconnect(cause) }
        }
    }
}

/// The error of the socket or of TLS behind an error of the client. An `io::Error` is no source of one that wraps it.
fn io_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    let mut chain = std::iter::successors(Some(error), |&error| error.source());
    let mut io = chain.find_map(|error| error.downcast_ref::<io::Error>())?;
    while let Some(inner) = io.get_ref().and_then(|inner| inner.downcast_ref()) {
        io = inner;
    }
    Some(io)
}

/// What the client itself says. Deeper causes of its kind may repeat what the receiver said.
fn outermost(error: &(dyn Error + 'static)) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}
