//! Where requests go: text to a whole URL.

use http::Uri;
use http::uri::{PathAndQuery, Scheme};

use crate::export::Protocol;

/// How the endpoint of a signal was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Given<'a> {
    /// For this signal: HTTP takes it as it is.
    Own,
    /// For all signals: HTTP appends this path.
    General(&'a str),
}

const GRPC: &str = "host:port, http://host:port or https://host:port, without a path";
const HTTP: &str = "a URL such as http://host:4318 or https://host/path";
const CREDENTIALS: &str = "a URL without name and password (put them into a header)";

/// The protocol of an endpoint for which none was set: port 4317 is gRPC's, and only gRPC does without a scheme.
pub(super) fn protocol(endpoint: &str) -> Protocol {
    let (scheme, rest) = endpoint.split_once("://").unwrap_or(("", endpoint));
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    let grpc = scheme.is_empty() || authority.ends_with(":4317");
    if grpc { Protocol::Grpc } else { Protocol::HttpProtobuf }
}

/// The URL that requests go to, or what is accepted instead.
pub(super) fn url(text: &str, given: Given<'_>, protocol: Protocol, insecure: bool) -> Result<Uri, &'static str> {
    let accepted = if protocol == Protocol::Grpc { GRPC } else { HTTP };
    let text = text.trim();
    let whole = match (protocol, text.contains("://")) {
        (Protocol::Grpc, false) => format!("{}://{text}", if insecure { "http" } else { "https" }),
        _ => text.to_owned(),
    };
    let Ok(uri) = whole.parse::<Uri>() else { return Err(accepted) };
    let authority = uri.authority().ok_or(accepted)?;
    if authority.as_str().contains('@') {
        return Err(CREDENTIALS);
    }
    let known = [Scheme::HTTP, Scheme::HTTPS].iter().any(|scheme| uri.scheme() == Some(scheme));
    let port = authority.as_str().rsplit_once(']').map_or(authority.as_str(), |(_, port)| port).rsplit_once(':');
    let valid_port = port.is_none_or(|(_, port)| port.parse::<u16>().is_ok_and(|port| port != 0));
    if !known || authority.host().is_empty() || !valid_port {
        return Err(accepted);
    }
    match (protocol, given) {
        (Protocol::Grpc, _) if !matches!(uri.path(), "" | "/") || uri.query().is_some() => Err(accepted),
        (Protocol::Grpc, _) | (_, Given::Own) => Ok(uri),
        (Protocol::HttpProtobuf, Given::General(path)) => append(uri, path).ok_or(accepted),
    }
}

fn append(uri: Uri, path: &str) -> Option<Uri> {
    let base = uri.path().trim_end_matches('/');
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(format!("{base}{path}{query}")).ok()?);
    Uri::from_parts(parts).ok()
}

/// A text without what may be secret in a URL: name and password, and what follows the path.
pub(super) fn redacted(text: &str) -> String {
    if !text.contains("://") && (text.starts_with('/') || !text.contains('@')) {
        return text.to_owned();
    }
    let begin = text.find("://").map_or(0, |at| at + 3);
    let (scheme, rest) = text.split_at(begin);
    let (rest, query) = rest.split_once('?').map_or((rest, ""), |(rest, _)| (rest, "?…"));
    let rest = rest.rsplit_once('@').map_or_else(|| rest.to_owned(), |(_, host)| format!("…@{host}"));
    format!("{scheme}{rest}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GENERAL: Given<'static> = Given::General("/v1/traces");

    fn grpc(text: &str, insecure: bool) -> Result<String, &'static str> {
        url(text, Given::Own, Protocol::Grpc, insecure).map(|uri| uri.to_string())
    }

    fn http(text: &str, given: Given<'_>) -> Result<String, &'static str> {
        url(text, given, Protocol::HttpProtobuf, false).map(|uri| uri.to_string())
    }

    #[test]
    fn the_scheme_decides_on_tls_and_insecure_where_there_is_none() {
        assert_eq!(grpc("collector:4317", false).unwrap(), "https://collector:4317/");
        assert_eq!(grpc("collector:4317", true).unwrap(), "http://collector:4317/");
        assert_eq!(grpc("http://collector:4317", false).unwrap(), "http://collector:4317/");
        assert_eq!(grpc("https://[::1]:4317", true).unwrap(), "https://[::1]:4317/");
    }

    #[test]
    fn the_general_endpoint_gets_the_path_of_the_signal() {
        assert_eq!(http("http://c:4318", GENERAL).unwrap(), "http://c:4318/v1/traces");
        assert_eq!(http("http://c:4318/", GENERAL).unwrap(), "http://c:4318/v1/traces");
        assert_eq!(http("https://c/otlp/?zone=a", GENERAL).unwrap(), "https://c/otlp/v1/traces?zone=a");
        assert_eq!(http("https://c/otlp", Given::Own).unwrap(), "https://c/otlp");
        assert_eq!(http("https://c", Given::Own).unwrap(), "https://c/");
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for text in [
            "",
            "c d:1",
            "unix:///run/otlp",
            "http://",
            "http://:4317",
            "http://c:0",
            "http://c:99999",
            "http://c:",
            "http://c:4317/v1",
        ] {
            assert_eq!(grpc(text, false), Err(GRPC), "{text}");
        }
        for text in ["c:4318", "/v1/traces", "ftp://c", "http//c", "http://c:port"] {
            assert_eq!(http(text, Given::Own), Err(HTTP), "{text}");
        }
        assert_eq!(http("https://user:pw@c", GENERAL), Err(CREDENTIALS));
        assert_eq!(grpc("user:pw@c:4317", false), Err(CREDENTIALS));
    }

    #[test]
    fn the_protocol_follows_from_the_endpoint() {
        for text in ["c:4317", "c:4318", "http://c:4317", "https://c:4317/"] {
            assert_eq!(protocol(text), Protocol::Grpc, "{text}");
        }
        for text in ["http://c:4318", "https://c", "https://c:443/x:4317"] {
            assert_eq!(protocol(text), Protocol::HttpProtobuf, "{text}");
        }
    }

    #[test]
    fn secrets_of_a_url_are_not_shown() {
        assert_eq!(redacted("https://user:p/w@host/x?key=secret"), "https://…@host/x?…");
        assert_eq!(redacted("user:pw@c:4317"), "…@c:4317");
        for harmless in ["http://c:4318/v1", "/sys/fs/cgroup/user.slice/user@1000.service", "info?"] {
            assert_eq!(redacted(harmless), harmless);
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "\\PC{0,40}", url_like in "(http|https|grpc)?(://)?[a-z@:0-9\\[\\].]{0,20}[/?a-z#%]{0,10}") {
            for text in [text, url_like] {
                drop((grpc(&text, false), http(&text, GENERAL), http(&text, Given::Own), redacted(&text), protocol(&text)));
            }
        }

        #[test]
        fn a_host_and_port_are_kept(host in "[a-z][a-z0-9-]{0,10}(\\.[a-z]{2,5})?", port in 1u16..) {
            let uri = url(&format!("{host}:{port}"), Given::Own, Protocol::Grpc, true).unwrap();
            prop_assert_eq!((uri.host(), uri.port_u16()), (Some(host.as_str()), Some(port)));
        }
    }
}
