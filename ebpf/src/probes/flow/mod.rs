//! Requests and responses on the sockets of an observed cgroup: metered where they pass, nothing delayed.

mod closing;
mod discover;
mod order;
mod request;
mod response;
mod steady;

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::macros::cgroup_skb;
use aya_ebpf::programs::SkBuffContext;

use crate::block::Slot;
use crate::exchange::Flow;
use crate::maps::FLOWS;
use crate::packet::{FIN, Packet, RST, SYN};
use crate::replay;
use order::Turn;

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
    let Some(packet) = Packet::parse(ctx.as_ptr().cast()) else { return };
    if packet.len == 0 && packet.flags & (FIN | RST) == 0 && (egress || !packet.shut) || packet.flags & SYN != 0 {
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
    if flow.opaque != 0 {
        return;
    }
    let Some(block) = Slot::get(flow.slot) else { return };
    if !egress && !flow.enter() {
        return;
    }
    if !steady::next_event(&packet, flow, egress, block) {
        // SAFETY: the context of this program, and a flow that lives for the call.
        unsafe { if egress { follow_leaving(packet.skb(), flow) } else { follow_arriving(packet.skb(), flow) } };
    }
    if !egress {
        flow.leave();
    }
}

/// A segment that leaves, whatever it brings. This and the next one are functions of their own for the
/// verifier, which checks them once, and for the compiler, which else takes registers from the steady state.
///
/// # Safety
/// `skb` must be the program's context, `flow` the flow of its socket or null.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn follow_leaving(skb: *mut __sk_buff, flow: *mut Flow) -> u32 {
    // SAFETY: the caller's.
    follow(skb, unsafe { flow.as_mut() }, true)
}

/// A segment that arrives, whatever it brings.
///
/// # Safety
/// As [`follow_leaving`].
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn follow_arriving(skb: *mut __sk_buff, flow: *mut Flow) -> u32 {
    // SAFETY: the caller's.
    follow(skb, unsafe { flow.as_mut() }, false)
}

#[inline(always)]
fn follow(skb: *mut __sk_buff, flow: Option<&mut Flow>, egress: bool) -> u32 {
    let (Some(packet), Some(flow)) = (Packet::parse(skb), flow) else { return 0 };
    if let Some(block) = Slot::get(flow.slot) {
        segment_of(&packet, flow, egress, block);
    }
    0
}

/// A segment of a connection that is followed.
#[inline(always)]
fn segment_of(packet: &Packet, flow: &mut Flow, egress: bool, block: Slot) {
    if packet.flags & RST != 0 {
        return closing::reset(packet, flow, egress, block);
    }
    if packet.len > 0 {
        let is_response = flow.is_server() == egress;
        match order::turn(packet, flow, egress, block) {
            Turn::Now(fresh) if is_response => response::response(packet, fresh, flow, egress, block),
            Turn::Now(fresh) => request::request(packet, fresh, flow, egress, block),
            Turn::Early if is_response => response::early(packet, flow, egress, block),
            Turn::Early | Turn::Never => {}
        }
    } else if packet.flags & FIN == 0 && flow.is_open() && flow.is_server() && flow.shut_since == 0 {
        // The peer's receive window is shut while a response is under way.
        flow.shut_since = packet.time(egress);
    }
    closing::closing(packet, flow, egress, block);
}
