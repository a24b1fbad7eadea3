//! How requests end otherwise than well.

use anyhow::{Context, Result};
use inferscope_tests::ask::{Api, Ask, Pace};
use inferscope_tests::clients::Raw;
use inferscope_tests::received::Span;
use inferscope_tests::scene::Scene;
use inferscope_tests::servers::Kind;

/// Errors before a stream have a status, errors inside one their own type.
#[test]
fn errors_are_told() -> Result<()> {
    let scene = Scene::of_all()?;
    let mut wanted = Vec::new();
    for server in &scene.servers {
        let mut ask = |api, error: &str, change: &dyn Fn(&mut Pace)| -> Result<()> {
            let ask = Ask::stream(api, 9).paced(5.0, 2.0).with(|pace| change(pace));
            Raw::connect(server.address())?.ask(&ask)?;
            wanted.push(error.to_owned());
            Ok(())
        };
        for status in [400, 503] {
            ask(Api::Chat, &status.to_string(), &|pace| pace.status = Some(status))?;
        }
        let inside = |pace: &mut Pace| pace.error_after = Some(4);
        ask(Api::Chat, "InternalServerError", &inside)?;
        ask(Api::Responses, "server_error", &inside)?;
        ask(Api::Messages, "overloaded_error", &inside)?;
        ask(Api::Ollama, "_OTHER", &inside)?;
    }
    let spans = scene.spans(wanted.len())?;
    let mut told: Vec<_> = spans.iter().filter_map(Span::error).map(str::to_owned).collect();
    told.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(told, wanted);
    for span in &spans {
        let inside = span.error().is_some_and(|error| error.parse::<u16>().is_err());
        assert_eq!(span.number::<u16>("http.response.status_code") == Some(200), inside, "{span:?}");
        // A client's mistake is no fault of the server.
        assert_eq!(span.failed, span.error() != Some("400"), "{span:?}");
        assert!(span.per_token().is_none(), "{span:?}");
    }
    let (received, _) = scene.end()?;
    let failed = received.total("gen_ai.server.request.duration", &[("error.type", "503")]);
    assert_eq!(failed.count, 5);
    Ok(())
}

/// Whoever breaks a stream off is named, and what came until then is counted.
#[test]
fn broken_streams_name_who_broke_them() -> Result<()> {
    let scene = Scene::of_all()?;
    for server in &scene.servers {
        let mut raw = Raw::connect(server.address())?;
        raw.send(&Ask::stream(Api::Chat, 100).paced(10.0, 20.0), "")?;
        raw.read_until(b"answer")?;
        raw.close()?;
    }
    for span in scene.spans(5)? {
        assert_eq!(span.error(), Some("client_closed"), "{span:?}");
        assert!(!span.failed, "{span:?}");
        let tokens = span.number::<u64>("inferscope.output_tokens").context("no count")?;
        assert!((3..10).contains(&tokens), "{span:?}");
        assert!(span.first_token().is_some() && span.per_token().is_none(), "{span:?}");
    }
    // One server breaks a stream off and lives, the others are killed.
    for server in &scene.servers {
        let mut raw = Raw::connect(server.address())?;
        let ask = Ask::stream(Api::Chat, 100).paced(10.0, 20.0);
        if server.kind() == Kind::UvicornUvloop {
            assert_eq!(raw.ask(&ask.with(|pace| pace.die_after = Some(3)))?.events, 3);
            continue;
        }
        raw.send(&ask, "")?;
        raw.read_until(b"answer")?;
        server.kill();
        assert!(raw.finish()?.events >= 3);
    }
    let spans = scene.spans(10)?;
    for span in &spans[5..] {
        assert_eq!((span.error(), span.failed), (Some("server_closed"), true), "{span:?}");
    }
    Ok(())
}

/// A server may answer before it has read the request.
#[test]
fn bodies_may_stay_unread() -> Result<()> {
    let scene = Scene::of_all()?;
    for server in &scene.servers {
        let mut raw = Raw::connect(server.address())?;
        let ask = Ask { prompt: "word ".repeat(20_000), ..Ask::whole(Api::Chat, 4) };
        raw.send(&ask, "Authorization: Bearer refused\r\n")?;
        assert_eq!(raw.finish()?.status, 401);
    }
    for span in scene.spans(5)? {
        assert_eq!(span.error(), Some("401"), "{span:?}");
        assert_eq!(span.text("gen_ai.operation.name"), Some("chat"), "{span:?}");
    }
    Ok(())
}
