//! A real OpenTelemetry Collector that writes what it receives into files.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use opentelemetry_proto::tonic::logs::v1::LogsData;
use opentelemetry_proto::tonic::metrics::v1::MetricsData;
use opentelemetry_proto::tonic::trace::v1::TracesData;
use prost::Message;
use tempfile::TempDir;

use crate::process::Process;
use crate::received::Received;
use crate::{tools, wait};

const READY_WITHIN: Duration = Duration::from_secs(20);
const STOPPED_WITHIN: Duration = Duration::from_secs(20);

/// A place for a collector: its ports and its files stay while collectors come and go.
#[derive(Debug)]
pub struct Place {
    directory: TempDir,
    grpc: SocketAddr,
    http: SocketAddr,
}

impl Place {
    /// A place where nothing listens yet.
    pub fn new() -> Result<Self> {
        let free = || TcpListener::bind("127.0.0.1:0").and_then(|listener| Ok((listener.local_addr()?, listener)));
        // Both are held until both are known.
        let ((grpc, _first), (http, _second)) = (free()?, free()?);
        Ok(Self { directory: tempfile::tempdir()?, grpc, http })
    }

    /// For `OTEL_EXPORTER_OTLP_PROTOCOL=grpc`.
    pub fn grpc(&self) -> String {
        format!("http://{}", self.grpc)
    }

    /// For `OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf`.
    pub fn http(&self) -> String {
        format!("http://{}", self.http)
    }

    /// Starts a collector and waits until it listens. What it receives is added to what others left.
    pub fn start(&self) -> Result<Collector> {
        let config = self.directory.path().join("collector.yaml");
        fs::write(&config, self.config())?;
        let mut command = Command::new(tools::collector()?);
        command.arg("--config").arg(&config);
        let mut process = Process::start("collector", command, None)?;
        let listens = |address| std::net::TcpStream::connect(address).is_ok();
        process.until(READY_WITHIN, "the collector to listen", |_| {
            (listens(self.grpc) && listens(self.http)).then_some(())
        })?;
        Ok(Collector { process })
    }

    fn config(&self) -> String {
        let Self { grpc, http, .. } = self;
        let file = |signal: &str| self.directory.path().join(signal).display().to_string();
        let exporter = |signal: &str| {
            format!(
                "  file/{signal}:\n    path: {}\n    format: proto\n    append: true\n    flush_interval: 20ms\n",
                file(signal)
            )
        };
        let pipeline = |signal: &str| format!("    {signal}: {{ receivers: [otlp], exporters: [file/{signal}] }}\n");
        let each = |part: &dyn Fn(&str) -> String| ["metrics", "traces", "logs"].map(part).concat();
        format!(
            "receivers:\n  otlp:\n    protocols:\n      grpc: {{ endpoint: '{grpc}' }}\n      http: {{ endpoint: '{http}' }}\n\
             exporters:\n{}\
             service:\n  telemetry: {{ metrics: {{ level: none }} }}\n  pipelines:\n{}",
            each(&exporter),
            each(&pipeline),
        )
    }

    /// What has arrived so far.
    pub fn received(&self) -> Result<Received> {
        let messages = |signal: &str| messages(&self.directory.path().join(signal));
        let mut received = Received::default();
        for message in messages("metrics")? {
            received.metrics.extend(MetricsData::decode(message.as_slice())?.resource_metrics);
        }
        for message in messages("traces")? {
            received.spans.extend(TracesData::decode(message.as_slice())?.resource_spans);
        }
        for message in messages("logs")? {
            received.logs.extend(LogsData::decode(message.as_slice())?.resource_logs);
        }
        Ok(received)
    }

    /// Waits until what has arrived is as wanted.
    pub fn until<T>(&self, within: Duration, what: &str, mut look: impl FnMut(&Received) -> Option<T>) -> Result<T> {
        wait::until_ok(within, what, || Ok(look(&self.received()?)))
    }
}

/// The messages of a file, each behind its length; a last one that is still being written is left.
fn messages(path: &Path) -> Result<Vec<Vec<u8>>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let (mut all, mut rest) = (Vec::new(), bytes.as_slice());
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some((message, behind)) = behind.split_at_checked(length) else { break };
        all.push(message.to_vec());
        rest = behind;
    }
    Ok(all)
}

/// A running collector; killed when dropped.
#[derive(Debug)]
pub struct Collector {
    process: Process,
}

impl Collector {
    /// Asks it to end, and waits: everything that it acknowledged is in its files.
    pub fn stop(self) -> Result<()> {
        self.process.stop(STOPPED_WITHIN)?.well("the collector")?;
        Ok(())
    }

    /// Kills it.
    pub fn kill(self) {
        drop(self.process);
    }
}
