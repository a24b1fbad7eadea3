//! Which members of the kernel's types the programs read, by what needs them.

use crate::host::btf::{Btf, BtfError};

/// A global of the kernel half, the struct, and the way to the member in it.
type Member = (&'static str, &'static str, &'static [&'static str]);

/// Nothing works without them.
const TASKS: &[Member] = &[
    ("CGROUP_KN", "cgroup", &["kn"]),
    ("KERNFS_ID", "kernfs_node", &["id"]),
    ("CGROUP_ROOT", "cgroup", &["root"]),
    ("ROOT_HIERARCHY", "cgroup_root", &["hierarchy_id"]),
    ("CGROUP_PARENT", "cgroup", &["self", "parent"]),
    ("CSS_CGROUP", "cgroup_subsys_state", &["cgroup"]),
    ("TASK_CGROUPS", "task_struct", &["cgroups"]),
    ("CSS_SET_UNIFIED", "css_set", &["dfl_cgrp"]),
    ("TASK_TGID", "task_struct", &["tgid"]),
    ("TASK_LEADER", "task_struct", &["group_leader"]),
    ("TASK_COMM", "task_struct", &["comm"]),
    ("TASK_STORAGE", "task_struct", &["bpf_storage"]),
];

#[cfg(not(target_arch = "aarch64"))]
const SYSCALLS: &[Member] = &[("REGS_NUMBER", "pt_regs", &["orig_ax"]), ("REGS_FIRST", "pt_regs", &["di"])];
#[cfg(target_arch = "aarch64")]
const SYSCALLS: &[Member] = &[("REGS_NUMBER", "pt_regs", &["syscallno"]), ("REGS_FIRST", "pt_regs", &["orig_x0"])];

const DESCRIPTORS: &[Member] = &[
    ("TASK_FILES", "task_struct", &["files"]),
    ("FILES_TABLE", "files_struct", &["fdt"]),
    ("FILES_ARRAY", "files_struct", &["fd_array"]),
    ("FD_MAX", "fdtable", &["max_fds"]),
    ("FD_ARRAY", "fdtable", &["fd"]),
    ("FILE_INODE", "file", &["f_inode"]),
    ("INODE_MODE", "inode", &["i_mode"]),
    ("INODE_DEVICE", "inode", &["i_rdev"]),
];

const SCHED: &[Member] = &[
    ("TASK_VOLUNTARY", "task_struct", &["nvcsw"]),
    ("TASK_INVOLUNTARY", "task_struct", &["nivcsw"]),
    ("TASK_MAJOR_FAULTS", "task_struct", &["maj_flt"]),
    ("TASK_MIGRATIONS", "task_struct", &["se", "nr_migrations"]),
    ("TASK_RUN_DELAY", "task_struct", &["sched_info", "run_delay"]),
    ("TASK_RUNS", "task_struct", &["sched_info", "pcount"]),
    ("TASK_READ_BYTES", "task_struct", &["ioac", "read_bytes"]),
    ("TASK_WRITE_BYTES", "task_struct", &["ioac", "write_bytes"]),
];

const DISK: &[Member] = &[
    ("REQUEST_BIO", "request", &["bio"]),
    ("REQUEST_FLAGS", "request", &["cmd_flags"]),
    ("REQUEST_LEFT", "request", &["__data_len"]),
    ("REQUEST_ISSUED", "request", &["io_start_time_ns"]),
    ("BIO_GROUP", "bio", &["bi_blkg"]),
    ("GROUP_CGROUP", "blkcg_gq", &["blkcg"]),
    ("BLKCG_CSS", "blkcg", &["css"]),
];

/// Values for the kernel half's globals, and what cannot work since a member is missing.
pub(super) struct Members {
    /// By global.
    pub(super) values: Vec<(&'static str, u32)>,
    /// The system calls' programs.
    pub(super) syscalls: Result<(), BtfError>,
    /// To look behind descriptors.
    pub(super) descriptors: Result<(), BtfError>,
    /// The scheduler's program.
    pub(super) sched: Result<(), BtfError>,
    /// The block layer's program.
    pub(super) disk: Result<(), BtfError>,
}

impl Members {
    /// Finds all that this kernel has; an error where not even tasks can be told apart.
    pub(super) fn find(btf: &Btf) -> Result<Self, BtfError> {
        let mut values = Vec::new();
        let mut take = |members: &[Member]| -> Result<(), BtfError> {
            for &(global, of, path) in members {
                values.push((global, btf.offset(of, path)?));
            }
            Ok(())
        };
        take(TASKS)?;
        let (syscalls, descriptors) = (take(SYSCALLS), take(DESCRIPTORS));
        let (sched, disk) = (take(SCHED), take(DISK));
        Ok(Self { values, syscalls, descriptors, sched, disk })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::btf::VMLINUX;

    #[test]
    fn this_kernel_has_them() {
        let Ok(btf) = Btf::load(VMLINUX.as_ref()) else { return };
        let found = Members::find(&btf).unwrap();
        assert!(found.values.iter().any(|&(global, offset)| global == "TASK_RUN_DELAY" && offset > 0));
    }
}
