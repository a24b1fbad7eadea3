//! System calls, counted in the kernel, against strace and against what the load did. Needs root.

#[cfg(test)]
mod owners;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use inferscope::bpf::host::Mode;
use inferscope::model::host::Totals;
use inferscope::model::workload::WorkloadId;
use inferscope::sources::host::calls::Arch;
use inferscope_common::sched::Counter;
use inferscope_common::syscall::{CLASSES, Class};
use inferscope_tests::cgroup::Cgroup;
use inferscope_tests::host::load::{Load, binary};
use inferscope_tests::host::strace::{self, Counts};
use inferscope_tests::host::watch::{Watch, probes, probes_with, workload};
use inferscope_tests::statistics::Statistics;
use inferscope_tests::wait;

const ID: WorkloadId = WorkloadId(1);
const LONG: Duration = Duration::from_secs(60);

/// Probes on a cgroup, and a load in it that has not begun.
struct Watched {
    host: Watch,
    load: Load,
    cgroup: Cgroup,
}

impl Watched {
    fn new(name: &str, arguments: &[&str]) -> Result<Self> {
        Self::with(probes()?, name, arguments)
    }

    fn with(mut host: Watch, name: &str, arguments: &[&str]) -> Result<Self> {
        let cgroup = Cgroup::create(name)?;
        let load = Load::start(&binary("syscall-load"), arguments, &[&cgroup])?;
        host.add(&workload(ID.0, &cgroup)?)?;
        Ok(Self { host, load, cgroup })
    }

    fn totals(&mut self) -> Totals {
        self.host.read(ID).cloned().unwrap_or_default()
    }

    /// Runs the load and waits for its end, so that nothing is under way.
    fn finish(&mut self) -> Result<String> {
        let said = self.load.run()?;
        self.load.end()?;
        Ok(said)
    }
}

/// Network, files and the rest in one, since names do not tell a socket's `read` from a file's.
fn without_descriptors(counts: &Counts) -> [(u64, u64); 6] {
    let at = |class: Class| counts[class as usize];
    let merged = [Class::Network, Class::File, Class::Gpu, Class::Other].map(at);
    let sum = merged.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    [sum, at(Class::Lock), at(Class::Poll), at(Class::Process), at(Class::Memory), at(Class::Yield)]
}

fn counts_of(totals: &Totals) -> Counts {
    std::array::from_fn(|class| (totals.calls[class], totals.errors[class]))
}

/// Both count the very same calls of one process: strace is attached to it before the probes begin to watch, and
/// everything that it does ends while both still look.
#[test]
fn counts_are_strace_s() -> Result<()> {
    // More than a million calls; fewer on an emulated machine, where strace would take half an hour for them.
    let (threads, rounds) = (64, if std::env::var_os("INFERSCOPE_PATIENCE").is_none() { 250 } else { 20 });
    let cgroup = Cgroup::create("strace")?;
    let mut host = probes()?;
    let expected = strace::closed(&mut host, ID, &cgroup, threads, rounds)?;
    let totals = host.read(ID).context("watched")?;
    let counted = counts_of(totals);
    let calls: u64 = counted.iter().map(|class| class.0).sum();
    println!("{calls} calls, {} errors", counted.iter().map(|class| class.1).sum::<u64>());
    ensure!(calls > 4_000 * rounds, "{calls} calls");
    assert_eq!(without_descriptors(&counted), without_descriptors(&expected));
    // What names do not tell, the load's own text does: calls on sockets in each round.
    assert_eq!(counted[Class::Network as usize], (10 * threads * rounds, threads * rounds));
    assert_eq!(counted[Class::Gpu as usize], (0, 0));
    assert_eq!(totals.asleep, [0; CLASSES]);
    assert_eq!(totals.lost_state, 0);
    Ok(())
}

/// The kernel's functions for calls.
fn functions(names: &[&str]) -> Vec<String> {
    Arch::this().map(|arch| names.iter().map(|name| arch.function(name)).collect()).unwrap_or_default()
}

