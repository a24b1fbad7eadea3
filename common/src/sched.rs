//! How a workload's threads get and lose the CPU, by their role in it.

use crate::hist::HistWords;

/// What a thread does in its workload, as far as names tell. A bounded set.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Role {
    /// Not recognised.
    Other = 0,
    /// Talks to clients.
    Api,
    /// Decides what is computed next: vLLM's engine core, SGLang's scheduler.
    Engine,
    /// Computes, or drives a GPU.
    Worker,
    /// Text to tokens.
    Tokenizer,
    /// Tokens to text.
    Detokenizer,
    /// Spreads work over engines.
    Controller,
    /// The GPU driver's own threads.
    Driver,
}

impl Role {
    /// Every role, by number.
    pub const ALL: [Self; ROLES] = [
        Self::Other,
        Self::Api,
        Self::Engine,
        Self::Worker,
        Self::Tokenizer,
        Self::Detokenizer,
        Self::Controller,
        Self::Driver,
    ];
}

/// Number of roles.
pub const ROLES: usize = 8;

/// Bytes of a thread's name, zeroes behind it.
pub type Name = [u8; 16];

/// Counters of a row. The number is the word's place.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counter {
    /// Times that a thread gave the CPU up by itself.
    Voluntary = 0,
    /// Times that it was taken away.
    Involuntary,
    /// Times that a thread was moved to another CPU.
    Migrations,
    /// Faults that waited for a disk.
    MajorFaults,
    /// Bytes that threads caused to be read from storage: what the page cache did not have.
    StorageRead,
    /// Bytes that they caused to be written to storage.
    StorageWritten,
}

impl Counter {
    /// Every counter, in the order of the words.
    pub const ALL: [Self; 6] = [
        Self::Voluntary,
        Self::Involuntary,
        Self::Migrations,
        Self::MajorFaults,
        Self::StorageRead,
        Self::StorageWritten,
    ];
}

/// Words of counters; some are spare.
pub const COUNTERS: usize = 8;

/// Threads of one role in one workload.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Row {
    /// By [`Counter`].
    pub counters: [u64; COUNTERS],
    /// From runnable to running, once for each time that a thread got a CPU.
    pub run_delay: HistWords,
    /// From giving the CPU up to being runnable again.
    pub blocked: HistWords,
}

impl Row {
    /// Nothing counted.
    pub const ZERO: Self = Self { counters: [0; COUNTERS], run_delay: HistWords::ZERO, blocked: HistWords::ZERO };
}

/// What the agent and the kernel tell each other about all workloads.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct Control {
    /// Grows whenever a task may belong to somebody else than before. Never 0 once programs run.
    pub members: u32,
    /// Grows whenever roles or rows change: what threads remember of them no longer holds.
    pub roles: u32,
    /// Grows whenever system calls begin to be observed, and goes round: what began in an era ends in it.
    pub era: u32,
    /// 1 = switches are accounted for; 0 = they only keep track of who runs.
    pub accounting: u32,
    /// Loss: switches for which there was no memory, or no row, or that nobody saw. Written by the kernel.
    pub lost: u64,
    /// Loss: cgroups below a watched one that found no room in the table. Written by the kernel.
    pub lost_nested: u64,
}

/// Where the switches of a slot are counted.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct SlotRows {
    /// The number of the slot's owner, 0 = nobody.
    pub owner: u32,
    /// Zero.
    pub reserved: u32,
    /// By role: 1 where a thread was seen that has it. Written by the kernel.
    pub wanted: [u8; ROLES],
    /// Rows by role, 0 = none of its own: then that of [`Role::Other`] counts.
    pub rows: [u32; ROLES],
}

const _: () = assert!(Counter::ALL.len() <= COUNTERS);
const _: () = assert!(Role::ALL.len() == ROLES);
const _: () = assert!(size_of::<Control>() == 32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_follow_the_numbers() {
        assert!(Counter::ALL.iter().enumerate().all(|(i, &c)| c as usize == i));
        assert!(Role::ALL.iter().enumerate().all(|(i, &r)| r as usize == i));
    }
}
