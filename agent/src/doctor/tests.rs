use std::net::TcpListener;

use super::*;
use crate::host::made_up::Machine;

/// What is said of a made-up machine, without a kernel half, and with the machine's root cut out.
fn said(machine: &Machine) -> String {
    let kernel = bpf::Options { workloads: 8, ring_bytes: 1 << 16 };
    let watch = Settings::default();
    let host = HostSettings { syscalls: true, scheduler: true, workloads: 8 };
    let endpoints = Vec::new();
    let inputs = Inputs { object: &[], kernel, host, watch: &watch, endpoints, gpu: None, library_path: None };
    let mut lines = Vec::new();
    examine(machine.host(), &inputs, &mut |check| lines.push(plain(&check)));
    lines.join("\n").replace(&machine.host().path("/").display().to_string(), "/")
}

fn plain(check: &Check) -> String {
    anstream::adapter::strip_str(&line(check)).to_string()
}

fn status(uid: u32, capabilities: u64) -> String {
    format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}\nCapEff:\t{capabilities:016x}\n")
}

#[test]
fn a_machine_that_allows_everything() {
    let machine = Machine::new();
    machine.file("proc/sys/kernel/osrelease", "6.8.0-45-generic\n");
    machine.file("proc/sys/kernel/unprivileged_bpf_disabled", "2\n");
    machine.file("proc/self/status", &status(0, u64::MAX));
    machine.file("proc/self/limits", "Max locked memory  8388608  8388608  bytes\n");
    machine.file("proc/self/mountinfo", "29 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    machine.file("proc/2/comm", "kthreadd\n");
    machine.directory("proc/2/fd");
    machine.link("proc/2/ns/net", "net:[1]");
    machine.file("proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue\n");
    machine.file("opt/driver/libnvidia-ml.so.1", "");
    machine.file("etc/ld.so.conf.d/nvidia.conf", "# the driver\n/opt/driver\n");
    // Types of a kernel are more than a test makes up: those of this one, where it shows them.
    if let Ok(types) = std::fs::read(crate::host::btf::VMLINUX) {
        machine.bytes("sys/kernel/btf/vmlinux", &types);
        insta::assert_snapshot!(said(&machine));
    }
}

#[test]
fn a_machine_that_allows_nothing() {
    insta::assert_snapshot!(said(&Machine::new()));
}

#[test]
fn an_old_machine_and_a_user_without_rights() {
    let machine = Machine::new();
    machine.file("proc/sys/kernel/osrelease", "5.4.0-192-generic\n");
    machine.file("proc/sys/kernel/unprivileged_bpf_disabled", "0\n");
    machine.file("proc/self/status", &status(65534, 1 << 39));
    machine.file("proc/self/limits", "Max locked memory  65536  65536  bytes\n");
    machine.file("proc/self/mountinfo", "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n");
    machine.process(2, "kthreadd", &[]);
    machine.file("proc/2/comm", "kthreadd\n");
    machine.file("proc/driver/nvidia/version", "NVRM version: 535.161.08\n");
    insta::assert_snapshot!(said(&machine));
}

/// What is said of GPUs where `library` is all that there is of the driver's library.
fn said_of_gpus(machine: &Machine, library: &str) -> String {
    let (host, mut lines) = (machine.host(), Vec::new());
    let mut settings = gpu::Settings { libraries: vec![host.path(library)], kmsg: None, ..gpu::Settings::default() };
    (settings.proc, settings.sys) = (host.path("/proc"), host.path("/sys"));
    gpus::gpus(host, None, &settings, &mut |check| lines.push(plain(&check)));
    lines.join("\n").replace(&host.path("/").display().to_string(), "/")
}

#[test]
fn a_library_that_is_there_and_cannot_be_loaded_is_not_well() {
    let machine = Machine::new();
    assert!(said_of_gpus(&machine, "/usr/lib64/libnvidia-ml.so.1").starts_with("missing   NVML"));
    machine.file("proc/driver/nvidia/version", "NVRM version: 550.54.15\n");
    let said = said_of_gpus(&machine, "/usr/lib64/libnvidia-ml.so.1");
    assert!(said.contains("driver 550.54.15 is loaded, but libnvidia-ml.so.1 is not where"), "{said}");
    machine.file("usr/lib64/libnvidia-ml.so.1", "of another machine");
    let said = said_of_gpus(&machine, "/usr/lib64/libnvidia-ml.so.1");
    assert!(said.starts_with("degraded  NVML") && said.contains("but cannot be loaded: "), "{said}");
    assert!(said.contains("too short") && said.contains("mend: install libnvidia-ml.so.1"), "{said}");
}

#[test]
fn a_driver_that_is_not_loaded_is_lacking_where_a_gpu_is() {
    let machine = Machine::new();
    machine.file("usr/lib64/libnvidia-ml.so.1", "of another machine");
    let said = || plain(&surroundings::gpu(machine.host(), None));
    assert!(said().contains("but the driver is not loaded"), "{}", said());
    machine.directory("sys/bus/pci/devices");
    assert!(said().starts_with("missing   NVML") && said().contains("no GPU of NVIDIA on the PCI bus"), "{}", said());
    machine.pci("0000:3b:00.0", "0x10de", "0x030200");
    assert!(said().contains("but the driver is not loaded"), "{}", said());
}

#[test]
fn only_what_requests_need_is_fatal() {
    assert!(!Check::missing("NVML", "none").is_fatal());
    assert!(!Check::degraded("load", "b", "c").is_fatal());
    let checks = [Check::ok("kernel", "6.8"), Check::missing("load", "refused").mended_by("do so")];
    assert!(checks[1].is_fatal());
    insta::assert_snapshot!(json(&checks).unwrap());
    assert!(json(&checks[..1]).unwrap().contains("\"usable\": true"));
}

#[test]
fn what_is_to_be_watched_is_checked() {
    let machine = Machine::new();
    machine.file("proc/self/mountinfo", "29 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    machine.directory("sys/fs/cgroup/a");
    let watch = |cgroups: &[&str], discover| {
        let cgroups = cgroups.iter().map(|cgroup| machine.host().path(cgroup)).collect();
        let check = surroundings::watch(machine.host(), &Settings { cgroups, discover, ..Settings::default() });
        (check.status, check.found)
    };
    let found = |text: &str| (Status::Ok, text.to_owned());
    assert_eq!(watch(&[], true), found("inference servers that are found by themselves"));
    assert_eq!(watch(&["/sys/fs/cgroup/a"], false), found("the cgroup that was named"));
    let both = watch(&["/sys/fs/cgroup/a", "/sys/fs/cgroup"], true);
    assert_eq!(both, found("the 2 cgroups that were named, and inference servers that are found by themselves"));
    assert_eq!(watch(&[], false), (Status::Missing, "nothing".to_owned()));
    let (status, text) = watch(&["/sys/fs/cgroup/b"], true);
    assert!(status == Status::Missing && text.contains("/sys/fs/cgroup/b: No such file"), "{text}");
}

#[test]
fn endpoints_are_tried_with_a_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let closed = {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        other.local_addr().unwrap().port()
    };
    let endpoint = |signals: &str, host: &str, port| Endpoint { signals: signals.into(), host: host.into(), port };
    let all = [
        endpoint("metrics", "127.0.0.1", port),
        endpoint("traces", "localhost", closed),
        endpoint("logs", "no-such-host.invalid", 4317),
    ];
    let mut said = Vec::new();
    surroundings::endpoints(&all, &mut |check| said.push(check));
    assert_eq!((said[0].status, said[0].name.as_str()), (Status::Ok, "OTLP metrics"));
    assert_eq!(said[1].status, Status::Degraded);
    assert!(said[1].found.contains("refused"), "{}", said[1].found);
    assert_eq!(said[2].status, Status::Degraded);
    assert!(said.iter().all(|check| !check.is_fatal()));
}

#[test]
fn colours_mark_the_status_alone() {
    let coloured = line(&Check::degraded("limits", "few", "raise them"));
    assert!(coloured.starts_with("\u{1b}[33mdegraded\u{1b}[0m  limits "), "{coloured:?}");
    assert_eq!(coloured.matches('\u{1b}').count(), 2);
}
