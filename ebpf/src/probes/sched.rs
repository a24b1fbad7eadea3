//! The scheduler: how long threads wait for a CPU and sleep, by role.
//!
//! One hook. The kernel keeps each task's own books (run delay, switches, migrations, faults, I/O); whenever a
//! watched task leaves a CPU, what they grew by is added to its row. Nothing happens when it wakes up.

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::btf_maps::{Array, HashMap};
use aya_ebpf::macros::{btf_map, btf_tracepoint};
use aya_ebpf::programs::BtfTracePointContext;
use core::ffi::c_void;
use inferscope_common::sched::{Counter, Name, ROLES, Role, Row, SlotRows};
use inferscope_common::watch::binding;

use crate::hist::{self, add};
use crate::host::storage::{Seen, State, TASKS};
use crate::host::task::Task;
use crate::host::{now, running};
use crate::probes::syscall;

/// Rows. The agent sets their number when it loads; row 0 is nobody's.
#[btf_map]
static SCHED_ROWS: Array<Row, 1, { BPF_F_MMAPABLE as usize }> = Array::new();

/// By slot.
#[btf_map]
static SLOT_ROWS: Array<SlotRows, 1, { BPF_F_MMAPABLE as usize }> = Array::new();

/// Roles of processes that the agent knows by their titles.
#[btf_map]
static PROCESS_ROLES: HashMap<u32, u32, 8192> = HashMap::new();

/// Roles by the names of threads.
#[btf_map]
static NAME_ROLES: HashMap<Name, u32, 256> = HashMap::new();

/// A task that sleeps and cannot be disturbed: it waits for a disk.
const UNINTERRUPTIBLE: u32 = 2;
/// States of tasks that will not run again.
const DEAD: u32 = 0x80 | 0x10 | 0x20;

#[btf_tracepoint(function = "sched_switch")]
fn sched_switch(ctx: BtfTracePointContext) -> i32 {
    let (prev, next) = (Task(ctx.arg::<*const c_void>(1)), Task(ctx.arg::<*const c_void>(2)));
    let (Some(control), Some(running)) = (running::control(), running::here()) else { return 0 };
    let slot = running.leaver(prev, control);
    // A task that is preempted stays runnable, whatever its state says.
    let state = if ctx.arg::<u64>(0) as u8 != 0 { 0 } else { ctx.arg::<u32>(3) };
    if running.call.is_of(control.era) {
        syscall::park(prev, &mut running.call, state != 0);
    }
    let since = running.since;
    let (into, kept) = running.enter(next, control);
    if control.accounting == 0 || slot.is_none() && into.is_none() {
        return 0;
    }
    let now = now();
    running.since = now;
    if let Some(slot) = into {
        arrive(next, slot, kept);
    }
    if let Some(slot) = slot {
        leave(prev, slot, since, now, state);
    }
    0
}

/// A watched task gets a CPU. The kernel has not yet added its wait to its books: those of a task that is seen for the first
/// time are opened here, so that this wait is the first that counts.
#[inline(always)]
fn arrive(task: Task, slot: u32, kept: Option<&'static mut State>) {
    let Some(owner) = owner(slot) else { return };
    let owner = binding(slot, owner);
    let state = match kept {
        Some(state) => state,
        // Without memory it is tried again when the task leaves, and counted as lost.
        None => match TASKS.get_or_create(task) {
            Some(state) => state,
            None => return,
        },
    };
    if state.owner != owner {
        // What happened before a task first ran is its own already.
        open(state, owner, if task.runs() == 0 { Seen::ZERO } else { Seen::of(task) });
    }
}

/// The number of a slot's owner.
#[inline(always)]
pub(crate) fn owner(slot: u32) -> Option<u32> {
    SLOT_ROWS.get(slot).map(|rows| rows.owner).filter(|&owner| owner != 0)
}

/// Forgets where a task's switches are counted, for it has another name now.
#[btf_tracepoint(function = "task_rename")]
fn task_rename(ctx: BtfTracePointContext) -> i32 {
    let task = Task(ctx.arg::<*const c_void>(0));
    if task.has_storage()
        && let Some(state) = TASKS.get(task)
    {
        state.roles = 0;
    }
    0
}

