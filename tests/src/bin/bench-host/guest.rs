//! Both modes side by side, on a kernel that allows both: in a guest, whose processor is emulated.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use inferscope::bpf::host::Mode;
use inferscope::sources::host::calls::Arch;
use inferscope_tests::host::watch::{probes, probes_with};
use inferscope_tests::machine::Header;
use inferscope_tests::report::{merge_json, replace_section};
use serde::{Deserialize, Serialize};

use crate::measure::{Slices, getppid, give_way, wake};
use crate::report::calls;
use crate::rig::{Design, Pace, Rig};
use crate::rows::{CALLS, CallRow, syscalls};

/// To put our programs in place takes an emulated processor ten seconds, and a call some microseconds.
const PACE: Pace = Pace { rounds: 7, keeps_ours: true, slices: Slices { calls: 40, slices: 500 } };
/// What stands before the figures in the guest's output.
const MARK: &str = "@@ figures ";

/// What the guest measured.
#[derive(Serialize, Deserialize)]
struct Figures {
    #[serde(flatten)]
    header: Header,
    /// A call that programs of their own are not for.
    syscalls: Vec<CallRow>,
    spinning: Vec<CallRow>,
    /// A call that has programs of its own.
    of_interest: Vec<CallRow>,
}

/// What this run adds to the report.
#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    header: Header,
    guest: Figures,
}

/// Measures, and says what it found in one line.
#[expect(clippy::print_stdout, reason = "the line is what this binary is run for")]
pub(crate) fn measure() -> Result<()> {
    let Pace { rounds, slices: Slices { calls, slices }, .. } = PACE;
    let config = format!(
        "Of calls, `futex` alone has programs of its own; minimum of {slices} slices of {calls} calls; median and quartiles of \
         {rounds} rounds"
    );
    let header = Header::now(config)?;
    let calls = [getppid, give_way, wake];
    let mut rig = Rig::new(probes()?, PACE)?;
    let mut tables = syscalls(&mut rig, calls, &CALLS)?;
    drop(rig);
    let functions = Arch::this().map(|arch| vec![arch.function("futex")]);
    let mut rig = Rig::new(probes_with(|calls| calls.functions = functions.unwrap_or_default())?, PACE)?;
    let mode = rig.mode()?;
    ensure!(mode == Mode::PerCall, "calls have no programs of their own here: {:?}", rig.host.probes().mode().1);
    let ours: Vec<(&str, Design)> = CALLS.into_iter().filter(|(_, design)| design.is_ours()).collect();
    for (rows, mut own) in tables.iter_mut().zip(syscalls(&mut rig, calls, &ours)?) {
        own.iter_mut().for_each(|row| row.compare(rows));
        rows.extend(own);
    }
    let [syscalls, spinning, of_interest] = tables;
    let figures = Figures { header, syscalls, spinning, of_interest };
    println!("{MARK}{}", serde_json::to_string(&figures)?);
    Ok(())
}

/// Prints the tables of a file with what the guest said, and puts them into the document and the JSON.
#[expect(clippy::print_stdout, reason = "the table is what this binary is run for")]
pub(crate) fn report(path: &Path) -> Result<()> {
    let figures: Figures = serde_json::from_slice(&fs::read(path)?).context("the guest gave no figures")?;
    let text = figures.markdown();
    println!("{text}");
    // The report is this machine's; the guest's figures say of which kernel they are.
    merge_json("host", &Report { header: Header::now("The guest's figures")?, guest: figures }, &[])?;
    replace_section(Path::new("docs/benchmarks.md"), "Benchmarks", &text)
}

impl Figures {
    fn markdown(&self) -> String {
        let mut text = format!(
            "## Host where calls have programs of their own (`cargo xtask bench host guest`)\n\n{}\n\n{ABOUT}",
            self.header.line()
        );
        let tables = [
            (&self.spinning, "`sched_yield`"),
            (&self.of_interest, "`futex`, waking nobody"),
            (&self.syscalls, "`getppid`"),
        ];
        for (rows, call) in tables {
            calls(&mut text, call, rows);
        }
        text
    }
}

/// What the figures mean.
const ABOUT: &str = "\
Debian's kernel in a virtual machine whose processor is emulated (QEMU): nanoseconds mean nothing there, and ratios hold within a table alone.
Rows of mode `per_call` are ours on the same kernel with programs on single functions. `sched_yield` and `getppid` have none and pay nothing: what
stands there is scatter. What a call pays does not depend on how many others have programs.
";
