//! Where to ship, and how: checked values that the configuration fills in.

use std::path::PathBuf;
use std::time::Duration;

/// How OTLP travels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// gRPC over HTTP/2.
    Grpc,
    /// Protobuf in HTTP/1.1 POST requests.
    HttpProtobuf,
}

/// How requests are compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
}

/// Keys and certificates, PEM files.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tls {
    /// Trusted besides the machine's own.
    pub ca: Option<PathBuf>,
    /// The agent's own certificate and key, where the endpoint asks for one.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// One endpoint for one signal.
#[derive(Clone, PartialEq, Eq)]
pub struct Destination {
    /// How it travels.
    pub protocol: Protocol,
    /// The whole URL; for HTTP with the path of the signal (`…/v1/metrics`).
    pub endpoint: http::Uri,
    /// Headers (HTTP) or metadata (gRPC) of every request. They hold secrets: never logged.
    pub headers: Vec<(String, String)>,
    /// How requests are compressed.
    pub compression: Compression,
    /// Longest time for one request.
    pub timeout: Duration,
    /// For `https`.
    pub tls: Tls,
}

impl std::fmt::Debug for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Destination")
            .field("protocol", &self.protocol)
            .field("endpoint", &format_args!("{}", shown(&self.endpoint)))
            .field("headers", &format_args!("{} hidden", self.headers.len()))
            .field("compression", &self.compression)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// An endpoint for people: without what may be a secret in it, user and query.
pub fn shown(endpoint: &http::Uri) -> String {
    let scheme = endpoint.scheme_str().map_or(String::new(), |scheme| format!("{scheme}://"));
    let place = endpoint.authority().map_or("", |authority| authority.as_str());
    let host = place.rsplit_once('@').map_or(place, |(_, host)| host);
    format!("{scheme}{host}{}", endpoint.path())
}

/// Everything the exporter needs to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Where metrics go; `None` = nowhere.
    pub metrics: Option<Destination>,
    /// Where spans go; `None` = nowhere.
    pub traces: Option<Destination>,
    /// Where the agent's own logs go besides standard error; `None` = nowhere.
    pub logs: Option<Destination>,
    /// Bytes that may wait for each signal, as they will travel (compressed, where they are); beyond them the oldest
    /// are dropped and counted.
    pub queue_bytes: usize,
    /// Largest request before compression; larger batches are split.
    pub request_bytes: usize,
    /// Longest time that a shutdown waits for what is queued.
    pub shutdown: Duration,
    /// Attributes of every resource (`OTEL_RESOURCE_ATTRIBUTES`).
    pub resource: Vec<(String, String)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let destination = Destination {
            protocol: Protocol::Grpc,
            endpoint: "https://user:secret@otlp.example:4317/in?key=secret".parse().unwrap(),
            headers: vec![("authorization".into(), "secret".into())],
            compression: Compression::Gzip,
            timeout: Duration::from_secs(10),
            tls: Tls::default(),
        };
        let text = format!("{destination:?}");
        assert!(!text.contains("secret") && text.contains("https://otlp.example:4317/in"), "{text}");
    }
}
