//! Which sockets begin to be followed.

use aya_ebpf::bindings::bpf_sock;
use aya_ebpf::helpers::generated::{
    bpf_get_socket_cookie, bpf_sk_fullsock, bpf_skb_ancestor_cgroup_id, bpf_skb_cgroup_id,
};
use inferscope_common::block::Counter;
use inferscope_common::flow::{Endpoints, Role};
use inferscope_common::sniff::{self, Start};

use crate::block::Slot;
use crate::exchange::Flow;
use crate::maps::FLOWS;
use crate::packet::Packet;
use crate::sock::slot;

/// Levels of cgroups searched for an observed one above the socket's own.
const LEVELS: i32 = 12;

/// A flow for a socket that begins to speak HTTP/1, if its cgroup is observed.
#[inline(always)]
pub(super) fn discover(packet: &Packet, egress: bool) -> Option<&'static mut Flow> {
    let role = match (sniff::start(packet.start(0), packet.len), egress) {
        (Start::Request { .. } | Start::Undecided, false) | (Start::Response, true) => Role::Server,
        (Start::Request { .. } | Start::Undecided, true) | (Start::Response, false) => Role::Client,
        _ => return None,
    };
    let endpoints = endpoints(packet)?;
    let slot = observed(packet, endpoints.local_port.into())?;
    let block = Slot::get(slot)?;
    let Some(flow) = FLOWS.get_or_create(packet.sock) else {
        block.count(Counter::LostState, 1);
        return None;
    };
    flow.slot = slot;
    flow.role = role as u8;
    flow.endpoints = endpoints;
    // SAFETY: the context of this program.
    flow.cookie = unsafe { bpf_get_socket_cookie(packet.skb().cast()) };
    Some(flow)
}

/// The slot of the socket's cgroup, or of the nearest one above it that is observed.
#[inline(always)]
fn observed(packet: &Packet, port: u32) -> Option<u32> {
    // SAFETY: the context of this program.
    let own = unsafe { bpf_skb_cgroup_id(packet.skb()) };
    if let Some(found) = slot(own, port) {
        return Some(found);
    }
    let mut level = LEVELS;
    while level >= 0 {
        // SAFETY: as above; a level that does not exist answers 0, which no cgroup has.
        let above = unsafe { bpf_skb_ancestor_cgroup_id(packet.skb(), level) };
        if above != 0 && above != own {
            if let Some(found) = slot(above, port) {
                return Some(found);
            }
        }
        level -= 1;
    }
    None
}

#[inline(always)]
fn endpoints(packet: &Packet) -> Option<Endpoints> {
    const AF_INET: u32 = 2;
    const MAPPED: [u32; 3] = [0, 0, 0xffff_u32.to_be()];
    // SAFETY: the helper answers null for what is no full socket.
    let sock: *const bpf_sock = unsafe { bpf_sk_fullsock(packet.sock.cast_mut().cast()) };
    if sock.is_null() {
        return None;
    }
    // Each field by its own load at its own offset, which the verifier translates; hence volatile.
    macro_rules! field {
        ($($place:tt)*) => {
            // SAFETY: `sock` is a full socket.
            unsafe { (&raw const (*sock).$($place)*).read_volatile() }
        };
    }
    let (local4, remote4) = (field!(src_ip4), field!(dst_ip4));
    let (mut local, mut remote) = (
        [field!(src_ip6[0]), field!(src_ip6[1]), field!(src_ip6[2]), field!(src_ip6[3])],
        [field!(dst_ip6[0]), field!(dst_ip6[1]), field!(dst_ip6[2]), field!(dst_ip6[3])],
    );
    let mut family = 6;
    if field!(family) == AF_INET {
        local = [MAPPED[0], MAPPED[1], MAPPED[2], local4];
        remote = [MAPPED[0], MAPPED[1], MAPPED[2], remote4];
        family = 4;
    }
    Some(Endpoints {
        local: bytes(local),
        remote: bytes(remote),
        local_port: field!(src_port) as u16,
        remote_port: u16::from_be(field!(dst_port)),
        family,
        reserved: [0; 3],
    })
}

#[inline(always)]
fn bytes(words: [u32; 4]) -> [u8; 16] {
    // SAFETY: sixteen bytes either way; the words already stand in network order.
    unsafe { core::mem::transmute(words) }
}
