//! What the agent's log says of deliveries, and what it never says.

use std::io;
use std::sync::{Arc, LazyLock, Mutex};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};
use prost::Message;
use tokio::net::TcpListener;
use tracing::Dispatch;
use tracing_subscriber::fmt::MakeWriter;

use crate::common::{away, destination, of_traces, offer, spans, start, start_traces, traces, until};
use crate::receiver::{Receiver, Reply};

/// Two subscribers that want everything, for as long as the process lives. `tracing` keeps per place in the code whether
/// anyone wants its events; with one subscriber alone, it asks the thread that comes by first, which may have none.
static WANTED: LazyLock<[Dispatch; 2]> = LazyLock::new(|| {
    let all = || tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(io::sink).finish();
    [Dispatch::new(all()), Dispatch::new(all())]
});

/// Before the first line of the exporter: no page misses a line for what another test's thread wanted.
pub(crate) fn keep_every_line_wanted() {
    LazyLock::force(&WANTED);
}

/// Keeps what is written.
#[derive(Clone, Default)]
pub(crate) struct Page(Arc<Mutex<Vec<u8>>>);

impl io::Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Page {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Page {
    /// Everything of this thread, down to the last detail, goes to the page while the guard lives.
    pub(crate) fn open(&self) -> tracing::subscriber::DefaultGuard {
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(self.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The lines that concern whoever runs the agent.
    pub(crate) fn lines(&self) -> Vec<String> {
        let ours = |line: &&str| line.contains("inferscope") && (line.contains(" WARN ") || line.contains(" INFO "));
        self.text().lines().filter(ours).map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn an_outage_is_told_once_and_so_is_its_end() {
    let page = Page::default();
    let guard = page.open();
    let address = away(4).await;
    let url = format!("http://{address}/v1/traces?key=canary-of-the-sender");
    let exporter = start(traces(destination(false, &url)));
    offer(&exporter, &spans(1, 1));
    offer(&exporter, &spans(1, 2));
    until(|| of_traces(&exporter).retries() >= 5).await;
    let warned = page.lines();
    assert_eq!(warned.len(), 1, "{warned:#?}");
    for part in ["WARN", &format!("http://{address}/v1/traces"), "refused", "check that the receiver runs", "waiting=2"]
    {
        assert!(warned[0].contains(part), "{part:?} is missing in {}", warned[0]);
    }
    let receiver = Receiver::listen(TcpListener::bind(address).await.unwrap(), false, vec![], None);
    until(|| of_traces(&exporter).delivered_items() == 2).await;
    let told = page.lines();
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told[1].contains("INFO") && told[1].contains("answers again") && told[1].contains("away="), "{}", told[1]);
    drop(receiver);
    drop(guard);
    assert!(!page.text().contains("canary"), "credentials in the log");
}

#[tokio::test]
async fn refusals_are_told_without_the_receivers_words() {
    let partial = ExportTracePartialSuccess { rejected_spans: 1, error_message: "canary-of-the-receiver".into() };
    let partial = Bytes::from(ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec());
    let page = Page::default();
    let guard = page.open();
    let receiver =
        Receiver::start(true, vec![Reply::code(16, None), Reply::code(3, None), Reply::message(partial)]).await;
    let exporter = start_traces(true, receiver.address);
    for mark in 1..=3 {
        offer(&exporter, &spans(2, mark));
    }
    until(|| of_traces(&exporter).delivered_items() == 1).await;
    assert!(exporter.shutdown().await.is_empty());
    let told = page.lines();
    drop(guard);
    assert_eq!(told.len(), 2, "the second refusal comes too soon after the first: {told:#?}");
    assert!(told[0].contains("Unauthenticated") && told[0].contains("check the credentials"), "{}", told[0]);
    assert!(told[1].contains("dropped part of it") && told[1].contains("lost=1"), "{}", told[1]);
    assert!(told.iter().all(|line| !line.contains("canary")), "{told:#?}");
}
