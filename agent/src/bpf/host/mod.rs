//! The kernel half's probes of the host: system calls, the scheduler, block I/O, kills for want of memory.
//!
//! Loaded apart from the flow programs, so that they can be shed as a whole.

pub mod bench;
mod calls;
mod kfunc;
mod load;
mod mapped;
mod marks;
mod members;
mod placed;
mod table;

use std::io;
use std::mem::offset_of;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aya::maps::{HashMap, MapData, PerCpuArray, RingBuf};
use aya::{Btf, Ebpf};
use inferscope_common::disk::{Direction, Disk, Way};
use inferscope_common::hist::HistWords;
use inferscope_common::oom::OomKill;
use inferscope_common::sample::MAX_K;
use inferscope_common::sched::{self, Control, Role, Row, SlotRows};
use inferscope_common::syscall::{CLASSES, Counts, Latencies, MAJORS};

pub use calls::Mode;
pub use load::{Begin, Calls, LoadError, Options};

use super::hooks::{Hook, HookState};
use super::live::LiveHist;
use super::mapping::Mapping;
use super::on_demand::OnDemand;
use super::stats;
use calls::{Links, Point};
use mapped::Mapped;
use placed::Done;
use table::Table;

/// Name of the hook that keeps track of who runs.
const TRACKER: &str = "sched_switch";
/// Name of what the scheduler's books tell; the hook is the tracker's.
const SCHED: &str = "scheduler";
/// Why a hook is off that nothing forbids.
const OFF: &str = "switched off";

/// The loaded programs and their maps; everything is detached and freed when it is dropped.
pub struct Host {
    ebpf: Ebpf,
    functions: Vec<String>,
    stripes: u32,
    table: Table,
    marks: MapData,
    counts: Mapped<Counts>,
    latencies: Mapped<Latencies>,
    rows: Mapped<Row>,
    slots: Mapped<SlotRows>,
    control: Mapped<Control>,
    disks: OnDemand<Disk>,
    roles: HashMap<MapData, u32, u32>,
    /// A bit for each major number.
    gpu_majors: Mapped<[u64; MAJORS / 64]>,
    spun: PerCpuArray<MapData, u64>,
    kills: RingBuf<MapData>,
    calls: Links,
    /// By hook: those that are on.
    points: Vec<(&'static str, Point)>,
    hooks: Vec<Hook>,
    /// Why there is no pair of programs on each call.
    not_per_call: Option<String>,
}

impl Host {
    /// What became of each hook.
    pub fn hooks(&self) -> &[Hook] {
        &self.hooks
    }

    /// Slots that there are.
    pub fn slots(&self) -> u32 {
        self.slots.len()
    }

    /// Rows that there are; row 0 is nobody's.
    pub fn rows(&self) -> u32 {
        self.rows.len()
    }

    /// How system calls are seen now, and why not by programs of their own where that was not possible.
    pub fn mode(&self) -> (Mode, Option<&str>) {
        (self.calls.mode(), self.not_per_call.as_deref())
    }

    /// Sees system calls in the best way that the kernel allows, or not at all. What is attached already stays.
    /// Switching on takes some tenths of a second, and seconds where calls have programs of their own.
    pub fn observe_calls(&mut self, on: bool) {
        if self.would_change(load::SYSCALLS, on) {
            with_types(on, |types| self.switch_calls(types));
        }
    }

    /// On where there are types to attach by.
    fn switch_calls(&mut self, types: Types<'_>) {
        self.calls = Links::default();
        let state = types.map_or_else(HookState::Unavailable, |types| self.attach_calls(types));
        self.set_state(load::SYSCALLS, state);
        self.track();
    }

    fn attach_calls(&mut self, types: &Btf) -> HookState {
        self.switch_point(TRACKER, Ok(types));
        if let Some(reason) = self.why_not(TRACKER) {
            return HookState::Unavailable(format!("{TRACKER}: {reason}"));
        }
        // What began before, and what was asleep then, ended unseen or will.
        for stripe in 0..self.counts.len() {
            (0..CLASSES).for_each(|class| self.counts.clear_word(stripe, offset_of!(Counts, asleep) + 8 * class));
        }
        self.step(offset_of!(Control, era));
        let Self { ebpf, functions, .. } = self;
        let links = calls::per_call(ebpf, types, functions).or_else(|reason| {
            self.not_per_call = Some(reason);
            calls::tracepoints(ebpf, types)
        });
        match links {
            Ok(links) => {
                self.calls = links;
                HookState::Attached
            }
            Err(reason) => HookState::Unavailable(reason),
        }
    }

