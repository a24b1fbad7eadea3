//! Words of attributes.

use inferscope_common::disk::Direction;
use inferscope_common::sched::Role;
use inferscope_common::syscall::Class;

/// `inferscope.syscall.class`.
pub fn class_name(class: Class) -> &'static str {
    match class {
        Class::Network => "network",
        Class::File => "file",
        Class::Lock => "lock",
        Class::Poll => "poll",
        Class::Process => "process",
        Class::Memory => "memory",
        Class::Gpu => "gpu",
        Class::Other => "other",
        Class::Yield => "yield",
    }
}

/// `inferscope.thread.role`.
pub fn role_name(role: Role) -> &'static str {
    match role {
        Role::Other => "other",
        Role::Api => "api",
        Role::Engine => "engine",
        Role::Worker => "worker",
        Role::Tokenizer => "tokenizer",
        Role::Detokenizer => "detokenizer",
        Role::Controller => "controller",
        Role::Driver => "driver",
    }
}

/// `disk.io.direction`.
pub(super) fn direction_name(direction: Direction) -> &'static str {
    match direction {
        Direction::Read => "read",
        Direction::Write => "write",
    }
}

/// Name and meaning of a loss of the probes, as `inferscope.loss.cause` tells it.
pub const fn lost_cause() -> (&'static str, &'static str) {
    ("syscall_no_memory", "system calls without a time: the kernel had no memory for their beginning")
}
