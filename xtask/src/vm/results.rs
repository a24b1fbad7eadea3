//! What a guest says: lines of tests between marks, and a report of the doctor.

use serde_json::Value;

use crate::again;

/// How one test ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Outcome {
    pub(super) suite: String,
    pub(super) test: String,
    pub(super) end: End,
}

/// The ways to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    Passed,
    /// Failed beside others, and passed by itself.
    AtSecond,
    Failed,
    /// The program, or the guest, was gone before it said how it ended; its name says why.
    CutOff,
}

impl Outcome {
    pub(super) fn passed(&self) -> bool {
        matches!(self.end, End::Passed | End::AtSecond)
    }

    /// Its program and its name.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.suite, self.test)
    }
}

/// What the doctor found of one thing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Finding {
    pub(super) name: String,
    pub(super) status: String,
    pub(super) found: String,
}

/// Reads a guest's output line by line.
#[derive(Default)]
pub(super) struct Reader {
    suite: String,
    running: Option<String>,
    report: Option<String>,
    pub(super) outcomes: Vec<Outcome>,
    pub(super) findings: Vec<Finding>,
    /// What a benchmark measured, as JSON.
    pub(super) figures: Option<String>,
    /// A program with tests was started.
    has_begun: bool,
    /// The guest came to its end.
    pub(super) is_done: bool,
}

const MARK: &str = "@@ ";
/// What stands for a program as a whole.
const WHOLE: &str = "(the program)";
/// What stands for the programs whose tests were not run.
const REST: &str = "(not run)";

impl Reader {
    /// Takes one line; answers with the test that ended by it.
    pub(super) fn take(&mut self, line: &str) -> Option<Outcome> {
        // A sign of life may come in the middle of a line.
        let (text, mark) = line.split_once(MARK).map_or((line, None), |(text, mark)| (text, Some(mark)));
        let by_text = self.text(text);
        let by_mark = mark.and_then(|mark| self.mark(mark.trim()));
        by_text.or(by_mark)
    }

    /// What runs: a program and its test, or nothing.
    pub(super) fn running(&self) -> Option<String> {
        Some(format!("{} {}", self.suite, self.running.as_ref()?))
    }

    /// The guest ended, or is ended: a test that still ran has failed, and so have those that were still to come, of
    /// `expected` altogether.
    pub(super) fn close(&mut self, why: &str, expected: usize) -> Vec<Outcome> {
        if self.is_done {
            return Vec::new();
        }
        let cut = self.running.take().map(|test| self.note(format!("{test}: {why}"), End::CutOff));
        let left = expected.saturating_sub(self.outcomes.len());
        let rest = (left > 0).then(|| {
            REST.clone_into(&mut self.suite);
            self.note(format!("{left} tests: {why}"), End::CutOff)
        });
        cut.into_iter().chain(rest).collect()
    }

    /// True of a guest that ended, or was ended, before its first test began, and found nothing broken: another start may
    /// fare better.
    pub(super) fn died_early(&self) -> bool {
        !self.is_done && !self.has_begun && self.outcomes.is_empty()
    }

    /// Tests that are worth a second run by themselves.
    pub(super) fn to_run_again(&self) -> Vec<Outcome> {
        let failed: Vec<_> = self.outcomes.iter().filter(|outcome| outcome.end == End::Failed).cloned().collect();
        let failures = self.outcomes.iter().filter(|outcome| !outcome.passed()).count();
        if again::is_worthwhile(failed.len(), failures) { failed } else { Vec::new() }
    }

    /// Takes over what tests that failed came to in a guest of their own: only one that was seen to pass has passed.
    pub(super) fn reconsider(&mut self, second: &Self) {
        for outcome in self.outcomes.iter_mut().filter(|outcome| outcome.end == End::Failed) {
            let passed = Outcome { end: End::Passed, ..outcome.clone() };
            if second.outcomes.contains(&passed) {
                outcome.end = End::AtSecond;
            }
        }
    }

