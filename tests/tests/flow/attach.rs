//! What loading and attaching leave behind, and for whom the programs run.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{FromRawFd, OwnedFd};

use inferscope::bpf::{HookState, Kernel, Options, object};
use inferscope_common::block::Counter;
use inferscope_tests::cgroup::Cgroup;
use inferscope_tests::statistics::Statistics;

use crate::http::{REQUEST, SHORT};
use crate::pair::{Family, Maker, Pair};
use crate::rig::{Rig, wait_for};

/// Half of what the verifier allows, so that another kernel's verifier may need twice as much.
const INSTRUCTIONS: u32 = 500_000;

/// Every program loads on this kernel, and far below the verifier's limit.
#[test]
fn programs_stay_far_below_the_limit_of_the_verifier() {
    let mut rig = Rig::new();
    let counts = rig.flows().kernel().verified_instructions();
    println!("{counts:#?}");
    assert_eq!(counts.len(), 7, "{counts:?}");
    assert!(counts.iter().all(|(_, count)| *count < INSTRUCTIONS), "{counts:?}");
    let hooks = rig.flows().kernel().hooks().to_vec();
    assert!(hooks.iter().all(|hook| hook.state == HookState::Attached), "{hooks:?}");
}

/// Without the kernel's types requests are metered all the same, and each hook says why it is not there.
#[test]
fn without_types_the_flow_programs_load() {
    let rig = Rig::new();
    let mut kernel = Kernel::load(object::OBJECT, None, Options { workloads: 2, ring_bytes: 1 << 16 }).unwrap();
    assert_eq!(kernel.hooks().len(), 5);
    for hook in kernel.hooks() {
        assert!(matches!(&hook.state, HookState::Unavailable(why) if why.contains("BTF")), "{hook:?}");
    }
    let cgroup = Cgroup::create("untyped").unwrap();
    let key = inferscope_common::flow::SlotKey { cgroup: cgroup.id().unwrap(), port: 0, reserved: 0 };
    kernel.observe(key, 1).unwrap();
    let attachment = kernel.attach(cgroup.path()).unwrap();
    let mut pair = Pair::served_by(&cgroup);
    pair.ask(REQUEST);
    pair.answer(SHORT);
    let mut block = Box::new(inferscope_common::block::Block::zeroed());
    kernel.block(1).unwrap().read(&mut block);
    assert_eq!(block.counters[Counter::RequestsEnded as usize], 1);
    kernel.detach(attachment);
    drop(rig);
}

/// The flow programs do not run at all for a neighbour, however busy it is.
#[test]
fn a_neighbour_costs_nothing() {
    let mut rig = Rig::new();
    let watched = rig.watch("watched");
    let neighbour = Cgroup::create("neighbour").unwrap();
    let (mut busy, mut quiet) = (Pair::served_by(&neighbour), Pair::served_by(&watched.cgroup));
    let statistics = Statistics::enable().unwrap();
    let runs = |rig: &mut Rig| rig.flows().kernel().run_stats().unwrap().map(|(runs, _)| runs);
    let before = runs(&mut rig);
    for _ in 0..100 {
        busy.ask(REQUEST);
        busy.answer(SHORT);
    }
    assert_eq!(runs(&mut rig), before);
    quiet.ask(REQUEST);
    quiet.answer(SHORT);
    let after = runs(&mut rig);
    assert!(after[0] > before[0] && after[1] > before[1], "the statistics do not count: {before:?} {after:?}");
    drop(statistics);
}

/// Dropping the kernel half leaves no program, no link and no map.
#[test]
fn nothing_is_left_behind() {
    let mut rig = Rig::with(Options { workloads: 2, ring_bytes: 1 << 16 });
    let watched = rig.watch("left");
    let mut pair = Pair::served_by(&watched.cgroup);
    pair.ask(REQUEST);
    pair.answer(SHORT);
    rig.one();
    let ours = own_objects();
    assert!(ours.len() > 7 + 6 + 7, "programs, maps and links: {ours:?}");
    assert_eq!(ours.iter().filter(|object| !exists(object)).count(), 0);
    drop(rig);
    // The kernel frees them a moment later.
    wait_for("programs, links and maps to go", || ours.iter().all(|object| !exists(object)).then_some(()));
    pair.ask(REQUEST);
}

