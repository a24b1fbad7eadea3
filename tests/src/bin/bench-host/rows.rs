//! What designs add to a call and to a switch.

use anyhow::{Result, ensure};
use inferscope::bpf::host::bench::Shape;
use serde::Serialize;

use crate::measure::{PingPong, apart};
use crate::rig::{Design, Rig};

/// Rounds, each of which measures every design between two measurements without any.
const ROUNDS: usize = 21;

/// Designs on system calls, with their names in the report.
pub(crate) const CALLS: [(&str, Design); 7] = [
    ("none", Design::None),
    ("empty_pair", Design::Other(Shape::EmptyPair)),
    ("bcc_shape", Design::Other(Shape::Hashes)),
    ("rezolus_shape", Design::Other(Shape::Pids)),
    ("full", Design::Ours { k: 0 }),
    ("sampled_64", Design::Ours { k: 6 }),
    ("unobserved", Design::Unobserved),
];

const SWITCHES: [(&str, Design); 5] = [
    ("none", Design::None),
    ("empty", Design::Other(Shape::EmptySwitch)),
    ("runqlat_shape", Design::Other(Shape::RunQueue)),
    ("full", Design::Ours { k: 0 }),
    ("unobserved", Design::Unobserved),
];

#[derive(Serialize, Clone)]
pub(crate) struct CallRow {
    pub(crate) design: &'static str,
    pub(crate) mode: &'static str,
    /// Median over the rounds.
    pub(crate) ns_added_per_call: f64,
    pub(crate) ns_added_low: f64,
    pub(crate) ns_added_high: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ratio_to_bcc_shape: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ratio_to_rezolus_shape: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ratio_to_empty_pair: Option<f64>,
}

#[derive(Serialize, Clone)]
pub(crate) struct SwitchRow {
    pub(crate) design: &'static str,
    pub(crate) ns_added_per_switch: f64,
    pub(crate) ns_added_low: f64,
    pub(crate) ns_added_high: f64,
}

/// What each design adds to a call.
pub(crate) fn syscalls(rig: &mut Rig, call: fn() -> f64, designs: [(&'static str, Design); 7]) -> Result<Vec<CallRow>> {
    let before = rig.counted();
    let added = rounds(rig, || apart(call), &designs, true)?;
    ensure!(rig.counted() > before, "the probes saw nothing of it");
    let mode = rig.mode()?;
    let median = |name: &str| designs.iter().position(|(design, _)| *design == name).map(|at| added[at].1);
    let row = |(&(design, what), &added): (&(&'static str, Design), &(f64, f64, f64))| {
        let ratio = |to: &str| median(to).filter(|_| what != Design::None).map(|other| added.1 / other);
        let mode = match what {
            Design::None => "",
            Design::Other(_) => "tracepoints",
            Design::Ours { .. } | Design::Unobserved => mode,
        };
        CallRow {
            ratio_to_rezolus_shape: ratio("rezolus_shape"),
            ratio_to_empty_pair: ratio("empty_pair"),
            ..CallRow::new(design, mode, added, median("bcc_shape").filter(|_| what != Design::None))
        }
    };
    Ok(designs.iter().zip(&added).map(row).collect())
}

impl SwitchRow {
    /// Lower and upper quartile.
    pub(crate) fn range(&self) -> (f64, f64) {
        (self.ns_added_low, self.ns_added_high)
    }
}

impl CallRow {
    /// Of lower quartile, median and upper quartile.
    pub(crate) fn new(
        design: &'static str,
        mode: &'static str,
        (low, ns, high): (f64, f64, f64),
        bcc_shape: Option<f64>,
    ) -> Self {
        Self {
            design,
            mode,
            ns_added_per_call: ns,
            ns_added_low: low,
            ns_added_high: high,
            ratio_to_bcc_shape: bcc_shape.map(|bcc| ns / bcc),
            ratio_to_rezolus_shape: None,
            ratio_to_empty_pair: None,
        }
    }
}

/// What each design adds to a switch.
pub(crate) fn scheduler(rig: &mut Rig) -> Result<Vec<SwitchRow>> {
    // The other thread joins whatever cgroup this process is in.
    let load = PingPong::start()?;
    let added = rounds(rig, || apart(|| load.switch()), &SWITCHES, false)?;
    let row = |(&(design, _), &(low, ns, high)): (&(&'static str, Design), &(f64, f64, f64))| SwitchRow {
        design,
        ns_added_per_switch: ns,
        ns_added_low: low,
        ns_added_high: high,
    };
    Ok(SWITCHES.iter().zip(&added).map(row).collect())
}

/// Lower quartile, median and upper quartile of what each design adds.
fn rounds(
    rig: &mut Rig,
    mut time: impl FnMut() -> f64,
    designs: &[(&'static str, Design)],
    on_calls: bool,
) -> Result<Vec<(f64, f64, f64)>> {
    let mut added = vec![Vec::new(); designs.len()];
    for round in 0..ROUNDS {
        eprint!("\rround {} of {ROUNDS}", round + 1);
        for (at, (_, design)) in designs.iter().enumerate() {
            rig.put(Design::None, on_calls)?;
            let before = time();
            rig.put(*design, on_calls)?;
            let with = time();
            rig.put(Design::None, on_calls)?;
            added[at].push(with - f64::midpoint(before, time()));
        }
    }
    eprintln!();
    Ok(added.iter_mut().map(|values| quartiles(values)).collect())
}

/// Lower quartile, median and upper quartile; of nothing they are 0.
pub(crate) fn quartiles(values: &mut [f64]) -> (f64, f64, f64) {
    values.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| values.get((values.len().saturating_sub(1) as f64 * share).round() as usize);
    let at = |share| at(share).copied().unwrap_or_default();
    (at(0.25), at(0.5), at(0.75))
}
