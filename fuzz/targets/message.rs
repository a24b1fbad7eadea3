//! A message byte by byte, and the same in parts with what need not be looked at passed over: one result.
//!
//! Input: a byte that says which message it is and how long the parts are, then the message.
#![no_main]

use inferscope_common::exchange::{Step, walk};
use inferscope_common::message::{Kind, MESSAGE_END, Message};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&first, bytes)) = input.split_first() else { return };
    let kind = match first & 3 {
        0 | 1 => Kind::Request,
        2 => Kind::Response { bodyless: false },
        _ => Kind::Response { bodyless: true },
    };
    for part in [bytes.len().max(1), usize::from(first >> 2) + 1] {
        let (slow, slow_step, slow_used) = byte_by_byte(bytes, kind, part);
        let (fast, step, used) = in_parts(bytes, kind, part);
        assert_eq!((step, used), (slow_step, slow_used), "parts of {part}");
        assert_eq!(facts(&fast), facts(&slow), "parts of {part}");
        assert!(step.contents as usize <= used);
    }
});

fn byte_by_byte(bytes: &[u8], kind: Kind, part: usize) -> (Message, Step, usize) {
    let (mut message, mut step) = (Message::default(), Step::default());
    for (at, &byte) in bytes.iter().enumerate() {
        let mut signals = message.step(byte, kind);
        if (at + 1) % part == 0 || at + 1 == bytes.len() {
            signals |= message.pause();
        }
        step.add(signals);
        if signals & MESSAGE_END != 0 {
            return (message, step, at + 1);
        }
    }
    (message, step, bytes.len())
}

fn in_parts(bytes: &[u8], kind: Kind, part: usize) -> (Message, Step, usize) {
    let (mut message, mut sum, mut used) = (Message::default(), Step::default(), 0);
    for part in bytes.chunks(part) {
        let (step, taken) = walk(&mut message, part, kind);
        sum.signals |= step.signals;
        sum.contents += step.contents;
        sum.ends += step.ends;
        used += taken;
        if step.signals & MESSAGE_END != 0 {
            break;
        }
    }
    (message, sum, used)
}

/// Everything that is known of a message.
fn facts(message: &Message) -> impl PartialEq + std::fmt::Debug + use<> {
    let Message { head, body, events, .. } = *message;
    let lost = { *message }.take_lost();
    let of_head = (head.length, head.bytes, head.status, head.flags, head.content);
    let of_events = (events.content_at, events.input_tokens, events.output_tokens, events.finish, events.idle());
    (of_head, body, of_events, lost, message.is_done(), message.has_head(), message.between_events())
}