    /// Names of the tests that passed only then.
    pub(super) fn at_second(&self) -> impl Iterator<Item = String> {
        self.outcomes.iter().filter(|outcome| outcome.end == End::AtSecond).map(Outcome::name)
    }

    fn text(&mut self, text: &str) -> Option<Outcome> {
        if let Some(report) = &mut self.report {
            report.push_str(text);
            return None;
        }
        if let Some((test, rest)) = text.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ")) {
            self.running = Some(test.to_owned());
            return self.ended(rest);
        }
        // Where a program of the test's own said something in between.
        self.running.is_some().then(|| self.ended(text)).flatten()
    }

    fn mark(&mut self, mark: &str) -> Option<Outcome> {
        let (word, rest) = mark.split_once(' ').unwrap_or((mark, ""));
        match word {
            "doctor" => self.report = Some(String::new()),
            "examined" => self.findings = self.report.take().map(|report| findings(&report)).unwrap_or_default(),
            "begin" => {
                rest.clone_into(&mut self.suite);
                self.has_begun = true;
            }
            "end" => {
                let unfinished = self.running.take();
                let has_failed = self.outcomes.iter().any(|outcome| outcome.suite == self.suite && !outcome.passed());
                if rest != "0" && !has_failed {
                    let test = unfinished.unwrap_or_else(|| WHOLE.to_owned());
                    return Some(self.note(format!("{test}: ended with {rest}"), End::CutOff));
                }
            }
            "figures" => self.figures = Some(rest.to_owned()),
            "broken" => return Some(self.note(rest.to_owned(), End::CutOff)),
            "done" => self.is_done = true,
            _ => {}
        }
        None
    }

    fn ended(&mut self, text: &str) -> Option<Outcome> {
        let end = match text.trim() {
            "ok" => End::Passed,
            text if text.starts_with("FAILED") => End::Failed,
            text if text.starts_with("ignored") => {
                self.running = None;
                return None;
            }
            _ => return None,
        };
        let test = self.running.take()?;
        Some(self.note(test, end))
    }

    fn note(&mut self, test: String, end: End) -> Outcome {
        let outcome = Outcome { suite: self.suite.clone(), test, end };
        self.outcomes.push(outcome.clone());
        outcome
    }
}

