//! What each system call is about: data by name, numbers by architecture.

use std::str::FromStr;

use inferscope_common::syscall::traits::{DESCRIPTOR, FORKS, NO_ERROR, READS, UNTIMED, WAITS};
use inferscope_common::syscall::{Class, NUMBERS, traits};

/// Rows of class, traits and names; an architecture need not have all of them.
const TABLE: &[(Class, u16, &[&str])] = &[
    (
        Class::Network,
        0,
        &[
            "socket",
            "socketpair",
            "bind",
            "listen",
            "shutdown",
            "getsockname",
            "getpeername",
            "setsockopt",
            "getsockopt",
            "sendto",
            "sendmsg",
            "sendmmsg",
            "connect",
        ],
    ),
    (Class::Network, WAITS, &["accept", "accept4", "recvfrom", "recvmsg", "recvmmsg"]),
    // Sockets, pipes and terminals are read and written by these as well as files.
    (Class::File, WAITS | DESCRIPTOR | READS, &["read", "readv", "preadv", "preadv2", "pread64"]),
    (Class::File, DESCRIPTOR, &["write", "writev", "pwritev", "pwritev2", "pwrite64"]),
    (
        Class::File,
        0,
        &[
            "open",
            "openat",
            "openat2",
            "creat",
            "close",
            "close_range",
            "stat",
            "fstat",
            "lstat",
            "newfstatat",
            "fstatat",
            "statx",
            "statfs",
            "fstatfs",
            "lseek",
            "access",
            "faccessat",
            "faccessat2",
            "dup",
            "dup2",
            "dup3",
            "fcntl",
            "pipe",
            "pipe2",
            "getdents",
            "getdents64",
            "getcwd",
            "chdir",
            "fchdir",
            "rename",
            "renameat",
            "renameat2",
            "mkdir",
            "mkdirat",
            "rmdir",
            "link",
            "linkat",
            "unlink",
            "unlinkat",
            "symlink",
            "symlinkat",
            "readlink",
            "readlinkat",
            "chmod",
            "fchmod",
            "fchmodat",
            "fchmodat2",
            "chown",
            "fchown",
            "lchown",
            "fchownat",
            "umask",
            "mknod",
            "mknodat",
            "utime",
            "utimes",
            "utimensat",
            "futimesat",
            "truncate",
            "ftruncate",
            "fallocate",
            "fadvise64",
            "readahead",
            "cachestat",
            "sync",
            "fsync",
            "fdatasync",
            "syncfs",
            "sync_file_range",
            "sendfile",
            "splice",
            "tee",
            "vmsplice",
            "copy_file_range",
            "getxattr",
            "lgetxattr",
            "fgetxattr",
            "getxattrat",
            "listxattr",
            "llistxattr",
            "flistxattr",
            "setxattr",
            "lsetxattr",
            "fsetxattr",
            "removexattr",
            "lremovexattr",
            "fremovexattr",
            "inotify_init",
            "inotify_init1",
            "inotify_add_watch",
            "inotify_rm_watch",
            "eventfd",
            "eventfd2",
            "signalfd",
            "signalfd4",
            "timerfd_create",
            "timerfd_settime",
            "timerfd_gettime",
            "memfd_create",
            "memfd_secret",
            "name_to_handle_at",
            "open_by_handle_at",
            "io_setup",
            "io_destroy",
            "io_submit",
            "io_cancel",
            "io_uring_setup",
            "io_uring_register",
        ],
    ),
    (
        Class::Lock,
        WAITS,
        &[
            "futex",
            "futex_wait",
            "futex_waitv",
            "futex_wake",
            "futex_requeue",
            "flock",
            "semop",
            "semtimedop",
            "semget",
            "semctl",
        ],
    ),
    (
        Class::Poll,
        WAITS,
        &[
            "poll",
            "ppoll",
            "select",
            "pselect6",
            "epoll_wait",
            "epoll_pwait",
            "epoll_pwait2",
            "nanosleep",
            "clock_nanosleep",
            "pause",
            "rt_sigsuspend",
            "rt_sigtimedwait",
            "io_getevents",
            "io_pgetevents",
            "io_uring_enter",
            "restart_syscall",
            "msgrcv",
            "mq_timedreceive",
        ],
    ),
    (Class::Poll, 0, &["epoll_create", "epoll_create1", "epoll_ctl"]),
    (
        Class::Memory,
        0,
        &[
            "mmap",
            "munmap",
            "mremap",
            "mprotect",
            "pkey_mprotect",
            "madvise",
            "process_madvise",
            "brk",
            "msync",
            "mlock",
            "mlock2",
            "munlock",
            "mlockall",
            "munlockall",
            "mincore",
            "mbind",
            "get_mempolicy",
            "set_mempolicy",
            "set_mempolicy_home_node",
            "migrate_pages",
            "move_pages",
            "remap_file_pages",
            "shmget",
            "shmat",
            "shmdt",
            "shmctl",
            "process_vm_readv",
            "process_vm_writev",
            "membarrier",
            "userfaultfd",
            "mseal",
        ],
    ),
    (Class::Process, FORKS, &["fork", "vfork", "clone", "clone3"]),
    (Class::Process, WAITS, &["wait4", "waitid"]),
    (Class::Process, UNTIMED, &["exit", "exit_group"]),
    (Class::Process, UNTIMED | NO_ERROR, &["rt_sigreturn"]),
    (
        Class::Process,
        0,
        &[
            "execve",
            "execveat",
            "kill",
            "tkill",
            "tgkill",
            "rt_sigaction",
            "rt_sigprocmask",
            "rt_sigpending",
            "rt_sigqueueinfo",
            "rt_tgsigqueueinfo",
            "sigaltstack",
            "pidfd_open",
            "pidfd_getfd",
            "pidfd_send_signal",
            "getpid",
            "gettid",
            "getppid",
            "getpgid",
            "getpgrp",
            "setpgid",
            "getsid",
            "setsid",
            "prctl",
            "arch_prctl",
            "set_tid_address",
            "set_robust_list",
            "get_robust_list",
            "rseq",
            "sched_setaffinity",
            "sched_getaffinity",
            "sched_setparam",
            "sched_getparam",
            "sched_setscheduler",
            "sched_getscheduler",
            "sched_setattr",
            "sched_getattr",
            "setpriority",
            "getpriority",
            "getrusage",
            "prlimit64",
            "getrlimit",
            "setrlimit",
            "ptrace",
            "unshare",
            "setns",
        ],
    ),
    (Class::Yield, UNTIMED, &["sched_yield"]),
    (Class::Other, DESCRIPTOR, &["ioctl"]),
];

