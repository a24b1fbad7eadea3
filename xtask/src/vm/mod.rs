//! Runs tests on other kernels than this machine's: Debian's, in virtual machines that see this machine's files.

mod clock;
mod figures;
mod guest;
mod kernel;
mod results;
mod suite;
mod table;

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;

use crate::again;
use crate::apt;
use crate::checkout::{self, Checkout};
use crate::run;
pub(crate) use figures::figures;
use guest::{News, Run};
use kernel::Kernel;
use results::Outcome;
use suite::Suite;
use table::Ran;

#[derive(Args)]
pub(crate) struct Options {
    /// Kernels, of which the newest that apt's sources offer is taken
    #[arg(default_values_t = ["6.1".to_owned(), "6.12".to_owned()])]
    releases: Vec<String>,
    /// One program of tests/tests; without it those that are about the kernel
    #[arg(long = "test", value_name = "NAME", default_values_t = suite::TESTS.map(str::to_owned))]
    tests: Vec<String>,
    /// Writes docs/kernels.md anew
    #[arg(long)]
    docs: bool,
}

/// The task: one line for each kernel and test, and tables at the end.
#[expect(clippy::print_stdout, reason = "the tests' results are the output")]
pub(crate) fn vm(checkout: &Checkout, options: &Options) -> Result<ExitCode> {
    if !cfg!(target_arch = "x86_64") {
        bail!("the tests of this machine run in guests of its own architecture, and only x86-64 ones are known");
    }
    tools(checkout)?;
    let kernels = options.releases.iter().map(|release| kernel::kernel(checkout, release));
    let kernels = kernels.collect::<Result<Vec<_>>>()?;
    let suites = suite::build(checkout, &options.tests)?;
    let all = kernels.iter().map(|kernel| on(checkout, kernel, &suites)).collect::<Result<Vec<_>>>()?;
    println!();
    let left_out = suite::left_out(&suites);
    left_out.iter().for_each(|line| println!("left out: {line}"));
    println!("{}\n{}", table::hooks(&all), table::tests(&all));
    table::chances(&all).iter().for_each(|line| println!("{line}"));
    if options.docs {
        checkout::write_if_changed(&checkout.path("docs/kernels.md"), document(&all, &left_out).as_bytes())?;
    }
    let outcomes = || all.iter().flat_map(|ran| &ran.reader.outcomes);
    let failed = outcomes().filter(|outcome| !outcome.passed()).count();
    println!("{} passed, {failed} failed", outcomes().count() - failed);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs tests on a kernel, and once more, in a guest of their own, those that failed and are worth it.
#[expect(clippy::print_stdout, reason = "the tests' results are the output")]
fn on(checkout: &Checkout, kernel: &Kernel, suites: &[Suite]) -> Result<Ran> {
    let Kernel { release, version, place } = kernel;
    println!("\n== {release} ({version})");
    let begun = Instant::now();
    let boot = |name: &str, suites: &[Suite]| {
        let (script, count) = (suite::script(checkout, suites)?, suites.iter().map(|suite| suite.count).sum());
        guest::run(kernel, &Run { name, script: &script, count }, &mut progress(release, count))
    };
    let (mut reader, mut boots_again) = boot("tests", suites)?;
    let failed = reader.to_run_again();
    if !failed.is_empty() {
        println!("{release} {}", again::announced(&failed.iter().map(Outcome::name).collect::<Vec<_>>()));
        let (second, more) = boot("again", &suite::only(suites, &failed))?;
        reader.reconsider(&second);
        boots_again += more;
    }
    println!("== {release}: {} s; all that was said: {}", begun.elapsed().as_secs(), place.display());
    Ok(Ran { version: version.clone(), reader, boots_again })
}

/// Shows what a guest tells of itself.
#[expect(clippy::print_stdout, reason = "the tests' results are the output")]
fn progress(release: &str, count: usize) -> impl FnMut(News<'_>, Duration) {
    let mut ended = 0;
    move |news, took| match (news, took.as_secs()) {
        (News::Ended(outcome), took) => {
            ended += 1;
            let result = if outcome.passed() { "ok" } else { "FAILED" };
            println!("{release} {} ... {result} ({took} s; {ended} of {count})", outcome.name());
        }
        (News::Running(what), took) => println!("{release} {what} ... for {took} s now"),
        (News::Again(why), took) => println!("{release} {why} before its first test ({took} s): booted again"),
    }
}

/// What it takes: the machine, and a shell that needs no libraries.
fn tools(checkout: &Checkout) -> Result<()> {
    if checkout::on_path("qemu-system-x86_64").is_none() {
        apt::install(checkout, &["qemu-system-x86"], "the virtual machine")?;
    }
    // The package `busybox` has the same program with libraries.
    let has = |package| run::succeeds(Command::new("dpkg-query").args(["--show", package]));
    if !has("busybox-static") {
        apt::install(checkout, &["busybox-static"], "a shell for the guest")?;
    }
    if !has("xz-utils") {
        apt::install(checkout, &["xz-utils"], "the reader of compressed modules")?;
    }
    Ok(())
}

/// What stands above the tables.
const INTRODUCTION: &str = include_str!("kernels.md");

fn document(ran: &[Ran], left_out: &[String]) -> String {
    let left_out: String = left_out.iter().map(|line| format!("\nNot run: {line}.\n")).collect();
    let chances: String = table::chances(ran).iter().map(|line| format!("\nBy chance: {line}.\n")).collect();
    format!("{INTRODUCTION}\n## Hooks\n\n{}\n## Tests\n\n{}{chances}{left_out}", table::hooks(ran), table::tests(ran))
}