fn findings(report: &str) -> Vec<Finding> {
    let report: Value = serde_json::from_str(report).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let finding = |check: &Value| Finding {
        name: text(&check["name"]),
        status: text(&check["status"]),
        found: text(&check["found"]),
    };
    report["checks"].as_array().map(|checks| checks.iter().map(finding).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Reader {
        let mut reader = Reader::default();
        text.lines().for_each(|line| drop(reader.take(line)));
        reader
    }

    fn told(reader: &Reader) -> Vec<(&str, &str, bool)> {
        reader.outcomes.iter().map(|each| (each.suite.as_str(), each.test.as_str(), each.passed())).collect()
    }

    #[test]
    fn tests_are_told_by_program() {
        let reader = read(
            "@@ begin flow\ntest a::b ... ok\ntest c ... cannot remove it\nFAILED\ntest d ... ignored, too slow\n\
             test result: FAILED. 1 passed\n@@ end 101\n@@ begin doctor\ntest e ... ok\n@@ end 0\n@@ done",
        );
        assert_eq!(told(&reader), [("flow", "a::b", true), ("flow", "c", false), ("doctor", "e", true)]);
        assert!(reader.is_done);
    }

    #[test]
    fn a_program_that_dies_fails() {
        let reader = read("@@ begin flow\ntest a ... ok\ntest b ... \n@@ end 139");
        assert_eq!(told(&reader), [("flow", "a", true), ("flow", "b: ended with 139", false)]);
        let reader = read("@@ begin flow\n@@ end 127");
        assert_eq!(told(&reader), [("flow", "(the program): ended with 127", false)]);
    }

    #[test]
    fn a_sign_of_life_splits_a_line() {
        let mut reader = read("@@ begin flow\ntest a ... @@ alive 1\n@@ alive 2");
        assert_eq!(reader.running().as_deref(), Some("flow a"));
        assert_eq!(reader.take("ok").map(|outcome| outcome.end), Some(End::Passed));
        assert_eq!(reader.running(), None);
    }

    #[test]
    fn figures_are_a_line_of_their_own() {
        let reader = read("round 1 of 7@@ alive 3\n@@ figures {\"rows\": [1, 2]}\n@@ done");
        assert_eq!(reader.figures.as_deref(), Some("{\"rows\": [1, 2]}"));
        assert_eq!(read("figures\n@@ done").figures, None);
    }

    #[test]
    fn a_guest_that_dies_fails() {
        let mut reader = read("@@ begin flow\ntest a ... ok\ntest b ... ");
        reader.close("the guest ended", 4);
        let left = ("(not run)", "2 tests: the guest ended", false);
        assert_eq!(told(&reader), [("flow", "a", true), ("flow", "b: the guest ended", false), left]);
        assert_eq!(read("@@ done").close("the guest ended", 0), []);
        assert_eq!(told(&read("@@ broken no cgroups")), [("", "no cgroups", false)]);
    }

    #[test]
    fn only_a_guest_without_any_test_is_booted_again() {
        assert!(read("").died_early());
        assert!(read("@@ alive 1\n@@ doctor\n{\"checks\": [\n").died_early());
        assert!(!read("@@ broken no cgroups").died_early(), "the next one would be broken, too");
        assert!(!read("@@ begin flow").died_early());
        assert!(!read("@@ done").died_early());
    }

    #[test]
    fn tests_that_failed_run_again_unless_something_else_did() {
        let names = |reader: &Reader| reader.to_run_again().iter().map(Outcome::name).collect::<Vec<_>>();
        let failed = "@@ begin flow\ntest a ... ok\ntest b ... FAILED\ntest c ... FAILED\n@@ end 101\n";
        assert_eq!(names(&read(failed)), ["flow b", "flow c"]);
        // Of a program that died nobody knows what its other tests would have come to.
        assert_eq!(names(&read(&format!("{failed}@@ begin doctor\ntest d ... \n@@ end 139"))), [""; 0]);
        assert_eq!(names(&read("@@ begin flow\ntest a ... ok\n@@ end 0\n@@ done")), [""; 0]);
    }

    #[test]
    fn only_what_was_seen_to_pass_has_passed_at_its_second_run() {
        let first = "@@ begin flow\ntest a ... ok\ntest b ... FAILED\ntest c ... FAILED\n@@ begin other\ntest b ... FAILED\n\
             test d ... FAILED";
        let mut reader = read(first);
        reader.reconsider(&read("@@ begin flow\ntest b ... ok\ntest c ... FAILED\n@@ begin other\ntest d ... "));
        assert_eq!(reader.at_second().collect::<Vec<_>>(), ["flow b"]);
        let passed = |end: End| reader.outcomes.iter().filter(|outcome| outcome.end == end).count();
        assert_eq!([End::Passed, End::AtSecond, End::Failed].map(passed), [1, 1, 3]);
        assert_eq!(reader.to_run_again().len(), 3);
    }

    #[test]
    fn the_report_of_the_doctor_is_read() {
        let reader = read(
            "@@ doctor\n{\"checks\": [\n{\"na@@ alive\nme\": \"load\", \"status\": \"ok\", \"found\": \"f\"}\n]}\n@@ examined",
        );
        let expected = Finding { name: "load".into(), status: "ok".into(), found: "f".into() };
        assert_eq!(reader.findings, [expected]);
        assert_eq!(read("@@ doctor\nnot found\n@@ examined").findings, []);
    }
}
