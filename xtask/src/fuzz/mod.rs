//! Hostile bytes for every parser that takes them: the targets of `fuzz/`, each for a while.

mod seeds;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::checkout::Checkout;
use crate::crates::Tool;
use crate::run;

const FUZZER: Tool = Tool { name: "cargo-fuzz", version: "0.13.2", what: "the driver of fuzz targets" };

/// Every target, with the length of its longest input in bytes.
const TARGETS: [(&str, u32); 8] = [
    ("message", 4096),
    ("head", 2048),
    ("body", 2048),
    ("json", 1024),
    ("scan", 1024),
    ("wire", 16384),
    ("records", 16384),
    ("btf", 512),
];

#[derive(Args)]
pub(crate) struct Options {
    /// What to fuzz; one after the other when none is named
    #[arg(value_parser = TARGETS.map(|(name, _)| name))]
    target: Option<String>,
    /// How long, for each target
    #[arg(long, value_name = "N", default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
}

/// The task: says for each target how many inputs it took, and where the one lies that broke it.
pub(crate) fn fuzz(checkout: &Checkout, options: &Options) -> Result<ExitCode> {
    let only = options.target.as_deref();
    let fuzzer = FUZZER.get(checkout, "", |_| {})?;
    eprintln!("Building the fuzz targets, with an address sanitizer; from nothing this takes ten minutes.");
    run::run(command(checkout, &fuzzer, "build").args(only))?;
    let dictionary = checkout.target("fuzz/words.dict");
    seeds::dictionary(checkout, &dictionary)?;
    let mut code = ExitCode::SUCCESS;
    for (name, longest) in TARGETS.into_iter().filter(|(name, _)| only.is_none_or(|only| only == *name)) {
        let corpus = checkout.target("fuzz/corpus").join(name);
        seeds::write(checkout, name, &corpus)?;
        let artifacts = checkout.target("fuzz/artifacts").join(name);
        fs::create_dir_all(&artifacts)?;
        let mut run = command(checkout, &fuzzer, "run");
        run.arg(name).arg(&corpus).args(["--", "-timeout=5", "-print_final_stats=1"]);
        run.args([format!("-max_total_time={}", options.seconds), format!("-max_len={longest}")]);
        run.args([format!("-dict={}", dictionary.display()), format!("-artifact_prefix={}/", artifacts.display())]);
        let log = checkout.target(&format!("fuzz/log/{name}.log"));
        let known = inputs(&artifacts)?;
        let ended = run::step(&format!("Fuzzing {name} for {} s", options.seconds), &log, &mut run);
        let said = fs::read_to_string(&log).unwrap_or_default();
        if ended.is_ok() {
            eprintln!("{name}: {} inputs, none broke it", executions(&said)?);
            continue;
        }
        code = ExitCode::FAILURE;
        if inputs(&artifacts)? == known {
            eprintln!("{name}: did not run, see {}", log.display());
            continue;
        }
        let why = said.lines().skip_while(|line| !line.contains("panicked at") && !line.contains("ERROR:"));
        eprintln!("{}", why.take(4).collect::<Vec<_>>().join("\n"));
        eprintln!("{name}: broken; the input lies in {}, more in {}", artifacts.display(), log.display());
    }
    Ok(code)
}

/// How many inputs lie in a folder.
fn inputs(folder: &Path) -> Result<usize> {
    Ok(fs::read_dir(folder)?.count())
}

/// cargo-fuzz, for `build` or `run`.
fn command(checkout: &Checkout, fuzzer: &Path, task: &str) -> Command {
    let mut command = checkout.command(fuzzer);
    command.args(["fuzz", task, "--fuzz-dir", "fuzz", "--target-dir"]).arg(checkout.target("fuzz"));
    // The sanitizer is an unstable setting of a compiler that is stable otherwise.
    command.env("RUSTC_BOOTSTRAP", "1");
    command
}

/// How many inputs a target took, by libFuzzer's closing statistics.
fn executions(said: &str) -> Result<u64> {
    let count = said.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    let count: u64 = count.context("libFuzzer gave no statistics")?.trim().parse()?;
    if count == 0 {
        bail!("libFuzzer ran the target with no input");
    }
    Ok(count)
}
