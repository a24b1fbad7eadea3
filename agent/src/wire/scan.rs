//! Reads members of a JSON object in place, from its start or from its end, where the rest may be missing.
//!
//! A body is seen as its first bytes and its last ones. No tree is built and no text copied: what is
//! found are slices of the body.

use memchr::{memchr2, memrchr};

/// A complete JSON value, as it stands in the text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Value<'a>(&'a [u8]);

impl<'a> Value<'a> {
    /// A string that is not empty, between its quotes, escapes as they stand.
    pub fn string(self) -> Option<&'a [u8]> {
        match self.0 {
            [b'"', text @ .., b'"'] if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// A whole number.
    pub fn number(self) -> Option<u64> {
        if self.0.is_empty() || self.0.len() > 19 {
            return None;
        }
        self.0.iter().try_fold(0u64, |sum, &byte| byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0')))
    }

    /// True or false.
    pub fn boolean(self) -> Option<bool> {
        match self.0 {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        }
    }

    /// The text of an object, or of an array's first element.
    pub fn object(self) -> Option<&'a [u8]> {
        match self.0 {
            [b'{', ..] => Some(self.0),
            [b'[', rest @ ..] => {
                let start = space_end(rest, 0);
                rest.get(start..).filter(|text| text.first() == Some(&b'{'))
            }
            _ => None,
        }
    }
}

/// Visits the complete members of the object that `text` begins with; true if the object itself is complete.
pub fn members<'a>(text: &'a [u8], mut visit: impl FnMut(&'a [u8], Value<'a>)) -> bool {
    let mut at = space_end(text, 0);
    if text.get(at) != Some(&b'{') {
        return false;
    }
    at += 1;
    loop {
        at = space_end(text, at);
        match text.get(at) {
            Some(b'}') => return true,
            Some(b',') => at += 1,
            Some(b'"') => match member(text, at) {
                Some((key, value, end)) => {
                    visit(key, value);
                    at = end;
                }
                None => return false,
            },
            _ => return false,
        }
    }
}

fn member(text: &[u8], at: usize) -> Option<(&[u8], Value<'_>, usize)> {
    let key_end = string_end(text, at)?;
    let colon = space_end(text, key_end);
    if text.get(colon) != Some(&b':') {
        return None;
    }
    let start = space_end(text, colon + 1);
    let end = value_end(text, start)?;
    Some((text.get(at + 1..key_end - 1)?, Value(text.get(start..end)?), end))
}

fn space_end(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + rest.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(rest.len())
}

/// The end of the string whose opening quote stands at `at`.
fn string_end(text: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

fn value_end(text: &[u8], start: usize) -> Option<usize> {
    match text.get(start)? {
        b'"' => string_end(text, start),
        b'{' | b'[' => container_end(text, start),
        _ => {
            let rest = &text[start..];
            let len = rest.iter().position(|&byte| !is_scalar(byte))?;
            (len > 0).then_some(start + len)
        }
    }
}

fn is_scalar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.')
}

fn container_end(text: &[u8], start: usize) -> Option<usize> {
    let (mut at, mut depth) = (start, 0usize);
    loop {
        match text.get(at)? {
            b'"' => {
                at = string_end(text, at)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
}

/// Containers that are entered from behind when their beginning is missing.
const DEEPEST: u32 = 6;

/// Visits, last first, the complete members of the object that `text` ends with, each with its depth
/// (1 = the object's own). Where a member's beginning is missing, visits the members inside it.
///
/// `text` must end where the JSON ends: only there is it certain that no string is open.
pub fn members_back<'a>(text: &'a [u8], mut visit: impl FnMut(u32, &'a [u8], Value<'a>)) {
    let mut at = space_start(text, text.len());
    if at == 0 || text[at - 1] != b'}' {
        return;
    }
    at -= 1;
    let mut depth = 1;
    loop {
        at = space_start(text, at);
        let Some(&last) = at.checked_sub(1).and_then(|before| text.get(before)) else { return };
        if last == b',' {
            at -= 1;
            continue;
        }
        let Some(start) = value_start(text, at) else {
            if !matches!(last, b'}' | b']') || depth == DEEPEST {
                return;
            }
            depth += 1;
            at -= 1;
            continue;
        };
        let value = Value(&text[start..at]);
        at = start;
        let colon = space_start(text, start);
        if colon > 0 && text[colon - 1] == b':' {
            let key_end = space_start(text, colon - 1);
            let Some(key) = string_start(text, key_end) else { return };
            visit(depth, &text[key + 1..key_end - 1], value);
            at = key;
        }
    }
}

fn space_start(text: &[u8], end: usize) -> usize {
    text[..end].iter().rposition(|byte| !byte.is_ascii_whitespace()).map_or(0, |last| last + 1)
}

/// The opening quote of the string that ends before `end`: the nearest one behind it that no backslash escapes.
fn string_start(text: &[u8], end: usize) -> Option<usize> {
    let mut at = end.checked_sub(1).filter(|&last| text[last] == b'"')?;
    loop {
        at = memrchr(b'"', &text[..at])?;
        let slashes = text[..at].iter().rev().take_while(|&&byte| byte == b'\\').count();
        if slashes % 2 == 0 {
            // At the very start of the text it may be escaped by what is missing.
            return (at > 0).then_some(at);
        }
    }
}

fn value_start(text: &[u8], end: usize) -> Option<usize> {
    match text[end - 1] {
        b'"' => string_start(text, end),
        b'}' | b']' => container_start(text, end),
        byte if is_scalar(byte) => text[..end].iter().rposition(|&byte| !is_scalar(byte)).map(|before| before + 1),
        _ => None,
    }
}

fn container_start(text: &[u8], end: usize) -> Option<usize> {
    let (mut at, mut depth) = (end, 0usize);
    loop {
        let last = at.checked_sub(1)?;
        match text[last] {
            b'"' => {
                at = string_start(text, at)?;
                continue;
            }
            b'}' | b']' => depth += 1,
            b'{' | b'[' => {
                depth -= 1;
                if depth == 0 {
                    return Some(last);
                }
            }
            _ => {}
        }
        at = last;
    }
}
