//! Names and values in one string, as headers and attributes stand in the environment: the form of W3C Baggage.

use percent_encoding::percent_decode_str;

/// Reads `name=value,name=value`. Spaces around names and values are dropped, percent-encoded bytes are decoded.
/// An entry that is no such pair is the error: its number, from 1.
pub(super) fn parse(text: &str) -> Result<Vec<(String, String)>, usize> {
    let entries = text.split(',').enumerate().filter(|(_, entry)| !entry.trim().is_empty());
    entries.map(|(place, entry)| pair(entry).ok_or(place + 1)).collect()
}

fn pair(entry: &str) -> Option<(String, String)> {
    let (name, value) = entry.split_once('=')?;
    let decode = |text: &str| percent_decode_str(text.trim()).decode_utf8().ok().map(String::from);
    Some((decode(name).filter(|name| !name.is_empty())?, decode(value)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nothing_panics(text in "[a-c=,%0-9 é]{0,40}", any in "\\PC{0,40}") {
            drop((parse(&text), parse(&any)));
        }

        #[test]
        fn what_is_encoded_reads_as_itself(pairs in vec(("\\PC{1,12}", "\\PC{0,12}"), 0..6)) {
            let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            let entries: Vec<_> = pairs.iter().map(|(name, value)| format!("{} = {}", encode(name), encode(value))).collect();
            prop_assert_eq!(parse(&entries.join(" ,")), Ok(pairs));
        }
    }

    #[test]
    fn reads_what_people_write() {
        let pairs = parse("api-key=abc==, x-tenant = a%20b ,,").unwrap();
        assert_eq!(pairs, [("api-key".to_owned(), "abc==".to_owned()), ("x-tenant".to_owned(), "a b".to_owned())]);
        assert_eq!(parse("  "), Ok(vec![]));
    }

    #[test]
    fn names_the_entry_that_is_no_pair() {
        assert_eq!(parse("a=b,Bearer abc"), Err(2));
        assert_eq!(parse("=b"), Err(1));
        assert_eq!(parse("a=b,c=%ff"), Err(2), "no UTF-8");
    }
}
