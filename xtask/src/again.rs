//! Tests that failed run once more, by themselves: those of a running kernel meet whatever else the machine does. One that
//! passes then has passed, and is named at the end: it, or what it tests, wants looking at.

/// More failures at once than chance explains: they stand.
const FEW: usize = 5;

/// True where tests that failed are worth a second run: there are few of them, and every one of the `failures` is a test,
/// whose name it is to be asked for by.
pub(crate) fn is_worthwhile(names: usize, failures: usize) -> bool {
    (1..=FEW).contains(&names) && names == failures
}

/// What stands before the second run.
pub(crate) fn announced(names: &[String]) -> String {
    format!("once more, by themselves: {}", names.join(", "))
}

/// What stands at the end of the tests that passed only then; nothing where there are none.
pub(crate) fn told(at_second: &[String]) -> Option<String> {
    (!at_second.is_empty()).then(|| format!("failed beside others and passed by themselves: {}", at_second.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_failures_run_again_and_no_others() {
        assert!(is_worthwhile(1, 1) && is_worthwhile(FEW, FEW));
        assert!(!is_worthwhile(0, 0) && !is_worthwhile(FEW + 1, FEW + 1));
        assert!(!is_worthwhile(2, 3), "one of them is no test");
    }

    #[test]
    fn nothing_is_told_of_none() {
        assert_eq!(told(&[]), None);
        let told = told(&["a".to_owned(), "b".to_owned()]);
        assert_eq!(told.as_deref(), Some("failed beside others and passed by themselves: a, b"));
    }
}
