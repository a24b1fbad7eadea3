//! Which series a request counts in. The answer is the same for every request with the same
//! [`Profile`], so it is worked out once and kept.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use inferscope_common::flow::{Endpoints, Role};

use crate::model::attr::{self, Attributes, Value};
use crate::model::metrics::MetricId;
use crate::model::request::{Label, Operation, Outcome, Request, TokenSource};
use crate::model::series::{SeriesId, SeriesSet};
use crate::model::workload::Engine;

/// Everything of a request that becomes an attribute of a metric.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Profile {
    serves: bool,
    operation: Operation,
    provider: Option<&'static str>,
    method: &'static str,
    version: Option<&'static str>,
    route: Option<Label>,
    status: u16,
    streamed: bool,
    request_model: Option<Label>,
    response_model: Option<Label>,
    outcome: Outcome,
    token_source: TokenSource,
    tells_input: bool,
    server: ([u8; 16], u16),
}

impl Profile {
    pub(super) fn of(request: &Request) -> Self {
        let endpoints = &request.endpoints;
        Self {
            serves: request.role == Role::Server,
            operation: request.operation,
            provider: request.provider,
            method: request.method,
            version: request.version,
            route: request.route.clone(),
            status: request.status,
            streamed: request.streamed,
            request_model: request.request_model.clone(),
            response_model: request.response_model.clone(),
            outcome: request.outcome.clone(),
            token_source: request.token_source,
            tells_input: request.input_tokens.is_some(),
            server: match request.role {
                Role::Server => (endpoints.local, endpoints.local_port),
                Role::Client => (endpoints.remote, endpoints.remote_port),
            },
        }
    }

    fn models(&self, provider: Option<&'static str>) -> Attributes {
        let mut attributes: Attributes = vec![(attr::OPERATION, operation_name(self.operation).into())];
        attributes.push((attr::PROVIDER, provider.unwrap_or("_OTHER").into()));
        let models = [(attr::REQUEST_MODEL, &self.request_model), (attr::RESPONSE_MODEL, &self.response_model)];
        attributes.extend(models.into_iter().filter_map(|(key, label)| Some((key, label.clone()?.into()))));
        attributes
    }

    fn server(&self) -> Attributes {
        let address: Arc<str> = address(&self.server.0).to_string().into();
        vec![(attr::SERVER_ADDRESS, address.into()), (attr::SERVER_PORT, i64::from(self.server.1).into())]
    }

    fn http(&self) -> Attributes {
        let mut attributes: Attributes = vec![(attr::METHOD, self.method.into()), (attr::URL_SCHEME, "http".into())];
        attributes.extend(self.version.map(|version| (attr::PROTOCOL_VERSION, version.into())));
        if self.serves {
            attributes.extend(self.route.clone().map(|route| (attr::ROUTE, route.into())));
        } else {
            attributes.extend(self.server());
        }
        if self.status != 0 {
            attributes.push((attr::STATUS, i64::from(self.status).into()));
        }
        // A 4xx is no error of an HTTP server, by the conventions.
        let blameless = self.serves && matches!(self.outcome, Outcome::Status(400..=499));
        attributes.extend(error_type(&self.outcome).filter(|_| !blameless).map(|error| (attr::ERROR_TYPE, error)));
        attributes
    }
}

/// The series that requests of one profile count in.
#[derive(Clone, Debug, Default)]
pub(super) struct Routes {
    pub(super) duration: Option<SeriesId>,
    pub(super) first_token: Option<SeriesId>,
    pub(super) per_token: Option<SeriesId>,
    pub(super) http: Option<SeriesId>,
    pub(super) input_tokens: Option<SeriesId>,
    pub(super) output_tokens: Option<SeriesId>,
}

