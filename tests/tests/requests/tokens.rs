//! What a response says, and when it begins to say it.

use anyhow::{Context, Result};
use inferscope_tests::ask::{Api, Ask, MODEL};
use inferscope_tests::clients::Raw;
use inferscope_tests::scene::Scene;
use inferscope_tests::servers::Kind;

use crate::{NEAR, SERVER, near, span_of};

/// `usage` counts where the response carries it; otherwise events do, and never fill `gen_ai.usage.*`.
#[test]
fn tokens_have_a_source() -> Result<()> {
    let scene = Scene::of_all()?;
    let mut asked = Vec::new();
    for server in &scene.servers {
        let mut raw = Raw::connect(server.address())?;
        for api in [Api::Chat, Api::Completion, Api::Responses, Api::Messages] {
            for usage in [true, false] {
                let ask = Ask { usage, ..Ask::stream(api, 6).paced(10.0, 2.0) };
                asked.push((server.kind(), ask.clone(), raw.ask(&ask)?));
            }
            let ask = Ask::whole(api, 6);
            asked.push((server.kind(), ask.clone(), raw.ask(&ask)?));
        }
    }
    let spans = scene.spans(asked.len())?;
    assert_eq!(spans.len(), asked.len());
    for (kind, ask, seen) in &asked {
        let (what, span) = (format!("{} {ask:?}", kind.name()), span_of(&spans, seen)?);
        let told = seen.tokens.is_some();
        assert_eq!(span.number("gen_ai.usage.output_tokens"), told.then_some(6), "{what}");
        assert_eq!(span.number("gen_ai.usage.input_tokens"), seen.prompt_tokens, "{what}");
        assert_eq!(span.number("inferscope.output_tokens"), (!told).then_some(6), "{what}");
        assert_eq!(span.text("inferscope.token.source"), (!told).then_some("events"), "{what}");
        assert_eq!(span.text("gen_ai.request.stream"), Some(if ask.stream { "true" } else { "false" }), "{what}");
        assert_eq!(span.text("gen_ai.request.model"), Some(ask.model.as_str()), "{what}");
        assert_eq!((span.kind, span.error()), (SERVER, None), "{what}");
    }
    Ok(())
}

/// Ollama answers in lines, counts its tokens in the last one, and gives no id.
#[test]
fn lines_of_json_are_a_stream() -> Result<()> {
    let scene = Scene::of_all()?;
    for server in &scene.servers {
        Raw::connect(server.address())?.ask(&Ask::stream(Api::Ollama, 9).paced(30.0, 3.0))?;
    }
    for span in scene.spans(scene.servers.len())? {
        assert_eq!(span.number("gen_ai.usage.output_tokens"), Some(9), "{span:?}");
        assert_eq!(span.number("inferscope.stream.events"), Some(9), "{span:?}");
        assert!(span.first_token().context("no first token")? >= 29_000_000, "{span:?}");
        assert_eq!(span.text("gen_ai.provider.name"), Some("ollama"), "{span:?}");
    }
    Ok(())
}

/// Nothing but content begins the answer, however events are laid into writes.
#[test]
fn content_alone_counts() -> Result<()> {
    let scene = Scene::of_all()?;
    let mut all = Vec::new();
    for server in &scene.servers {
        let mut raw = Raw::connect(server.address())?;
        let ask = || Ask::stream(Api::Chat, 12).paced(60.0, 2.0);
        let asks = [
            ask(),
            ask().with(|pace| pace.comments = Some(3)),
            ask().with(|pace| pace.role = Some(false)),
            ask().with(|pace| pace.per_write = Some(5)),
            ask().with(|pace| pace.split = Some(4)),
            ask().with(|pace| (pace.per_write, pace.split) = (Some(3), Some(2))),
        ];
        for ask in asks {
            // Without usage events are all there is to count.
            let ask = Ask { usage: false, ..ask };
            all.push((server.kind(), ask.clone(), raw.ask(&ask)?));
        }
        for api in [Api::Responses, Api::Messages] {
            let ask = Ask::stream(api, 12).paced(60.0, 2.0);
            all.push((server.kind(), ask.clone(), raw.ask(&ask)?));
        }
    }
    let spans = scene.spans(all.len())?;
    for (kind, ask, seen) in &all {
        let (what, span) = (format!("{} {:?} {seen:?}", kind.name(), ask.pace), span_of(&spans, seen)?);
        assert_eq!(span.number("inferscope.stream.events"), Some(12), "{what} {span:?}");
        assert_eq!(span.tokens(), Some(12), "{what} {span:?}");
        let first = span.first_token().context("no first token")?;
        assert!(first >= 58_000_000, "{what} {span:?}");
        // The client has an event when all of it is there; a split one is seen with its first content.
        let split = u64::from(ask.pace.split.unwrap_or(1) - 1) * 3_000_000;
        let client = seen.first_token().context("no first token")?;
        assert!(first <= client + NEAR && first + split + NEAR >= client, "{what} {span:?}");
    }
    Ok(())
}

/// A prompt of a megabyte: what stands before and behind it is read all the same.
#[test]
fn prompts_may_be_long() -> Result<()> {
    let scene = Scene::of_all()?;
    let mut all = Vec::new();
    for server in &scene.servers {
        let ask = Ask { prompt: "word ".repeat(1 << 18), ..Ask::stream(Api::Chat, 4).paced(20.0, 2.0) };
        all.push(Raw::connect(server.address())?.ask(&ask)?);
    }
    let spans = scene.spans(all.len())?;
    for seen in &all {
        let span = span_of(&spans, seen)?;
        assert!(span.number::<u64>("inferscope.request.bytes") > Some(1 << 20), "{span:?}");
        assert_eq!(span.text("gen_ai.request.model"), Some(MODEL), "{span:?}");
        assert_eq!(span.number("gen_ai.usage.output_tokens"), Some(4), "{span:?}");
        assert!(near(span.first_token(), seen.first_token()), "{span:?} {seen:?}");
    }
    Ok(())
}

/// A compressed response is a request like any other, of which nothing is read.
#[test]
fn responses_may_be_compressed() -> Result<()> {
    let scene = Scene::of_one(Kind::UvicornUvloop)?;
    let address = scene.server()?.address();
    let mut all = Vec::new();
    for ask in [Ask::stream(Api::Chat, 5).paced(20.0, 5.0), Ask::whole(Api::Chat, 5).paced(40.0, 0.0)] {
        let ask = ask.with(|pace| pace.gzip = Some(true));
        all.push(Raw::connect(address)?.ask(&ask)?);
    }
    let spans = scene.spans(2)?;
    for (span, seen) in spans.iter().zip(&all) {
        assert!(near(Some(span.duration()), Some(seen.duration())), "{span:?} {seen:?}");
        assert_eq!((span.error(), span.tokens()), (None, None), "{span:?}");
        assert_eq!(span.text("gen_ai.request.model"), Some(MODEL), "{span:?}");
    }
    Ok(())
}
