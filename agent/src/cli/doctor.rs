//! `inferscope doctor`: says what this machine allows.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use super::Watch;
use crate::bpf::object;
use crate::config::{Config, process};
use crate::doctor::{Check, Endpoint, Inputs, examine, json, line};
use crate::export::Destination;
use crate::host::Host;

/// Options of `inferscope doctor`.
#[derive(Args, Debug)]
pub(super) struct Options {
    #[command(flatten)]
    watch: Watch,
    /// Prints one JSON object instead of lines.
    #[arg(long)]
    json: bool,
}

/// 0 where requests can be seen, 1 where something that they need is missing.
pub(super) fn run(options: &Options) -> Result<ExitCode> {
    let config = options.watch.config()?;
    let inputs = Inputs {
        object: object::OBJECT,
        kernel: config.kernel,
        host: config.host,
        watch: &config.watch,
        endpoints: endpoints(&config),
        gpu: config.gpu.as_ref().map(|gpu| &gpu.source),
        library_path: process("LD_LIBRARY_PATH"),
    };
    let checks = print(&inputs, options.json)?;
    let fatal: Vec<&str> = checks.iter().filter(|check| check.is_fatal()).map(|check| check.name.as_str()).collect();
    if fatal.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    if !options.json {
        eprintln!("inferscope: requests cannot be seen here: {}", fatal.join(", "));
    }
    Ok(ExitCode::FAILURE)
}

/// Prints every check as soon as it is made, without colours where nobody sees them.
fn print(inputs: &Inputs<'_>, as_json: bool) -> Result<Vec<Check>> {
    let mut out = anstream::stdout();
    let mut checks: Vec<Check> = Vec::new();
    let mut printed = Ok(());
    examine(&Host::default(), inputs, &mut |check| {
        if !as_json && printed.is_ok() {
            printed = writeln!(out, "{}", line(&check));
        }
        checks.push(check);
    });
    if as_json {
        printed = writeln!(out, "{}", json(&checks)?);
    }
    match printed {
        // Whoever read the pipe has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("cannot print"),
        _ => Ok(checks),
    }
}

/// Where the configuration ships what, each address once.
fn endpoints(config: &Config) -> Vec<Endpoint> {
    let export = &config.export;
    let mut found: Vec<Endpoint> = Vec::new();
    for (signal, destination) in [("metrics", &export.metrics), ("traces", &export.traces), ("logs", &export.logs)] {
        let Some((host, port)) = destination.as_ref().and_then(address) else { continue };
        match found.iter_mut().find(|known| known.host == host && known.port == port) {
            Some(known) => known.signals = format!("{}, {signal}", known.signals),
            None => found.push(Endpoint { signals: signal.to_owned(), host, port }),
        }
    }
    found
}

fn address(destination: &Destination) -> Option<(String, u16)> {
    let usual = if destination.endpoint.scheme_str() == Some("https") { 443 } else { 80 };
    let host = destination.endpoint.host()?.to_owned();
    Some((host, destination.endpoint.port_u16().unwrap_or(usual)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Endpoints of the environment as (signals, host, port).
    fn of(environment: &[(&str, &str)]) -> Vec<(String, String, u16)> {
        let env =
            |name: &str| environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let config = Config::load(None, &env).unwrap();
        endpoints(&config).into_iter().map(|found| (found.signals, found.host, found.port)).collect()
    }

    #[test]
    fn each_address_is_tried_once() {
        let one = of(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"), ("OTEL_LOGS_EXPORTER", "none")]);
        assert_eq!(one, [("metrics, traces".to_owned(), "collector".to_owned(), 4318)]);
        let two = of(&[
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "https://[::1]/v1/metrics"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://10.0.0.1:4317"),
        ]);
        let expected = [("metrics", "[::1]", 443), ("traces", "10.0.0.1", 4317)];
        assert_eq!(two, expected.map(|(signals, host, port)| (signals.to_owned(), host.to_owned(), port)));
        assert!(of(&[]).is_empty());
    }
}
