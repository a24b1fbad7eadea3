//! From settings as written to settings that can be used: the rules that hold between them.

use std::time::Duration;

use tracing::level_filters::LevelFilter;

use super::destination::{LOGS, METRICS, TRACES, destination};
use super::env::SERVICE_NAME;
use super::error::{Mistakes, Place};
use super::key::Key;
use super::layers::Layers;
use super::raw::{IdleEnergy, Level, Raw, Temporality};
use super::{Cadence, Config, Effective, Gpu, Host, Log, Watch};
use crate::model::batch;
use crate::model::energy::IdlePolicy;
use crate::sources::gpu as source;
use crate::{bpf, export, governor, model, wire};

/// The checked settings; where a mistake is noted they are not to be used.
pub(super) fn check(raw: &Raw, layers: &Layers<'_>, mistakes: &mut Mistakes) -> Config {
    check_watch(raw, layers, mistakes);
    if !raw.budget.state.is_absolute() {
        layers.refuse(&Key::of("budget.state"), Some("an absolute path"), mistakes);
    }
    check_resource(raw, layers, mistakes);
    check_gpu(&raw.gpu, layers, mistakes);
    let export = export(raw, layers, mistakes);
    Config {
        watch: Watch {
            cgroups: raw.watch.cgroups.clone(),
            discover: raw.watch.discover,
            trial: raw.watch.trial.0,
            trials: raw.watch.trials as usize,
            longest_rest: raw.watch.longest_rest.0,
        },
        kernel: bpf::Options {
            // Slot 0 is nobody's.
            workloads: raw.watch.max_workloads + 1,
            ring_bytes: u32::try_from(raw.watch.ring.0).unwrap_or(u32::MAX),
        },
        host: Host {
            syscalls: raw.host.syscalls,
            scheduler: raw.host.scheduler,
            workloads: raw.watch.max_workloads + 1,
        },
        wire: wire::Limits {
            exchanges: raw.watch.exchanges as usize,
            bytes: size(raw.watch.exchange_memory.0),
            labels: raw.metrics.labels as usize,
        },
        model: model::Limits {
            temporality: match raw.metrics.temporality {
                Temporality::Cumulative => batch::Temporality::Cumulative,
                Temporality::Delta => batch::Temporality::Delta,
            },
            series: raw.metrics.series as usize,
            requests: raw.spans.queue as usize,
        },
        cadence: Cadence {
            metrics: raw.metrics.interval.0,
            requests: export.traces.as_ref().map(|_| raw.spans.wait.0),
        },
        gpu: raw.gpu.enabled.then(|| gpu(&raw.gpu)),
        export,
        log: Log { level: level(raw.log.level) },
        governor: governor(raw),
        service_name: raw.resource.service_name.clone(),
        effective: Effective::default(),
    }
}

/// Bounds of the time for which the budget is to hold in the mean.
const WINDOWS: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(60)];

fn governor(raw: &Raw) -> governor::Settings {
    let budget = &raw.budget;
    let [shortest, longest] = WINDOWS;
    governor::Settings {
        cpu_share: budget.cpu_percent / 100.0,
        cpu_most: budget.cpus,
        memory: budget.memory.0,
        // A batch costs CPU at once that belongs to the whole interval.
        window: raw.metrics.interval.0.clamp(shortest, longest),
        hold: budget.recovery.0,
        state: budget.state.clone(),
        healthy: budget.healthy.0,
    }
}

fn gpu(raw: &super::raw::Gpu) -> Gpu {
    let defaults = source::Settings::default();
    Gpu {
        idle: match raw.idle_energy {
            IdleEnergy::Memory => IdlePolicy::Holders,
            IdleEnergy::Equal => IdlePolicy::HoldersEqually,
            IdleEnergy::Nobody => IdlePolicy::Nobody,
        },
        source: source::Settings {
            libraries: raw.library.as_ref().map_or(defaults.libraries, |library| vec![library.clone()]),
            named: raw.library.is_some(),
            kmsg: defaults.kmsg.filter(|_| raw.kernel_log),
            cadence: source::Cadence {
                fastest: raw.fastest.0,
                steady: raw.steady.0,
                slowest: raw.slowest.0,
                uses: raw.steady.0,
                health: raw.health.0,
                processes: raw.processes.0,
                budget_ppm: raw.budget_ppm,
                ..defaults.cadence
            },
            ..defaults
        },
    }
}