/// Scenario: a kernel that lets calls have programs of their own, of which four get some.
/// Guarantees: these are counted, told apart and timed as the tracepoints would; the others are not seen at all. Other
/// kernels say why not.
#[test]
fn programs_of_their_own_see_their_calls_and_no_others() -> Result<()> {
    const THREADS: u64 = 4;
    const ROUNDS: u64 = 20;
    let mut host = probes_with(|calls| calls.functions = functions(&["sendto", "recvfrom", "read", "nanosleep"]))?;
    if let (Mode::Tracepoints, reason) = host.probes().mode() {
        println!("no programs of their own here: {}", reason.context("no reason")?);
        return Ok(());
    }
    let cgroup = Cgroup::create("own")?;
    let start = |arguments: &[&str]| Load::start(&binary("syscall-load"), arguments, &[&cgroup]);
    let mut calls = start(&["calls", &THREADS.to_string(), &ROUNDS.to_string()])?;
    let mut sleep = start(&["sleep", "20000", "50"])?;
    let mut hang = start(&["hang", "20"])?;
    host.add(&workload(ID.0, &cgroup)?)?;
    calls.run()?;
    let totals = host.read(ID).context("watched")?;
    let [network, file, process] = [Class::Network, Class::File, Class::Process].map(|class| class as usize);
    // One send and one receive, one receive that finds nothing, and a socket's read.
    assert_eq!((totals.calls[network], totals.errors[network]), (4 * THREADS * ROUNDS, THREADS * ROUNDS));
    // Reads of a pipe, of which one finds nothing, and of an event; and of what the load was told.
    let reads = totals.calls[file] - 3 * THREADS * ROUNDS;
    ensure!(reads <= 2, "{reads} reads of other files");
    assert_eq!((totals.errors[file], totals.calls[process]), (THREADS * ROUNDS, 0));
    let said = sleep.run()?;
    let outside: u64 = said.split(',').map(str::parse::<u64>).sum::<Result<_, _>>()?;
    let waits = host.read(ID).context("watched")?.latency(Class::Poll, true).context("no histogram")?.clone();
    assert_eq!(waits.count(), 50);
    ensure!(waits.sum() <= outside && waits.sum() >= 50 * 20_000_000, "{} of {outside} ns", waits.sum());
    hang.run()?;
    wait::until(LONG, "twenty reads to be under way", || (host.read(ID)?.asleep[network] == 20).then_some(()))?;
    for load in [&mut calls, &mut sleep, &mut hang] {
        load.end()?;
    }
    let totals = host.read(ID).context("watched")?;
    assert_eq!((totals.asleep, totals.lost_state), ([0; CLASSES], 0));
    Ok(())
}

/// Scenario: calls are watched, by programs of their own where the kernel allows them, and the kernel takes times.
/// Guarantees: what these programs run is in what the probes say they cost.
#[test]
fn what_the_programs_on_calls_run_is_counted() -> Result<()> {
    let names = ["sendto", "recvfrom", "read", "write", "close", "fcntl"];
    let mut host = probes_with(|calls| calls.functions = functions(&names))?;
    let cgroup = Cgroup::create("run-time")?;
    let mut load = Load::start(&binary("syscall-load"), &["calls", "1", "2000"], &[&cgroup])?;
    host.add(&workload(ID.0, &cgroup)?)?;
    let _statistics = Statistics::enable()?;
    let mut grown = |host: &Watch| -> Result<Duration> {
        let before = host.probes().run_time();
        load.run()?;
        Ok(host.probes().run_time().saturating_sub(before))
    };
    let with = grown(&host)?;
    // What remains runs at the few switches.
    host.probes_mut().observe_calls(false);
    let without = grown(&host)?;
    println!("{with:?} with programs on calls, {without:?} without");
    ensure!(with > 2 * without + Duration::from_millis(1), "{with:?} with programs on calls, {without:?} without");
    Ok(())
}

