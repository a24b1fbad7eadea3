//! A line of JSON by the lexer, which builds nothing, and by serde_json, which reads all of it: the same meaning.
#![no_main]

#[path = "../../common/src/words.rs"]
mod words;

use std::fmt;

use inferscope_common::json::{CONTENT, ERROR, EVENT, Finish, Lexer, TERMINAL, USAGE};
use libfuzzer_sys::fuzz_target;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use words::{Key, Value, hash_of};

fuzz_target!(|line: &[u8]| {
    let (mut lexer, mut signals, mut contents) = (Lexer::default(), 0, 0);
    for &byte in line.iter().chain(b"\n") {
        let now = lexer.step(byte, true);
        signals |= now;
        contents += now & CONTENT;
    }
    // An escape makes another word for the lexer, and a carriage return is no space to it.
    if line.iter().any(|byte| b"\\\r\n".contains(byte)) {
        return;
    }
    let mut meaning = Meaning::default();
    let mut reader = serde_json::Deserializer::from_slice(line);
    let read = Node { meaning: &mut meaning, key: Key::Unknown, tool: false }.deserialize(&mut reader);
    if read.is_err() || reader.end().is_err() || meaning.odd {
        return;
    }
    assert!(lexer.idle());
    assert_eq!(signals, meaning.signals | EVENT);
    assert_eq!(contents, u32::from(meaning.signals & CONTENT != 0));
    assert_eq!(lexer.finish, meaning.finish);
    assert_eq!([lexer.input_tokens, lexer.output_tokens], [meaning.input, meaning.output].map(|tokens| tokens as u32));
});

/// What a line means, by the words in it.
#[derive(Default)]
struct Meaning {
    signals: u32,
    finish: u8,
    input: u64,
    output: u64,
    repeats: bool,
    /// Holds numbers that are no counts.
    odd: bool,
}

impl Meaning {
    fn string(&mut self, key: Key, text: &str) {
        match key {
            Key::Content if !text.is_empty() => self.content(),
            Key::Error if !self.repeats => self.signals |= ERROR,
            Key::Whole => self.signals |= TERMINAL,
            Key::Type => self.kind(text),
            Key::Finish if !text.is_empty() => {
                self.finish = match words::value(hash_of(text)) {
                    Value::Stop => Finish::Stop,
                    Value::Length => Finish::Length,
                    Value::ToolCalls => Finish::ToolCalls,
                    Value::ContentFilter => Finish::ContentFilter,
                    _ => Finish::Other,
                } as u8;
            }
            _ => {}
        }
    }

    fn kind(&mut self, text: &str) {
        let (signals, finish, repeats) = match words::value(hash_of(text)) {
            Value::Terminal => (TERMINAL, None, true),
            Value::Completed => (TERMINAL, Some(Finish::Stop), true),
            Value::Incomplete => (TERMINAL, Some(Finish::Length), true),
            Value::Failed => (TERMINAL | ERROR, None, true),
            Value::Repeats => (0, None, true),
            Value::Error => (ERROR, None, false),
            Value::Stop => (0, Some(Finish::Stop), false),
            Value::Length => (0, Some(Finish::Length), false),
            _ => (0, None, false),
        };
        self.signals |= signals;
        self.repeats |= repeats;
        self.finish = finish.map_or(self.finish, |finish| finish as u8);
    }

    fn content(&mut self) {
        if !self.repeats {
            self.signals |= CONTENT;
        }
    }

    fn number(&mut self, key: Key, number: u64) {
        // The lexer stops counting at nine digits.
        self.odd |= number > 99_999_999;
        match key {
            Key::InputTokens => self.input = number,
            Key::OutputTokens => self.output = number,
            Key::InputTokensTimed => self.input = self.input.max(number),
            Key::OutputTokensTimed => self.output = self.output.max(number),
            _ => return,
        }
        self.signals |= USAGE;
    }
}

/// A value, and where it stands.
struct Node<'a> {
    meaning: &'a mut Meaning,
    /// The key before it.
    key: Key,
    /// It comes first in an array of tool calls.
    tool: bool,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.meaning.string(self.key, text);
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        if value && self.key == Key::Done {
            self.meaning.signals |= TERMINAL;
        }
        Ok(())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.meaning.number(self.key, number);
        Ok(())
    }

    fn visit_i64<E: Error>(self, _number: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _number: f64) -> Result<(), E> {
        self.meaning.odd = true;
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let Self { meaning, key, .. } = self;
        let mut tool = key == Key::Tools;
        while elements.next_element_seed(Node { meaning: &mut *meaning, key: Key::Unknown, tool })?.is_some() {
            tool = false;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let Self { meaning, key, tool } = self;
        if tool {
            meaning.content();
        }
        if key == Key::Error && !meaning.repeats {
            meaning.signals |= ERROR;
        }
        while let Some(name) = members.next_key::<String>()? {
            let key = words::key(hash_of(&name));
            members.next_value_seed(Node { meaning: &mut *meaning, key, tool: false })?;
        }
        Ok(())
    }
}