    /// Watches the scheduler, or ceases to.
    pub fn observe_sched(&mut self, on: bool) {
        if self.would_change(SCHED, on) {
            with_types(on, |types| self.switch_sched(types));
        }
    }

    fn switch_sched(&mut self, types: Types<'_>) {
        if types.is_ok() {
            self.switch_point(TRACKER, types.clone());
        }
        let state = match (types, self.why_not(TRACKER)) {
            (Err(reason), _) => HookState::Unavailable(reason),
            (Ok(_), None) => HookState::Attached,
            (Ok(_), Some(reason)) => HookState::Unavailable(format!("{TRACKER}: {reason}")),
        };
        store(self.control.half(0, offset_of!(Control, accounting)), u32::from(state == HookState::Attached));
        self.set_state(SCHED, state);
        self.track();
    }

    /// Keeps track of who runs only while somebody needs it.
    fn track(&mut self) {
        if [SCHED, load::SYSCALLS].into_iter().all(|name| self.why_not(name).is_some()) {
            self.switch_point(TRACKER, Err(OFF.to_owned()));
        }
        self.moved();
    }

    /// Why a hook is not attached.
    fn why_not(&self, name: &str) -> Option<String> {
        match &self.hooks.iter().find(|hook| hook.name == name)?.state {
            HookState::Attached => None,
            HookState::Unavailable(reason) => Some(reason.clone()),
        }
    }

    /// What cannot be attached is not tried again: the kernel lacks what it needs.
    fn would_change(&self, name: &str, on: bool) -> bool {
        let state = self.hooks.iter().find(|hook| hook.name == name).map(|hook| &hook.state);
        match state {
            Some(HookState::Attached) => !on,
            Some(HookState::Unavailable(reason)) => on && reason == OFF,
            None => false,
        }
    }

    fn set_state(&mut self, name: &str, state: HookState) {
        if let Some(hook) = self.hooks.iter_mut().find(|hook| hook.name == name) {
            hook.state = state;
        }
    }

    /// Switches a tracepoint on where there are types to attach by, else off. What is so already stays.
    fn switch_point(&mut self, name: &'static str, types: Types<'_>) {
        if !self.would_change(name, types.is_ok()) {
            return;
        }
        self.points.retain(|(point, _)| *point != name);
        let point = types.and_then(|types| {
            calls::point_of(&mut self.ebpf, types, name, name).map_err(|error| super::hooks::reason(&error))
        });
        let state = match point {
            Ok(link) => {
                self.points.push((name, link));
                HookState::Attached
            }
            Err(reason) => HookState::Unavailable(reason),
        };
        self.set_state(name, state);
    }

    /// Gives a slot to a new owner, with nothing counted. `owner` is not 0.
    pub fn bind(&mut self, slot: u32, owner: u16, k: u32) -> io::Result<()> {
        self.latencies.hold(slot)?;
        self.disks.element(slot)?.words().iter().for_each(|word| word.store(0, Ordering::Relaxed));
        self.slots.clear(slot);
        for stripe in self.stripes_of(slot) {
            self.counts.clear(stripe);
        }
        self.set_k(slot, k);
        self.set_owner(slot, owner.into());
        self.moved();
        Ok(())
    }

    /// Counts nothing more under a slot and its rows, whatever is still under way. After an error the slot is not to be
    /// given to anybody else: there may be cgroups that are still charged to it.
    pub fn unbind(&mut self, slot: u32, rows: impl IntoIterator<Item = u32>) -> io::Result<()> {
        self.set_owner(slot, 0);
        self.latencies.release(slot);
        rows.into_iter().for_each(|row| self.rows.release(row));
        let removed = self.table.remove_slot(slot);
        self.moved();
        self.renew();
        removed
    }

    fn set_owner(&self, slot: u32, owner: u32) {
        for stripe in self.stripes_of(slot) {
            store(self.counts.half(stripe, offset_of!(Counts, owner)), owner);
        }
        store(self.slots.half(slot, offset_of!(SlotRows, owner)), owner);
    }

