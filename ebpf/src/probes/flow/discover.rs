//! Which sockets begin to be followed.

use aya_ebpf::bindings::{__sk_buff, bpf_sock};
use aya_ebpf::helpers::generated::{
    bpf_get_socket_cookie, bpf_sk_fullsock, bpf_skb_ancestor_cgroup_id, bpf_skb_cgroup_id,
};
use inferscope_common::block::Counter;
use inferscope_common::flow::{Endpoints, Role, SlotKey};
use inferscope_common::sniff::{self, Start};

use crate::block::Slot;
use crate::exchange::Flow;
use crate::maps::FLOWS;
use crate::packet::{Fresh, Packet};
use crate::sock;

/// Levels of cgroups searched for an observed one above the socket's own.
const LEVELS: i32 = 12;

const AF_INET: u32 = 2;
/// The last acknowledgement of a handshake may carry a request, and is shown with the socket that listens.
const LISTEN: u32 = 10;

/// A flow for a socket that begins to speak HTTP/1, if its cgroup is observed.
#[inline(always)]
pub(super) fn discover(packet: &Packet, egress: bool) -> Option<&'static mut Flow> {
    let whole = Fresh { from: 0, len: packet.len };
    let role = match (sniff::start(packet.start(whole), packet.len), egress) {
        (Start::Request { .. } | Start::Undecided, false) | (Start::Response, true) => Role::Server,
        (Start::Request { .. } | Start::Undecided, true) | (Start::Response, false) => Role::Client,
        _ => return None,
    };
    // SAFETY: the context of this program.
    if unsafe { make_flow(packet.skb(), role as u32) } == 0 {
        return None;
    }
    FLOWS.get(packet.sock)
}

/// Makes a flow for the packet's socket; 0 = it has none. A function of its own, since it is seldom called
/// and would take registers from what runs for every packet.
///
/// # Safety
/// `skb` must be the program's context.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn make_flow(skb: *mut __sk_buff, role: u32) -> u32 {
    u32::from(Packet::parse(skb).is_some_and(|packet| make(&packet, role as u8).is_some()))
}

#[inline(always)]
fn make(packet: &Packet, role: u8) -> Option<()> {
    let endpoints = endpoints(packet)?;
    let (key, slot) = observed(packet, endpoints.local_port.into())?;
    let block = Slot::get(slot)?;
    let Some(flow) = FLOWS.get_or_create(packet.sock) else {
        block.count(Counter::LostState, 1);
        return None;
    };
    flow.slot = slot;
    flow.key = key;
    flow.role = role;
    flow.endpoints = endpoints;
    // SAFETY: the context of this program.
    flow.cookie = unsafe { bpf_get_socket_cookie(packet.skb().cast()) };
    Some(())
}

/// The block of a flow's workload, which may be another one than when the socket was last looked at.
#[inline(always)]
pub(super) fn rewatch(packet: &Packet, flow: &mut Flow) -> Option<Slot> {
    // SAFETY: the context of this program, and a live flow.
    if unsafe { find_slot(packet.skb(), flow) } == 0 {
        return None;
    }
    Slot::get(flow.slot)
}

/// Makes sure of the slot of a flow, or looks for it anew; 0 = it has none. A function of its own, as [`make_flow`].
///
/// # Safety
/// `skb` must be the program's context, `flow` valid or null.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn find_slot(skb: *mut __sk_buff, flow: *mut Flow) -> u32 {
    // SAFETY: the caller's.
    let Some(flow) = (unsafe { flow.as_mut() }) else { return 0 };
    if sock::watched(flow).is_some() {
        return 1;
    }
    let Some(packet) = Packet::parse(skb) else { return 0 };
    let Some((key, slot)) = observed(&packet, flow.endpoints.local_port.into()) else { return 0 };
    flow.key = key;
    flow.slot = slot;
    1
}

/// The slot of the socket's cgroup, or of the nearest one above it that is observed, and under which name.
#[inline(always)]
fn observed(packet: &Packet, port: u32) -> Option<(SlotKey, u32)> {
    // SAFETY: the context of this program.
    let own = unsafe { bpf_skb_cgroup_id(packet.skb()) };
    if let Some(found) = sock::find(own, port) {
        return Some(found);
    }
    let mut level = LEVELS;
    while level >= 0 {
        // SAFETY: as above; a level that does not exist answers 0, which no cgroup has.
        let above = unsafe { bpf_skb_ancestor_cgroup_id(packet.skb(), level) };
        // A port tells servers apart in the cgroup that they share, not in those below it.
        if above != 0
            && above != own
            && let Some(found) = sock::find(above, 0)
        {
            return Some(found);
        }
        level -= 1;
    }
    None
}

#[inline(always)]
fn endpoints(packet: &Packet) -> Option<Endpoints> {
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
    if field!(state) == LISTEN {
        return None;
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
