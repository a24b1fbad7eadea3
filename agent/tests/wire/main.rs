//! Recorded exchanges through [`inferscope::wire`], whole and cut at any byte, and what may never come out of it.

#[cfg(test)]
mod gaps;
#[cfg(test)]
mod recording;

use inferscope::model::request::{Outcome, Request};
use inferscope::wire::Direction;
use inferscope::wire::labels::OTHER;
use inferscope_common::exchange::{CLOSED_HERE, CLOSED_THERE};
use inferscope_common::flow::Role;
use proptest::prelude::*;
use recording::{Recording, Write, facts};

/// Every recording gives the requests that its snapshot states.
#[test]
fn recordings_give_their_requests() {
    for recording in recording::all() {
        let text: Vec<String> = recording.play(Role::Server).iter().map(facts).collect();
        insta::with_settings!({ description => recording.about.clone(), omit_expression => true }, {
            insta::assert_snapshot!(recording.name.clone(), text.join("\n"));
        });
    }
}

/// The asking side sees the same exchange, from its own end.
#[test]
fn the_asking_side_sees_the_same() {
    for recording in recording::all() {
        let (served, asked) = (recording.play(Role::Server), recording.play(Role::Client));
        // Which end is "here" depends on who looks.
        let common = |request: &Request| {
            let mut same = Request { role: Role::Server, ..request.clone() };
            same.figures.flags &= !(CLOSED_HERE | CLOSED_THERE);
            facts(&same)
        };
        let served: Vec<String> = served.iter().map(common).collect();
        let asked: Vec<String> = asked.iter().map(common).collect();
        assert_eq!(served, asked, "{}", recording.name);
    }
}

/// A write that passes in two parts, wherever it is cut, changes nothing.
#[test]
fn a_cut_at_any_byte_changes_nothing() {
    // Of a long chunked body only the last segment is passed on: how far back it reaches depends on the cut.
    let any_cut = |recording: &&Recording| !["node-chunked-json", "ollama-embed"].contains(&&*recording.name);
    for recording in recording::all().iter().filter(any_cut) {
        let whole = recording.play(Role::Server);
        for index in 0..recording.writes.len() {
            let len = recording.writes[index].bytes().len();
            // A response whose request was not seen is known by its first bytes only.
            let shortest = if index == 0 { 7 } else { 1 };
            // Each byte near the ends, where the framing stands; some of a long text's.
            for at in (shortest..len).filter(|at| *at < 700 || len - at < 300 || at % 61 == 0) {
                let parts = recording.cut(index, at).play(Role::Server);
                let place = format!("{} cut at byte {at} of write {index}", recording.name);
                assert_eq!(parts.len(), whole.len(), "{place}");
                for (part, whole) in parts.iter().zip(&whole) {
                    assert_eq!(facts(&with_names_of(part, whole)), facts(whole), "{place}");
                }
            }
        }
    }
}

/// Pieces end with the packet of the first content, and errors come with one packet: what stands in the
/// other half of a cut event may be missing, and nothing else.
fn with_names_of(part: &Request, whole: &Request) -> Request {
    let mut part = part.clone();
    part.response_id = part.response_id.or_else(|| whole.response_id.clone());
    part.response_model = part.response_model.or_else(|| whole.response_model.clone());
    if part.outcome == Outcome::Stream(OTHER.into()) {
        part.outcome = whole.outcome.clone();
    }
    part
}

/// Segments that come twice, or overlap what came before, count once.
#[test]
fn what_comes_twice_counts_once() {
    for recording in recording::all() {
        let whole: Vec<String> = recording.play(Role::Server).iter().map(facts).collect();
        let twice: Vec<String> = recording.play_repeating(Role::Server).iter().map(facts).collect();
        assert_eq!(twice, whole, "{}", recording.name);
    }
}

/// Neither prompts nor completions, nor queries, unknown paths or messages of errors, come out in any form.
#[test]
fn no_text_comes_out() {
    let mut seen = 0;
    for recording in recording::all() {
        seen +=
            recording.writes.iter().filter(|write| memchr::memmem::find(write.bytes(), b"CANARY").is_some()).count();
        for request in recording.play(Role::Server) {
            let text = format!("{request:?}\n{}", facts(&request));
            assert!(!text.contains("CANARY"), "{}: {text}", recording.name);
            assert!(!text.contains("evil"), "{}: {text}", recording.name);
        }
    }
    assert!(seen > 20, "the recordings hold no marks to look for");
}

proptest! {
    /// Cut into many parts at random, with the order of writes kept.
    #[test]
    fn many_cuts_change_no_figure(seed in any::<u64>(), longest in 3usize..400) {
        for recording in recording::all() {
            let figures = |recording: &Recording| -> Vec<_> {
                recording.play(Role::Server).iter().map(|r| (r.figures, std::mem::discriminant(&r.outcome))).collect()
            };
            prop_assert_eq!(figures(&recording.shred(seed, longest)), figures(&recording), "{}", recording.name);
        }
    }
}

/// Directions are as the recordings' marks say.
#[test]
fn recordings_are_read_as_written() {
    let recording = Recording::parse("x", "# about\n> 0 \"GET\"\n< 1.5 \"a\\r\\n\"\n< 2 FIN\n");
    let writes: Vec<_> =
        recording.writes.iter().map(|write| (write.from_client, write.time, write.what.clone())).collect();
    assert_eq!(
        writes,
        [
            (true, recording::START, Write::Bytes(b"GET".to_vec())),
            (false, recording::START + 1_500_000, Write::Bytes(b"a\r\n".to_vec())),
            (false, recording::START + 2_000_000, Write::Fin),
        ]
    );
    assert_eq!(recording.writes[0].direction(Role::Client), Direction::Out);
}