/// Processor architectures whose numbers are known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arch {
    /// x86-64.
    X86_64,
    /// 64-bit ARM.
    Aarch64,
}

impl Arch {
    /// This machine's; `None` for one whose numbers nobody put in.
    pub fn this() -> Option<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Self::X86_64),
            "aarch64" => Some(Self::Aarch64),
            _ => None,
        }
    }

    fn number(self, name: &str) -> Option<usize> {
        match self {
            Self::X86_64 => syscalls::x86_64::Sysno::from_str(name).ok().map(|found| found.id() as usize),
            Self::Aarch64 => syscalls::aarch64::Sysno::from_str(name).ok().map(|found| found.id() as usize),
        }
    }

    /// The kernel's function for a call. Some calls have the number of a later version of themselves, whose function it is
    /// then; one of the older name may be there for programs of 32 bits.
    pub fn function(self, name: &str) -> String {
        let name = match (self, name) {
            (_, "stat") => "newstat",
            (_, "fstat") => "newfstat",
            (_, "lstat") => "newlstat",
            (_, "fstatat") => "newfstatat",
            (_, "sendfile") => "sendfile64",
            (Self::Aarch64, "fadvise64") => "fadvise64_64",
            (_, name) => name,
        };
        match self {
            Self::X86_64 => format!("__x64_sys_{name}"),
            Self::Aarch64 => format!("__arm64_sys_{name}"),
        }
    }
}

