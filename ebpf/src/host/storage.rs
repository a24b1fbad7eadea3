//! What is kept for each task. It lives and dies with the task: no number is taken for another's, whatever `execve`
//! does to numbers.

use aya_ebpf::bindings::{BPF_F_NO_PREALLOC, bpf_map_type::BPF_MAP_TYPE_TASK_STORAGE};
use aya_ebpf::helpers::generated::bpf_task_storage_get;

use super::task::Task;

/// A system call under way.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Call {
    /// When it began; 0 = there is none, or it is not timed.
    pub(crate) began: u64,
    /// Who it belongs to.
    pub(crate) caller: u32,
    /// What the table says of it.
    pub(crate) traits: u16,
    /// It counts for 2^k calls.
    pub(crate) k: u8,
    /// 1 where it gave the CPU up by itself, and from bit 1 on the era.
    flags: u8,
}

impl Call {
    /// Makes it one that begins now. Its beginning is written last: a program may lose its CPU in between.
    #[inline(always)]
    pub(crate) fn begin(&mut self, began: u64, caller: u32, traits: u16, k: u32, era: u32) {
        self.caller = caller;
        self.traits = traits;
        self.k = k as u8;
        self.flags = (era << 1) as u8;
        // SAFETY: a field of a live value.
        unsafe { (&raw mut self.began).write_volatile(began) };
    }

    /// True for a call that is timed and of this era.
    #[inline(always)]
    pub(crate) fn is_of(&self, era: u32) -> bool {
        self.began != 0 && self.flags >> 1 == era as u8 & 0x7f
    }

    /// True where it gave the CPU up by itself.
    #[inline(always)]
    pub(crate) fn slept(&self) -> bool {
        self.flags & 1 != 0
    }

    /// It gives the CPU up by itself.
    #[inline(always)]
    pub(crate) fn sleep(&mut self) {
        self.flags |= 1;
    }
}

/// A task's state; zeroed it is new.
#[repr(C)]
pub(crate) struct State {
    /// The call that it was in when it lost its CPU.
    pub(crate) call: Call,
    /// Since when the task is off the CPU by itself; 0 = it is not.
    pub(crate) off_since: u64,
    /// Whose switches the rest is about.
    pub(crate) owner: u32,
    /// Where they are counted.
    pub(crate) row: u32,
    /// When that was looked up.
    pub(crate) roles: u32,
    /// 1 = the books below were opened in the middle of a turn on a CPU.
    pub(crate) joined: u32,
    /// The task's own counters as they were last seen.
    pub(crate) seen: Seen,
}

/// Counters that the kernel keeps for a task by itself.
#[repr(C)]
pub(crate) struct Seen {
    pub(crate) run_delay: u64,
    pub(crate) voluntary: u64,
    pub(crate) involuntary: u64,
    pub(crate) migrations: u64,
    pub(crate) major_faults: u64,
    pub(crate) read_bytes: u64,
    pub(crate) write_bytes: u64,
}

impl Seen {
    /// Those of a task that has done nothing.
    pub(crate) const ZERO: Self = Self {
        run_delay: 0,
        voluntary: 0,
        involuntary: 0,
        migrations: 0,
        major_faults: 0,
        read_bytes: 0,
        write_bytes: 0,
    };

    /// A task's, as they stand.
    #[inline(always)]
    pub(crate) fn of(task: Task) -> Self {
        Self {
            run_delay: task.run_delay(),
            voluntary: task.voluntary(),
            involuntary: task.involuntary(),
            migrations: task.migrations(),
            major_faults: task.major_faults(),
            read_bytes: task.read_bytes(),
            write_bytes: task.write_bytes(),
        }
    }
}

/// The state of each task that belongs to a watched workload.
#[unsafe(link_section = ".maps")]
#[unsafe(export_name = "TASKS")]
pub(crate) static TASKS: TaskStorage<State> = TaskStorage::new();

/// The binding of processes that are told apart one by one, at their first threads; set by the agent, handed on to
/// children by the kernel.
#[unsafe(link_section = ".maps")]
#[unsafe(export_name = "MARKS")]
pub(crate) static MARKS: TaskStorage<u32> = TaskStorage::new();

/// Storage by task; aya-ebpf has none.
#[repr(C)]
pub(crate) struct TaskStorage<T> {
    r#type: *const [i32; BPF_MAP_TYPE_TASK_STORAGE as usize],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; BPF_F_NO_PREALLOC as usize],
}

// SAFETY: the fields are a description for the loader and never dereferenced.
unsafe impl<T> Sync for TaskStorage<T> {}

impl<T> TaskStorage<T> {
    const fn new() -> Self {
        Self {
            r#type: core::ptr::null(),
            key: core::ptr::null(),
            value: core::ptr::null(),
            max_entries: core::ptr::null(),
            map_flags: core::ptr::null(),
        }
    }

    #[inline(always)]
    fn lookup(&self, task: Task, flags: u64) -> Option<&'static mut T> {
        let map = core::ptr::from_ref(self).cast_mut().cast();
        // SAFETY: a task that the verifier knows; what comes back is null or a value of this map, which lives until
        // the program ends.
        unsafe {
            bpf_task_storage_get(map, task.0.cast_mut().cast(), core::ptr::null_mut(), flags).cast::<T>().as_mut()
        }
    }

    /// The task's value, if it has one.
    #[inline(always)]
    pub(crate) fn get(&self, task: Task) -> Option<&'static mut T> {
        self.lookup(task, 0)
    }

    /// The task's value, zeroed when new; `None` when there is no memory.
    #[inline(always)]
    pub(crate) fn get_or_create(&self, task: Task) -> Option<&'static mut T> {
        self.lookup(task, 1)
    }
}
