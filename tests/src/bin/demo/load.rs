//! What the clients of one server ask for.

use anyhow::Result;
use inferscope_tests::ask::{Api, Ask};
use inferscope_tests::clients::{Client, Job, Running, Seen};
use inferscope_tests::servers::{Kind, Server};

/// Requests without end: clients are told when it is enough.
const ENDLESS: u32 = u32::MAX;

/// The running clients of one server.
pub(crate) struct Load(Vec<Running>);

impl Load {
    /// Short prompts, long prompts, and now and then a server that is overloaded.
    pub(crate) fn start(server: &Server) -> Result<Self> {
        let short = Job::new(&Ask::stream(Api::Chat, 40).paced(120.0, 15.0), ENDLESS, 6);
        let long = Job::new(&Ask::stream(Api::Chat, 25).paced(450.0, 18.0), ENDLESS, 3);
        let overloaded = Ask::stream(Api::Chat, 1).paced(800.0, 0.0).with(|pace| pace.status = Some(503));
        let overloaded = Job::new(&overloaded, ENDLESS, 1);
        let streaming = if server.kind() == Kind::Axum { Client::Hyper } else { Client::OpenAi };
        let clients = [(streaming, short), (Client::Hyper, long), (Client::Hyper, overloaded)];
        let start = |(client, job): (Client, Job)| client.start(server, vec![job], None);
        Ok(Self(clients.into_iter().map(start).collect::<Result<_>>()?))
    }

    /// Requests that have ended.
    pub(crate) fn done(&self) -> usize {
        self.0.iter().map(Running::done).sum()
    }

    /// Ends what is under way, and says what the clients saw.
    pub(crate) fn stop(self) -> Result<Vec<Seen>> {
        let seen = self.0.into_iter().map(Running::stop).collect::<Result<Vec<_>>>()?;
        Ok(seen.concat())
    }
}
