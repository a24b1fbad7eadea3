//! Faults, disks, kills and throttling, each in a cgroup of its own. Needs root.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use inferscope::bpf::HookState;
use inferscope::model::workload::{Workload, WorkloadId};
use inferscope_common::disk::Direction;
use inferscope_common::sched::Counter;
use inferscope_tests::cgroup::Cgroup;
use inferscope_tests::host::books::Books;
use inferscope_tests::host::file::OnDisk;
use inferscope_tests::host::load::{Load, binary};
use inferscope_tests::host::watch::{Watch, probes, workload};
use inferscope_tests::wait;

const LONG: Duration = Duration::from_secs(60);
const FILE: usize = OnDisk::BYTES;

fn load(arguments: &[&str], cgroups: &[&Cgroup]) -> Result<Load> {
    Load::start(&binary("syscall-load"), arguments, cgroups)
}

fn watch(host: &mut Watch, number: u64, cgroup: &Cgroup) -> Result<WorkloadId> {
    host.add(&workload(number, cgroup)?)?;
    Ok(WorkloadId(number))
}

/// Faults and bytes that a process itself is told of are what its cgroup is charged with.
#[test]
fn major_faults_and_storage_bytes() -> Result<()> {
    let (cgroup, beside) = (Cgroup::create("faults")?, Cgroup::create("faults-beside")?);
    let file = OnDisk::new("faults")?;
    let mut host = probes()?;
    let mut loads = [load(&["fault", file.path()], &[&cgroup])?, load(&["named", "idle", "50"], &[&beside])?];
    let (id, other) = (watch(&mut host, 1, &cgroup)?, watch(&mut host, 2, &beside)?);
    // What its books said before belongs to the time before.
    let process = loads[0].process();
    let before = Books::asleep(process)?;
    loads[0].run()?;
    let faults = Books::asleep(process)?.since(&before).major_faults;
    loads[1].run()?;
    for load in &mut loads {
        load.end()?;
    }
    let totals = host.read(id).context("watched")?;
    let counted = totals.counter(Counter::MajorFaults);
    let bytes = totals.counter(Counter::StorageRead);
    println!("{faults} faults by its own books, {counted} by ours; {bytes} bytes from storage");
    ensure!(faults > 500, "only {faults} faults: is the file on a disk?");
    // Loading the last pages of the program may fault once more after the books were read.
    ensure!(counted >= faults && counted <= faults + 5, "{counted} instead of {faults}");
    ensure!(bytes >= FILE as u64 && bytes < FILE as u64 * 2, "{bytes} bytes");
    let totals = host.read(other).context("watched")?;
    ensure!(totals.counter(Counter::MajorFaults) <= 5, "{}", totals.counter(Counter::MajorFaults));
    Ok(())
}

/// Bytes that a file is read with, from the page cache or not, and those of them that came from the disk.
#[test]
fn reads_of_a_file_and_of_its_disk() -> Result<()> {
    let cgroup = Cgroup::create("disk")?;
    // Block I/O is charged to a cgroup of version 1 where that hierarchy has the controller; else of version 2.
    let blkio = Cgroup::v1("blkio", "disk")?;
    let is_charged = blkio.is_some() || cgroup.enable("io").is_ok();
    let file = OnDisk::new("disk")?;
    let mut host = probes()?;
    let cgroups: Vec<&Cgroup> = std::iter::once(&cgroup).chain(&blkio).collect();
    let mut load = load(&["read", file.path()], &cgroups)?;
    let id = watch(&mut host, 1, &cgroup)?;
    load.run()?;
    load.end()?;
    let disk = host.probes().hooks().iter().find(|hook| hook.name == "block_rq_complete").context("no hook")?.clone();
    let totals = host.read(id).context("watched")?;
    ensure!(totals.file_bytes_read >= FILE as u64, "{} bytes", totals.file_bytes_read);
    ensure!(totals.file_bytes_read < FILE as u64 + (1 << 20), "{} bytes", totals.file_bytes_read);
    ensure!(totals.counter(Counter::StorageRead) >= FILE as u64, "{}", totals.counter(Counter::StorageRead));
    let read = &totals.disk[Direction::Read as usize];
    println!("{} requests, {} bytes, p50 {:?} s", read.requests, read.bytes, read.latency.quantile(0.5));
    if disk.state == HookState::Attached && is_charged {
        ensure!(read.bytes >= FILE as u64 && read.bytes < FILE as u64 + (2 << 20), "{} bytes", read.bytes);
        ensure!(read.requests > 0 && read.latency.count() == read.requests, "every request has a time");
        assert_eq!(read.errors, 0);
    }
    Ok(())
}

