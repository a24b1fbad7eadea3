//! Text on a screen: what it may hold, and how wide it is.

use unicode_width::UnicodeWidthChar;

/// Stands for a character that is not shown.
const HIDDEN: char = '\u{FFFD}';

/// A text that cannot do anything to a screen: no control characters, nothing that turns the direction of writing,
/// nothing that is invisible or joins what stands beside it.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if columns(c) == 0 || (c.is_whitespace() && c != ' ') { HIDDEN } else { c }).collect()
}

/// Columns that a clean text takes.
pub(super) fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

/// A clean text in so many columns at most: what is cut off leaves an ellipsis.
pub(super) fn fit(text: &str, most: usize) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let mut left = most.saturating_sub(1);
    let kept = text.chars().take_while(|&c| {
        let fits = columns(c) <= left;
        left = left.saturating_sub(columns(c));
        fits
    });
    let mut fitted: String = kept.collect();
    if most > 0 {
        fitted.push('…');
    }
    fitted
}

/// The end of a name that tells it from its like (`:8000`, `@0123abcd`, `#4711`) is no longer than this.
const LONGEST_END: usize = 12;

/// The same for a name: what is cut out stands before such an end.
pub(super) fn fit_name(name: &str, most: usize) -> String {
    let (begin, end) = name.split_at(name.rfind([':', '@', '#']).unwrap_or(name.len()));
    match most.checked_sub(width(end)) {
        Some(left @ 2..) if width(name) > most && width(end) <= LONGEST_END => fit(begin, left) + end,
        _ => fit(name, most),
    }
}

/// A clean text with spaces up to so many columns, behind it or before it.
pub(super) fn pad(text: &str, columns: usize, to_the_right: bool) -> String {
    let spaces = " ".repeat(columns.saturating_sub(width(text)));
    if to_the_right { spaces + text } else { text.to_owned() + &spaces }
}

/// Lines of words, each of so many columns at most; all but the first begin with two spaces.
pub(super) fn wrap(text: &str, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if width(line) + 1 + width(word) <= most => {
                line.push(' ');
                line.push_str(word);
            }
            line => {
                let indent = if line.is_some() { "  " } else { "" };
                lines.push(fit(&format!("{indent}{word}"), most));
            }
        }
    }
    lines
}

/// Columns of a character; 0 for one that is not shown by itself.
fn columns(c: char) -> usize {
    c.width().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use unicode_width::UnicodeWidthStr;

    #[test]
    fn what_could_disturb_a_screen_is_replaced() {
        let hostile = "a\x1b[31mb\nc\td\u{202e}e\u{200b}f\u{0301}g\u{2028}h\u{2066}i\u{ad}j\0k\u{3164}";
        let clean = clean(hostile);
        assert!(clean.chars().all(|c| c.is_ascii_graphic() || c == HIDDEN), "{clean:?}");
        assert_eq!(clean.chars().filter(|&c| c == HIDDEN).count(), 11, "{clean:?}");
        assert_eq!(super::clean("模型 🚀 ñ"), "模型 🚀 ñ");
    }

    #[test]
    fn wide_characters_are_not_cut_in_half() {
        assert_eq!(fit("模型服务", 8), "模型服务");
        assert_eq!(fit("模型服务", 7), "模型服…");
        assert_eq!(fit("模型服务", 6), "模型…");
        assert_eq!([fit("abc", 2), fit("abc", 1), fit("abc", 0)], ["a…", "…", ""]);
    }

    #[test]
    fn the_end_of_a_name_is_kept_where_it_tells() {
        let name = "inference.slice/vllm.service:8000";
        assert_eq!(fit_name(name, 33), name);
        assert_eq!(fit_name(name, 12), "infere…:8000");
        assert_eq!([fit_name(name, 7), fit_name(name, 6), fit_name(name, 0)], ["i…:8000", "infer…", ""]);
        assert_eq!(fit_name("模型服务:1", 7), "模型…:1");
        assert_eq!(fit_name("a:very-long-end-of-it", 12), "a:very-long…");
    }

    proptest! {
        #[test]
        fn widths_are_those_of_the_screen(text in "\\PC{0,20}", any: String, most in 0usize..12) {
            for text in [clean(&text), clean(&any)] {
                prop_assert_eq!(width(&text), UnicodeWidthStr::width(text.as_str()));
                prop_assert!(width(&fit(&text, most)) <= most);
                prop_assert!(width(&fit_name(&text, most)) <= most);
                prop_assert!(width(&pad(&fit(&text, most), most, true)) == most);
                prop_assert!(wrap(&text, most).iter().all(|line| width(line) <= most));
            }
        }

        #[test]
        fn wrapping_keeps_every_word(words in proptest::collection::vec("[a-z]{1,8}", 1..20), most in 10usize..40) {
            let lines = wrap(&words.join(" "), most);
            let read: Vec<_> = lines.iter().flat_map(|line| line.split_whitespace()).collect();
            prop_assert_eq!(read, words);
        }
    }
}
