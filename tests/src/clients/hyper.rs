//! A hyper client: `concurrency` connections, kept alive, each asking again and again.

use std::cell::Cell;
use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as Task, Poll, ready};

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use inferscope::clock::monotonic_nanos;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};

use crate::clients::seen::Seen;
use crate::clients::stamp;
use crate::clients::transcript::Transcript;
use crate::clients::{Job, Plan};

/// What passed on a connection since the last request began.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<(u64, Transcript)>>);

impl Log {
    fn lock(&self) -> MutexGuard<'_, (u64, Transcript)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream that logs.
struct Logged {
    stream: TcpStream,
    log: Log,
}

impl AsyncRead for Logged {
    fn poll_read(self: Pin<&mut Self>, task: &mut Task<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.stream.poll_read_ready(task))?;
            let mut buffer = [0; 16384];
            let room = into.remaining().min(buffer.len());
            let socket = self.stream.as_raw_fd();
            match self.stream.try_io(Interest::READABLE, || stamp::read(socket, &mut buffer[..room])) {
                Ok((got, arrival)) => {
                    into.put_slice(&buffer[..got]);
                    if got > 0 {
                        self.log.lock().1.push(&buffer[..got], arrival);
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Logged {
    fn poll_write(mut self: Pin<&mut Self>, task: &mut Task<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut log = self.log.lock();
        if log.0 == 0 {
            log.0 = monotonic_nanos();
        }
        drop(log);
        Pin::new(&mut self.stream).poll_write(task, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(task)
    }
}

/// Does what the plan says; `tell` gets each exchange when it is over. SIGTERM ends it after those under way.
pub async fn run(plan: Plan, tell: impl Fn(&Seen) + Clone + 'static) -> Result<()> {
    let stopping = Rc::new(Cell::new(false));
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = Rc::clone(&stopping);
    tokio::task::spawn_local(async move {
        terminate.recv().await;
        stop.set(true);
    });
    let authority = plan.base.strip_prefix("http://").context("the base must be http://host:port")?;
    for (number, job) in plan.jobs.into_iter().enumerate() {
        let job = Arc::new(job);
        let mut workers = tokio::task::JoinSet::new();
        for worker in 0..job.concurrency {
            let share = job.requests / job.concurrency + u32::from(worker < job.requests % job.concurrency);
            let tell = tell.clone();
            let tell = move |seen: Seen| tell(&Seen { job: number, ..seen });
            let stopping = Rc::clone(&stopping);
            workers.spawn_local(work(authority.to_owned(), Arc::clone(&job), share, stopping, tell));
        }
        while let Some(done) = workers.join_next().await {
            done??;
        }
    }
    Ok(())
}

async fn work(
    authority: String,
    job: Arc<Job>,
    requests: u32,
    stopping: Rc<Cell<bool>>,
    tell: impl Fn(Seen),
) -> Result<()> {
    let body = Bytes::from(job.body.to_string());
    let mut connection: Option<(SendRequest<Full<Bytes>>, Log)> = None;
    for _ in 0..requests {
        if stopping.get() {
            break;
        }
        if let Some((sender, _)) = &mut connection
            && sender.ready().await.is_err()
        {
            connection = None;
        }
        let (sender, log) = match &mut connection {
            Some((sender, log)) => (sender, &*log),
            none => {
                let (sender, log) = none.insert(connect(&authority).await?);
                (sender, &*log)
            }
        };
        *log.lock() = (0, Transcript::default());
        let request = Request::post(&job.path)
            .header("host", &authority)
            .header("content-type", "application/json")
            .body(Full::new(body.clone()))?;
        let ended = exchange(sender, request).await;
        let seen_ns = monotonic_nanos();
        let (started, transcript) = std::mem::take(&mut *log.lock());
        let mut seen = match transcript.response(true)? {
            Some(response) => Seen::of(&response, started)?,
            None => Seen { start_ns: started, ..Seen::default() },
        };
        seen.end_seen_ns = Some(seen_ns);
        if let Err(error) = ended {
            seen.error.get_or_insert_with(|| error.to_string());
        }
        tell(seen);
    }
    Ok(())
}

async fn exchange(sender: &mut SendRequest<Full<Bytes>>, request: Request<Full<Bytes>>) -> Result<()> {
    let mut response = sender.send_request(request).await?;
    while let Some(frame) = response.body_mut().frame().await {
        frame?;
    }
    Ok(())
}

async fn connect(authority: &str) -> Result<(SendRequest<Full<Bytes>>, Log)> {
    let stream = TcpStream::connect(authority).await.with_context(|| format!("cannot connect to {authority}"))?;
    stream.set_nodelay(true)?;
    stamp::enable(&stream)?;
    let log = Log::default();
    let io = TokioIo::new(Logged { stream, log: log.clone() });
    let (sender, connection) = http1::handshake(io).await?;
    tokio::spawn(async move {
        // An error shows in the exchange that it breaks.
        drop(connection.await);
    });
    Ok((sender, log))
}
