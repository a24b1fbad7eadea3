//! Streams as servers write them, and what is told of each.

use super::*;

/// The lexer behind a stream, every signal raised, and the number of contents.
fn run(stream: &str, lines: bool) -> (Lexer, u32, u32) {
    let (mut lexer, mut signals, mut contents) = (Lexer::default(), 0, 0);
    for byte in stream.bytes() {
        let now = lexer.step(byte, lines);
        signals |= now;
        contents += now & CONTENT;
    }
    (lexer, signals, contents)
}

fn sse(data: &str) -> (Lexer, u32, u32) {
    run(&format!("data: {data}\n\n"), false)
}

#[test]
fn counts_that_grow_along_the_stream_end_at_the_last() {
    let event = |n: u32| format!("data: {{\"content\":\"a\",\"tokens_predicted\":{n},\"tokens_evaluated\":9}}\n\n");
    let (lexer, signals, _) = run(&(event(1) + &event(2) + &event(3)), false);
    assert_eq!((lexer.input_tokens, lexer.output_tokens), (9, 3));
    assert_eq!(signals & USAGE, USAGE);
}

#[test]
fn timings_yield_to_usage_whichever_comes_first() {
    let (usage, timings) = ("\"prompt_tokens\":31,\"completion_tokens\":4", "\"prompt_n\":1,\"predicted_n\":4");
    for data in [format!("{{{usage},{timings}}}"), format!("{{{timings},{usage}}}")] {
        let (lexer, ..) = sse(&data);
        assert_eq!((lexer.input_tokens, lexer.output_tokens), (31, 4), "{data}");
    }
}

#[test]
fn an_escape_makes_another_word() {
    assert_eq!(sse(r#"{"\text":"a","er\ror":{}}"#).1 & (CONTENT | ERROR), 0);
    assert_eq!(sse(r#"{"text":"\"a"}"#).1 & CONTENT, CONTENT);
}

#[test]
fn a_broken_string_ends_with_its_line() {
    for broken in ["{\"response\":\"a\n", "{\"response\":\"a\\\n"] {
        let (lexer, signals, contents) = run(&(broken.to_owned() + "{\"response\":\"b\",\"done\":true}\n"), true);
        assert_eq!((contents, signals), (2, CONTENT | EVENT | TERMINAL), "{broken}");
        assert!(lexer.idle());
    }
}

#[test]
fn an_array_of_no_objects_leaves_the_strings_in_step() {
    assert_eq!(sse(r#"{"tool_calls":["a"],"text":"b"}"#).1, CONTENT | EVENT);
    assert_eq!(sse(r#"{"tool_calls":[],"text":"b"}"#).1, CONTENT | EVENT);
    assert_eq!(sse(r#"{"tool_calls":["text"],"x":"b"}"#).1, EVENT);
}

#[test]
fn content_begins_and_ends_somewhere() {
    let ends = |data: &str| {
        let (lexer, ..) = run(&format!("data: {data}\n\n"), false);
        (usize::from(lexer.content_at) - 6, usize::from(lexer.content_end) - 6)
    };
    let data = r#"{"id":"a","text":"b\"c" ,"d":"e"}"#;
    assert_eq!(ends(data), (data.find("b\\").unwrap(), data.find("\" ,").unwrap()));
    let data = r#"{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}],"x":"y"}"#;
    assert_eq!(ends(data), (data.find("{\"index").unwrap(), data.find("\"}}]").unwrap()));
    let long = format!(r#"{{"text":"{}"}}"#, "a".repeat(70_000));
    assert_eq!(run(&format!("data: {long}\n\n"), false).0.content_end, u16::MAX);
}

#[test]
fn plain_text_is_no_end() {
    assert_eq!(sse("[DONE]").1, TERMINAL | EVENT);
    assert_eq!(sse("Dear reader").1, EVENT);
    assert_eq!(sse("[\"x\",D]").1, EVENT);
}

#[test]
fn an_event_is_known_by_its_name_before_its_type() {
    let done = "event: response.output_text.done\ndata: {\"text\":\"all\",\"type\":\"response.output_text.done\"}\n\n";
    assert_eq!(run(done, false).1, EVENT);
    let crlf = done.replace('\n', "\r\n");
    assert_eq!(run(&crlf, false).1, EVENT);
    assert_eq!(run("event:message_stop\ndata: {}\n\n", false).1, TERMINAL | EVENT);
}

#[test]
fn a_tool_named_error_is_no_error() {
    let tool = r#""tools":[{"parameters":{"properties":{"error":{"type":"string"}}}}]"#;
    assert_eq!(sse(&format!(r#"{{"type":"response.created","response":{{{tool}}}}}"#)).1, EVENT);
    assert_eq!(sse(&format!(r#"{{"type":"response.completed","response":{{{tool}}}}}"#)).1, EVENT | TERMINAL);
}

#[test]
fn errors_come_in_every_form() {
    assert_eq!(sse(r#"{"error":{"message":"m"}}"#).1 & ERROR, ERROR);
    assert_eq!(sse(r#"{"error":"m"}"#).1 & ERROR, ERROR);
    assert_eq!(sse(r#"{"type":"error","code":"server_error"}"#).1 & ERROR, ERROR);
    assert_eq!(sse(r#"{"type":"response.failed","response":{"error":{"code":"x"}}}"#).1, ERROR | TERMINAL | EVENT);
    assert_eq!(sse(r#"{"error":null}"#).1 & ERROR, 0);
}

#[test]
fn reasons_to_finish() {
    let finish = |data: &str| sse(data).0.finish;
    assert_eq!(finish(r#"{"finish_reason":"stop"}"#), Finish::Stop as u8);
    assert_eq!(finish(r#"{"finish_reason":{"type":"length","length":16}}"#), Finish::Length as u8);
    assert_eq!(finish(r#"{"stop_type":"limit"}"#), Finish::Length as u8);
    assert_eq!(finish(r#"{"type":"response.incomplete"}"#), Finish::Length as u8);
    assert_eq!(finish(r#"{"stop_reason":"tool_use"}"#), Finish::ToolCalls as u8);
    assert_eq!(finish(r#"{"finish_reason":"abort"}"#), Finish::Other as u8);
    assert_eq!(finish(r#"{"finish_reason":null}"#), 0);
    assert_eq!(finish(r#"{"finish_reason":""}"#), 0);
}

#[test]
fn the_whole_text_ends_a_stream() {
    let event = |whole: &str| format!(r#"{{"token":{{"text":"a"}},"generated_text":{whole}}}"#);
    assert_eq!(sse(&event("null")).1, CONTENT | EVENT);
    assert_eq!(sse(&event(r#""aa""#)).1, CONTENT | EVENT | TERMINAL);
}
