//! Where one signal goes: its own settings before the general ones.

use std::collections::BTreeMap;
use std::path::PathBuf;

use http::{HeaderName, HeaderValue};

use super::endpoint::{self, Given};
use super::error::Mistakes;
use super::key::Key;
use super::layers::Layers;
use super::raw::{self, Otlp};
use crate::export::{Compression, Destination, Protocol, Tls};

/// One of OpenTelemetry's signals.
#[derive(Clone, Copy)]
pub(super) struct Signal {
    own: fn(&Otlp) -> &raw::Signal,
    table: &'static str,
    path: &'static str,
}

pub(super) const METRICS: Signal = Signal { own: |otlp| &otlp.metrics, table: "otlp.metrics", path: "/v1/metrics" };
pub(super) const TRACES: Signal = Signal { own: |otlp| &otlp.traces, table: "otlp.traces", path: "/v1/traces" };
pub(super) const LOGS: Signal = Signal { own: |otlp| &otlp.logs, table: "otlp.logs", path: "/v1/logs" };

/// Headers that belong to the protocol.
const RESERVED: [&str; 5] = ["content-encoding", "content-length", "content-type", "te", "transfer-encoding"];

/// Where a signal goes; `None` where no endpoint was set, or none that is accepted.
pub(super) fn destination(
    otlp: &Otlp,
    signal: Signal,
    layers: &Layers<'_>,
    mistakes: &mut Mistakes,
) -> Option<Destination> {
    let own = (signal.own)(otlp);
    // The key of a setting that may be the signal's own.
    let key = |is_own: bool, name: &str| Key::of(if is_own { signal.table } else { "otlp" }).child(name);
    let tls = tls(otlp, own, key, layers, mistakes);
    let headers_key = key(own.headers.is_some(), "headers");
    let headers = headers(&own.headers.as_ref().unwrap_or(&otlp.headers).0, &headers_key, layers, mistakes);
    let (text, given) = match (&own.endpoint, &otlp.endpoint) {
        (Some(text), _) => (text, Given::Own),
        (None, Some(text)) => (text, Given::General(signal.path)),
        (None, None) => return None,
    };
    let protocol = match own.protocol.or(otlp.protocol) {
        Some(raw::Protocol::Grpc) => Protocol::Grpc,
        Some(raw::Protocol::HttpProtobuf) => Protocol::HttpProtobuf,
        None => endpoint::protocol(text),
    };
    if protocol == Protocol::Grpc && headers.iter().any(|(name, _)| name.ends_with("-bin")) {
        let problem = "a name that ends in `-bin` is for binary metadata, which has no text";
        mistakes.note(layers.place(&headers_key), &headers_key, problem.to_owned());
    }
    let endpoint = match endpoint::url(text, given, protocol, own.insecure.unwrap_or(otlp.insecure)) {
        Ok(endpoint) => endpoint,
        Err(accepted) => {
            layers.refuse(&key(given == Given::Own, "endpoint"), Some(accepted), mistakes);
            return None;
        }
    };
    let compression = match own.compression.unwrap_or(otlp.compression) {
        raw::Compression::Gzip => Compression::Gzip,
        raw::Compression::None => Compression::None,
    };
    let timeout = own.timeout.unwrap_or(otlp.timeout).0;
    Some(Destination { protocol, endpoint, headers, compression, timeout, tls })
}

fn tls(
    otlp: &Otlp,
    own: &raw::Signal,
    key: impl Fn(bool, &str) -> Key,
    layers: &Layers<'_>,
    mistakes: &mut Mistakes,
) -> Tls {
    let either = |own: &Option<PathBuf>, general: &Option<PathBuf>| own.as_ref().or(general.as_ref()).cloned();
    let certificate = either(&own.client_certificate, &otlp.client_certificate);
    let private = either(&own.client_key, &otlp.client_key);
    let mut lonely = |is_own: bool, name: &str, missing: &str| {
        let key = key(is_own, name);
        mistakes.note(layers.place(&key), &key, format!("is of no use without {missing}: set both, or neither"));
    };
    let client = match (certificate, private) {
        (Some(certificate), Some(private)) => Some((certificate, private)),
        (Some(_), None) => {
            lonely(own.client_certificate.is_some(), "client_certificate", "client_key");
            None
        }
        (None, Some(_)) => {
            lonely(own.client_key.is_some(), "client_key", "client_certificate");
            None
        }
        (None, None) => None,
    };
    Tls { ca: either(&own.certificate, &otlp.certificate), client }
}

fn headers(
    written: &BTreeMap<String, String>,
    key: &Key,
    layers: &Layers<'_>,
    mistakes: &mut Mistakes,
) -> Vec<(String, String)> {
    let mut headers = BTreeMap::new();
    for (name, value) in written {
        let place = layers.place(&key.child(name));
        // A name that is no name may well be a secret in the wrong place: it is not shown.
        let Ok(valid) = name.parse::<HeaderName>() else {
            mistakes.note(place, key, "a name (not shown) has characters that no header's name has".to_owned());
            continue;
        };
        let name = valid.as_str();
        if RESERVED.contains(&name) || name.starts_with("grpc-") {
            mistakes.note(place.clone(), key, format!("`{name}` is set by the protocol"));
        }
        if !HeaderValue::from_str(value).is_ok_and(|value| value.to_str().is_ok()) {
            let problem = format!("the value of `{name}` (not shown) has characters other than visible ASCII");
            mistakes.note(place.clone(), key, problem);
        }
        if headers.insert(name.to_owned(), value.clone()).is_some() {
            mistakes.note(place, key, format!("`{name}` is there twice: upper and lower case are the same"));
        }
    }
    headers.into_iter().collect()
}
