//! System calls: how many, how many failed, and how long they took, by class.
//!
//! Two ways in, of which the agent takes one: the pair of tracepoints that sees every call of the machine, or a pair
//! of programs on each system call of interest, which leaves all others alone.

use aya_ebpf::Global;
use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::btf_maps::{Array, PerCpuArray};
use aya_ebpf::helpers::generated::{bpf_get_prandom_u32, bpf_get_smp_processor_id};
use aya_ebpf::macros::{btf_map, btf_tracepoint, fentry, fexit};
use aya_ebpf::programs::{BtfTracePointContext, FEntryContext, FExitContext};
use core::arch::asm;
use core::ffi::c_void;
use inferscope_common::sample;
use inferscope_common::syscall::traits::{DESCRIPTOR, FORKS, NO_ERROR, READS, UNTIMED, WAITS, class, with_class};
use inferscope_common::syscall::{
    CLASSES, Class, Counts, HISTS, Latencies, NUMBERS, hist as hist_of, is_error, is_restart,
};
use inferscope_common::watch::{binding, binding_slot};

use crate::hist::{self, add};
use crate::host::descriptor::{self, Kind};
use crate::host::storage::{Call, TASKS};
use crate::host::task::Task;
use crate::host::{member, now, running};
use crate::offsets::offsets;

offsets! {
    /// `pt_regs`: the number of the call.
    REGS_NUMBER,
    /// `pt_regs`: its first argument, which it keeps while the call runs.
    REGS_FIRST,
    /// Copies of the counters for each slot, less one.
    STRIPE_MASK,
    /// 1 = there are more CPUs than copies.
    STRIPES_SHARED,
}

/// What is known of each call, by number.
#[unsafe(no_mangle)]
static TRAITS: Global<[u16; NUMBERS]> = Global::new([Class::Other as u16; NUMBERS]);

/// Counters by slot and stripe. The agent sets the number of slots when it loads.
#[btf_map]
static SYSCALL_COUNTS: Array<Counts, 1, { BPF_F_MMAPABLE as usize }> = Array::new();

/// Latencies by slot.
#[btf_map]
static SYSCALL_LATENCIES: Array<Latencies, 1, { BPF_F_MMAPABLE as usize }> = Array::new();

/// The state from which the next draw is made.
#[btf_map]
static DRAWS: PerCpuArray<u64, 1> = PerCpuArray::new();

/// Calls that did nothing but spin, whoever made them.
#[btf_map]
static SPUN: PerCpuArray<u64, 1> = PerCpuArray::new();

#[btf_tracepoint(function = "sys_enter")]
fn syscall_enter(ctx: BtfTracePointContext) -> i32 {
    enter(ctx.arg(0), ctx.arg::<i64>(1) as u32);
    0
}

#[btf_tracepoint(function = "sys_exit")]
fn syscall_exit(ctx: BtfTracePointContext) -> i32 {
    let regs = ctx.arg(0);
    exit(regs, number(regs), ctx.arg(1), STRIPES_SHARED.load() != 0);
    0
}

#[fentry]
fn call_enter(ctx: FEntryContext) -> i32 {
    let regs = ctx.arg(0);
    enter(regs, number(regs));
    0
}

#[fexit]
fn call_exit(ctx: FExitContext) -> i32 {
    let regs = ctx.arg(0);
    // It may lose its CPU to another program like it.
    exit(regs, number(regs), ctx.arg(1), true);
    0
}

#[inline(always)]
fn enter(regs: *const c_void, number: u32) {
    let mut traits = traits(number);
    if traits & UNTIMED != 0 {
        return;
    }
    let (Some(control), Some(running)) = (running::control(), running::here()) else { return };
    let Some(slot) = running.caller(regs, control) else { return };
    // Whatever began before has ended.
    running.call.began = 0;
    let Some(counts) = counts(slot) else { return };
    // SAFETY: a map value; the agent writes it at any time, each word whole.
    let (k, owner) = unsafe { ((*counts).k, (*counts).owner) };
    if owner == 0 || k != 0 && !draw(k) {
        return;
    }
    if traits & DESCRIPTOR != 0 {
        traits = described(traits, regs);
    }
    running.call.begin(now(), binding(slot, owner), traits, k, control.era);
}

