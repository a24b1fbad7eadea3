//! What ran on which kernel, as tables.

use super::results::{Finding, Reader};
use crate::again;

/// What one kernel gave.
pub(super) struct Ran {
    /// The kernel: `6.1.0-56-amd64`.
    pub(super) version: String,
    pub(super) reader: Reader,
    /// How often its guest had to be booted again, since it came to no test.
    pub(super) boots_again: u32,
}

/// Checks of the doctor that are about the kernel; each hook comes behind them.
const CHECKS: [&str; 5] = ["kernel types", "load", "attach", "meter", PROBES];

/// The one that says how something is done, and not only that it can be.
const PROBES: &str = "host probes";

/// Tests by program, one column for each kernel.
pub(super) fn tests(ran: &[Ran]) -> String {
    let mut text = head("tests", ran);
    for suite in unique(ran.iter().flat_map(|ran| &ran.reader.outcomes).map(|outcome| outcome.suite.as_str())) {
        row(&mut text, suite, ran, |ran| {
            let of = || ran.reader.outcomes.iter().filter(|outcome| outcome.suite == suite);
            let failed: Vec<_> =
                of().filter(|outcome| !outcome.passed()).map(|outcome| outcome.test.as_str()).collect();
            let passed = format!("{} passed", of().count() - failed.len());
            if failed.is_empty() { passed } else { format!("{passed}, {} failed: {}", failed.len(), failed.join(", ")) }
        });
    }
    text
}

/// What chance had a part in: tests that passed at their second run, and guests that did not come up at once.
pub(super) fn chances(ran: &[Ran]) -> Vec<String> {
    let of = |ran: &Ran| ran.reader.at_second().map(|name| format!("{name} ({})", ran.version)).collect::<Vec<_>>();
    let at_second = again::told(&ran.iter().flat_map(of).collect::<Vec<_>>());
    let booted = ran.iter().filter(|ran| ran.boots_again > 0);
    let booted =
        booted.map(|ran| format!("{}: booted again before its first test, {} times", ran.version, ran.boots_again));
    at_second.into_iter().chain(booted).collect()
}

/// What the doctor found, one column for each kernel.
pub(super) fn hooks(ran: &[Ran]) -> String {
    let mut text = head("what", ran);
    let all = || ran.iter().flat_map(|ran| &ran.reader.findings).map(|finding| finding.name.as_str());
    let hooks = unique(all().filter(|name| name.starts_with("hook ")));
    for name in CHECKS.into_iter().chain(hooks) {
        row(&mut text, &format!("`{name}`"), ran, |ran| {
            let found = ran.reader.findings.iter().find(|finding| finding.name == name);
            found.map_or_else(|| "not told".to_owned(), state)
        });
    }
    text
}

fn state(finding: &Finding) -> String {
    match finding.status.as_str() {
        "ok" if finding.name != PROBES => "ok".to_owned(),
        status => format!("{status}: {}", finding.found.replace('|', "\\|")),
    }
}

fn head(first: &str, ran: &[Ran]) -> String {
    let mut text = format!("| {first} |");
    let mut line = "| --- |".to_owned();
    for ran in ran {
        text.push_str(&format!(" {} |", ran.version));
        line.push_str(" --- |");
    }
    format!("{text}\n{line}\n")
}

fn row(text: &mut String, name: &str, ran: &[Ran], cell: impl Fn(&Ran) -> String) {
    text.push_str(&format!("| {name} |"));
    for ran in ran {
        text.push_str(&format!(" {} |", cell(ran)));
    }
    text.push('\n');
}

/// Each of them once, in the order in which they came first.
fn unique<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen
}

#[cfg(test)]
mod tests_of_tables {
    use super::*;

    #[test]
    fn kernels_stand_side_by_side() {
        let ran = |version: &str, text: &str| {
            let mut reader = Reader::default();
            text.lines().for_each(|line| drop(reader.take(line)));
            Ran { version: version.to_owned(), reader, boots_again: 0 }
        };
        let report = |status: &str| {
            format!(
                "@@ doctor\n{{\"checks\":[{{\"name\":\"hook a\",\"status\":\"{status}\",\"found\":\"no a\"}}]}}\n@@ examined\n"
            )
        };
        let old =
            ran("6.1", &format!("{}@@ begin flow\ntest x ... ok\ntest y ... FAILED\n@@ end 1", report("degraded")));
        let new = ran("6.12", &format!("{}@@ begin flow\ntest x ... ok\ntest y ... ok\n@@ end 0", report("ok")));
        let ran = [old, new];
        let told = tests(&ran);
        assert!(told.ends_with("| flow | 1 passed, 1 failed: y | 2 passed |\n"), "{told}");
        let told = hooks(&ran);
        assert!(told.contains("| what | 6.1 | 6.12 |\n| --- | --- | --- |\n"), "{told}");
        assert!(told.ends_with("| `hook a` | degraded: no a | ok |\n"), "{told}");
    }

    #[test]
    fn what_passed_only_then_is_passed_and_told() {
        let mut reader = Reader::default();
        let mut second = Reader::default();
        "@@ begin flow\ntest x ... FAILED\ntest y ... ok".lines().for_each(|line| drop(reader.take(line)));
        "@@ begin flow\ntest x ... ok".lines().for_each(|line| drop(second.take(line)));
        reader.reconsider(&second);
        let ran = [Ran { version: "6.1.0-1".to_owned(), reader, boots_again: 2 }];
        assert!(tests(&ran).ends_with("| flow | 2 passed |\n"));
        let expected = [
            "failed beside others and passed by themselves: flow x (6.1.0-1)",
            "6.1.0-1: booted again before its first test, 2 times",
        ];
        assert_eq!(chances(&ran), expected);
    }
}
