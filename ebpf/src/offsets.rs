//! Where the running kernel keeps what the programs read through typed pointers.
//!
//! The agent takes the offsets from the kernel's BTF and writes them here before it loads, so that
//! the verifier knows them as constants and checks every access against the types.

macro_rules! offsets {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        $($(#[$doc])* #[unsafe(no_mangle)] pub(crate) static $name: ::aya_ebpf::Global<u32> = ::aya_ebpf::Global::new(0);)*
    };
}
pub(crate) use offsets;

offsets! {
    /// `sock.sk_cgrp_data.cgroup`
    SOCK_CGROUP,
    /// `cgroup.kn`
    CGROUP_KN,
    /// `kernfs_node.id`
    KERNFS_ID,
    /// `sock.__sk_common.skc_num`
    SOCK_LOCAL_PORT,
    /// `sock.sk_err`
    SOCK_ERROR,
    /// `tcp_sock.srtt_us`
    TCP_SRTT,
    /// `sk_buff.cb`
    SKB_CONTROL,
    /// `tcp_skb_cb.tcp_gso_segs`, within `sk_buff.cb`
    TCP_SEGMENTS,
}
