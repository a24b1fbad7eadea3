//! Finds what an interrupted run left behind, and removes it. What bears the id of a process that still runs is
//! another run's.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::checkout::{self, Checkout};
use crate::run;

/// Names of cgroups and network namespaces begin so; the id of the process that made them follows.
const PREFIXES: [&str; 2] = ["inferscope-test-", "inferscope-bench-"];
/// Where `ip netns` keeps names.
const NAMESPACES: &str = "/run/netns";
/// A killed process is gone within this time.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// The task.
pub(crate) fn tidy() -> Result<()> {
    checkout::need_root("removing what tests left")?;
    let mounts = fs::read_to_string("/proc/self/mounts").context("cannot read the mounts")?;
    for mount in cgroup2(&mounts) {
        for cgroup in left_below(&mount) {
            eprintln!("Removing the cgroup {}, and the processes in it", cgroup.display());
            remove(&cgroup)?;
        }
    }
    for entry in fs::read_dir(NAMESPACES).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_left(&name) {
            eprintln!("Removing the network namespace {name}, and the processes in it");
            let processes = run::read(Command::new("ip").args(["netns", "pids", &name]))?;
            if !processes.trim().is_empty() {
                run::run(Command::new("kill").arg("-KILL").args(processes.split_whitespace()))?;
            }
            run::run(Command::new("ip").args(["netns", "delete", &name]))?;
        }
    }
    Ok(())
}

/// Mount points of cgroup2.
fn cgroup2(mounts: &str) -> impl Iterator<Item = PathBuf> {
    mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (place, kind) = (fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(place))
    })
}

/// True for a name of ours whose process is gone.
fn is_left(name: &str) -> bool {
    let Some(rest) = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)) else { return false };
    let process = rest.split('-').find_map(|part| part.parse::<u32>().ok());
    process.is_none_or(|process| !Path::new("/proc").join(process.to_string()).exists())
}

/// The outermost cgroups that were left.
fn left_below(cgroup: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for child in children(cgroup) {
        let name = child.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if is_left(&name) { found.push(child) } else { found.extend(left_below(&child)) }
    }
    found
}

fn children(cgroup: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(cgroup).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

fn remove(cgroup: &Path) -> Result<()> {
    let kill = cgroup.join("cgroup.kill");
    fs::write(&kill, "1").with_context(|| format!("cannot write {}", kill.display()))?;
    let begun = Instant::now();
    let events = cgroup.join("cgroup.events");
    while fs::read_to_string(&events).is_ok_and(|events| events.contains("populated 1")) {
        if begun.elapsed() > GONE_WITHIN {
            bail!("processes in {} do not die", cgroup.display());
        }
        thread::sleep(Duration::from_millis(20));
    }
    remove_empty(cgroup)
}

fn remove_empty(cgroup: &Path) -> Result<()> {
    children(cgroup).iter().try_for_each(|child| remove_empty(child))?;
    fs::remove_dir(cgroup).with_context(|| format!("cannot remove {}", cgroup.display()))
}

/// eBPF programs in the kernel: names by id; `None` where they cannot be seen.
pub(crate) type Programs = Option<BTreeMap<u32, String>>;

/// Looks for eBPF programs, with bpftool where there is one.
pub(crate) fn programs(checkout: &Checkout) -> Programs {
    let bpftool = checkout::on_path("bpftool")?;
    let text = run::read(checkout.command(bpftool).args(["--json", "program", "show"])).ok()?;
    let all: Vec<serde_json::Value> = serde_json::from_str(&text).ok()?;
    let program = |value: &serde_json::Value| {
        let name = value["name"].as_str().unwrap_or("nameless").to_owned();
        Some((u32::try_from(value["id"].as_u64()?).ok()?, name))
    };
    Some(all.iter().filter_map(program).collect())
}

/// Says which programs were not there before.
pub(crate) fn report_programs(before: Programs, after: Programs) {
    let (Some(before), Some(after)) = (before, after) else {
        eprintln!("Whether eBPF programs were left cannot be seen: that takes bpftool");
        return;
    };
    for (id, name) in after.iter().filter(|(id, _)| !before.contains_key(id)) {
        eprintln!("An eBPF program was left, or another run is under way: {name} (id {id})");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_owns_is_left() {
        let own = std::process::id();
        assert!(!is_left(&format!("inferscope-test-{own}-server")));
        assert!(!is_left(&format!("inferscope-bench-cpu-{own}")));
        // Beyond the largest id that Linux gives.
        assert!(is_left("inferscope-test-4194305-server"));
        assert!(is_left("inferscope-test-server"));
        assert!(!is_left("inferscope"));
        assert!(!is_left("system.slice"));
    }

    #[test]
    fn cgroup2_is_found_wherever_it_is_mounted() {
        let mounts = "cgroup /sys/fs/cgroup/cpu cgroup rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(cgroup2(mounts).collect::<Vec<_>>(), [Path::new("/sys/fs/cgroup/unified")]);
    }
}
