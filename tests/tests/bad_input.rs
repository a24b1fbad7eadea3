//! What cannot be done is said with its cause and its mend, and a status that scripts can tell apart.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use inferscope_tests::agent::Setup;
use inferscope_tests::process::{Ended, Process};
use inferscope_tests::tools;

const WITHIN: Duration = Duration::from_secs(20);
/// A configuration or command line that cannot be used, as `sysexits.h` has it.
const USAGE: i32 = 64;

/// It failed with this status, and said each of these words.
fn check(ended: &Ended, status: i32, words: &[&str]) {
    let said = ended.err.join("\n");
    assert_eq!(ended.status.code(), Some(status), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not said in:\n{said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn without_privileges_the_capabilities_are_named() -> Result<()> {
    // Where everybody may read it.
    let directory = tempfile::tempdir()?;
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
    let binary = directory.path().join("inferscope");
    fs::copy(tools::inferscope()?, &binary)?;
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]);
    command.arg(&binary).arg("agent");
    let ended = Process::start("setpriv", command, None)?.wait(WITHIN)?;
    check(&ended, 1, &["root", "CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN"]);
    Ok(())
}

/// `inferscope` on a machine that looks different: `change` is a line for a shell, in a mount namespace of its own.
fn elsewhere(change: &str, arguments: &[&str]) -> Result<Process> {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &format!("{change} && exec \"$0\" \"$@\"")]);
    command.arg(tools::inferscope()?).args(arguments).env_remove("OTEL_EXPORTER_OTLP_ENDPOINT");
    Process::start("inferscope elsewhere", command, None)
}

#[test]
fn without_cgroup2_its_mount_is_named() -> Result<()> {
    for arguments in [&["agent"][..], &["top", "--plain", "--count", "1"]] {
        let ended = elsewhere("umount --all --lazy --types cgroup2", arguments)?.wait(WITHIN)?;
        check(&ended, 1, &["cgroup", "mount -t cgroup2"]);
    }
    Ok(())
}

/// Requests are metered all the same: `doctor`'s tests show one.
#[test]
fn without_kernel_types_or_endpoint_it_runs_and_says_what_is_missing() -> Result<()> {
    let mut process = elsewhere("mount -t tmpfs none /sys/kernel/btf && mount -t tmpfs none /run", &["agent"])?;
    process.until(WITHIN, "the agent to run", |process| {
        process.err().iter().any(|line| line.contains("running")).then_some(())
    })?;
    let ended = process.stop(WITHIN)?;
    check(&ended, 0, &["CONFIG_DEBUG_INFO_BTF", "read delay", "nothing is shipped", "OTEL_EXPORTER_OTLP_ENDPOINT"]);
    Ok(())
}

#[test]
fn mistakes_in_a_file_are_all_told_with_their_place() -> Result<()> {
    let text = "[metrics]\ninterval = \"soon\"\ntemporality = \"Delta\"\n[wach]\ndiscover = false\n";
    let ended = Setup::new()?.config(text)?.run(WITHIN)?;
    check(&ended, USAGE, &[".toml:2", "interval", "soon", ".toml:3", "temporality", "cumulative", "wach"]);
    Ok(())
}

#[test]
fn a_missing_file_is_named() -> Result<()> {
    let ended = Setup::new()?.arg("--config").arg("/nonexistent/inferscope.toml").run(WITHIN)?;
    check(&ended, USAGE, &["/nonexistent/inferscope.toml", "No such file"]);
    Ok(())
}

#[test]
fn a_variable_that_cannot_be_used_is_named() -> Result<()> {
    let ended = Setup::new()?.env("OTEL_EXPORTER_OTLP_PROTOCOL", "carrier-pigeon").run(WITHIN)?;
    check(&ended, USAGE, &["OTEL_EXPORTER_OTLP_PROTOCOL", "carrier-pigeon", "grpc", "http/protobuf"]);
    let secret = Setup::new()?.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:pass-4711@:::").run(WITHIN)?;
    check(&secret, USAGE, &["OTEL_EXPORTER_OTLP_ENDPOINT"]);
    assert!(!secret.err.join("\n").contains("pass-4711"), "a password is shown");
    Ok(())
}

#[test]
fn a_cgroup_that_is_none_is_named() -> Result<()> {
    for path in ["/nonexistent/cgroup", "/tmp"] {
        let ended = Setup::new()?.arg("--cgroup").arg(path).run(WITHIN)?;
        check(&ended, USAGE, &[path, "cgroup"]);
    }
    Ok(())
}

#[test]
fn an_unknown_option_is_refused() -> Result<()> {
    let ended = Setup::new()?.arg("--cgruop").arg("/").run(WITHIN)?;
    check(&ended, 2, &["--cgruop", "--cgroup"]);
    Ok(())
}