    /// Times one in 2^k calls of a slot from now on.
    pub fn set_k(&mut self, slot: u32, k: u32) {
        for stripe in self.stripes_of(slot) {
            store(self.counts.half(stripe, offset_of!(Counts, k)), k.min(MAX_K));
        }
    }

    fn stripes_of(&self, slot: u32) -> std::ops::Range<u32> {
        slot * self.stripes..(slot + 1) * self.stripes
    }

    /// Charges a key of `inferscope_common::watch` to a slot; false when there is no room in the table.
    pub fn watch(&mut self, key: u64, slot: u32) -> io::Result<bool> {
        let inserted = self.table.insert(key, slot);
        self.moved();
        inserted
    }

    /// Charges a key to nobody.
    pub fn ignore(&mut self, key: u64) -> io::Result<()> {
        let removed = self.table.remove(key);
        self.moved();
        removed
    }

    /// Charges a process, and the children that it has from now on, to a binding; where its cgroup is charged by
    /// process.
    pub fn mark(&mut self, process: u32, binding: u32) -> io::Result<()> {
        marks::set(self.marks.fd().as_fd(), process, binding)?;
        self.moved();
        Ok(())
    }

    /// Charges a process to nobody. Its children keep what they have.
    pub fn unmark(&mut self, process: u32) {
        // A process that is gone, or had no mark, is as good as unmarked.
        drop(marks::clear(self.marks.fd().as_fd(), process));
        self.moved();
    }

    /// Gives a row to a role of a slot, with nothing counted.
    pub fn assign(&mut self, slot: u32, role: Role, row: u32) -> io::Result<()> {
        self.rows.hold(row)?;
        store(self.slots.half(slot, offset_of!(SlotRows, rows) + 4 * role as usize), row);
        self.renew();
        Ok(())
    }

    /// Says what a process does; `None` = by the names of its threads.
    pub fn set_role(&mut self, process: u32, role: Option<Role>) -> Result<(), aya::maps::MapError> {
        match role {
            Some(role) => self.roles.insert(process, role as u32, 0)?,
            // That there was none is no error.
            None => drop(self.roles.remove(&process)),
        }
        self.renew();
        Ok(())
    }

    /// Says which character devices are GPUs, by their major numbers.
    pub fn set_gpu_majors(&mut self, majors: &[u32]) {
        for (place, word) in self.gpu_majors.words(0).iter().enumerate() {
            let here = majors.iter().filter(|&&major| major as usize / 64 == place);
            word.store(here.fold(0, |bits, major| bits | 1 << (major % 64)), Ordering::Relaxed);
        }
    }

    /// Calls of the whole machine so far that did nothing but spin; `None` where such calls pass no program.
    pub fn spun(&self) -> Option<u64> {
        if self.calls.mode() != Mode::Tracepoints {
            return None;
        }
        let by_cpu = self.spun.get(&0, 0).ok()?;
        Some(by_cpu.iter().fold(0, |sum, calls| sum.wrapping_add(*calls)))
    }

    /// Lets every thread look for its row anew.
    fn renew(&self) {
        self.step(offset_of!(Control, roles));
    }

    /// Lets every CPU look anew who runs on it.
    fn moved(&self) {
        self.step(offset_of!(Control, members));
    }

    fn step(&self, word: usize) {
        if let Some(word) = self.control.half(0, word) {
            word.fetch_add(1, Ordering::Release);
        }
    }

    /// Adds up the counters of a slot's system calls as they stand.
    pub fn read_counts(&self, slot: u32) -> Counts {
        let mut sum = Counts::ZERO;
        for stripe in self.stripes_of(slot) {
            let mut counts = Counts::ZERO;
            self.counts.read(stripe, &mut counts);
            for (to, from) in
                [(&mut sum.calls, counts.calls), (&mut sum.errors, counts.errors), (&mut sum.asleep, counts.asleep)]
            {
                to.iter_mut().zip(from).for_each(|(to, from)| *to = to.wrapping_add(from));
            }
            sum.k = counts.k;
            sum.owner = counts.owner;
            sum.restarts = sum.restarts.wrapping_add(counts.restarts);
            sum.file_bytes_read = sum.file_bytes_read.wrapping_add(counts.file_bytes_read);
            sum.lost_state = sum.lost_state.wrapping_add(counts.lost_state);
            sum.disk = sum.disk.wrapping_add(counts.disk);
        }
        sum
    }