#[inline(always)]
fn exit(regs: *const c_void, number: u32, answer: i64, shared: bool) {
    let traits = traits(number);
    // The new task's side of a fork has not called.
    if traits & FORKS != 0 && answer == 0 {
        return;
    }
    if class(traits) == Class::Yield as u8 {
        spun();
    }
    let (Some(control), Some(running)) = (running::control(), running::here()) else { return };
    let slot = running.caller(regs, control);
    // Calls without a time leave nothing here, and what is here may be of an era that is over.
    if traits & UNTIMED == 0 && running.call.is_of(control.era) {
        let call = running.call;
        running.call.began = 0;
        return timed(&call, answer, shared);
    }
    let Some(slot) = slot else { return };
    let Some(counts) = counts(slot) else { return };
    // SAFETY: a map value.
    if unsafe { (*counts).owner } == 0 {
        return;
    }
    count(counts, if traits & DESCRIPTOR != 0 { described(traits, regs) } else { traits }, answer, shared);
}

/// A call whose beginning is known. What began as a watched call ends as one, wherever the task went meanwhile.
#[inline(always)]
fn timed(call: &Call, answer: i64, shared: bool) {
    let took = now().saturating_sub(call.began);
    let Some(counts) = owned(call) else { return };
    count(counts, call.traits, answer, shared);
    let weight = 1 << (call.k & 31);
    if call.slept() {
        // SAFETY: a word of a map value.
        unsafe { add(of_class(&raw mut (*counts).asleep, call.traits), (weight as u64).wrapping_neg()) };
    }
    let waited = call.traits & WAITS != 0 && call.slept();
    let Some(place) = hist_of(class(call.traits), waited) else { return };
    let Some(latencies) = SYSCALL_LATENCIES.get_ptr_mut(binding_slot(call.caller)) else { return };
    // SAFETY: a map value.
    unsafe { record_latency(latencies, place as u64, took, weight) };
}

/// The task in a call loses its CPU, and takes the call along.
#[inline(always)]
pub(crate) fn park(task: Task, call: &mut Call, sleeps: bool) {
    let Some(counts) = owned(call) else { return };
    let weight = 1u64 << (call.k & 31);
    let Some(state) = TASKS.get_or_create(task) else {
        // SAFETY: a word of a map value.
        return unsafe { add(&raw mut (*counts).lost_state, weight) };
    };
    if sleeps && !call.slept() {
        call.sleep();
        // SAFETY: as above.
        unsafe { add(of_class(&raw mut (*counts).asleep, call.traits), weight) };
    }
    state.call = *call;
}

/// The counters of a call's owner, unless the slot has gone to somebody else while it lasted.
#[inline(always)]
fn owned(call: &Call) -> Option<*mut Counts> {
    // SAFETY: a map value.
    counts(binding_slot(call.caller)).filter(|&counts| unsafe { (*counts).owner } == call.caller >> 16)
}

/// A function of its own for the verifier, which otherwise loses sight of the bounds of `place`.
///
/// # Safety
/// `latencies` must be a map value or null.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn record_latency(latencies: *mut Latencies, place: u64, nanos: u64, weight: u32) -> u32 {
    let place = place as usize;
    if latencies.is_null() || place >= HISTS {
        return 0;
    }
    // SAFETY: a histogram that is there.
    unsafe { hist::record(&raw mut (*latencies)[place], nanos, weight) };
    1
}

