//! Which API a path belongs to: one row teaches the agent an endpoint.

use crate::model::request::Operation;

/// An endpoint of an inference server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Api {
    /// `http.route`: the path with its variable part named.
    pub route: &'static str,
    /// What a `POST` to it asks for.
    pub operation: Operation,
    /// `gen_ai.provider.name` where the API's shape tells.
    pub provider: Option<&'static str>,
    /// True where servers stand it under a prefix of their own (`/openai/v1/…`).
    suffix: bool,
}

const fn api(route: &'static str, operation: Operation, provider: Option<&'static str>) -> Api {
    Api { route, operation, provider, suffix: false }
}

const fn anywhere(route: &'static str, operation: Operation, provider: &'static str) -> Api {
    Api { route, operation, provider: Some(provider), suffix: true }
}

const fn plain(route: &'static str) -> Api {
    api(route, Operation::Http, None)
}

/// The endpoint that SGLang and TGI share.
pub const SHARED: &str = "/generate";

/// Every endpoint that is known; `{model}` stands for one or more segments.
pub const APIS: &[Api] = &[
    anywhere("/v1/chat/completions", Operation::Chat, "openai"),
    anywhere("/v1/completions", Operation::TextCompletion, "openai"),
    anywhere("/v1/embeddings", Operation::Embeddings, "openai"),
    anywhere("/v1/responses", Operation::Chat, "openai"),
    anywhere("/v1/messages", Operation::Chat, "anthropic"),
    api("/chat/completions", Operation::Chat, Some("openai")),
    api("/completions", Operation::TextCompletion, Some("openai")),
    api("/embeddings", Operation::Embeddings, Some("openai")),
    api("/responses", Operation::Chat, Some("openai")),
    api("/api/generate", Operation::TextCompletion, Some("ollama")),
    api("/api/chat", Operation::Chat, Some("ollama")),
    api("/api/embed", Operation::Embeddings, Some("ollama")),
    api("/api/embeddings", Operation::Embeddings, Some("ollama")),
    api(SHARED, Operation::TextCompletion, None),
    api("/generate_stream", Operation::TextCompletion, Some("tgi")),
    api("/encode", Operation::Embeddings, Some("sglang")),
    api("/embed", Operation::Embeddings, None),
    api("/completion", Operation::TextCompletion, Some("llama_cpp")),
    api("/infill", Operation::TextCompletion, Some("llama_cpp")),
    api("/embedding", Operation::Embeddings, Some("llama_cpp")),
    api("/invocations", Operation::GenerateContent, None),
    api("/inference/v1/generate", Operation::GenerateContent, None),
    api("/v2/models/{model}/generate", Operation::GenerateContent, Some("triton")),
    api("/v2/models/{model}/generate_stream", Operation::GenerateContent, Some("triton")),
    api("/v2/models/{model}/infer", Operation::Infer, None),
    api("/v2/models/{model}/versions/{version}/infer", Operation::Infer, None),
    plain("/"),
    plain("/health"),
    plain("/health_generate"),
    plain("/healthz"),
    plain("/livez"),
    plain("/readyz"),
    plain("/ping"),
    plain("/version"),
    plain("/load"),
    plain("/info"),
    plain("/get_model_info"),
    plain("/props"),
    plain("/slots"),
    plain("/metrics"),
    plain("/perf_metrics"),
    plain("/v1/models"),
    plain("/models"),
    plain("/rerank"),
    plain("/v1/rerank"),
    plain("/score"),
    plain("/v1/score"),
    plain("/classify"),
    plain("/pooling"),
    plain("/predict"),
    plain("/tokenize"),
    plain("/detokenize"),
    plain("/api/tags"),
    plain("/api/ps"),
    plain("/api/version"),
    plain("/v2"),
    plain("/v2/health/live"),
    plain("/v2/health/ready"),
    plain("/v2/models/{model}"),
    plain("/v2/models/{model}/ready"),
];

/// The endpoint of a path (its index in [`APIS`]), and the model that the path names.
pub fn find(path: &str) -> Option<(usize, Option<&str>)> {
    let path = if path.len() > 1 { path.trim_end_matches('/') } else { path };
    APIS.iter().enumerate().find_map(|(index, api)| Some((index, matches(api, path)?)))
}

/// The model in the path, if the path is this endpoint's.
fn matches<'a>(api: &Api, path: &'a str) -> Option<Option<&'a str>> {
    let Some((before, after)) = api.route.split_once("{model}") else {
        let fits = if api.suffix { path.ends_with(api.route) } else { path == api.route };
        return fits.then_some(None);
    };
    let rest = path.strip_prefix(before)?;
    let model = match after.split_once("{version}") {
        Some((middle, end)) => {
            let (model, version) = rest.strip_suffix(end)?.rsplit_once(middle)?;
            (!version.is_empty() && !version.contains('/')).then_some(model)?
        }
        None => rest.strip_suffix(after)?,
    };
    let fits = !model.is_empty() && !model.contains('/');
    fits.then_some(Some(model))
}
