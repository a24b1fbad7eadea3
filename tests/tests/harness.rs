//! The harness itself: servers pace and answer as asked, and clients see it.

use std::collections::HashSet;

use anyhow::{Context, Result};
use inferscope_tests::ask::{Api, Ask};
use inferscope_tests::clients::{Client, Raw, Seen};
use inferscope_tests::servers::{Kind, Server};
use inferscope_tests::turn::Turn;

const MS: u64 = 1_000_000;
/// A timer of a millisecond's grain may fire this much early.
const EARLY: u64 = 2 * MS;
/// The promptest of several answers may be this late: a machine with other things to do delays some, not all.
const LATE: u64 = 25 * MS;
/// Answers of which one must be prompt.
const TRIES: usize = 20;

/// Never before its time, and at best right at it.
fn check_times(what: &str, times: &[u64], asked_ms: f64) {
    let (asked, best) = ((asked_ms * 1e6) as u64, times.iter().min().copied().unwrap_or_default());
    assert!(best + EARLY >= asked && best <= asked + LATE, "{what}: {times:?} ns, asked for {asked_ms} ms");
}

/// Every server speaks every API, at the pace that each request asks for, with an id of its own.
#[test]
fn servers_answer_as_asked() -> Result<()> {
    let _turn = Turn::take()?;
    let mut ids = HashSet::new();
    for server in Server::start_all()? {
        for api in Api::ALL {
            let what = format!("{} {api:?}", server.kind().name());
            let mut raw = Raw::connect(server.address())?;
            if api != Api::Embeddings {
                let ask = Ask::stream(api, 5).paced(40.0, 10.0);
                let all = prompt(&mut raw, &ask, |seen| seen.first_token().unwrap_or_default() < 40 * MS + LATE)?;
                check_times(&what, &firsts(&all), 40.0);
                check_times(&what, &gaps(&all), 10.0);
                for seen in &all {
                    assert_eq!((seen.status, seen.events, seen.tokens), (200, 5, Some(5)), "{what}");
                    check_id(&what, api, seen, &mut ids);
                }
            }
            // The connection is kept alive.
            let all = prompt(&mut raw, &Ask::whole(api, 7).paced(30.0, 0.0), |seen| seen.duration() < 30 * MS + LATE)?;
            check_times(&what, &all.iter().map(Seen::duration).collect::<Vec<_>>(), 30.0);
            for seen in &all {
                assert_eq!(seen.tokens, Some(if api == Api::Embeddings { 0 } else { 7 }), "{what}");
                assert_eq!((seen.status, seen.prompt_tokens), (200, Some(17)), "{what}");
                check_id(&what, api, seen, &mut ids);
            }
        }
    }
    Ok(())
}

/// Asks until an answer is prompt enough, or often.
fn prompt(raw: &mut Raw, ask: &Ask, enough: impl Fn(&Seen) -> bool) -> Result<Vec<Seen>> {
    let mut all = Vec::new();
    while all.len() < TRIES && !all.last().is_some_and(&enough) {
        all.push(raw.ask(ask)?);
    }
    Ok(all)
}

fn firsts(all: &[Seen]) -> Vec<u64> {
    all.iter().filter_map(Seen::first_token).collect()
}

fn gaps(all: &[Seen]) -> Vec<u64> {
    all.iter().filter_map(Seen::per_token).collect()
}

fn check_id(what: &str, api: Api, seen: &Seen, ids: &mut HashSet<String>) {
    match &seen.id {
        Some(id) => assert!(ids.insert(id.clone()), "{what}: {id} is not unique"),
        None => assert_eq!(api, Api::Ollama, "{what}: no id"),
    }
}