#[inline(always)]
fn count(counts: *mut Counts, traits: u16, answer: i64, shared: bool) {
    // SAFETY: words of a map value: the class is below CLASSES.
    unsafe {
        tally(of_class(&raw mut (*counts).calls, traits), 1, shared);
        if answer < 0 {
            if is_restart(answer) {
                tally(&raw mut (*counts).restarts, 1, shared);
            } else if is_error(answer) && traits & NO_ERROR == 0 {
                tally(of_class(&raw mut (*counts).errors, traits), 1, shared);
            }
        } else if traits & READS != 0 {
            tally(&raw mut (*counts).file_bytes_read, answer as u64, shared);
        }
    }
}

/// Adds to a word of this CPU's counters, which no other program writes. Programs on the tracepoints of calls run with
/// preemption off: where no other CPU counts there too, an atomic addition, a fifth of their time, has nothing to do.
///
/// # Safety
/// `word` must lie in a map value.
#[inline(always)]
unsafe fn tally(word: *mut u64, amount: u64, shared: bool) {
    // SAFETY: the caller's.
    unsafe {
        if shared {
            add(word, amount);
        } else {
            *word = (*word).wrapping_add(amount);
        }
    }
}

/// The word of a class, within bounds that the verifier sees.
#[inline(always)]
fn of_class(words: *mut [u64; CLASSES], traits: u16) -> *mut u64 {
    let mut class = class(traits) as usize;
    // The verifiers of older kernels follow a comparison that cannot turn out so, with bounds that no number has;
    // behind a mask that the compiler has to leave they reckon anew.
    // SAFETY: a class has four bits.
    unsafe { asm!("{0} &= 15", inout(reg) class, options(pure, nomem, nostack)) };
    words.cast::<u64>().wrapping_add(if class < CLASSES { class } else { Class::Other as usize })
}

/// What the table says, made more precise by the descriptor.
#[inline(always)]
fn described(traits: u16, regs: *const c_void) -> u16 {
    // SAFETY: a typed pointer and its member.
    let descriptor: u32 = unsafe { member(regs, &REGS_FIRST) };
    match descriptor::kind(Task::current(), descriptor) {
        Some(Kind::Socket) => with_class(traits, Class::Network) & !READS,
        Some(Kind::Gpu) if class(traits) == Class::Other as u8 => with_class(traits, Class::Gpu),
        Some(Kind::Storage) => traits & !WAITS,
        _ => traits & !READS,
    }
}

#[inline(always)]
fn traits(number: u32) -> u16 {
    if number < NUMBERS as u32 {
        // SAFETY: within the table. Volatile, since the compiler takes it for a constant.
        unsafe { (&raw const TRAITS).cast::<u16>().add(number as usize).read_volatile() }
    } else if number == u32::MAX {
        // The frame that `rt_sigreturn` restores leaves no number behind.
        Class::Process as u16 | UNTIMED | NO_ERROR
    } else {
        Class::Other as u16
    }
}

#[inline(always)]
fn number(regs: *const c_void) -> u32 {
    // SAFETY: a typed pointer and its member.
    unsafe { member(regs, &REGS_NUMBER) }
}

/// This CPU's counters of a slot.
#[inline(always)]
pub(super) fn counts(slot: u32) -> Option<*mut Counts> {
    let mask = STRIPE_MASK.load();
    // SAFETY: asks for the CPU's number.
    let stripe = unsafe { bpf_get_smp_processor_id() } & mask;
    SYSCALL_COUNTS.get_ptr_mut(slot * (mask + 1) + stripe)
}

#[inline(always)]
fn spun() {
    if let Some(spun) = SPUN.get_ptr_mut(0) {
        // SAFETY: this CPU's value. Another program may come between: then two calls count as one.
        unsafe { *spun = (*spun).wrapping_add(1) };
    }
}

#[inline(always)]
fn draw(k: u32) -> bool {
    let Some(state) = DRAWS.get_ptr_mut(0) else { return true };
    // SAFETY: this CPU's value. Another program may come between: then two draws are alike, and both are fair.
    unsafe {
        if *state == 0 {
            *state = u64::from(bpf_get_prandom_u32()) << 32 | u64::from(bpf_get_prandom_u32());
        }
        *state = sample::step(*state);
        sample::chosen(*state, k)
    }
}
