//! Requests and responses on the sockets of an observed cgroup: metered where they pass, nothing delayed.

mod discover;
mod order;
mod request;
mod response;

use aya_ebpf::macros::cgroup_skb;
use aya_ebpf::programs::SkBuffContext;
use inferscope_common::exchange::COMPLETE;

use crate::block::Slot;
use crate::exchange::{Flow, OPAQUE};
use crate::maps::FLOWS;
use crate::packet::{FIN, Packet, RST, SYN};
use crate::replay;

/// Lets the segment pass, whatever it was.
const PASS: i32 = 1;

#[cgroup_skb]
fn flow_ingress(ctx: SkBuffContext) -> i32 {
    segment(&ctx, false);
    PASS
}

#[cgroup_skb]
fn flow_egress(ctx: SkBuffContext) -> i32 {
    segment(&ctx, true);
    PASS
}

/// One segment, in whichever direction.
#[inline(always)]
fn segment(ctx: &SkBuffContext, egress: bool) {
    let Some(packet) = Packet::parse(ctx) else { return };
    if packet.len == 0 && packet.flags & (FIN | RST) == 0 && !(packet.shut && !egress) || packet.flags & SYN != 0 {
        return;
    }
    let flow = match FLOWS.get(packet.sock) {
        Some(flow) => flow,
        None if packet.len == 0 => return,
        None => match replay::flow(packet.sock).or_else(|| discover::discover(&packet, egress)) {
            Some(flow) => flow,
            None => return,
        },
    };
    if flow.flags & OPAQUE != 0 {
        return;
    }
    let Some(block) = Slot::get(flow.slot) else { return };
    if packet.len == 0 {
        return bare(&packet, flow, egress, block);
    }
    let Some(from) = order::in_order(&packet, flow, egress, block) else { return };
    if flow.is_server() == egress {
        response::response(&packet, from, flow, egress, block);
    } else {
        request::request(&packet, from, flow, egress, block);
    }
    closing(&packet, flow, egress, block);
}

/// A segment without payload that means something all the same.
#[inline(always)]
fn bare(packet: &Packet, flow: &mut Flow, egress: bool, block: Slot) {
    if packet.flags & (FIN | RST) != 0 {
        return closing(packet, flow, egress, block);
    }
    // The peer's receive window is shut while a response is under way.
    if flow.is_open() && flow.is_server() && flow.shut_since == 0 {
        flow.shut_since = packet.time(egress);
    }
}

/// What FIN and RST do to the exchange under way.
#[inline(always)]
fn closing(packet: &Packet, flow: &mut Flow, egress: bool, block: Slot) {
    if packet.flags & (FIN | RST) == 0 || !flow.is_open() {
        return;
    }
    let responder = flow.is_server() == egress;
    let now = packet.time(egress);
    if packet.flags & RST != 0 {
        return flow.broken(egress, true, now, block);
    }
    if !responder {
        // The asking side is done sending; whether it still listens shows later.
        return;
    }
    if flow.exchange.response.has_head() && flow.exchange.response.body.is_until_close() {
        flow.exchange.figures.flags |= COMPLETE;
        return flow.end(now, block);
    }
    flow.broken(egress, false, now, block);
}
