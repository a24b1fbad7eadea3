//! The running kernel takes every program of the kernel half. Needs root, and `cargo xtask build` before.

#[cfg(test)]
mod stack;

use std::path::Path;

use inferscope::bpf::bench::TestRuns;
use inferscope::bpf::{HookState, Kernel, Options, object};
use inferscope::host::btf::{Btf, VMLINUX};

/// The flow programs load, and every tracepoint attaches.
#[test]
fn programs_of_the_agent_load() {
    let btf = Btf::load(Path::new(VMLINUX)).unwrap();
    let options = Options { workloads: 4, ring_bytes: 1 << 18 };
    let kernel = Kernel::load(object::OBJECT, Some(&btf), options).unwrap();
    assert_eq!(kernel.slots(), 4);
    let missing: Vec<_> = kernel.hooks().iter().filter(|hook| hook.state != HookState::Attached).collect();
    assert!(!kernel.hooks().is_empty() && missing.is_empty(), "{missing:#?}");
}

/// So do those of the benchmarks, which take one packet again and again.
#[test]
fn programs_of_the_benchmarks_load() {
    TestRuns::load(object::OBJECT).unwrap();
}

/// The loader needs types and line numbers, and nothing else that a debugger would.
#[test]
fn the_object_holds_types_and_no_debug_sections() {
    let holds = |name: &str| object::OBJECT.windows(name.len()).any(|window| window == name.as_bytes());
    assert!(holds(".BTF.ext") && holds(".rodata"));
    assert!(!holds(".debug_info") && !holds(".debug_line"));
    // Nothing of the machine that built it: sources are named from the checkout on.
    assert!(holds("ebpf/src/packet.rs") && !holds(env!("CARGO_MANIFEST_DIR")));
}

/// Scenario: the object as it was built, whatever kernel runs here.
/// Guarantees: no chain of calls takes more of the stack than Linux 6.1 gives it.
#[test]
fn the_stack_of_every_program_suffices_on_linux_6_1() {
    let deepest = stack::deepest(object::OBJECT);
    println!("{deepest:#?}");
    assert!(deepest.len() > 10, "{deepest:?}");
    let too_deep: Vec<_> = deepest.into_iter().filter(|(_, bytes)| *bytes > stack::LIMIT).collect();
    assert_eq!(too_deep, []);
}
