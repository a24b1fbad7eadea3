//! Real servers to observe, each in a cgroup of its own.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::cgroup::Cgroup;
use crate::process::Process;
use crate::{tools, wait};

/// Longest wait for a server's first answer.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// The same where CUDA begins and weights are made.
const CUDA_READY_WITHIN: Duration = Duration::from_secs(120);

/// A server program: what speaks to the sockets differs, what is said does not.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// Starlette on uvicorn with uvloop and httptools, as vLLM and SGLang run.
    UvicornUvloop,
    /// The same on asyncio and h11.
    UvicornAsyncio,
    /// sse-starlette: CRLF between events, pings.
    SseStarlette,
    /// axum on hyper, as TGI and Dynamo run.
    Axum,
    /// Node's http module.
    Node,
    /// Python's own server, with tokens that are computed on a GPU.
    Cuda,
}

impl Kind {
    /// Every kind that needs no GPU.
    pub const ALL: [Self; 5] = [Self::UvicornUvloop, Self::UvicornAsyncio, Self::SseStarlette, Self::Axum, Self::Node];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::UvicornUvloop => "uvicorn-uvloop",
            Self::UvicornAsyncio => "uvicorn-asyncio",
            Self::SseStarlette => "sse-starlette",
            Self::Axum => "axum",
            Self::Node => "node",
            Self::Cuda => "cuda",
        }
    }

    /// A program that listens on a free port of `host`, and prints the port.
    fn command(self, host: IpAddr) -> Result<Command> {
        let host = host.to_string();
        let uvicorn = |options: &[&str]| -> Result<Command> {
            let mut command = Command::new(tools::python()?);
            command.arg(tools::source("servers/app.py")).args(["--host", &host]).args(options);
            Ok(command)
        };
        match self {
            Self::UvicornUvloop => uvicorn(&["--loop", "uvloop"]),
            Self::UvicornAsyncio => uvicorn(&["--loop", "asyncio", "--http", "h11"]),
            Self::SseStarlette => uvicorn(&["--style", "sse-starlette"]),
            Self::Axum => {
                let mut command = Command::new(tools::sibling("server-axum")?);
                command.arg(&host);
                Ok(command)
            }
            Self::Cuda => {
                let mut command = tools::on_first_gpu("servers/decode.py")?;
                command.args(["--host", &host]);
                Ok(command)
            }
            Self::Node => {
                let mut command = Command::new(tools::node());
                command.arg(tools::source("servers/node.mjs")).arg(&host);
                Ok(command)
            }
        }
    }
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    kind: Kind,
    process: Process,
    cgroup: Option<Cgroup>,
    address: SocketAddr,
    listening: Instant,
}

impl Server {
    /// Starts one on the IPv4 loopback, in a new cgroup, and waits until it answers.
    pub fn start(kind: Kind) -> Result<Self> {
        Self::start_in(kind, Ipv4Addr::LOCALHOST.into(), Some(Cgroup::create(kind.name())?))
    }

    /// Starts one of each kind.
    pub fn start_all() -> Result<Vec<Self>> {
        let begin = |kind: Kind| begin(kind, Ipv4Addr::LOCALHOST.into(), Some(Cgroup::create(kind.name())?));
        let begun: Vec<_> = Kind::ALL.into_iter().map(begin).collect::<Result<_>>()?;
        begun.into_iter().map(Begun::ready).collect()
    }

    /// Starts one that listens on `host`, in `cgroup`, else in the cgroup of this process.
    pub fn start_in(kind: Kind, host: IpAddr, cgroup: Option<Cgroup>) -> Result<Self> {
        begin(kind, host, cgroup)?.ready()
    }

    /// Which program it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// When it was known to listen.
    pub fn listening(&self) -> Instant {
        self.listening
    }

    /// `http://host:port`.
    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its cgroup.
    pub fn cgroup(&self) -> Result<&Cgroup> {
        self.cgroup.as_ref().context("the server has no cgroup of its own")
    }

    /// Kills it, so that its connections break; the cgroup stays.
    pub fn kill(&self) {
        self.process.signal(libc::SIGKILL);
    }
}

/// A server that may not listen yet.
struct Begun {
    kind: Kind,
    host: IpAddr,
    process: Process,
    cgroup: Option<Cgroup>,
}

fn begin(kind: Kind, host: IpAddr, cgroup: Option<Cgroup>) -> Result<Begun> {
    let process = Process::start(kind.name(), kind.command(host)?, cgroup.as_ref())?;
    Ok(Begun { kind, host, process, cgroup })
}

impl Begun {
    fn ready(self) -> Result<Server> {
        let Self { kind, host, mut process, cgroup } = self;
        let within = if kind == Kind::Cuda { CUDA_READY_WITHIN } else { READY_WITHIN };
        let port = process.until(within, "its port", |process| process.out().first().cloned())?;
        let port = port.trim().parse().with_context(|| format!("{} printed {port:?} for its port", kind.name()))?;
        let (address, listening) = (SocketAddr::new(host, port), Instant::now());
        wait::until(READY_WITHIN, "the server's answer", || is_healthy(address).then_some(()))?;
        Ok(Server { kind, process, cgroup, address, listening })
    }
}

fn is_healthy(address: SocketAddr) -> bool {
    let answer = || -> Result<bool> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(READY_WITHIN))?;
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer.starts_with(b"HTTP/1.1 200"))
    };
    answer().unwrap_or(false)
}
