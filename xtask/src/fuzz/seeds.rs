//! Inputs to begin with: the recordings of `tests/fixtures/http`, in the form that each target takes.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::checkout::{self, Checkout};

/// Writes a target's seeds into its corpus. What the fuzzer found in earlier runs stays there.
pub(super) fn write(checkout: &Checkout, target: &str, corpus: &Path) -> Result<()> {
    fs::create_dir_all(corpus)?;
    // Some are kept as files.
    for entry in fs::read_dir(checkout.path("fuzz/seeds").join(target)).into_iter().flatten().flatten() {
        fs::copy(entry.path(), corpus.join(entry.file_name()))?;
    }
    let folder = checkout.path("tests/fixtures/http");
    let recordings = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in recordings {
        let path = entry?.path();
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let writes: Vec<Write> = text.lines().filter_map(Write::parse).collect();
        for (number, seed) in of(target, &writes).into_iter().enumerate() {
            checkout::write_if_changed(&corpus.join(format!("{name}-{number}")), &seed)?;
        }
    }
    Ok(())
}

/// Writes the words of `common/src/words.rs` in the form of a dictionary, so that the fuzzer need not guess them.
pub(super) fn dictionary(checkout: &Checkout, path: &Path) -> Result<()> {
    let source = checkout.path("common/src/words.rs");
    let text = fs::read_to_string(&source).with_context(|| format!("cannot read {}", source.display()))?;
    checkout::write_if_changed(path, words(&text)?.as_bytes())?;
    Ok(())
}

/// A word for each row `("word", Key::…`, once in quotes and once as a key before each kind of value.
fn words(text: &str) -> Result<String> {
    let rows = text.lines().filter_map(|line| line.trim().strip_prefix("(\"")?.split_once('"'));
    let mut entries = String::new();
    for (word, _) in rows {
        for after in ["", ":\\\"a\\\"", ":{", ":[", ":1", ":true"] {
            entries.push_str(&format!("\"\\\"{word}\\\"{after}\"\n"));
        }
    }
    ensure!(!entries.is_empty(), "no words are found in common/src/words.rs");
    Ok(entries)
}

/// What one side of a recorded connection wrote at once; nothing where it closed.
struct Write {
    from_client: bool,
    bytes: Vec<u8>,
}

impl Write {
    /// Reads a line of a recording: `> 1.5 "bytes as characters"`, or `FIN`, or `RST`.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.splitn(3, ' ');
        let from_client = match words.next()? {
            ">" => true,
            "<" => false,
            _ => return None,
        };
        let text: String = serde_json::from_str(words.nth(1)?).unwrap_or_default();
        Some(Self { from_client, bytes: text.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect() })
    }
}

/// All that one side wrote.
fn side(writes: &[Write], from_client: bool) -> Vec<u8> {
    let own = writes.iter().filter(|write| write.from_client == from_client);
    own.flat_map(|write| write.bytes.iter().copied()).collect()
}

/// The seeds of a recording for a target; none for targets that take something else.
fn of(target: &str, writes: &[Write]) -> Vec<Vec<u8>> {
    let (request, response) = (side(writes, true), side(writes, false));
    match target {
        "message" => vec![[&[0x40], &request[..]].concat(), [&[0x42], &response[..]].concat()],
        "head" => vec![[&[0], split(&request).0].concat(), [&[1], split(&response).0].concat()],
        "body" => vec![split(&response).1.to_vec()],
        "json" => lines(split(&response).1),
        "scan" => [vec![split(&request).1.to_vec()], lines(split(&response).1)].concat(),
        "wire" => vec![writes.iter().flat_map(step).collect()],
        "records" => vec![[record(1, &request), record(2, &response), record(3, &[0; 168])].concat()],
        _ => Vec::new(),
    }
}

/// The head with its empty line, and what follows.
fn split(message: &[u8]) -> (&[u8], &[u8]) {
    let end = message.windows(4).position(|bytes| bytes == b"\r\n\r\n").map_or(message.len(), |at| at + 4);
    message.split_at(end)
}

/// Lines that hold an object, from its brace on; few, since the events of a stream are alike.
fn lines(body: &[u8]) -> Vec<Vec<u8>> {
    let objects = body.split(|byte| *byte == b'\n').filter_map(|line| {
        let begin = line.iter().position(|byte| *byte == b'{')?;
        Some(line[begin..].trim_ascii_end().to_vec())
    });
    objects.take(4).collect()
}

/// A step of the target `wire`: on the first connection, in or out; a write of nothing closes.
fn step(write: &Write) -> Vec<u8> {
    let operation = u8::from(!write.from_client) | if write.bytes.is_empty() { 6 << 1 } else { 0 };
    let length = u16::try_from(write.bytes.len()).unwrap_or(u16::MAX).to_le_bytes();
    [&[operation, 0][..], &length, &write.bytes].concat()
}

/// A record of the target `records`: its length, a header as `common::flow` lays it out, and the payload.
fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    let payload = &payload[..payload.len().min(2048)];
    let mut header = [0; 40];
    header[0] = 7; // the connection
    header[24] = 1; // the exchange
    header[28] = 3; // the slot
    header[32..34].copy_from_slice(&u16::try_from(payload.len()).unwrap_or(0).to_le_bytes());
    header[36] = kind;
    let length = u16::try_from(header.len() + payload.len()).unwrap_or(u16::MAX).to_le_bytes();
    [&length, &header[..], payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_entries_of_a_dictionary() {
        let entries = words("    (\"done\", Key::Done, Value::Unknown),\n").unwrap();
        assert!(entries.lines().any(|line| line == r#""\"done\":true""#), "{entries}");
        assert!(words("nothing").is_err());
        words(include_str!("../../../common/src/words.rs")).unwrap();
    }

    #[test]
    fn a_recording_gives_seeds_of_every_form() {
        let text = "# about\n> 0 \"GET / HTTP/1.1\\r\\n\\r\\n\"\n< 1 \"HTTP/1.1 200 OK\\r\\n\\r\\ndata: {\\u0022a\\u0022:1}\"\n< 2 FIN";
        let writes: Vec<Write> = text.lines().filter_map(Write::parse).collect();
        assert_eq!(writes.len(), 3);
        assert_eq!(
            of("head", &writes),
            [b"\0GET / HTTP/1.1\r\n\r\n".to_vec(), b"\x01HTTP/1.1 200 OK\r\n\r\n".to_vec()]
        );
        assert_eq!(of("json", &writes), [b"{\"a\":1}".to_vec()]);
        let wire = &of("wire", &writes)[0];
        assert_eq!((wire[..4].to_vec(), &wire[wire.len() - 4..]), (vec![0, 0, 18, 0], &[13, 0, 0, 0][..]));
        let records = &of("records", &writes)[0];
        assert_eq!((records[0], records[38], records[60]), (58, 1, 40 + 32));
        assert!(of("btf", &writes).is_empty());
    }
}
