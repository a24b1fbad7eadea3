//! Members of a JSON object read in place, forwards and backwards: slices of the text, and those that serde_json finds.
#![no_main]

use inferscope::wire::scan::{Value, members, members_back};
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

fuzz_target!(|text: &[u8]| {
    let mut forwards = Vec::new();
    let complete = members(text, |key, value| forwards.push((key, said(value))));
    let mut backwards = Vec::new();
    members_back(text, |depth, key, value| {
        let inside = text.as_ptr_range();
        assert!(inside.contains(&key.as_ptr()) && key.as_ptr_range().end <= inside.end);
        if depth == 1 {
            backwards.push((key, said(value)));
        }
    });
    // Every value costs its own length at most twice: there are no more members than bytes.
    assert!(forwards.len() <= text.len() && backwards.len() <= text.len());
    let Ok(Members(expected)) = serde_json::from_slice(text) else { return };
    assert!(complete, "{}", String::from_utf8_lossy(text));
    let expected: Vec<_> = expected.iter().map(|(key, value)| (key.as_bytes(), raw(value.get()))).collect();
    assert_eq!(forwards, expected);
    backwards.reverse();
    assert_eq!(backwards, expected);
});

/// What can be asked of a value.
type Said<'a> = (Option<&'a [u8]>, Option<u64>, Option<bool>);

fn said(value: Value<'_>) -> Said<'_> {
    (value.string(), value.number(), value.boolean())
}

/// The same from the text of a value.
fn raw(text: &str) -> Said<'_> {
    let string = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).filter(|text| !text.is_empty());
    let number = text.parse().ok().filter(|_| text.len() <= 19);
    (string.map(str::as_bytes), number, text.parse().ok())
}

/// Members of an object in their order, with keys that hold no escapes.
struct Members<'a>(Vec<(&'a str, &'a RawValue)>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> serde::de::Visitor<'de> for All {
            type Value = Vec<(&'de str, &'de RawValue)>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(All).map(Self)
    }
}
