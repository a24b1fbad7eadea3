//! A simulated GPU for the servers, where this machine has none to show.

use anyhow::Result;
use inferscope_tests::gpu::{machine, process};
use inferscope_tests::received::Received;
use inferscope_tests::report::table;
use inferscope_tests::servers::Server;
use nvidia_ml::curve::Curve;
use nvidia_ml::place::Place;
use nvidia_ml::scenario::Device;
use nvml_wrapper::Nvml;

/// Percent of the multiprocessors that the servers use, in their order.
const SHARES: [f64; 2] = [45.0, 30.0];
/// Bytes of its memory that each of them holds.
const MEMORY: u64 = 30 << 30;

/// A simulated GPU, and somebody else who reads its counter.
pub(crate) struct Simulated {
    place: Place,
    observer: Nvml,
    _observed: Place,
    begun: f64,
}

impl Simulated {
    /// A GPU on which all servers compute. What it draws changes every two seconds, for an hour.
    pub(crate) fn start(servers: &[Server]) -> Result<Self> {
        let watts = |step: u32| (f64::from(step) * 2.0, 330.0 + f64::from(step * 7_919 % 140));
        let shares = servers.iter().zip(SHARES);
        let device = Device {
            power_w: Curve::Steps((0..1_800).map(watts).collect()),
            utilization_pct: Curve::Constant(SHARES.iter().sum()),
            process: shares.map(|(server, share)| process(server.pid(), MEMORY, share)).collect(),
            ..Device::default()
        };
        let place = Place::new(machine(1, &device))?;
        let observed = place.observer()?;
        let observer = Nvml::builder().lib_path(observed.library().as_os_str()).init()?;
        let begun = counter(&observer)?;
        Ok(Self { place, observer, _observed: observed, begun })
    }

    /// What the agent has to be told.
    pub(crate) fn config(&self) -> String {
        format!("[gpu]\nlibrary = '{}'\nkernel_log = false\n", self.place.library().display())
    }

    /// Joules of each server beside its tokens, and beside the counter of the device.
    pub(crate) fn table(&self, servers: &[Server], received: &Received) -> Result<String> {
        let counted = counter(&self.observer)? - self.begun;
        let mut rows = Vec::new();
        let mut given = 0.0;
        for server in servers {
            let cgroup = server.cgroup()?.path().display().to_string();
            let own = ("inferscope.workload.cgroup", cgroup.as_str());
            let joules = received.total("inferscope.energy", &[own]).sum;
            let tokens = received.total("inferscope.tokens", &[own, ("gen_ai.token.type", "output")]).count;
            given += joules;
            rows.push(row(server.kind().name(), joules, Some(tokens)));
        }
        let rest = received.total("inferscope.gpu.energy.unattributed", &[]).sum;
        let whole = received.total("hw.energy", &[]).sum;
        rows.push(row("nobody: before the servers' processes were known", rest, None));
        rows.push(row("together", given + rest, None));
        rows.push(row("the counter, as the agent read it", whole, None));
        rows.push(row("the counter, read by this demo, from before to after", counted, None));
        let table = table(&["SIMULATED GPU", "joules", "output tokens", "joules per token"], &rows);
        Ok(format!(
            "The GPU is SIMULATED (a library with NVML's ABI): its watts are made up, the shares are the agent's.\n\n{table}"
        ))
    }
}

fn row(name: &str, joules: f64, tokens: Option<u64>) -> Vec<String> {
    let dash = || "–".to_owned();
    let per_token = tokens.filter(|tokens| *tokens > 0).map(|tokens| format!("{:.3}", joules / tokens as f64));
    let tokens = tokens.map(|tokens| tokens.to_string());
    vec![name.to_owned(), format!("{joules:.1}"), tokens.unwrap_or_else(dash), per_token.unwrap_or_else(dash)]
}

/// Joules.
fn counter(observer: &Nvml) -> Result<f64> {
    Ok(observer.device_by_index(0)?.total_energy_consumption()? as f64 / 1e3)
}
