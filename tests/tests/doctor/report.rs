//! Reports of the doctor, made here or by a child of another user.

use std::process::Command;

use inferscope::bpf::{Options, object};
use inferscope::doctor::{Check, Inputs, examine, json};
use inferscope::host::Host;
use inferscope::sources;
use inferscope::sources::workloads::Settings;
use serde_json::Value;

/// Stands before the child's report.
pub(crate) const MARK: &str = "the report: ";

/// The report of this process.
pub(crate) fn here() -> Value {
    of(&Host::default())
}

/// Its report of a machine.
pub(crate) fn of(host: &Host) -> Value {
    let kernel = Options { workloads: 8, ring_bytes: 1 << 16 };
    let (object, watch) = (object::OBJECT, Settings::default());
    let probes = sources::host::Settings { syscalls: true, scheduler: true, workloads: 8 };
    let endpoints = Vec::new();
    let inputs = Inputs { object, kernel, host: probes, watch: &watch, endpoints, gpu: None, library_path: None };
    let mut checks: Vec<Check> = Vec::new();
    examine(host, &inputs, &mut |check| checks.push(check));
    serde_json::from_str(&json(&checks).unwrap()).unwrap()
}

/// The report of a child with another user's id and these capabilities alone.
pub(crate) fn as_user(uid: &str, capabilities: &[&str]) -> Value {
    let set: String = capabilities.iter().map(|capability| format!(",+{capability}")).collect();
    let set = format!("-all{set}");
    let output = Command::new("setpriv")
        .args(["--reuid", uid, "--regid", uid, "--clear-groups", "--no-new-privs"])
        .args(["--inh-caps", &set, "--ambient-caps", &set])
        .arg(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let report = text.lines().find_map(|line| line.split_once(MARK)).map(|(_, report)| report);
    let report = report.unwrap_or_else(|| panic!("{text}\n{}", String::from_utf8_lossy(&output.stderr)));
    serde_json::from_str(report).unwrap()
}

/// How a thing stands.
pub(crate) fn status<'a>(report: &'a Value, name: &str) -> &'a str {
    let checks = report["checks"].as_array().unwrap();
    let found = checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("{name}: {report:#}"));
    found["status"].as_str().unwrap()
}

/// The names of everything that was tried.
pub(crate) fn names(report: &Value) -> Vec<&str> {
    report["checks"].as_array().unwrap().iter().map(|check| check["name"].as_str().unwrap()).collect()
}