    /// Latencies of a slot's system calls, by `Class::hist`.
    pub fn latency(&self, slot: u32, place: usize) -> LiveHist<'_> {
        LiveHist::within(self.latencies.words(slot), place * size_of::<HistWords>())
    }

    /// A row as it stands: its counters, run-queue delay and blocked time.
    pub fn row(&self, row: u32) -> ([u64; sched::COUNTERS], LiveHist<'_>, LiveHist<'_>) {
        let words = self.rows.words(row);
        let mut counters = [0; sched::COUNTERS];
        counters.iter_mut().zip(words).for_each(|(to, word)| *to = word.load(Ordering::Relaxed));
        let hist = |at| LiveHist::within(words, at);
        (counters, hist(offset_of!(Row, run_delay)), hist(offset_of!(Row, blocked)))
    }

    /// Roles that threads of a slot were seen to have.
    pub fn wanted(&self, slot: u32) -> impl Iterator<Item = Role> {
        let word = self.slots.words(slot).get(offset_of!(SlotRows, wanted) / size_of::<u64>());
        let wanted = word.map_or(0, |word| word.load(Ordering::Relaxed)).to_ne_bytes();
        Role::ALL.into_iter().filter(move |&role| wanted[role as usize] != 0)
    }

    /// A slot's block I/O.
    pub fn disk(&self, slot: u32) -> io::Result<DiskWords> {
        self.disks.element(slot).map(DiskWords)
    }

    /// Loss: switches that were not counted, and cgroups that were not noted.
    pub fn lost(&self) -> (u64, u64) {
        let mut control = Control::default();
        self.control.read(0, &mut control);
        (control.lost, control.lost_nested)
    }

    /// Loss: times that a program did not run since it was running on that CPU already.
    pub fn missed(&self) -> u64 {
        self.done().map(|done| done.missed).sum()
    }

    /// How long the programs have run altogether while the kernel took times. Where calls have programs of their own
    /// these are some four hundred, which takes a fifth of a millisecond to read.
    pub fn run_time(&self) -> Duration {
        stats::run_time(&self.ebpf) + self.done().map(|done| done.run_time).sum()
    }

    fn done(&self) -> impl Iterator<Item = Done> {
        let points = self.points.iter().map(|(_, point)| &point.program);
        points.chain(self.calls.programs()).filter_map(placed::done)
    }

    /// Takes the kills that wait.
    pub fn kills(&mut self, mut take: impl FnMut(OomKill)) {
        while let Some(item) = self.kills.next() {
            if item.len() >= size_of::<OomKill>() {
                // SAFETY: as many bytes as the type has, whose every bit pattern is a value.
                take(unsafe { item.as_ptr().cast::<OomKill>().read_unaligned() });
            }
        }
    }
}

/// Block I/O of a slot, mapped.
pub struct DiskWords(Mapping);

impl DiskWords {
    /// As it stands: requests, errors, bytes and latency of a direction.
    pub fn way(&self, direction: Direction) -> ([u64; 3], LiveHist<'_>) {
        let at = direction as usize * size_of::<Way>();
        let mut counters = [0; 3];
        let first = self.0.words().get(at / size_of::<u64>()..).unwrap_or_default();
        counters.iter_mut().zip(first).for_each(|(to, word)| *to = word.load(Ordering::Relaxed));
        (counters, LiveHist::within(self.0.words(), at + offset_of!(Way, latency)))
    }
}

/// The kernel's types to attach by, or why nothing is to be attached.
type Types<'a> = Result<&'a Btf, String>;

/// Reads the kernel's types where something is to be switched on. They are not kept: as a tree they take 16 MiB.
fn with_types(on: bool, switch: impl FnOnce(Types<'_>)) {
    if !on {
        return switch(Err(OFF.to_owned()));
    }
    match Btf::from_sys_fs() {
        Ok(types) => switch(Ok(&types)),
        // It stays as it is, and the next change tries again.
        Err(error) => tracing::warn!(error = super::hooks::reason(&error), "cannot read the kernel's types"),
    }
    crate::host::own::give_back_memory();
}

fn store(word: Option<&std::sync::atomic::AtomicU32>, value: u32) {
    if let Some(word) = word {
        word.store(value, Ordering::Relaxed);
    }
}
