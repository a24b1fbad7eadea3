//! Does known things: what the tests of the host's probes observe, and what they compare it with.
//!
//! Says `ready`, waits for a line, does what its arguments name, says `done` and what it has to say of it, and does it
//! again for each further line, until its input closes.

mod calls;
mod cpu;
mod memory;
mod waits;

use std::io::{BufRead, Write};

use anyhow::{Context, Result, bail};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // Under strace nobody says when to begin.
    let told = words.first() != Some(&"at-once");
    let words = if told { &words[..] } else { &words[1..] };
    if told {
        say("ready")?;
        std::io::stdin().lock().read_line(&mut String::new())?;
    }
    // Again for each further line.
    loop {
        let said = perform(words)?;
        if !told {
            return Ok(());
        }
        say(&format!("done {said}"))?;
        if std::io::stdin().lock().read_line(&mut String::new())? == 0 {
            return Ok(());
        }
    }
}

fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

fn perform(words: &[&str]) -> Result<String> {
    let number = |at: usize| -> Result<u64> {
        let word: &&str = words.get(at).context("an argument is missing")?;
        word.parse().with_context(|| format!("no number: {word}"))
    };
    match words.first().copied() {
        Some("calls") => calls::closed(number(1)?, number(2)?),
        Some("getppid") => calls::getppid(number(1)?),
        Some("bursts") => calls::bursts(number(1)?, number(2)?, number(3)?),
        Some("yield") => calls::give_way(number(1)?),
        Some("ioctl") => calls::ioctl(words.get(1).context("which device?")?, number(2)?),
        Some("sleep") => {
            let pairs = (1..words.len()).step_by(2).map(|at| Ok((number(at)?, number(at + 1)?)));
            waits::sleep(&pairs.collect::<Result<Vec<_>>>()?)
        }
        Some("convoy") => waits::convoy(number(1)?, number(2)?),
        Some("hang") => waits::hang(number(1)?),
        Some("interrupted") => waits::interrupted(number(1)?),
        Some("execve") => waits::execve_from_thread(),
        Some("spin") => cpu::spin(number(1)?, number(2)? as usize),
        Some("victim") => cpu::victim(number(1)?, number(2)? as usize),
        Some("migrate") => cpu::migrate(number(1)?),
        Some("named") => cpu::named(words.get(1).context("which name?")?, number(2)?),
        Some("read") => memory::read(words.get(1).context("which file?")?),
        Some("fault") => memory::fault(words.get(1).context("which file?")?),
        Some("eat") => memory::eat(number(1)?),
        Some("fork") => calls::fork(number(1)?),
        other => bail!("unknown load {other:?}"),
    }
}
