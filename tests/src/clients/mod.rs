//! Clients, each of which says what it saw.

pub mod hyper;
pub mod raw;
pub mod seen;
pub mod stamp;
pub mod transcript;

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ask::{Api, Ask};
use crate::cgroup::Cgroup;
use crate::process::{self, Process};
use crate::servers::Server;
use crate::tools;

pub use raw::Raw;
pub use seen::Seen;

/// A client program.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Client {
    /// The openai Python SDK.
    OpenAi,
    /// hyper.
    Hyper,
}

/// Requests that are alike.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// Which API.
    pub api: Api,
    /// Its path.
    pub path: String,
    /// The body of each request.
    pub body: Value,
    /// Requests in all.
    pub requests: u32,
    /// Of them at the same time.
    pub concurrency: u32,
}

impl Job {
    /// `requests` times the same, `concurrency` of them at the same time.
    pub fn new(ask: &Ask, requests: u32, concurrency: u32) -> Self {
        Self { api: ask.api, path: ask.api.path().to_owned(), body: ask.body(), requests, concurrency }
    }
}

/// What a client program is to do, one job after the other.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// `http://host:port`.
    pub base: String,
    /// The jobs.
    pub jobs: Vec<Job>,
}

impl Client {
    /// Every client.
    pub const ALL: [Self; 2] = [Self::OpenAi, Self::Hyper];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai-python",
            Self::Hyper => "hyper",
        }
    }

    /// Starts on jobs, born in `cgroup` where one is given.
    pub fn start(self, server: &Server, jobs: Vec<Job>, cgroup: Option<&Cgroup>) -> Result<Running> {
        let mut command = match self {
            Self::OpenAi => {
                let mut command = Command::new(tools::python()?);
                command.arg(tools::source("clients/openai_client.py"));
                command
            }
            Self::Hyper => Command::new(tools::sibling("client-hyper")?),
        };
        command.arg(serde_json::to_string(&Plan { base: server.base(), jobs })?);
        process::at_once(&mut command);
        Ok(Running { client: self, process: Process::start(self.name(), command, cgroup)? })
    }

    /// Asks `requests` times, `concurrency` of them at the same time.
    pub fn run(self, server: &Server, ask: &Ask, requests: u32, concurrency: u32) -> Result<Vec<Seen>> {
        self.start(server, vec![Job::new(ask, requests, concurrency)], None)?.finish()
    }
}

/// A running client.
#[derive(Debug)]
pub struct Running {
    client: Client,
    process: Process,
}

/// Longest time that one client's work may take.
const WITHIN: Duration = Duration::from_secs(120);

impl Running {
    /// Requests that have ended.
    pub fn done(&self) -> usize {
        self.process.out().len()
    }

    /// Lets it finish what is under way, and no more.
    pub fn stop(self) -> Result<Vec<Seen>> {
        self.process.signal(libc::SIGTERM);
        self.finish()
    }

    /// Waits for the end of its work.
    pub fn finish(self) -> Result<Vec<Seen>> {
        parse(&self.process.wait(WITHIN)?.well(self.client.name())?.out)
    }
}

fn parse(lines: &[String]) -> Result<Vec<Seen>> {
    let parse = |line: &String| serde_json::from_str(line).with_context(|| format!("a client said {line:?}"));
    lines.iter().map(parse).collect()
}
