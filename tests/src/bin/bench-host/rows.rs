//! What designs add to a call and to a switch.

use anyhow::{Result, ensure};
use inferscope::bpf::host::Mode;
use inferscope::bpf::host::bench::Shape;
use serde::{Deserialize, Serialize};

use crate::measure::{PingPong, Slices, apart};
use crate::rig::{Design, Pace, Rig};

/// Lower quartile, median and upper quartile.
type Quartiles = (f64, f64, f64);

/// Nothing at all, in the report.
const NONE: &str = "none";

/// Designs on system calls, with their names in the report.
pub(crate) const CALLS: [(&str, Design); 7] = [
    (NONE, Design::None),
    ("empty_pair", Design::Other(Shape::EmptyPair)),
    ("bcc_shape", Design::Other(Shape::Hashes)),
    ("rezolus_shape", Design::Other(Shape::Pids)),
    ("full", Design::Ours { k: 0 }),
    ("sampled_64", Design::Ours { k: 6 }),
    ("unobserved", Design::Unobserved),
];

const SWITCHES: [(&str, Design); 5] = [
    (NONE, Design::None),
    ("empty", Design::Other(Shape::EmptySwitch)),
    ("runqlat_shape", Design::Other(Shape::RunQueue)),
    ("full", Design::Ours { k: 0 }),
    ("unobserved", Design::Unobserved),
];

#[derive(Serialize, Deserialize, Clone)]
pub(crate) struct CallRow {
    pub(crate) design: String,
    pub(crate) mode: String,
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

/// What each design adds to each of some calls.
pub(crate) fn syscalls<const N: usize>(
    rig: &mut Rig,
    calls: [fn(Slices) -> f64; N],
    designs: &[(&'static str, Design)],
) -> Result<[Vec<CallRow>; N]> {
    let mode = rig.mode()?;
    let before = rig.counted();
    let slices = rig.pace.slices;
    let added = rounds(rig, || calls.map(|call| apart(|| call(slices))), designs, true)?;
    ensure!(rig.counted() > before, "the probes saw nothing of it");
    let row = |(&(design, what), added): (&(&'static str, Design), Quartiles)| {
        let mode = match what {
            Design::None => "",
            Design::Other(_) => Mode::Tracepoints.name(),
            Design::Ours { .. } | Design::Unobserved => mode.name(),
        };
        CallRow::new(design, mode, added)
    };
    Ok(std::array::from_fn(|call| {
        let added = added.iter().map(|added| added[call]);
        let mut rows: Vec<_> = designs.iter().zip(added).map(row).collect();
        let others = rows.clone();
        rows.iter_mut().for_each(|row| row.compare(&others));
        rows
    }))
}

impl SwitchRow {
    /// Lower and upper quartile.
    pub(crate) fn range(&self) -> (f64, f64) {
        (self.ns_added_low, self.ns_added_high)
    }
}

impl CallRow {
    /// Of lower quartile, median and upper quartile.
    pub(crate) fn new(design: &str, mode: &str, (low, ns, high): Quartiles) -> Self {
        Self {
            design: design.to_owned(),
            mode: mode.to_owned(),
            ns_added_per_call: ns,
            ns_added_low: low,
            ns_added_high: high,
            ratio_to_bcc_shape: None,
            ratio_to_rezolus_shape: None,
            ratio_to_empty_pair: None,
        }
    }

    /// Sets it in proportion to those shapes of others that are among `rows`.
    pub(crate) fn compare(&mut self, rows: &[Self]) {
        let of = |name: &str| rows.iter().find(|row| row.design == name).map(|row| row.ns_added_per_call);
        let ratio = |to: &str| of(to).filter(|_| self.design != NONE).map(|other| self.ns_added_per_call / other);
        let ratios = ["bcc_shape", "rezolus_shape", "empty_pair"].map(ratio);
        [self.ratio_to_bcc_shape, self.ratio_to_rezolus_shape, self.ratio_to_empty_pair] = ratios;
    }
}

/// What each design adds to a switch.
pub(crate) fn scheduler(rig: &mut Rig) -> Result<Vec<SwitchRow>> {
    // The other thread joins whatever cgroup this process is in.
    let load = PingPong::start()?;
    let added = rounds(rig, || [apart(|| load.switch())], &SWITCHES, false)?;
    let row = |(&(design, _), &[(low, ns, high)]): (&(&'static str, Design), &[Quartiles; 1])| SwitchRow {
        design,
        ns_added_per_switch: ns,
        ns_added_low: low,
        ns_added_high: high,
    };
    Ok(SWITCHES.iter().zip(&added).map(row).collect())
}

/// Lower quartile, median and upper quartile of what each design adds to each of the times.
fn rounds<const N: usize>(
    rig: &mut Rig,
    mut times: impl FnMut() -> [f64; N],
    designs: &[(&'static str, Design)],
    on_calls: bool,
) -> Result<Vec<[Quartiles; N]>> {
    let mut added = vec![[const { Vec::new() }; N]; designs.len()];
    let Pace { rounds, keeps_ours, .. } = rig.pace;
    for round in 0..rounds {
        eprint!("\rround {} of {rounds}", round + 1);
        let mut at = 0;
        for designs in designs.chunk_by(|(_, one), (_, next)| keeps_ours && one.is_ours() && next.is_ours()) {
            rig.put(Design::None, on_calls)?;
            let before = times();
            let mut with = Vec::with_capacity(designs.len());
            for (_, design) in designs {
                rig.put(*design, on_calls)?;
                with.push(times());
            }
            rig.put(Design::None, on_calls)?;
            let after = times();
            for with in with {
                for (time, added) in added[at].iter_mut().enumerate() {
                    added.push(with[time] - f64::midpoint(before[time], after[time]));
                }
                at += 1;
            }
        }
    }
    eprintln!();
    Ok(added.into_iter().map(|times| times.map(|mut values| quartiles(&mut values))).collect())
}

/// Lower quartile, median and upper quartile; of nothing they are 0.
pub(crate) fn quartiles(values: &mut [f64]) -> Quartiles {
    values.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| values.get((values.len().saturating_sub(1) as f64 * share).round() as usize);
    let at = |share| at(share).copied().unwrap_or_default();
    (at(0.25), at(0.5), at(0.75))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_compared_with_the_shapes_that_were_measured() {
        let row = |design: &str, ns: f64| CallRow::new(design, "tracepoints", (ns - 1.0, ns, ns + 1.0));
        let shapes = [row("empty_pair", 10.0), row("bcc_shape", 200.0)];
        let mut full = row("full", 50.0);
        full.compare(&shapes);
        assert_eq!((full.ratio_to_bcc_shape, full.ratio_to_empty_pair), (Some(0.25), Some(5.0)));
        assert_eq!(full.ratio_to_rezolus_shape, None);
        let mut none = row(NONE, 1.0);
        none.compare(&shapes);
        assert_eq!((none.ratio_to_bcc_shape, none.ratio_to_empty_pair), (None, None));
    }
}
