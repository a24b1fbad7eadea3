//! Whose a call is, and on which device.

use super::*;

/// What is behind the descriptor says what an `ioctl` is: the same request to two devices, of which one is declared a
/// GPU.
#[test]
fn gpu_ioctls_are_told_by_the_device() -> Result<()> {
    let memory = 1;
    for (device, gpu) in [("/dev/null", true), ("/dev/tty0", false), ("/dev/ptmx", false)] {
        if std::fs::metadata(device).is_err() {
            continue;
        }
        let host = probes_with(|calls| calls.gpu_majors = vec![memory])?;
        let mut watched = Watched::with(host, "ioctl", &["ioctl", device, "500"])?;
        watched.finish()?;
        let totals = watched.totals();
        let expected = if gpu { (500, 500) } else { (0, 0) };
        let found = (totals.calls[Class::Gpu as usize], totals.errors[Class::Gpu as usize]);
        assert_eq!(found, expected, "{device}");
        assert_eq!(totals.latency(Class::Gpu, false).context("no histogram")?.count(), expected.0, "{device}");
    }
    Ok(())
}

/// A GPU's driver that is loaded while the agent runs is known from then on.
#[test]
fn a_gpu_s_driver_may_come_late() -> Result<()> {
    const MEMORY: u32 = 1;
    let host = probes_with(|calls| calls.gpu_majors = vec![MEMORY + 64])?;
    let mut watched = Watched::with(host, "late", &["ioctl", "/dev/null", "50"])?;
    watched.load.run()?;
    assert_eq!(watched.totals().calls[Class::Gpu as usize], 0);
    watched.host.probes_mut().set_gpu_majors(&[MEMORY, 195]);
    watched.load.run()?;
    assert_eq!(watched.totals().calls[Class::Gpu as usize], 50);
    watched.host.probes_mut().set_gpu_majors(&[195]);
    watched.finish()?;
    assert_eq!(watched.totals().calls[Class::Gpu as usize], 50, "the number is somebody else's now");
    Ok(())
}

/// Processes in a cgroup that comes up below a watched one belong to it from their first call; a cgroup beside it
/// belongs to nobody.
#[test]
fn nested_cgroups_belong_and_neighbours_do_not() -> Result<()> {
    let (outer, beside) = (Cgroup::create("outer")?, Cgroup::create("beside")?);
    let before = outer.child("before")?;
    let mut host = probes()?;
    host.add(&workload(ID.0, &outer)?)?;
    let after = outer.child("after")?;
    let deep = after.child("deep")?;
    for (cgroup, expected) in [(&before, 1000), (&after, 1000), (&deep, 1000), (&beside, 0)] {
        let calls = |host: &mut Watch| host.read(ID).map_or(0, |totals| totals.calls.iter().sum::<u64>());
        let start = calls(&mut host);
        let mut load = Load::start(&binary("syscall-load"), &["getppid", "1000"], &[cgroup])?;
        load.run()?;
        load.end()?;
        let counted = calls(&mut host) - start;
        let name = cgroup.path().display();
        ensure!(counted >= expected && counted < expected + if expected == 0 { 1 } else { 100 }, "{name}: {counted}");
    }
    assert_eq!(host.probes().lost(), (0, 0));
    Ok(())
}

/// Two workloads in one cgroup are told apart by process, and children go with their parents.
#[test]
fn processes_of_a_shared_cgroup_are_told_apart() -> Result<()> {
    let cgroup = Cgroup::create("shared")?;
    let mut host = probes()?;
    let start = |arguments: &[&str]| Load::start(&binary("syscall-load"), arguments, &[&cgroup]);
    let mut loads = [start(&["getppid", "1000"])?, start(&["fork", "50"])?, start(&["getppid", "7000"])?];
    for (number, port) in [(1, 8001), (2, 8002)] {
        let shared = inferscope::model::workload::Workload { port: Some(port), ..workload(number, &cgroup)? };
        host.add(&shared)?;
        host.claim(WorkloadId(number), &[loads[number as usize - 1].process()]);
    }
    for load in &mut loads {
        load.run()?;
        load.end()?;
    }
    let process = |host: &mut Watch, id| host.read(WorkloadId(id)).map_or(0, |totals| totals.calls.iter().sum::<u64>());
    let (first, second) = (process(&mut host, 1), process(&mut host, 2));
    ensure!((1000..1100).contains(&first), "{first}");
    // Each child of the second ends at once, and what it does before counts too.
    ensure!((100..1000).contains(&second), "{second}");
    host.remove(WorkloadId(1));
    host.remove(WorkloadId(2));
    Ok(())
}

/// What began under one workload is not charged to the next one that gets its slot.
#[test]
fn a_slot_s_next_owner_inherits_nothing() -> Result<()> {
    let mut watched = Watched::new("reuse", &["hang", "5"])?;
    watched.load.run()?;
    watched.host.remove(ID);
    let other = Cgroup::create("reuse-next")?;
    // As many as there are slots, so that the first one's comes round.
    for number in 2..17 {
        watched.host.add(&workload(number, &other)?)?;
        watched.host.remove(WorkloadId(number));
    }
    watched.host.add(&workload(17, &other)?)?;
    watched.load.end()?;
    let totals = watched.host.read(WorkloadId(17)).context("watched")?;
    assert_eq!(totals.calls, [0; CLASSES]);
    assert_eq!(totals.latencies.iter().map(|histogram| histogram.count()).sum::<u64>(), 0);
    drop(watched.cgroup);
    Ok(())
}