/// A watched task leaves the CPU that it had since `since` (0 = unknown).
#[inline(always)]
fn leave(task: Task, slot: u32, since: u64, now: u64, task_state: u32) {
    let Some(control) = running::control_mut() else { return };
    let Some(owner) = owner(slot) else { return };
    let Some(state) = TASKS.get_or_create(task) else {
        // SAFETY: a word of a map value.
        return unsafe { add(&raw mut (*control).lost, 1) };
    };
    if state.owner != binding(slot, owner) {
        // Nobody saw it come. Its wait is in the books already, with all those before.
        open(state, binding(slot, owner), Seen::of(task));
        state.joined = 1;
    }
    // SAFETY: a map value.
    let roles = unsafe { (*control).roles };
    if state.roles != roles {
        state.roles = roles;
        state.row = row_of(task, slot);
    }
    let Some(row) = SCHED_ROWS.get_ptr_mut(state.row).filter(|_| state.row != 0) else {
        // SAFETY: a word of a map value.
        return unsafe { add(&raw mut (*control).lost, 1) };
    };
    let run_delay = task.run_delay();
    let delay = run_delay.wrapping_sub(state.seen.run_delay);
    state.seen.run_delay = run_delay;
    // SAFETY: histograms of a map value.
    unsafe {
        if state.joined == 0 {
            hist::record(&raw mut (*row).run_delay, delay, 1);
        }
        if state.off_since != 0 && since > state.off_since {
            // What it then waited for a CPU is told apart.
            hist::record(&raw mut (*row).blocked, (since - state.off_since).saturating_sub(delay), 1);
        } else if state.off_since != 0 {
            // Nobody saw it come back.
            add(&raw mut (*control).lost, 1);
        }
    }
    state.joined = 0;
    state.off_since = if task_state == 0 || task_state & DEAD != 0 { 0 } else { now };
    books(task, row, &mut state.seen, task_state & (DEAD | UNINTERRUPTIBLE) != 0);
}

/// Begins to keep a task's books for an owner.
#[inline(always)]
fn open(state: &mut State, owner: u32, seen: Seen) {
    state.owner = owner;
    state.roles = 0;
    state.off_since = 0;
    state.joined = 0;
    state.seen = seen;
}

#[inline(always)]
fn books(task: Task, row: *mut Row, seen: &mut Seen, with_io: bool) {
    grow(row, Counter::Voluntary, task.voluntary(), &mut seen.voluntary);
    grow(row, Counter::Involuntary, task.involuntary(), &mut seen.involuntary);
    grow(row, Counter::Migrations, task.migrations(), &mut seen.migrations);
    grow(row, Counter::MajorFaults, task.major_faults(), &mut seen.major_faults);
    if with_io {
        grow(row, Counter::StorageRead, task.read_bytes(), &mut seen.read_bytes);
        grow(row, Counter::StorageWritten, task.write_bytes(), &mut seen.write_bytes);
    }
}

#[inline(always)]
fn grow(row: *mut Row, counter: Counter, value: u64, seen: &mut u64) {
    if value != *seen {
        // SAFETY: a word of a map value.
        unsafe { add(&raw mut (*row).counters[counter as usize], value.wrapping_sub(*seen)) };
        *seen = value;
    }
}

/// The row for a task of a slot: its role's, where the role is known and has one.
#[inline(always)]
fn row_of(task: Task, slot: u32) -> u32 {
    let Some(rows) = SLOT_ROWS.get_ptr_mut(slot) else { return 0 };
    // SAFETY: values are plain numbers.
    let by_name = unsafe { NAME_ROLES.get(task.name()) }.copied();
    let role = match by_name {
        // The driver's threads are its own in whatever process; other names hold for what has no title.
        Some(role) if role == Role::Driver as u32 => role,
        // SAFETY: as above.
        _ => unsafe { PROCESS_ROLES.get(task.process()) }.copied().or(by_name).unwrap_or(Role::Other as u32),
    };
    let place = if role < ROLES as u32 { role as usize & (ROLES - 1) } else { Role::Other as usize };
    // SAFETY: a map value; the agent reads what is wanted and writes the rows, each whole.
    unsafe {
        (&raw mut (*rows).wanted).cast::<u8>().add(place).write(1);
        let own = (*rows).rows[place];
        if own != 0 { own } else { (*rows).rows[Role::Other as usize] }
    }
}
