//! What may become of the traffic's own text, and what is no inference at all.

use anyhow::Result;
use inferscope_tests::ask::{Api, Ask};
use inferscope_tests::clients::Raw;
use inferscope_tests::scene::Scene;
use inferscope_tests::servers::{Kind, Server};
use inferscope_tests::turn::Turn;

/// Names from the wire become attributes through a bounded set; what finds no room there is still counted.
#[test]
fn models_are_bounded() -> Result<()> {
    let scene = Scene::of_one(Kind::Axum)?;
    let mut raw = Raw::connect(scene.server()?.address())?;
    for number in 0..200 {
        raw.ask(&Ask { model: format!("model-{number}"), ..Ask::whole(Api::Chat, 1) })?;
    }
    let spans = scene.spans(200)?;
    let (received, _) = scene.end()?;
    assert_eq!(received.total("gen_ai.server.request.duration", &[]).count, 200);
    let other = received.total("gen_ai.server.request.duration", &[("gen_ai.request.model", "_OTHER")]).count;
    assert_eq!(other, 100, "as many as have no name");
    let named = spans.iter().filter(|span| span.text("gen_ai.request.model") != Some("_OTHER")).count();
    assert_eq!(named, 100);
    Ok(())
}

/// Nothing of what people write, and nothing of what they are answered, leaves the agent.
#[test]
fn text_stays_where_it_is() -> Result<()> {
    const CANARY: &str = "canary-7f3a9";
    let turn = Turn::take()?;
    let scene = Scene::of(Server::start_all()?, turn, |setup| setup.env("OTEL_LOG_LEVEL", "trace"))?;
    let mut count = 0;
    for server in &scene.servers {
        for api in Api::ALL {
            for stream in [true, false] {
                let ask = Ask { prompt: format!("say {CANARY}"), stream, ..Ask::stream(api, 5) };
                let ask = ask.paced(5.0, 1.0).with(|pace| pace.text = Some(format!(" {CANARY}")));
                let headers =
                    format!("X-Note: {CANARY}\r\nCookie: session={CANARY}\r\nAuthorization: Bearer {CANARY}\r\n");
                let mut raw = Raw::connect(server.address())?;
                let body = ask.body().to_string();
                let path = format!("{}?key={CANARY}", api.path());
                let mut message = raw.head("POST", &path, &headers, body.len());
                message.extend_from_slice(body.as_bytes());
                raw.write(&message)?;
                assert_eq!(raw.finish()?.status, 200);
                count += 1;
            }
        }
        // Where it is a path, and in what a server refuses.
        let mut raw = Raw::connect(server.address())?;
        let head = raw.head("GET", &format!("/{CANARY}"), "", 0);
        raw.write(&head)?;
        raw.response()?;
    }
    scene.spans(count)?;
    let (received, ended) = scene.end()?;
    assert!(!received.holds(CANARY), "the canary was shipped");
    assert!(received.holds("chatcmpl-"), "the search finds what is there");
    let logged = ended.err.iter().find(|line| line.contains(CANARY));
    assert_eq!(logged, None, "the canary was logged");
    Ok(())
}

/// A page is HTTP, and nothing else is a request at all.
#[test]
fn other_traffic_is_no_inference() -> Result<()> {
    let scene = Scene::of_one(Kind::Axum)?;
    let server = scene.server()?;
    let mut raw = Raw::connect(server.address())?;
    for path in ["/", "/health", "/nowhere"] {
        let head = raw.head("GET", path, "", 0);
        raw.write(&head)?;
        raw.finish()?;
    }
    let (received, _) = scene.end()?;
    assert_eq!(received.generative(), Vec::new());
    assert_eq!(received.total("http.server.request.duration", &[]).count, 3);
    assert_eq!(received.total("http.server.request.duration", &[("http.route", "/health")]).count, 1);
    assert_eq!(received.total("inferscope.tokens", &[]).count, 0);
    Ok(())
}