fn check_gpu(raw: &super::raw::Gpu, layers: &Layers<'_>, mistakes: &mut Mistakes) {
    if raw.library.as_ref().is_some_and(|library| library.as_os_str().is_empty()) {
        let accepted = "the path of libnvidia-ml.so.1; without this setting it is looked for";
        layers.refuse(&Key::of("gpu.library"), Some(accepted), mistakes);
    }
    let (steady, slowest) = (Key::of("gpu.steady"), Key::of("gpu.slowest"));
    if raw.fastest > raw.steady {
        let key = if layers.is_set(&steady) { steady } else { Key::of("gpu.fastest") };
        layers.refuse(&key, Some("gpu.fastest no longer than gpu.steady"), mistakes);
    } else if raw.steady > raw.slowest {
        let key = if layers.is_set(&slowest) { slowest } else { steady };
        layers.refuse(&key, Some("gpu.steady no longer than gpu.slowest"), mistakes);
    }
}

fn check_watch(raw: &Raw, layers: &Layers<'_>, mistakes: &mut Mistakes) {
    let watch = &raw.watch;
    let (cgroups, discover) = (Key::of("watch.cgroups"), Key::of("watch.discover"));
    if !watch.discover && watch.cgroups.is_empty() {
        let problem = "nothing is left to watch: let it be true, or name cgroups in watch.cgroups".to_owned();
        mistakes.note(layers.place(&discover), &discover, problem);
    }
    let place = layers.place(&cgroups);
    if place != Some(Place::CommandLine) && watch.cgroups.iter().any(|cgroup| !cgroup.is_absolute()) {
        layers.refuse(&cgroups, Some("absolute paths"), mistakes);
    }
    if !watch.ring.0.is_power_of_two() {
        layers.refuse(&Key::of("watch.ring"), Some("a power of two such as \"4MiB\""), mistakes);
    }
}

fn check_resource(raw: &Raw, layers: &Layers<'_>, mistakes: &mut Mistakes) {
    let (name, attributes) = (Key::of("resource.service_name"), Key::of("resource.attributes"));
    if raw.resource.service_name.is_empty() {
        layers.refuse(&name, Some("a name"), mistakes);
    }
    for attribute in raw.resource.attributes.keys() {
        let key = attributes.child(attribute);
        if attribute.is_empty() {
            mistakes.note(layers.place(&key), &attributes, "an attribute without a name".to_owned());
        }
        if attribute == SERVICE_NAME {
            let problem = format!("every workload has its own; the agent's is {name}");
            mistakes.note(layers.place(&key), &key, problem);
        }
    }
}

fn export(raw: &Raw, layers: &Layers<'_>, mistakes: &mut Mistakes) -> export::Settings {
    let otlp = &raw.otlp;
    let (queue, request) = (Key::of("otlp.queue"), Key::of("otlp.request"));
    if otlp.request > otlp.queue {
        let (key, accepted) = if layers.is_set(&request) {
            (request, format!("no more than otlp.queue, {}", otlp.queue))
        } else {
            (queue, format!("no less than otlp.request, {}", otlp.request))
        };
        layers.refuse(&key, Some(&accepted), mistakes);
    }
    let [metrics, traces, logs] = [METRICS, TRACES, LOGS].map(|signal| destination(otlp, signal, layers, mistakes));
    let ships = |export: bool| otlp.enabled && export;
    export::Settings {
        metrics: metrics.filter(|_| ships(raw.metrics.export)),
        traces: traces.filter(|_| ships(raw.spans.export)),
        logs: logs.filter(|_| ships(raw.log.export)),
        queue_bytes: size(otlp.queue.0),
        request_bytes: size(otlp.request.0),
        shutdown: otlp.shutdown.0,
        resource: raw.resource.attributes.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
    }
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn level(level: Level) -> LevelFilter {
    match level {
        Level::Off => LevelFilter::OFF,
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    }
}
