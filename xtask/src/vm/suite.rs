//! What runs in a guest.

use std::env;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::results::Outcome;
use crate::build;
use crate::checkout::Checkout;
use crate::run;
use crate::setup;

/// The tests of `tests/tests` that are about the kernel. Those that start the agent itself are left out: where system calls
/// have programs of their own, the verifier spends six minutes on each start on an emulated processor. `host_per_call` does so
/// once, and runs where it is named.
pub(super) const TESTS: [&str; 7] =
    ["programs", "doctor", "host_calls", "host_memory", "host_sched", "flow", "discovery"];

/// By how much a guest may take longer than a machine. Without hardware to help, a second of the processor is twenty.
const PATIENCE: u32 = 20;

/// Time between two signs of life.
const ALIVE_S: u32 = 10;

/// Tests that say nothing in a guest: of which program, its name, and why.
const LEFT_OUT: [(&str, &str, &str); 1] = [(
    "discovery",
    "looking_at_many_processes_stays_cheap",
    "it is about what a look costs, which an emulated processor cannot tell",
)];

/// A program with tests.
pub(super) struct Suite {
    name: String,
    program: PathBuf,
    /// The tests that run; all that are for a guest where none is named.
    only: Vec<String>,
    /// How many these are.
    pub(super) count: usize,
}

/// Builds the agent and these tests.
pub(super) fn build(checkout: &Checkout, names: &[String]) -> Result<Vec<Suite>> {
    build::kernel_half(checkout, &setup::setup(checkout)?)?;
    build::agent(checkout, false)?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    build::tests(checkout, &[], &names)?.into_iter().map(|(name, program)| Suite::new(name, program)).collect()
}

impl Suite {
    /// Counts its tests.
    fn new(name: String, program: PathBuf) -> Result<Self> {
        let count = |arguments: &[&str]| {
            let text = run::read(Command::new(&program).args(["--list", "--format", "terse"]).args(arguments))?;
            Ok::<_, anyhow::Error>(text.lines().filter(|line| line.ends_with(": test")).count())
        };
        let left_out = LEFT_OUT.iter().filter(|(of, _, _)| *of == name).count();
        let count = count(&[])? - count(&["--ignored"])? - left_out;
        Ok(Self { name, program, only: Vec::new(), count })
    }
}

/// The same programs with these tests alone.
pub(super) fn only(suites: &[Suite], tests: &[Outcome]) -> Vec<Suite> {
    let of = |suite: &Suite| -> Vec<String> {
        let tests = tests.iter().filter(|outcome| outcome.suite == suite.name);
        tests.map(|outcome| outcome.test.clone()).collect()
    };
    let with = suites.iter().map(|suite| (suite, of(suite))).filter(|(_, only)| !only.is_empty());
    with.map(|(suite, only)| Suite {
        name: suite.name.clone(),
        program: suite.program.clone(),
        count: only.len(),
        only,
    })
    .collect()
}

/// The script that a guest runs: marks stand where a reader of its output needs them.
pub(super) fn script(checkout: &Checkout, suites: &[Suite]) -> Result<String> {
    let agent = checkout.target("debug/inferscope");
    let mut text = beginning(&checkout.path("tests"))?;
    writeln!(text, "export INFERSCOPE_BIN={}", quoted(&agent)?)?;
    writeln!(text, "echo '@@ doctor'\n{} doctor --json 2>/dev/null\necho '@@ examined'", quoted(&agent)?)?;
    for Suite { name, program, only, .. } in suites {
        writeln!(text, "echo '@@ begin {name}'")?;
        // One after the other, so that the output says which one runs.
        write!(text, "{} --test-threads 1 --color never --exact", quoted(program)?)?;
        for (_, test, _) in LEFT_OUT.iter().filter(|(of, _, _)| of == name) {
            write!(text, " --skip {test}")?;
        }
        for test in only {
            write!(text, " {}", quoted(test.as_ref())?)?;
        }
        writeln!(text, " 2>&1\necho \"@@ end $?\"")?;
    }
    Ok(text)
}

/// What every script of a guest begins with: it runs in a directory, and gives a sign of life every few seconds.
pub(super) fn beginning(directory: &Path) -> Result<String> {
    let mut text = format!("cd {}\n", quoted(directory)?);
    let path = env::var("PATH").unwrap_or_default();
    for (name, value) in [("PATH", Path::new(&path)), ("HOME", Path::new("/root"))] {
        writeln!(text, "export {name}={}", quoted(value)?)?;
    }
    // What a system's own first process would raise: tests hold more than the 1024 files that a kernel begins with.
    text.push_str("ulimit -n 65536\n");
    writeln!(text, "export INFERSCOPE_PATIENCE={PATIENCE} NO_COLOR=1 LANG=C.UTF-8")?;
    // Written by one call each, so that they stand whole between what others write. The processor's time tells what
    // waits from what works.
    writeln!(text, "while :; do sleep {ALIVE_S}; read -r cpu </proc/stat; echo \"@@ alive $cpu\"; done &")?;
    Ok(text)
}

/// One line for each test that a guest does not run.
pub(super) fn left_out(suites: &[Suite]) -> Vec<String> {
    let chosen = LEFT_OUT.iter().filter(|(of, _, _)| suites.iter().any(|suite| suite.name == *of));
    chosen.map(|(of, test, why)| format!("`{of} {test}`, since {why}")).collect()
}

pub(super) fn quoted(path: &Path) -> Result<String> {
    let text = path.to_str().with_context(|| format!("{} is no text", path.display()))?;
    Ok(format!("'{}'", text.replace('\'', r"'\''")))
}

#[cfg(test)]
mod tests {
    use super::super::results::End;
    use super::*;

    #[test]
    fn a_second_run_is_of_the_tests_that_failed_alone() {
        let suite = |name: &str, count| Suite {
            name: name.to_owned(),
            program: PathBuf::from(format!("/{name}-1")),
            only: Vec::new(),
            count,
        };
        let failed =
            |suite: &str, test: &str| Outcome { suite: suite.to_owned(), test: test.to_owned(), end: End::Failed };
        let suites = [suite("flow", 9), suite("discovery", 6), suite("doctor", 4)];
        let checkout = Checkout::at(Path::new("/here"));
        let whole = script(&checkout, &suites).unwrap();
        let skipped =
            "'/discovery-1' --test-threads 1 --color never --exact --skip looking_at_many_processes_stays_cheap 2>&1";
        assert!(whole.contains(skipped) && whole.contains("--exact 2>&1"), "{whole}");
        let only = only(&suites, &[failed("doctor", "a::b"), failed("flow", "c"), failed("flow", "d")]);
        assert_eq!(only.iter().map(|suite| suite.count).sum::<usize>(), 3);
        let second = script(&checkout, &only).unwrap();
        assert!(second.contains("'/flow-1' --test-threads 1 --color never --exact 'c' 'd' 2>&1"), "{second}");
        assert!(second.contains("--exact 'a::b' 2>&1") && !second.contains("discovery"), "{second}");
    }
}
