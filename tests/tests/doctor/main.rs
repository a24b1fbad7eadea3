//! What `inferscope doctor` says of this machine, to root and to others. Needs root, and the kernel half built in.

#[cfg(test)]
mod report;

use inferscope::host::Host;
use report::{as_user, here, names, status};

/// Scenario: root on a machine that the tests of this crate run on.
/// Guarantees: nothing that requests need is missing, and a request was really seen.
#[test]
fn root_lacks_nothing_that_requests_need() {
    let report = here();
    println!("{report:#}");
    assert_eq!(report["usable"], true);
    for name in ["kernel types", "cgroups", "kernel half", "load", "hook inet_sock_set_state", "attach", "meter"] {
        assert_eq!(status(&report, name), "ok", "{name}");
    }
    assert!(names(&report).iter().all(|name| name.len() <= 26), "the lines are aligned");
}

/// Scenario: a user without any capability.
/// Guarantees: every line is there, and says what is lacking.
#[test]
fn nobody_is_told_what_is_lacking() {
    let report = as_user("65534", &[]);
    println!("{report:#}");
    assert_eq!(report["usable"], false);
    let lacking = report["checks"].to_string();
    for capability in ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON", "CAP_SYS_PTRACE"] {
        assert!(lacking.contains(capability), "{capability}");
    }
    assert_eq!((status(&report, "capabilities"), status(&report, "load")), ("missing", "missing"));
    assert_eq!(status(&report, "cgroups"), "ok");
    let checks = report["checks"].as_array().unwrap();
    let unmended = |check: &&serde_json::Value| check["status"] == "degraded" && check["mend"].is_null();
    assert_eq!(checks.iter().find(unmended), None);
}

/// Scenario: capabilities with which requests are not seen, with which they are, and with which nothing is lacking.
/// Guarantees: the doctor names those that are lacking, and no others.
#[test]
fn the_least_capabilities_suffice() {
    let report = as_user("65532", &["bpf", "net_admin"]);
    assert_eq!((status(&report, "capabilities"), status(&report, "load")), ("missing", "missing"));

    let report = as_user("65532", &["bpf", "net_admin", "perfmon"]);
    println!("{report:#}");
    assert_eq!(report["usable"], true);
    for name in ["load", "hook tcp_rcv_space_adjust", "attach", "meter"] {
        assert_eq!(status(&report, name), "ok", "{name}");
    }
    assert_eq!((status(&report, "capabilities"), status(&report, "processes")), ("degraded", "degraded"));

    let report = as_user("65532", &["bpf", "net_admin", "perfmon", "sys_ptrace", "dac_read_search"]);
    println!("{report:#}");
    for name in ["capabilities", "meter", "processes"] {
        assert_eq!(status(&report, name), "ok", "{name}");
    }
}

/// Scenario: a kernel that does not show its types.
/// Guarantees: requests are seen all the same, and each tracepoint says what goes without it.
#[test]
fn without_kernel_types_requests_are_seen_all_the_same() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("sys")).unwrap();
    for path in ["proc", "sys/fs"] {
        std::os::unix::fs::symlink(format!("/{path}"), root.path().join(path)).unwrap();
    }
    let report = report::of(&Host::at(root.path()));
    println!("{report:#}");
    assert_eq!(report["usable"], true);
    for name in ["kernel types", "hook inet_sock_set_state", "hook tcp_rcv_space_adjust"] {
        assert_eq!(status(&report, name), "degraded", "{name}");
    }
    assert_eq!((status(&report, "load"), status(&report, "meter")), ("ok", "ok"));
}

/// Not a test: what the others start as another user.
#[test]
#[ignore = "started by the others"]
fn child() {
    println!("{}{}", report::MARK, here());
}
