//! How a running agent is asked to let go of the GPUs, and to take them up again.
//!
//! The agent listens on a socket in the abstract namespace, which needs no writable directory and is gone with the agent.
//! It answers its own user and root alone. A question is a line with one word, an answer a line that begins with `ok` or
//! `failed`.

mod client;
mod server;

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::SocketAddr;
use std::time::Duration;

pub use client::{AskError, ask};
pub use server::{GpuDesk, listen, serve};

/// What the socket's name begins with; the agent's process id follows.
const PREFIX: &str = "inferscope-agent-";
/// Longest question or answer.
const LINE: u64 = 1024;
/// How long a release may take before it is said what it waits for.
const RELEASE: Duration = Duration::from_millis(2_500);
/// How long either side waits for the other beyond that.
const PATIENCE: Duration = Duration::from_secs(2);

/// What an agent may be asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    /// To close every device node of GPUs, and to unload the driver's library.
    Release,
    /// To take the GPUs up again.
    Acquire,
}

impl Wish {
    const ALL: [Self; 2] = [Self::Release, Self::Acquire];

    fn word(self) -> &'static str {
        match self {
            Self::Release => "gpu release",
            Self::Acquire => "gpu acquire",
        }
    }

    fn of(line: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|wish| wish.word() == line.trim())
    }
}

fn address(pid: u32) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("{PREFIX}{pid}"))
}
