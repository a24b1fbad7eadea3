//! Commands: run, read, or run behind one line of progress.

use std::fs::{self, File};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Runs a command whose output goes where this program's goes.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", shown(command)))?;
    if status.success() { Ok(()) } else { bail!("{} ended with {status}", shown(command)) }
}

/// What a command prints.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("cannot start {}", shown(command)))?;
    if !output.status.success() {
        bail!("{} ended with {}", shown(command), output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("{} printed no text", shown(command)))
}

/// True if a command ends well. What it prints is of no interest.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Runs a command that takes its time: one line says what for, and goes on saying for how long. Its own
/// output goes to `log`, of which the end is shown if it fails.
pub(crate) fn step(what: &str, log: &Path, command: &mut Command) -> Result<()> {
    fs::create_dir_all(log.parent().unwrap_or(Path::new(".")))?;
    let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    let begun = Instant::now();
    eprint!("{what} …");
    let mut child = command.spawn().with_context(|| format!("cannot start {}", shown(command)))?;
    let mut progress = Progress { what, begun, shown: 0 };
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        progress.show();
        thread::sleep(Duration::from_millis(100));
    };
    eprintln!(" {:.0} s", begun.elapsed().as_secs_f64());
    if status.success() {
        return Ok(());
    }
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let end = lines[lines.len().saturating_sub(25)..].join("\n  ");
    bail!("{} ended with {status}; the end of {}:\n  {end}", shown(command), log.display())
}

struct Progress<'a> {
    what: &'a str,
    begun: Instant,
    shown: u64,
}

impl Progress<'_> {
    /// On a terminal the line counts the seconds; elsewhere a dot stands for ten of them.
    fn show(&mut self) {
        let seconds = self.begun.elapsed().as_secs();
        let mut stderr = std::io::stderr();
        let every = if stderr.is_terminal() { 1 } else { 10 };
        if seconds / every == self.shown {
            return;
        }
        self.shown = seconds / every;
        if stderr.is_terminal() {
            eprint!("\r{} … {seconds} s", self.what);
        } else {
            eprint!(".");
        }
        // A terminal that is gone is no reason to stop.
        drop(stderr.flush());
    }
}

/// The command as one would type it.
fn shown(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}