/// A process that its cgroup's limit kills is told of once, under its workload, and counted by the cgroup's files.
#[test]
fn an_oom_kill() -> Result<()> {
    let (cgroup, beside) = (Cgroup::create("oom")?, Cgroup::create("oom-beside")?);
    let memory = cgroup.limit_memory(33_554_432)?;
    let mut host = probes()?;
    let cgroups: Vec<&Cgroup> = std::iter::once(&cgroup).chain(&memory).collect();
    let mut hungry = load(&["eat", "256"], &cgroups)?;
    let mut other = load(&["named", "idle", "50"], &[&beside])?;
    let (id, _) = (watch(&mut host, 1, &cgroup)?, watch(&mut host, 2, &beside)?);
    assert_eq!(host.files(id).context("watched")?.oom_kills, Some(0));
    let process = hungry.process();
    hungry.go()?;
    other.run()?;
    let mut kills = Vec::new();
    wait::until(LONG, "the kill to be told of", || {
        host.kills(|whose, kill| kills.push((whose, kill)));
        (!kills.is_empty()).then_some(())
    })?;
    ensure!(!hungry.end()?.success(), "it lives");
    host.kills(|whose, kill| kills.push((whose, kill)));
    assert_eq!(kills.len(), 1, "{kills:?}");
    let (whose, kill) = kills[0];
    assert_eq!((whose, kill.process), (id, process));
    ensure!(kill.name.starts_with(b"syscall-load"), "{:?}", kill.name);
    let files = host.files(id).context("watched")?;
    assert_eq!(files.oom_kills, Some(1));
    assert_eq!(files.memory_limit, Some(33_554_432));
    ensure!(files.memory_limit_hits.is_some_and(|hits| hits > 0), "{files:?}");
    Ok(())
}

/// A workload with a CPU quota is throttled, one without is not, and the files say so.
#[test]
fn throttling() -> Result<()> {
    let (cgroup, beside) = (Cgroup::create("throttle")?, Cgroup::create("throttle-beside")?);
    let cpu = cgroup.limit_cpu(4000, 20_000)?;
    let mut host = probes()?;
    let cgroups: Vec<&Cgroup> = std::iter::once(&cgroup).chain(&cpu).collect();
    let mut loads = [load(&["spin", "500", "0"], &cgroups)?, load(&["named", "idle", "50"], &[&beside])?];
    let (id, other) = (watch(&mut host, 1, &cgroup)?, watch(&mut host, 2, &beside)?);
    for load in &mut loads {
        load.run()?;
    }
    let (files, others) = (host.files(id).context("watched")?, host.files(other).context("watched")?);
    println!("{files:?}");
    let throttle = files.throttle.context("the quota's files are there")?;
    ensure!(throttle.throttled > 5 && throttle.nanos > 100_000_000, "{throttle:?}");
    ensure!(others.throttle.is_none_or(|throttle| throttle.throttled == 0), "{others:?}");
    ensure!(files.cpu_nanos.is_some_and(|nanos| nanos > 50_000_000), "{files:?}");
    ensure!(files.pressure.cpu_some.is_some(), "pressure is told for each cgroup");
    Ok(())
}

/// A cgroup that is gone, or a process that was, is no reason to fail.
#[test]
fn what_is_gone_is_no_error() -> Result<()> {
    let mut host = probes()?;
    let gone = {
        let cgroup = Cgroup::create("gone")?;
        workload(1, &cgroup)?
    };
    host.add(&gone)?;
    host.add(&Workload { id: WorkloadId(2), port: Some(80), ..gone })?;
    host.claim(WorkloadId(2), &[u32::MAX >> 1]);
    host.refresh(WorkloadId(1));
    ensure!(host.read(WorkloadId(1)).is_some() && host.files(WorkloadId(1)).is_some());
    host.remove(WorkloadId(1));
    host.remove(WorkloadId(2));
    ensure!(host.read(WorkloadId(1)).is_none());
    Ok(())
}
