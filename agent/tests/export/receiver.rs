//! A receiver in this process that does as it is told: HTTP/1 and HTTP/2, right answers and wrong ones.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// One answer.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// An HTTP response.
    Http { status: u16, headers: Vec<(&'static str, String)>, body: Bytes },
    /// A gRPC response with one message and its status among the trailers.
    Grpc { headers: Vec<(&'static str, String)>, frame: Bytes, trailers: Vec<(&'static str, String)> },
    /// No answer, ever.
    Hang,
    /// The stream, and where HTTP/1 the connection, breaks off.
    Break,
}

impl Reply {
    /// The answer to a request that was taken, by either protocol.
    pub(crate) fn ok(grpc: bool) -> Self {
        if grpc { Self::message(Bytes::new()) } else { Self::status(200) }
    }

    /// HTTP, without a body.
    pub(crate) fn status(status: u16) -> Self {
        Self::Http { status, headers: vec![], body: Bytes::new() }
    }

    /// gRPC, OK with this message.
    pub(crate) fn message(message: Bytes) -> Self {
        Self::Grpc { headers: vec![], frame: frame(0, &message), trailers: vec![("grpc-status", "0".into())] }
    }

    /// gRPC, failed.
    pub(crate) fn code(code: i32, details: Option<String>) -> Self {
        let mut trailers = vec![("grpc-status", code.to_string()), ("grpc-message", "canary-of-the-receiver".into())];
        trailers.extend(details.map(|details| ("grpc-status-details-bin", details)));
        Self::Grpc { headers: vec![], frame: Bytes::new(), trailers }
    }
}

/// gRPC's framing.
pub(crate) fn frame(flag: u8, message: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u8(flag);
    frame.put_u32(message.len().try_into().unwrap());
    frame.extend_from_slice(message);
    frame.freeze()
}

/// A request that arrived.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) at: Instant,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

#[derive(Debug)]
struct State {
    grpc: bool,
    script: Mutex<VecDeque<Reply>>,
    received: Mutex<Vec<Received>>,
    connections: AtomicUsize,
}

/// Listens until it is dropped.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    /// Gives the answers of `script`, then takes everything.
    pub(crate) async fn start(grpc: bool, script: Vec<Reply>) -> Self {
        Self::listen(TcpListener::bind("127.0.0.1:0").await.unwrap(), grpc, script, None)
    }

    /// The same behind TLS.
    pub(crate) async fn start_tls(grpc: bool, acceptor: TlsAcceptor) -> Self {
        Self::listen(TcpListener::bind("127.0.0.1:0").await.unwrap(), grpc, vec![], Some(acceptor))
    }

    pub(crate) fn listen(listener: TcpListener, grpc: bool, script: Vec<Reply>, tls: Option<TlsAcceptor>) -> Self {
        let address = listener.local_addr().unwrap();
        let script = Mutex::new(script.into());
        let state = Arc::new(State { grpc, script, received: Mutex::default(), connections: AtomicUsize::new(0) });
        let task = tokio::spawn(accept(listener, Arc::clone(&state), tls));
        Self { address, state, task }
    }

    /// Connections that were accepted.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Relaxed)
    }

    /// Everything that arrived.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.state.received.lock().unwrap().clone()
    }
}

async fn accept(listener: TcpListener, state: Arc<State>, tls: Option<TlsAcceptor>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        state.connections.fetch_add(1, Relaxed);
        let (state, tls) = (Arc::clone(&state), tls.clone());
        connections.spawn(async move {
            match tls {
                None => serve(socket, state).await,
                Some(tls) => {
                    if let Ok(socket) = tls.accept(socket).await {
                        serve(socket, state).await;
                    }
                }
            }
        });
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + 'static>(socket: S, state: Arc<State>) {
    let service = service_fn(|request: Request<Incoming>| answer(request, Arc::clone(&state)));
    // A connection that breaks is part of the play.
    drop(auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await);
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

async fn answer(request: Request<Incoming>, state: Arc<State>) -> Result<Response<Body>, io::Error> {
    let at = Instant::now();
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let received = Received { at, path: head.uri.path().to_owned(), headers: head.headers, body };
    state.received.lock().unwrap().push(received);
    let reply = state.script.lock().unwrap().pop_front().unwrap_or(Reply::ok(state.grpc));
    match reply {
        Reply::Hang => pending().await,
        Reply::Break => Err(io::Error::other("told to break")),
        Reply::Http { status, headers, body } => {
            let status = StatusCode::from_u16(status).unwrap();
            Ok(response(status, &headers, [Ok(Frame::data(body))].into()))
        }
        Reply::Grpc { headers, frame, trailers } => {
            let mut frames = vec![Ok(Frame::trailers(map(&trailers)))];
            if !frame.is_empty() {
                frames.insert(0, Ok(Frame::data(frame)));
            }
            let mut response = response(StatusCode::OK, &headers, frames);
            response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
            Ok(response)
        }
    }
}

fn response(
    status: StatusCode,
    headers: &[(&'static str, String)],
    frames: Vec<Result<Frame<Bytes>, Infallible>>,
) -> Response<Body> {
    let mut response = Response::new(StreamBody::new(stream::iter(frames)).boxed_unsync());
    *response.status_mut() = status;
    *response.headers_mut() = map(headers);
    response
}

fn map(headers: &[(&'static str, String)]) -> HeaderMap {
    let value = |value: &str| HeaderValue::from_str(value).unwrap();
    headers.iter().map(|(name, text)| (HeaderName::from_static(name), value(text))).collect()
}

/// Accepts one connection, reads what comes first, and resets it.
pub(crate) async fn reset_once(listener: &TcpListener) {
    let (mut socket, _): (TcpStream, _) = listener.accept().await.unwrap();
    let read = socket.read(&mut [0; 1024]).await.unwrap();
    assert!(read > 0);
    socket.set_zero_linger().unwrap();
    drop(socket);
}
