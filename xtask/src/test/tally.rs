//! Counts the tests that cargo runs, while showing what it prints.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::again;

/// How many tests ended how.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(super) struct Tally {
    pub(super) passed: u32,
    pub(super) failed: u32,
    /// Tests that failed beside others and passed by themselves.
    pub(super) at_second: Vec<String>,
}

impl Tally {
    /// One test.
    pub(super) fn one(passed: bool) -> Self {
        Self { passed: passed.into(), failed: (!passed).into(), at_second: Vec::new() }
    }

    /// Adds the tests of another run.
    pub(super) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.at_second.extend(other.at_second);
    }

    /// The tests of one binary: `test result: ok. 3 passed; 0 failed; …`.
    fn of_line(line: &str) -> Option<Self> {
        let counts = line.strip_prefix("test result: ")?.split_once(". ")?.1;
        let count = |name: &str| counts.split("; ").find_map(|part| part.strip_suffix(name)?.trim().parse().ok());
        Some(Self { passed: count("passed")?, failed: count("failed")?, at_second: Vec::new() })
    }

    /// Takes over what tests that failed came to when they ran once more: `failed` of them failed again.
    fn reconsider(&mut self, names: Vec<String>, failed: &[String]) {
        self.at_second = names.into_iter().filter(|name| !failed.contains(name)).collect();
        let passed = self.at_second.len() as u32;
        self.passed += passed;
        self.failed -= passed;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// Runs `cargo test`, and once more what failed. What does not compile, and what dies, counts as a failure.
#[expect(clippy::print_stdout, reason = "the tests' results are the output")]
pub(super) fn cargo(command: &mut Command) -> Result<Tally> {
    let (mut tally, names) = once(command)?;
    if again::is_worthwhile(names.len(), tally.failed as usize) {
        println!("\n{}", again::announced(&names));
        let (second, failed) = once(&mut only(command, &names))?;
        if second.passed + second.failed == tally.failed && failed.len() == second.failed as usize {
            tally.reconsider(names, &failed);
        }
    }
    Ok(tally)
}

/// The same tests, but for all without these names.
fn only(command: &Command, names: &[String]) -> Command {
    let mut only = Command::new(command.get_program());
    only.args(command.get_args());
    if !command.get_args().any(|argument| argument == "--") {
        only.arg("--");
    }
    only.arg("--exact").args(names);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => only.env(name, value),
            None => only.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        only.current_dir(directory);
    }
    only
}

/// Runs a command of tests, and answers the names of those that failed too.
#[expect(clippy::print_stdout, reason = "the tests' results are the output")]
fn once(command: &mut Command) -> Result<(Tally, Vec<String>)> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let stdout = child.stdout.take().context("cargo has no output")?;
    let mut tally = Tally::default();
    let (mut names, mut listed) = (Vec::new(), Vec::new());
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line?;
        // A test may print anything.
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        if line == "failures:" {
            // What they printed comes under this heading, then their names under another.
            listed.clear();
        } else if let Some(name) = line.strip_prefix("    ").filter(|name| !name.contains(' ')) {
            listed.push(name.to_owned());
        } else if let Some(of_binary) = Tally::of_line(&line) {
            if of_binary.failed > 0 {
                names.append(&mut listed);
            }
            tally.add(of_binary);
        }
    }
    let status = child.wait()?;
    if !status.success() && tally.failed == 0 {
        println!("cargo test ended with {status}");
        tally.failed = 1;
    }
    Ok((tally, names))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]);
        command
    }

    fn tally(passed: u32, failed: u32, at_second: &[&str]) -> Tally {
        Tally { passed, failed, at_second: at_second.iter().map(|&name| name.to_owned()).collect() }
    }

    #[test]
    fn results_are_counted() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.10s";
        assert_eq!(Tally::of_line(line), Some(tally(12, 3, &[])));
        assert_eq!(Tally::of_line("test results_are_counted ... ok"), None);
        assert_eq!(Tally::of_line("test result: who knows"), None);
    }

    #[test]
    fn a_command_that_dies_without_a_result_failed() {
        let mut command = sh("echo 'test result: ok. 2 passed; 0 failed; 0 ignored'; exit 101");
        assert_eq!(cargo(&mut command).unwrap(), tally(2, 1, &[]));
    }

    /// Prints as a binary with a failed test does; run again it says whom it was asked for, and how they did.
    fn fails_first(then: &str) -> Command {
        sh(&format!(
            r#"if [ "$1" = -- ]; then [ "$2 $3 $#" = "--exact some::test 3" ] && echo "test result: {then}; 9 ignored"; exit
            fi
            printf 'failures:\n\n---- some::test stdout ----\n    word\n\nfailures:\n    some::test\n\n'
            echo 'test result: FAILED. 4 passed; 1 failed; 0 ignored'
            exit 101"#
        ))
    }

    #[test]
    fn what_fails_runs_once_more() {
        let passes = cargo(&mut fails_first("ok. 1 passed; 0 failed")).unwrap();
        assert_eq!(passes, tally(5, 0, &["some::test"]));
        let fails = cargo(&mut fails_first("FAILED. 0 passed; 1 failed")).unwrap();
        assert_eq!(fails, tally(4, 1, &[]));
    }
}
