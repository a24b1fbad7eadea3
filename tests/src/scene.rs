//! Servers, the agent that watches them, and what it ships.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::agent::{Agent, OFTEN, Setup};
use crate::process::Ended;
use crate::received::{Received, Span};
use crate::receiver::Receiver;
use crate::servers::{Kind, Server};
use crate::turn::Turn;

/// Longest wait for what the agent ships.
pub const SHIPPED_WITHIN: Duration = Duration::from_secs(20);

/// Servers under the agent's eyes; nothing else on this machine measures meanwhile.
#[derive(Debug)]
pub struct Scene {
    /// The servers.
    pub servers: Vec<Server>,
    /// Where the agent ships to.
    pub receiver: Receiver,
    /// The agent.
    pub agent: Agent,
    _turn: Turn,
}

impl Scene {
    /// One server of each kind.
    pub fn of_all() -> Result<Self> {
        let turn = Turn::take()?;
        Self::of(Server::start_all()?, turn, |setup| setup)
    }

    /// One server.
    pub fn of_one(kind: Kind) -> Result<Self> {
        let turn = Turn::take()?;
        Self::of(vec![Server::start(kind)?], turn, |setup| setup)
    }

    /// Servers that run already, and an agent that `change` has a say in.
    pub fn of(servers: Vec<Server>, turn: Turn, change: impl FnOnce(Setup) -> Setup) -> Result<Self> {
        let receiver = Receiver::start()?;
        let mut setup = Setup::new()?.config(OFTEN)?.grpc(&receiver.endpoint());
        for server in &servers {
            setup = setup.cgroup(server.cgroup()?.path());
        }
        let agent = change(setup).start()?;
        Ok(Self { servers, receiver, agent, _turn: turn })
    }

    /// The first server.
    pub fn server(&self) -> Result<&Server> {
        self.servers.first().context("a scene without a server")
    }

    /// Waits for `count` spans of generative requests in all.
    pub fn spans(&self, count: usize) -> Result<Vec<Span>> {
        let wanted = format!("{count} spans of generative requests");
        let enough = |spans: Vec<Span>| (spans.len() >= count).then_some(spans);
        let found = self.receiver.until(SHIPPED_WITHIN, &wanted, |received| enough(received.generative()));
        found.with_context(|| format!("received {:#?}", self.receiver.received().spans()))
    }

    /// Ends the agent and looks at everything that it shipped and logged.
    pub fn end(self) -> Result<(Received, Ended)> {
        let ended = self.agent.stop()?;
        Ok((self.receiver.received(), ended))
    }
}
