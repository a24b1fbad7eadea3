//! An inference server to be observed: axum on hyper, paced as each request asks (see `servers/app.py`).

#![expect(clippy::print_stdout, reason = "its port is its output")]

mod paced;
mod shapes;

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::Result;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use inferscope_tests::ask::{Api, Pace};
use serde_json::{Value, json};

use shapes::Shape;

/// Largest body that is read.
const LARGEST: usize = 64 << 20;

#[tokio::main]
async fn main() -> Result<()> {
    let host: IpAddr = std::env::args().nth(1).map_or(Ok([127, 0, 0, 1].into()), |host| host.parse())?;
    let mut app = Router::new()
        .route("/health", get(|| async { StatusCode::OK }))
        .route("/", get(|| async { Html("<!doctype html><title>A page</title>") }));
    for api in Api::ALL {
        app = app.route(api.path(), post(move |request| answer(api, request)));
    }
    let listener = tokio::net::TcpListener::bind((host, 0)).await?;
    println!("{}", listener.local_addr()?.port());
    axum::serve(axum::serve::ListenerExt::tap_io(listener, |stream| drop(stream.set_nodelay(true))), app).await?;
    Ok(())
}

async fn answer(api: Api, request: Request) -> Response {
    if request.headers().get(header::AUTHORIZATION).is_some_and(|value| value == "Bearer refused") {
        return refusal(401);
    }
    let Ok(bytes) = axum::body::to_bytes(request.into_body(), LARGEST).await else { return refusal(400) };
    let Ok(body) = serde_json::from_slice::<Value>(&bytes) else { return refusal(400) };
    let Ok(pace) = serde_json::from_value::<Pace>(body["pace"].clone()) else { return refusal(400) };
    if let Some(status) = pace.status {
        paced::pause(paced::milliseconds(pace.first_ms)).await;
        return refusal(status);
    }
    let shape = Shape::new(api, &body, &pace);
    let streams = api != Api::Embeddings && body["stream"].as_bool().unwrap_or(api == Api::Ollama);
    if !streams {
        paced::pause(paced::milliseconds(pace.first_ms)).await;
        return axum::Json(shape.whole()).into_response();
    }
    let kind = if api == Api::Ollama { "application/x-ndjson" } else { "text/event-stream" };
    let body = Body::from_stream(paced::stream(Arc::new(shape), pace));
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], body).into_response()
}

fn refusal(status: u16) -> Response {
    let kind = match status {
        400 => "BadRequestError",
        401 => "AuthenticationError",
        503 => "ServiceUnavailableError",
        _ => "Error",
    };
    let error = json!({ "message": "refused as asked", "type": kind, "param": null, "code": status });
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, axum::Json(json!({ "error": error }))).into_response()
}