/// What the kernel half knows of each call, by number.
pub fn by_number(arch: Arch) -> [u16; NUMBERS] {
    let mut table = [Class::Other as u16; NUMBERS];
    for (name, value) in rows() {
        if let Some(entry) = arch.number(name).and_then(|number| table.get_mut(number)) {
            *entry = value;
        }
    }
    table
}

/// The calls of an architecture that are worth programs of their own, where every call can have some: those that a server's
/// time goes into.
pub fn of_interest(arch: Arch) -> impl Iterator<Item = &'static str> {
    let interesting = rows().filter(|&(_, value)| is_of_interest(value)).map(|(name, _)| name);
    interesting.filter(move |name| arch.number(name).is_some())
}

/// The class of a call by name, before anybody looks behind its descriptor.
pub fn class_of(name: &str) -> Class {
    let found = TABLE.iter().find(|(_, _, names)| names.contains(&name));
    found.map_or(Class::Other, |&(class, ..)| class)
}

fn rows() -> impl Iterator<Item = (&'static str, u16)> {
    TABLE.iter().flat_map(|&(class, flags, names)| names.iter().map(move |&name| (name, class as u16 | flags)))
}

fn is_of_interest(value: u16) -> bool {
    let core = [Class::Network, Class::File, Class::Lock, Class::Poll, Class::Memory];
    value & UNTIMED == 0 && (value & DESCRIPTOR != 0 || core.iter().any(|&class| class as u8 == traits::class(value)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_name_stands_twice_and_each_exists_somewhere() {
        let mut seen = HashSet::new();
        for (name, _) in rows() {
            assert!(seen.insert(name), "{name} stands twice");
            assert!([Arch::X86_64, Arch::Aarch64].iter().any(|arch| arch.number(name).is_some()), "{name} is no call");
        }
    }

    #[test]
    fn numbers_are_the_architecture_s() {
        let (x86, arm) = (by_number(Arch::X86_64), by_number(Arch::Aarch64));
        let network = Class::Network as u8;
        assert_eq!(traits::class(x86[45]), network, "recvfrom");
        assert_eq!(traits::class(arm[207]), network, "recvfrom");
        assert_eq!(x86[24], Class::Yield as u16 | UNTIMED);
        assert_eq!(arm[124], Class::Yield as u16 | UNTIMED);
        assert_eq!(x86[202], Class::Lock as u16 | WAITS, "futex");
        assert_eq!(arm[98], Class::Lock as u16 | WAITS, "futex");
        assert_eq!(traits::class(x86[500]), Class::Other as u8);
        assert_eq!(i64::from(x86[libc::SYS_ioctl as usize]), i64::from(Class::Other as u16 | DESCRIPTOR));
    }

    #[test]
    fn spinning_costs_nothing_where_calls_have_programs_of_their_own() {
        let interesting: HashSet<_> = of_interest(Arch::X86_64).collect();
        assert!(!interesting.contains("sched_yield") && !interesting.contains("getpid"));
        for name in ["read", "ioctl", "futex", "epoll_wait", "sendto", "mmap"] {
            assert!(interesting.contains(name), "{name}");
        }
    }

    #[test]
    fn a_function_belongs_to_one_call() {
        for (arch, status) in [(Arch::X86_64, "__x64_sys_newfstatat"), (Arch::Aarch64, "__arm64_sys_newfstatat")] {
            let functions: Vec<String> = of_interest(arch).map(|name| arch.function(name)).collect();
            // By two pairs of programs a call would count twice.
            assert_eq!(functions.iter().collect::<HashSet<_>>().len(), functions.len(), "{functions:?}");
            assert!(functions.iter().any(|function| function == status), "{functions:?}");
        }
        let functions = ["stat", "fstat", "sendfile", "read"].map(|name| Arch::X86_64.function(name));
        assert_eq!(functions, ["newstat", "newfstat", "sendfile64", "read"].map(|name| format!("__x64_sys_{name}")));
        assert!(!of_interest(Arch::Aarch64).any(|name| name == "open"), "it has no number there");
    }
}
