//! What is asked, and how often.

use inferscope_tests::ask::{Api, Ask};

/// Requests that are alike.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) ask: Ask,
    pub(crate) requests: u32,
    /// At the same time.
    pub(crate) at_once: u32,
}

pub(crate) fn all() -> Vec<Scenario> {
    let scenario = |name, ask, requests, at_once| Scenario { name, ask, requests, at_once };
    vec![
        scenario("steady", Ask::stream(Api::Chat, 20).paced(50.0, 10.0), 100, 8),
        scenario("slow prefill", Ask::stream(Api::Chat, 10).paced(300.0, 10.0), 80, 10),
        // One at a time: a client that is late to read finds two events, and the time of the second alone.
        scenario("burst", Ask::stream(Api::Completion, 32).paced(20.0, 1.5), 60, 1),
        scenario("one body", Ask::whole(Api::Chat, 20).paced(100.0, 0.0), 100, 8),
        scenario("embeddings", Ask::whole(Api::Embeddings, 0).paced(20.0, 0.0), 120, 3),
    ]
}
