//! Who runs on this CPU, and the system call that it is in.
//!
//! Asking the kernel for the current task, finding its cgroup and its storage costs as much as all the rest of a
//! system call's programs. So it is done once for each time that a task gets a CPU: the switch leaves the answer in a
//! value of the CPU's own, where a call's entry and exit find it by one load. A call that loses its CPU takes its
//! beginning along in the task's storage.

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::btf_maps::{Array, PerCpuArray};
use aya_ebpf::macros::btf_map;
use core::ffi::c_void;
use core::intrinsics::{AtomicOrdering, atomic_xadd};
use inferscope_common::sched::Control;

use super::storage::{Call, State, TASKS};
use super::task::Task;
use super::watch;

/// One element.
#[btf_map]
static CONTROL: Array<Control, 1, { BPF_F_MMAPABLE as usize }> = Array::new();

#[btf_map]
static RUNNING: PerCpuArray<Running, 1> = PerCpuArray::new();

/// The task on this CPU.
#[repr(C)]
pub(crate) struct Running {
    /// Which one, by address; 0 = nobody looked yet.
    task: u64,
    /// Where its registers lie in its calls, which is on its own stack; 0 = it made none since it got the CPU.
    registers: u64,
    /// Since when it has the CPU; 0 = unknown.
    pub(crate) since: u64,
    /// Its slot, plus 1; 0 = it is not watched.
    slot: u32,
    /// What [`Control::members`] was when that was looked up.
    members: u32,
    /// The call that it is in.
    pub(crate) call: Call,
}

/// What is told about all workloads.
#[inline(always)]
pub(crate) fn control() -> Option<&'static Control> {
    CONTROL.get(0)
}

/// The same, to be written.
#[inline(always)]
pub(crate) fn control_mut() -> Option<*mut Control> {
    CONTROL.get_ptr_mut(0)
}

/// This CPU's value.
#[inline(always)]
pub(crate) fn here() -> Option<&'static mut Running> {
    // SAFETY: a value of this CPU. Programs on calls run with preemption off, those on switches with interrupts off.
    RUNNING.get_ptr_mut(0).map(|running| unsafe { &mut *running })
}

impl Running {
    /// The slot of the task that enters or leaves a call with these registers.
    ///
    /// Some switches go unseen: a program that is running already does not run again, and there are kernels that keep
    /// programs away from tasks of their choice. Registers of another task give that away at once.
    #[inline(always)]
    pub(crate) fn caller(&mut self, registers: *const c_void, control: &Control) -> Option<u32> {
        if self.registers != registers as u64 || self.members != control.members {
            self.look(Task::current(), control);
            self.registers = registers as u64;
        }
        self.slot.checked_sub(1)
    }

    /// The slot of the task that is about to leave.
    #[inline(always)]
    pub(crate) fn leaver(&mut self, task: Task, control: &Control) -> Option<u32> {
        if self.task != task.0 as u64 || self.members != control.members {
            self.look(task, control);
        }
        self.slot.checked_sub(1)
    }

    /// `task` has this CPU, whether it was seen to get it or not.
    #[inline(always)]
    fn look(&mut self, task: Task, control: &Control) {
        if self.task != task.0 as u64 {
            self.enter(task, control);
        } else {
            self.belongs(task, control);
        }
    }

    /// `task` gets this CPU. Answers its slot, and what is kept for it already.
    #[inline(always)]
    pub(crate) fn enter(&mut self, task: Task, control: &Control) -> (Option<u32>, Option<&'static mut State>) {
        self.task = task.0 as u64;
        self.registers = 0;
        self.since = 0;
        self.call.began = 0;
        // Whoever was in a call that is timed has something kept for it, wherever it belongs by now.
        let mut kept = None;
        if task.has_storage()
            && let Some(state) = TASKS.get(task)
        {
            self.call = state.call;
            state.call.began = 0;
            kept = Some(state);
        }
        self.belongs(task, control);
        (self.slot.checked_sub(1), kept)
    }

    #[inline(always)]
    fn belongs(&mut self, task: Task, control: &Control) {
        self.members = control.members;
        self.slot = watch::slot(task).map_or(0, |slot| slot + 1);
    }
}

/// Membership may have changed: whoever asks looks again.
#[inline(always)]
pub(crate) fn moved() {
    if let Some(control) = control_mut() {
        // SAFETY: a word of a map value.
        unsafe { atomic_xadd::<u32, u32, { AtomicOrdering::Relaxed }>(&raw mut (*control).members, 1) };
    }
}