impl Routes {
    /// Finds or makes the series.
    pub(super) fn resolve(profile: &Profile, engine: Engine, series: &mut SeriesSet) -> Self {
        let mut routes = Self::default();
        if profile.operation != Operation::Http {
            routes.resolve_gen_ai(profile, engine, series);
        }
        if !profile.streamed {
            let metric = if profile.serves { MetricId::HttpServerDuration } else { MetricId::HttpClientDuration };
            routes.http = Some(series.resolve(metric, profile.http()));
        }
        routes
    }

    fn resolve_gen_ai(&mut self, profile: &Profile, engine: Engine, series: &mut SeriesSet) {
        let models = profile.models(profile.provider.or(engine_provider(engine)));
        let plain: Attributes = models.iter().cloned().chain(profile.server()).collect();
        let mut with_error = plain.clone();
        with_error.extend(error_type(&profile.outcome).map(|error| (attr::ERROR_TYPE, error)));
        let (duration, first) = if profile.serves {
            (MetricId::ServerDuration, MetricId::ServerTimeToFirstToken)
        } else {
            (MetricId::ClientDuration, MetricId::ClientTimeToFirstChunk)
        };
        self.duration = Some(series.resolve(duration, with_error));
        if profile.streamed && profile.outcome == Outcome::Ok {
            self.first_token = Some(series.resolve(first, plain.clone()));
            if profile.serves {
                self.per_token = Some(series.resolve(MetricId::ServerTimePerOutputToken, plain));
            }
        }
        if profile.serves {
            let mut tokens = |kind: &'static str, source: TokenSource| {
                let mut attributes = models.clone();
                attributes.push((attr::TOKEN_TYPE, kind.into()));
                attributes.push((attr::TOKEN_SOURCE, source_name(source).into()));
                Some(series.resolve(MetricId::Tokens, attributes))
            };
            // Input tokens are the server's own wherever they are known; a stream may tell them at its start.
            self.input_tokens = if profile.tells_input { tokens("input", TokenSource::Usage) } else { None };
            self.output_tokens = tokens("output", profile.token_source);
        }
    }
}

/// `gen_ai.operation.name`, or inferscope's own where the conventions have none.
pub fn operation_name(operation: Operation) -> &'static str {
    match operation {
        Operation::Chat => "chat",
        Operation::TextCompletion => "text_completion",
        Operation::Embeddings => "embeddings",
        Operation::GenerateContent => "generate_content",
        Operation::Infer => "inferscope.infer",
        Operation::Http => "http",
    }
}

/// `inferscope.token.source`.
pub fn source_name(source: TokenSource) -> &'static str {
    match source {
        TokenSource::Usage => "usage",
        TokenSource::Events => "events",
    }
}

/// `gen_ai.provider.name` of a server that names no provider of its own; `None` where unknown.
pub fn engine_provider(engine: Engine) -> Option<&'static str> {
    match engine {
        Engine::Unknown => None,
        Engine::Vllm => Some("vllm"),
        Engine::Sglang => Some("sglang"),
        Engine::Tgi => Some("tgi"),
        Engine::LlamaCpp => Some("llama_cpp"),
        Engine::Ollama => Some("ollama"),
        Engine::Triton => Some("triton"),
    }
}

/// `error.type`; `None` on success.
pub fn error_type(outcome: &Outcome) -> Option<Value> {
    match outcome {
        Outcome::Ok => None,
        Outcome::Status(status) => Some(Value::Label(status.to_string().into())),
        Outcome::Stream(label) => Some(Value::Label(Arc::clone(label))),
        Outcome::Aborted => Some("client_closed".into()),
        Outcome::Broken => Some("server_closed".into()),
    }
}

/// The address of one end; IPv4 as itself where it is mapped into IPv6.
pub fn address(bytes: &[u8; 16]) -> IpAddr {
    let v6 = Ipv6Addr::from(*bytes);
    v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)
}

/// The server's end of a request: address and port.
pub fn server_end(role: Role, endpoints: &Endpoints) -> (IpAddr, u16) {
    match role {
        Role::Server => (address(&endpoints.local), endpoints.local_port),
        Role::Client => (address(&endpoints.remote), endpoints.remote_port),
    }
}
