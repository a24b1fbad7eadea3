//! Loads the kernel half.

use std::io;

use aya::maps::{HashMap, MapError, RingBuf};
use aya::programs::{CgroupSkb, ProgramError};
use aya::{Btf, Ebpf, EbpfError, EbpfLoader};

use super::blocks::Blocks;
use super::{Kernel, hooks};
use crate::host::btf as host_btf;

pub(super) const INGRESS: &str = "flow_ingress";
pub(super) const EGRESS: &str = "flow_egress";

/// Sizes that are fixed when the programs load.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Workloads observed at the same time.
    pub workloads: u32,
    /// Bytes of the ring for records: a power of two, and a multiple of the page size.
    pub ring_bytes: u32,
}

/// Why the kernel half does not load.
#[derive(thiserror::Error, Debug)]
pub enum LoadError {
    /// The agent was built without it.
    #[error("this binary was built without its kernel half: build it with `cargo xtask build`")]
    NoObject,
    /// The kernel refused a map or a program.
    #[error("the kernel refused to load: {}{}", hooks::reason(.0), hint(.0))]
    Object(EbpfError),
    /// The kernel refused a flow program.
    #[error("the kernel refused {program}: {}{}", hooks::reason(.cause), hint(.cause))]
    Program {
        /// Which program.
        program: &'static str,
        /// Why.
        cause: ProgramError,
    },
    /// A map is not as expected.
    #[error("the kernel half has no usable map {0}")]
    Map(&'static str, #[source] Option<MapError>),
    /// The blocks cannot be reached.
    #[error("cannot reach the kernel's counters: {0}")]
    Blocks(#[source] io::Error),
}

/// What mends an error of permission.
fn hint(error: &(dyn std::error::Error + 'static)) -> &'static str {
    let mut cause = Some(error);
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<io::Error>()
            && io.kind() == io::ErrorKind::PermissionDenied
        {
            return " (run as root, or give CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN)";
        }
        cause = inner.source();
    }
    ""
}

/// Globals of the kernel half, by the member of the running kernel's types whose offset they take.
const OFFSETS: [(&str, &str, &[&str]); 8] = [
    ("SOCK_CGROUP", "sock", &["sk_cgrp_data", "cgroup"]),
    ("CGROUP_KN", "cgroup", &["kn"]),
    ("KERNFS_ID", "kernfs_node", &["id"]),
    ("SOCK_LOCAL_PORT", "sock", &["__sk_common", "skc_num"]),
    ("SOCK_ERROR", "sock", &["sk_err"]),
    ("TCP_SRTT", "tcp_sock", &["srtt_us"]),
    ("SKB_CONTROL", "sk_buff", &["cb"]),
    ("TCP_SEGMENTS", "tcp_skb_cb", &["tcp_gso_segs"]),
];

impl Kernel {
    /// Loads `object` and attaches what needs no cgroup. Tracepoints that this kernel lacks are
    /// reported by [`Kernel::hooks`]; only what nothing works without is an error.
    pub fn load(object: &[u8], kernel_btf: Option<&host_btf::Btf>, options: Options) -> Result<Self, LoadError> {
        if object.is_empty() {
            return Err(LoadError::NoObject);
        }
        let btf = kernel_btf.and_then(|_| Btf::from_sys_fs().ok());
        let offsets = kernel_btf.and_then(offsets);
        let mut loader = EbpfLoader::new();
        loader
            .btf(btf.as_ref())
            .allow_unsupported_maps()
            .map_max_entries("BLOCKS", options.workloads)
            .map_max_entries("RECORDS", options.ring_bytes)
            // The host's probes have tables of their own.
            .map_max_entries("PROCESS_ROLES", 1)
            .map_max_entries("NAME_ROLES", 1);
        for (name, offset) in offsets.iter().flatten() {
            loader.override_global(name, offset, true);
        }
        let mut ebpf = loader.load(object).map_err(LoadError::Object)?;
        for program in [INGRESS, EGRESS] {
            load_flow(&mut ebpf, program).map_err(|cause| LoadError::Program { program, cause })?;
        }
        let hooks = hooks::attach(&mut ebpf, btf.as_ref().filter(|_| offsets.is_some()));
        let blocks = match ebpf.map("BLOCKS") {
            Some(aya::maps::Map::Array(data)) => {
                Blocks::new(data.fd(), options.workloads).map_err(LoadError::Blocks)?
            }
            _ => return Err(LoadError::Map("BLOCKS", None)),
        };
        let ring = ebpf.take_map("RECORDS").ok_or(LoadError::Map("RECORDS", None))?;
        let ring = RingBuf::try_from(ring).map_err(|error| LoadError::Map("RECORDS", Some(error)))?;
        let slots = ebpf.take_map("SLOTS").ok_or(LoadError::Map("SLOTS", None))?;
        let slots = HashMap::try_from(slots).map_err(|error| LoadError::Map("SLOTS", Some(error)))?;
        drop(btf);
        Ok(Self { ebpf, slots, ring, blocks, hooks })
    }
}

fn load_flow(ebpf: &mut Ebpf, name: &str) -> Result<(), ProgramError> {
    let program: &mut CgroupSkb = ebpf.program_mut(name).ok_or(ProgramError::NotLoaded)?.try_into()?;
    program.load()
}

/// All offsets, or none: a program with a wrong one would be refused, or read the wrong field.
fn offsets(btf: &host_btf::Btf) -> Option<Vec<(&'static str, u32)>> {
    OFFSETS.iter().map(|&(global, of, path)| btf.offset(of, path).ok().map(|offset| (global, offset))).collect()
}
