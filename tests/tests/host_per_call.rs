//! System calls seen by programs of their own, all of those that the agent looks at, where the kernel allows that. Needs
//! root. Apart from the other tests of calls, since on an emulated processor some four hundred programs take minutes to load.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use inferscope::bpf::host::Mode;
use inferscope::model::workload::WorkloadId;
use inferscope_common::syscall::{CLASSES, Class};
use inferscope_tests::cgroup::Cgroup;
use inferscope_tests::host::strace;
use inferscope_tests::host::watch::probes_of_the_agent;

const ID: WorkloadId = WorkloadId(1);
const THREADS: u64 = 16;
const ROUNDS: u64 = 20;

/// Scenario: every call that the agent looks at has its pair of programs, and a closed load runs under strace.
/// Guarantees: both count as many calls and errors of each class that is looked at; of the others the programs see nothing.
#[test]
fn all_of_them_count_as_strace_does() -> Result<()> {
    let begun = Instant::now();
    let mut host = probes_of_the_agent()?;
    if let (Mode::Tracepoints, why) = host.probes().mode() {
        println!("skipped: calls have no programs of their own here: {}", why.context("no reason")?);
        return Ok(());
    }
    println!("loaded within {:.1?}", begun.elapsed());
    let cgroup = Cgroup::create("all-calls")?;
    let expected = strace::closed(&mut host, ID, &cgroup, THREADS, ROUNDS)?;
    let totals = host.read(ID).context("watched")?;
    let seen = |class: Class| (totals.calls[class as usize], totals.errors[class as usize]);
    let of = |class: Class| expected[class as usize];
    println!("{} calls, {:.1?} after the start", totals.calls.iter().sum::<u64>(), begun.elapsed());
    assert_eq!(seen(Class::Network), (10 * THREADS * ROUNDS, THREADS * ROUNDS));
    // Names do not tell what is done to a socket from what is done to a file; of `other`, `ioctl` alone is looked at, which the
    // load calls twice in a round.
    let sum = |counts: [(u64, u64); 3]| counts.into_iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    let ioctls = (2 * THREADS * ROUNDS, 0);
    let descriptors = [Class::Network, Class::File, Class::Other].map(seen);
    assert_eq!(sum(descriptors), sum([of(Class::Network), of(Class::File), ioctls]), "{descriptors:?}");
    assert_eq!(seen(Class::Other), (THREADS * ROUNDS, 0), "the other half goes to a socket");
    for class in [Class::Lock, Class::Poll, Class::Memory] {
        ensure!(of(class).0 >= THREADS * ROUNDS, "{class:?}: {:?}", of(class));
        assert_eq!(seen(class), of(class), "{class:?}");
    }
    assert_eq!([Class::Process, Class::Yield].map(seen), [(0, 0); 2]);
    assert_eq!((totals.asleep, totals.lost_state), ([0; CLASSES], 0));
    Ok(())
}