#[test]
fn the_mode_is_told_with_its_reason() -> Result<()> {
    let mut host = probes_with(|calls| calls.functions = functions(&["connect", "futex"]))?;
    let (mode, reason) = host.probes().mode();
    ensure!(mode == Mode::PerCall || reason.is_some(), "tracepoints without a reason");
    host.probes_mut().observe_calls(false);
    ensure!(host.probes().mode().0 == Mode::Off);
    host.probes_mut().observe_calls(true);
    ensure!(host.probes().mode().0 == mode);
    Ok(())
}

/// Every timed call is counted once, and the time of sleeps is right: each quantile of what the kernel saw lies within
/// 1.1 % of what the caller saw, who sees the way in and out as well.
#[test]
fn quantiles_of_known_sleeps() -> Result<()> {
    let mut watched = Watched::new("sleep", &["sleep", "20000", "97", "300000", "3"])?;
    let said = watched.finish()?;
    let mut seen: Vec<u64> = said.split(',').map(str::parse).collect::<Result<_, _>>()?;
    seen.sort_unstable();
    let totals = watched.totals();
    let waits = totals.latency(Class::Poll, true).context("no histogram")?;
    assert_eq!(waits.count(), 100);
    // The caller may wait for a CPU after its call and before it looks at its clock: of the short sleeps the upper half is
    // left out, beside the long ones that wait is nothing.
    for quantile in [0.05, 0.25, 0.5, 0.99] {
        let expected = seen[((quantile * 100.0) as usize).saturating_sub(1)] as f64 / 1e9;
        let found = waits.quantile(quantile).context("empty")?;
        let error = (found - expected).abs() / expected;
        println!("p{}: {found:.6} s, {expected:.6} s from outside, {:.2} %", quantile * 100.0, error * 100.0);
        ensure!(error <= 0.011, "quantile {quantile}: {found} instead of {expected}");
    }
    assert_eq!(totals.latency(Class::Poll, false).context("no histogram")?.count(), 0, "sleeps are no work");
    let (sum, outside) = (waits.sum() as f64, seen.iter().sum::<u64>() as f64);
    ensure!(sum <= outside && sum > outside * 0.9, "{sum} of {outside} ns");
    Ok(())
}