/// Cgroups may go before the agent notices.
#[test]
fn a_cgroup_may_go_first() {
    let mut rig = Rig::new();
    let watched = rig.watch("gone");
    let id = watched.id;
    drop(watched);
    rig.flows().remove(id);
    // And its name may come back.
    let again = rig.watch("gone");
    let mut pair = Pair::served_by(&again.cgroup);
    pair.ask(REQUEST);
    pair.answer(SHORT);
    assert_eq!(rig.one().workload, again.id);
}

/// Sockets in cgroups below a watched one belong to it, whether those were there before or came later.
#[test]
fn what_lies_below_belongs_to_it() {
    let mut rig = Rig::new();
    let above = Cgroup::create("above").unwrap();
    let before = Cgroup::below(above.path(), "before").unwrap();
    let path = above.path().to_owned();
    let watched = rig.watch_port(above, None);
    let later = Cgroup::below(&path, "later").unwrap();
    for below in [&before, &later] {
        let mut pair = Pair::served_by(below);
        pair.ask(REQUEST);
        pair.answer(SHORT);
        assert_eq!(rig.one().workload, watched.id);
    }
    // The directories go from below.
    drop((before, later));
}

/// A BPF object of this process: what it is and its id.
type Object = (&'static str, u32);

fn own_objects() -> BTreeSet<Object> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc/self/fdinfo").unwrap().flatten() {
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        for kind in ["prog_id", "map_id", "link_id"] {
            let line = text.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(':'));
            // A link names its program, too.
            if let Some(id) = line.and_then(|id| id.trim().parse().ok()) {
                found.insert((kind, id));
            }
        }
    }
    found
}

fn exists((kind, id): &Object) -> bool {
    let command: libc::c_long = match *kind {
        "prog_id" => 13,
        "map_id" => 14,
        _ => 30,
    };
    let attributes = [*id, 0, 0];
    // SAFETY: the attributes of these commands are three words, the first of which is the id.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), size_of_val(&attributes)) };
    if fd < 0 {
        return false;
    }
    // SAFETY: a descriptor that nobody else has.
    drop(unsafe { OwnedFd::from_raw_fd(fd as i32) });
    true
}

/// A followed connection takes a kibibyte of the kernel's memory, and gives it back with its socket.
#[test]
fn state_goes_with_its_socket() {
    const CONNECTIONS: usize = 3000;
    let mut rig = Rig::new();
    let watched = rig.watch("memory");
    let mut maker = Maker::new(Family::V4, Some(&watched.cgroup), None, CONNECTIONS);
    let mut pairs: Vec<Pair> = (0..CONNECTIONS).map(|_| maker.connect()).collect();
    let before = kibibytes();
    for pair in &mut pairs {
        pair.ask(REQUEST);
        pair.answer(SHORT);
    }
    rig.take(CONNECTIONS);
    // The machine's other tenants come and go, too.
    let few = CONNECTIONS / 5;
    let grown = kibibytes() - before;
    assert!(grown.abs_diff(CONNECTIONS) < few, "{grown} pieces for {CONNECTIONS} connections");
    drop(pairs);
    wait_for("the memory to be free", || (kibibytes() < before + few).then_some(()));
}

/// Pieces of memory between 512 bytes and 1 KiB that the kernel has given out.
fn kibibytes() -> usize {
    let slabs = fs::read_to_string("/proc/slabinfo").unwrap();
    let ours = slabs.lines().filter(|line| line.starts_with("kmalloc-"));
    let ours = ours.map(|line| line.split_whitespace().collect::<Vec<_>>()).filter(|words| words[0].ends_with("-1k"));
    ours.map(|words| words[1].parse::<usize>().unwrap()).sum()
}
