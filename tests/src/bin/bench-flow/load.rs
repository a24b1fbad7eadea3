//! An open-loop load: clients that ask at a fixed rate, and a server that answers with streams of tokens, each a process.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use inferscope_tests::cgroup::Cgroup;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::packets::event;

/// Time between two tokens of a stream.
pub(crate) const PACE: Duration = Duration::from_millis(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parameters {
    pub(crate) requests_per_s: u32,
    pub(crate) tokens: u32,
    pub(crate) seconds: u32,
}

impl FromStr for Parameters {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let numbers = text.split(',').map(str::parse).collect::<Result<Vec<u32>, _>>()?;
        let [requests_per_s, tokens, seconds] = numbers[..] else { bail!("want rate,tokens,seconds") };
        Ok(Self { requests_per_s, tokens, seconds })
    }
}

/// What the clients saw.
#[derive(Serialize, Deserialize, Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) requests: u64,
    pub(crate) tokens: u64,
    /// Whole duration of a request, in microseconds.
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Time to the first token of a server that has nothing to compute, in microseconds.
    pub(crate) first_p50_us: f64,
}

/// A server that is watched; its clients are others' concern.
pub(crate) struct Load {
    server: Child,
    address: SocketAddr,
    parameters: Parameters,
}

impl Load {
    /// Starts a server in `cgroup`, which listens from now on.
    pub(crate) fn start(cgroup: &Cgroup, parameters: Parameters) -> Result<Self> {
        let mut server = part(&["serve", &parameters.tokens.to_string()])?;
        cgroup.take(server.id())?;
        let input = server.stdin.as_mut().context("no input")?;
        input.write_all(b"\n")?;
        let mut line = String::new();
        BufReader::new(server.stdout.as_mut().context("no output")?).read_line(&mut line)?;
        let address = line.trim().parse().context("the server does not say where it listens")?;
        Ok(Self { server, address, parameters })
    }

    /// Runs the clients to their end, and ends the server.
    pub(crate) fn run(mut self) -> Result<Outcome> {
        let Parameters { requests_per_s, tokens, seconds } = self.parameters;
        let parameters = format!("{requests_per_s},{tokens},{seconds}");
        let output = part(&["load", &parameters, &self.address.to_string()])?.wait_with_output()?;
        drop(self.server.stdin.take());
        self.server.wait()?;
        serde_json::from_slice(&output.stdout).context("the load said nothing of use")
    }
}

/// A process of this program that does a part of a load.
fn part(arguments: &[&str]) -> Result<Child> {
    let program = std::env::current_exe()?;
    Ok(Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?)
}

/// The process of a server: it begins with a line, which comes when it is in its cgroup, and ends with its input.
pub(crate) fn run_server(tokens: &str) -> Result<()> {
    let tokens = tokens.parse()?;
    std::io::stdin().read_line(&mut String::new())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    println!("{}", listener.local_addr()?);
    let (over, ended) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || over.send(std::io::read_to_string(std::io::stdin())));
    runtime.block_on(async {
        let serving = async {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, tokens, PACE));
            }
        };
        tokio::select! {
            () = serving => bail!("no more connections are accepted"),
            _ = ended => Ok(()),
        }
    })
}

/// The process of the clients.
pub(crate) fn run_clients(parameters: &str, address: &str) -> Result<()> {
    let (parameters, address) = (parameters.parse()?, address.parse()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(drive(parameters, address))?;
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}

async fn drive(parameters: Parameters, address: SocketAddr) -> Result<Outcome> {
    let period = Duration::from_secs(1) / parameters.requests_per_s;
    let mut ticks = tokio::time::interval(period);
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..parameters.requests_per_s * parameters.seconds {
        ticks.tick().await;
        clients.spawn(async move { ask(TcpStream::connect(address).await?).await });
    }
    let (mut firsts, mut wholes) = (Vec::new(), Vec::new());
    while let Some(times) = clients.join_next().await {
        let (first, whole) = times??;
        firsts.push(first);
        wholes.push(whole);
    }
    let requests = firsts.len() as u64;
    Ok(Outcome {
        requests,
        tokens: requests * u64::from(parameters.tokens),
        p50_us: quantile_us(&mut wholes, 0.5),
        p99_us: quantile_us(&mut wholes, 0.99),
        first_p50_us: quantile_us(&mut firsts, 0.5),
    })
}

fn quantile_us(times: &mut [Duration], share: f64) -> f64 {
    times.sort_unstable();
    times.get(((times.len().max(1) - 1) as f64 * share) as usize).map_or(0.0, |time| time.as_nanos() as f64 / 1000.0)
}

const BODY: &str = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hello!"}]}"#;

/// Time to the first token, and to the end.
pub(crate) async fn ask(mut stream: TcpStream) -> Result<(Duration, Duration)> {
    stream.set_nodelay(true)?;
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    let begun = Instant::now();
    stream.write_all(request.as_bytes()).await?;
    let (mut first, mut tail, mut buffer) = (None, Vec::new(), vec![0; 16384]);
    loop {
        let got = stream.read(&mut buffer).await?;
        if got == 0 {
            bail!("the stream broke off");
        }
        if first.is_none() && buffer[..got].windows(9).any(|bytes| bytes == b"\"content\"") {
            first = Some(begun.elapsed());
        }
        tail.extend_from_slice(&buffer[got.saturating_sub(5)..got]);
        if tail.ends_with(b"0\r\n\r\n") {
            return Ok((first.context("no token came")?, begun.elapsed()));
        }
        tail.drain(..tail.len().saturating_sub(5));
    }
}

/// Answers one request with a stream; `pace` is the time between two tokens.
pub(crate) async fn serve(mut stream: TcpStream, tokens: u32, pace: Duration) -> Result<()> {
    stream.set_nodelay(true)?;
    let (mut request, mut buffer) = (Vec::new(), vec![0; 4096]);
    while !request.ends_with(BODY.as_bytes()) {
        let got = stream.read(&mut buffer).await?;
        if got == 0 {
            return Ok(());
        }
        request.extend_from_slice(&buffer[..got]);
    }
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    let token = event(" token");
    for sent in 0..tokens {
        match pace {
            _ if sent == 0 => {}
            // The timer's shortest sleep is a millisecond; clients have their turn all the same.
            Duration::ZERO => tokio::task::yield_now().await,
            pace => tokio::time::sleep(pace).await,
        }
        stream.write_all(token.as_bytes()).await?;
    }
    stream.write_all(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n").await?;
    Ok(())
}