/// With clocks on one call in 2^k, calls stay exact, and estimates of their number are unbiased: over 200 runs, each with
/// draws of its own, the mean error lies within three standard errors of nil. (Nobody knows the time truly spent to the
/// nanosecond; that sums are unbiased as well, `inferscope_common::sample` shows of the weights.)
#[test]
fn sampled_estimates_are_unbiased() -> Result<()> {
    for k in [2, 6] {
        // Luck alone takes one measurement in 370 further than three standard errors; two in turn, one in 137,000.
        ensure!(is_unbiased(k)? || is_unbiased(k)?, "k {k}: more than three standard errors, twice");
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the figures behind the answer")]
fn is_unbiased(k: u32) -> Result<bool> {
    const RUNS: usize = 200;
    const CALLS: u64 = 5_000;
    let mut watched = Watched::new(&format!("sampled{k}"), &["getppid", &CALLS.to_string()])?;
    watched.host.set_sampling(ID, k);
    watched.load.run()?;
    let class = Class::Process as usize;
    let mut before = watched.totals();
    let mut errors = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        watched.load.run()?;
        let after = watched.totals();
        let count = |totals: &Totals| totals.latency(Class::Process, false).map_or(0, |found| found.count());
        assert_eq!(after.calls[class] - before.calls[class], CALLS);
        let estimate = count(&after) - count(&before);
        ensure!(estimate.is_multiple_of(1 << k), "weights are 2^k, not {estimate}");
        errors.push(estimate as f64 - CALLS as f64);
        before = after;
    }
    let mean = errors.iter().sum::<f64>() / RUNS as f64;
    let variance = errors.iter().map(|error| (error - mean).powi(2)).sum::<f64>() / (RUNS - 1) as f64;
    let standard_error = (variance / RUNS as f64).sqrt();
    // Each call is drawn by itself: the number chosen of n scatters by sqrt(n p (1 - p)).
    let expected = (CALLS as f64 * (f64::from(1u32 << k) - 1.0)).sqrt();
    println!(
        "k {k}: mean error {mean:+.1} ± {standard_error:.1}; scatter {:.0}, expected {expected:.0}",
        variance.sqrt()
    );
    ensure!((variance.sqrt() / expected - 1.0).abs() < 0.25, "k {k}: scatter {} of {expected}", variance.sqrt());
    Ok(mean.abs() <= 3.0 * standard_error)
}

/// The clock's share can be changed while calls come, and nothing is lost or counted twice.
#[test]
fn sampling_changes_at_run_time() -> Result<()> {
    const CALLS: u64 = 2_000_000;
    let mut watched = Watched::new("change", &["getppid", &CALLS.to_string()])?;
    watched.load.go()?;
    for k in [0, 5, 1, 9, 0, 4] {
        watched.host.set_sampling(ID, k);
        std::thread::sleep(Duration::from_millis(20));
    }
    watched.load.done()?;
    watched.load.end()?;
    let totals = watched.totals();
    let calls = totals.calls[Class::Process as usize];
    ensure!((CALLS..CALLS + 100).contains(&calls), "{calls}");
    assert_eq!(totals.asleep, [0; CLASSES], "what began under one k ends with its weight");
    Ok(())
}

/// Spinning is counted and has no time.
#[test]
fn yields_are_counted_and_never_timed() -> Result<()> {
    let mut watched = Watched::new("yield", &["yield", "2000"])?;
    watched.finish()?;
    let totals = watched.totals();
    assert_eq!(totals.calls[Class::Yield as usize], 2_000);
    let timed: u64 = totals.latencies.iter().map(|histogram| histogram.count()).sum();
    ensure!(timed < 100, "{timed} calls have a time");
    Ok(())
}

/// Spinning costs the machine the same whoever does it: it is counted where nobody is watched, too.
#[test]
fn spinning_is_seen_wherever_it_happens() -> Result<()> {
    const CALLS: u64 = 5_000;
    let mut host = probes()?;
    let beside = Cgroup::create("spins")?;
    let mut load = Load::start(&binary("syscall-load"), &["yield", &CALLS.to_string()], &[&beside])?;
    let Some(before) = host.probes().spun() else {
        println!("calls have programs of their own: nobody pays for spinning");
        return Ok(());
    };
    load.run()?;
    let spun = host.probes().spun().context("the mode has changed")? - before;
    // Others on this machine may spin, too. An interrupt between two words may hide a call.
    ensure!(spun + 10 >= CALLS, "{spun} of {CALLS}");
    host.probes_mut().observe_calls(false);
    assert_eq!(host.probes().spun(), None);
    Ok(())
}

/// Calls that outlast a reading show as being under way, and end with their process without a trace.
#[test]
fn calls_under_way_show_and_die_with_their_threads() -> Result<()> {
    let mut watched = Watched::new("hang", &["hang", "20"])?;
    watched.load.run()?;
    let network = Class::Network as usize;
    let Watched { host, .. } = &mut watched;
    wait::until(LONG, "twenty reads to be under way", || (host.read(ID)?.asleep[network] == 20).then_some(()))?;
    let before = watched.totals();
    assert_eq!(before.latency(Class::Network, true).context("no histogram")?.count(), 0, "none has ended");
    // Killed by exit_group of the first thread.
    watched.load.end()?;
    let after = watched.totals();
    assert_eq!(after.asleep, [0; CLASSES]);
    assert_eq!(after.calls[network] - before.calls[network], 20);
    assert_eq!(
        after.latency(Class::Network, true).context("no histogram")?.count(),
        20,
        "they waited, and did not work"
    );
    Ok(())
}

/// A call that is read of while it lasts is under way, and no call yet; it ends as one, with all of its time.
#[test]
fn a_call_that_outlasts_readings_ends_as_one() -> Result<()> {
    let mut watched = Watched::new("long", &["sleep", "400000", "1"])?;
    watched.load.go()?;
    let poll = Class::Poll as usize;
    let Watched { host, load, .. } = &mut watched;
    for _ in 0..3 {
        wait::until(LONG, "the sleep to be under way", || (host.read(ID)?.asleep[poll] == 1).then_some(()))?;
        assert_eq!(host.read(ID).context("watched")?.calls[poll], 0);
    }
    let outside: u64 = load.done()?.parse()?;
    let totals = watched.totals();
    let waits = totals.latency(Class::Poll, true).context("no histogram")?;
    assert_eq!((totals.calls[poll], totals.asleep[poll], waits.count()), (1, 0, 1));
    ensure!((400_000_000..=outside).contains(&waits.sum()), "{} of {outside} ns", waits.sum());
    Ok(())
}

/// A thread that changes its CPU within a call, again and again, makes each of them once.
#[test]
fn calls_of_a_thread_that_moves_are_its_own() -> Result<()> {
    const MOVES: u64 = 500;
    if std::thread::available_parallelism()?.get() < 2 {
        println!("one CPU alone");
        return Ok(());
    }
    let mut watched = Watched::new("move", &["migrate", &MOVES.to_string()])?;
    let before = watched.totals();
    watched.load.run()?;
    let after = watched.totals();
    let grown = |of: fn(&Totals) -> u64| of(&after) - of(&before);
    let moved = grown(|totals| totals.counter(Counter::Migrations));
    ensure!(moved >= MOVES - 1, "moved {moved} times");
    assert_eq!(grown(|totals| totals.calls[Class::Process as usize]), MOVES);
    let timed = |totals: &Totals| {
        let both = [false, true].map(|waited| totals.latency(Class::Process, waited).map_or(0, |found| found.count()));
        both.into_iter().sum()
    };
    assert_eq!(grown(timed), MOVES, "each has its beginning");
    assert_eq!((after.asleep[Class::Process as usize], after.lost_state), (0, 0));
    Ok(())
}

/// Interrupted reads that the kernel begins again are calls, and no errors.
#[test]
fn restarted_calls_are_no_errors() -> Result<()> {
    let mut watched = Watched::new("restart", &["interrupted", "10"])?;
    watched.finish()?;
    let totals = watched.totals();
    // The first thread's sleeps are not interrupted; the reader's reads are, each time.
    assert_eq!(totals.restarts, 10);
    assert_eq!(totals.errors[Class::Network as usize], 0, "{:?}", totals.errors);
    assert_eq!(totals.asleep, [0; CLASSES]);
    Ok(())
}

/// A thread that takes over its process's number in `execve` ends the call that it began.
#[test]
fn execve_from_a_thread_is_one_call() -> Result<()> {
    let mut watched = Watched::new("execve", &["execve"])?;
    watched.load.go()?;
    // The new image begins as a load does.
    watched.load.ready()?;
    watched.load.run()?;
    watched.load.end()?;
    let totals = watched.totals();
    ensure!(totals.calls[Class::Process as usize] >= 11, "{:?}", totals.calls);
    let (began, ended) = (totals.asleep, totals.latency(Class::Process, false).context("no histogram")?.count());
    assert_eq!(began, [0; CLASSES], "the execve that began ended, under another number");
    ensure!(ended >= 11);
    Ok(())
}

/// The kernel returns twice from a fork; it counts once.
#[test]
fn forks_are_counted_once() -> Result<()> {
    let mut watched = Watched::new("fork", &["fork", "200"])?;
    let before = watched.totals().calls[Class::Process as usize];
    watched.load.run()?;
    let process = watched.totals().calls[Class::Process as usize] - before;
    // A fork and a wait each, and the few calls by which the library prepares itself and the child.
    let waits = watched.totals().latency(Class::Process, true).context("no histogram")?.count();
    ensure!(waits <= 200, "{waits} waits");
    println!("{process} calls for 200 forks");
    let per_fork = process as f64 / 200.0;
    ensure!((per_fork - per_fork.round()).abs() < 0.1, "{process} calls are no multiple of 200");
    watched.load.end()?;
    Ok(())
}
