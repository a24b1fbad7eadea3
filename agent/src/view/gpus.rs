//! GPUs, one a line, below the table of workloads.

use super::text::{clean, fit};
use crate::model::gpu::{DeviceState, Gpu, Memory, Reading, ThrottleCause};

/// A line for each GPU, none wider than `width` columns; what a GPU does not tell is left out. `now` is monotonic time in
/// nanoseconds.
pub fn render_gpus<'a>(
    gpus: impl IntoIterator<Item = (&'a std::sync::Arc<Gpu>, &'a DeviceState, &'a Reading)>,
    now: u64,
    width: usize,
) -> String {
    let mut lines: Vec<((u32, u32), String)> = gpus
        .into_iter()
        .map(|(gpu, state, reading)| {
            ((gpu.index, gpu.instance.map_or(0, |one| one.id + 1)), line(gpu, state, reading, now))
        })
        .collect();
    lines.sort();
    lines.into_iter().map(|(_, line)| fit(&line, width).trim_end().to_owned() + "\n").collect()
}

fn line(gpu: &Gpu, state: &DeviceState, reading: &Reading, now: u64) -> String {
    let name = match gpu.instance {
        None => format!("GPU {}", gpu.index),
        Some(instance) => format!("GPU {} instance {}", gpu.index, instance.id),
    };
    let mut parts = vec![name, clean(&gpu.model)];
    parts.extend(state.mend().map(|mend| format!("{}: {mend}", how(state, now))));
    parts.extend(reading.utilization_pct.map(|pct| format!("{pct}% busy")));
    // A divided GPU tells no utilisation; its instances, how much of their multiprocessors is used.
    let activity = reading.activity.and_then(|activity| activity.sm).filter(|_| gpu.parent.is_some());
    parts.extend(activity.map(|hundredths| format!("{}% of its SMs busy", hundredths.div_ceil(100))));
    parts.extend(reading.memory.map(memory));
    parts.extend(power(reading));
    parts.extend(reading.temperature.map(|degrees| format!("{degrees} °C")));
    parts.extend(reading.sm_mhz.map(|mhz| format!("{mhz} MHz")));
    let held: Vec<_> = reading
        .throttle
        .map(|throttle| ThrottleCause::ALL.into_iter().filter(|cause| throttle.has(*cause)).collect::<Vec<_>>())
        .unwrap_or_default();
    if !held.is_empty() {
        let causes: Vec<_> = held.iter().map(|cause| cause.name().replace('_', " ")).collect();
        parts.push(format!("held down by {}", causes.join(", ")));
    }
    parts.join("  ")
}

fn how(state: &DeviceState, now: u64) -> String {
    let name = state.name().replace('_', " ");
    match state {
        DeviceState::Stuck { call, since } => {
            format!("{name} for {} s in {}", now.saturating_sub(*since) / 1_000_000_000, call.name().replace('_', " "))
        }
        DeviceState::Failing { error } => format!("{name} ({})", error.replace('_', " ")),
        _ => name,
    }
}

fn memory(memory: Memory) -> String {
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    format!("{:.1} of {:.1} GiB", gib(memory.used), gib(memory.total))
}

fn power(reading: &Reading) -> Option<String> {
    let watts = |milliwatts: u32| f64::from(milliwatts) / 1e3;
    let now = reading.power_average_mw.or(reading.power_instant_mw)?;
    let limit = reading.power_limit_mw.map(|limit| format!(" of {:.0}", watts(limit))).unwrap_or_default();
    Some(format!("{:.0}{limit} W", watts(now)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::gpu::{Activity, Call, Instance, TemperatureLimits, Throttle};
    use std::sync::Arc;

    fn gpu(index: u32) -> Gpu {
        Gpu {
            id: format!("GPU-{index}").into(),
            index,
            model: "NVIDIA H100 80GB HBM3".into(),
            vendor: "NVIDIA",
            serial: None,
            pci: None,
            driver: "570.172.08".into(),
            firmware: None,
            persistence: None,
            compute_mode: None,
            mig: None,
            limits: TemperatureLimits::default(),
            parent: None,
            instance: None,
        }
    }

    #[test]
    fn each_gpu_has_a_line_with_what_it_tells() {
        let busy = Reading {
            utilization_pct: Some(92),
            memory: Some(Memory { total: 80 << 30, used: 61 << 30 }),
            power_average_mw: Some(651_900),
            power_limit_mw: Some(700_000),
            temperature: Some(61),
            sm_mhz: Some(1_755),
            throttle: Some(Throttle::default().with(ThrottleCause::PowerCap)),
            ..Reading::default()
        };
        let (first, second, third) = (Arc::new(gpu(0)), Arc::new(gpu(1)), Arc::new(gpu(2)));
        let stuck = DeviceState::Stuck { call: Call::EnergyFields, since: 1_000_000_000 };
        let instance = Some(Instance { id: 3, multiprocessors: 16 });
        let part = Arc::new(Gpu { instance, parent: Some("GPU-0".into()), ..gpu(0) });
        let active = Activity { sm: Some(4_960), ..Activity::default() };
        let shared = Reading { activity: Some(active), ..Reading::default() };
        let nothing = Reading::default();
        let gpus = [
            (&second, &DeviceState::Lost, &nothing),
            (&part, &DeviceState::Ok, &shared),
            (&first, &DeviceState::Ok, &busy),
            (&third, &stuck, &nothing),
        ];
        insta::assert_snapshot!(render_gpus(gpus, 13_500_000_000, 160), @r"
        GPU 0  NVIDIA H100 80GB HBM3  92% busy  61.0 of 80.0 GiB  652 of 700 W  61 °C  1755 MHz  held down by power cap
        GPU 0 instance 3  NVIDIA H100 80GB HBM3  50% of its SMs busy
        GPU 1  NVIDIA H100 80GB HBM3  lost: check power, seating and the kernel's log for Xid 79; reboot the node
        GPU 2  NVIDIA H100 80GB HBM3  stuck for 12 s in energy fields: the driver does not answer for this GPU: see the kernel's log; drain the node if it lasts
        ");
        assert!(render_gpus(gpus, 0, 30).lines().all(|line| line.chars().count() <= 30));
    }
}