/// Usage comes only where it is asked for; comments, roles, merged and split events change nothing of the answer.
#[test]
fn servers_write_as_asked() -> Result<()> {
    let _turn = Turn::take()?;
    for server in Server::start_all()? {
        let ask = || Ask::stream(Api::Chat, 6).paced(20.0, 2.0);
        let unmetered = Ask { usage: false, ..ask() };
        let asks = [
            ("usage not asked for", unmetered),
            ("comments", ask().with(|pace| pace.comments = Some(2))),
            ("no role", ask().with(|pace| pace.role = Some(false))),
            ("merged", ask().with(|pace| pace.per_write = Some(4))),
            ("split", ask().with(|pace| pace.split = Some(3))),
        ];
        for (case, ask) in asks {
            let what = format!("{} {case}", server.kind().name());
            let mut raw = Raw::connect(server.address())?;
            raw.send(&ask, "")?;
            let response = raw.response()?;
            let text = String::from_utf8_lossy(&response.text).into_owned();
            let seen = raw.finish()?;
            assert_eq!((seen.events, seen.tokens), (6, ask.usage.then_some(6)), "{what}");
            assert_eq!(text.matches(": keep-alive").count(), if case == "comments" { 7 } else { 0 }, "{what}");
            assert_eq!(text.contains("\"role\":\"assistant\""), case != "no role", "{what}");
            assert_eq!(text.contains("\r\n\r\n"), server.kind() == Kind::SseStarlette, "{what}");
        }
    }
    Ok(())
}

/// Errors before a stream, inside one, and instead of its end.
#[test]
fn servers_fail_as_asked() -> Result<()> {
    let _turn = Turn::take()?;
    for server in Server::start_all()? {
        for api in [Api::Chat, Api::Responses, Api::Messages, Api::Ollama] {
            let what = format!("{} {api:?}", server.kind().name());
            let ask = |change: fn(&mut _)| Ask::stream(api, 9).paced(5.0, 2.0).with(change);
            let seen = |ask: &Ask| Raw::connect(server.address())?.ask(ask).context(what.clone());
            for status in [400, 503] {
                let seen = seen(&Ask::stream(api, 9).with(|pace| pace.status = Some(status)))?;
                assert_eq!((seen.status, seen.events, seen.error.is_some()), (status, 0, true), "{what}");
            }
            let inside = seen(&ask(|pace| pace.error_after = Some(4)))?;
            assert_eq!((inside.status, inside.events, inside.error.is_some()), (200, 4, true), "{what}");
            let broken = seen(&ask(|pace| pace.die_after = Some(3)))?;
            assert_eq!(broken.events, 3, "{what}");
            assert_eq!(broken.error.as_deref(), Some("the stream broke off"), "{what}");
        }
        let mut raw = Raw::connect(server.address())?;
        raw.send(&Ask::whole(Api::Chat, 1), "Authorization: Bearer refused\r\n")?;
        assert_eq!(raw.finish()?.status, 401);
    }
    Ok(())
}

/// Both client programs see what the raw client sees.
#[test]
fn clients_see_what_is_answered() -> Result<()> {
    let _turn = Turn::take()?;
    for server in Server::start_all()? {
        for client in Client::ALL {
            for api in [Api::Chat, Api::Completion, Api::Embeddings, Api::Responses] {
                // Every client with every server, and with every API.
                if api != Api::Chat && server.kind() != Kind::UvicornUvloop {
                    continue;
                }
                let what = format!("{} {} {api:?}", server.kind().name(), client.name());
                let ask = match api {
                    Api::Embeddings => Ask::whole(api, 0).paced(20.0, 0.0),
                    _ => Ask::stream(api, 8).paced(30.0, 5.0),
                };
                let all = client.run(&server, &ask, 10, 2).context(what.clone())?;
                let ids: HashSet<_> = all.iter().filter_map(|seen| seen.id.clone()).collect();
                assert_eq!((all.len(), all.iter().filter(|seen| seen.error.is_some()).count()), (10, 0), "{what}");
                // The SDK's type of embeddings has no id.
                assert!(ids.len() == 10 || client == Client::OpenAi && api == Api::Embeddings, "{what}");
                for seen in &all {
                    assert!(seen.end_socket_ns <= seen.end_read_ns, "{what}: read before it came: {seen:?}");
                    assert!(seen.first_socket_ns <= seen.first_read_ns, "{what}: read before it came: {seen:?}");
                }
                if api == Api::Embeddings {
                    check_times(&what, &all.iter().map(Seen::duration).collect::<Vec<_>>(), 20.0);
                    continue;
                }
                let counts = |seen: &Seen| (seen.events, seen.tokens, seen.prompt_tokens);
                assert!(all.iter().all(|seen| counts(seen) == (8, Some(8), Some(17))), "{what}: {all:?}");
                check_times(&what, &firsts(&all), 30.0);
                check_times(&what, &gaps(&all), 5.0);
            }
        }
    }
    Ok(())
}
