//! What FIN and RST do to the exchange under way.

use inferscope_common::exchange::COMPLETE;

use super::order::{self, End};
use crate::block::Slot;
use crate::exchange::Flow;
use crate::packet::{FIN, Packet};

/// A segment that may close its direction, or be the last one before a FIN that came too early.
#[inline(always)]
pub(super) fn closing(packet: &Packet, flow: &mut Flow, egress: bool, block: Slot) {
    let is_fin = packet.flags & FIN != 0;
    let end = if egress { if is_fin { End::Seen } else { End::No } } else { order::end(packet, flow, is_fin, block) };
    if end == End::No || !flow.is_open() {
        return;
    }
    let now = packet.time(egress);
    if flow.is_server() != egress {
        return asker(packet, flow, egress, now, block);
    }
    let response = &flow.exchange.response;
    if response.is_done() || response.has_head() && response.body.is_until_close() {
        flow.exchange.figures.flags |= COMPLETE;
        flow.end(now, block);
    } else if end == End::Unseen || response.is_headless() {
        flow.end_unseen(now, block);
    } else {
        flow.broken(egress, false, now, block);
    }
}

/// The asking side is done sending; whether it still listens shows later.
#[inline(always)]
fn asker(packet: &Packet, flow: &mut Flow, egress: bool, now: u64, block: Slot) {
    if order::settle(packet, flow, egress, now, block) {
        return;
    }
    if flow.asker_closed == 0 {
        flow.asker_closed = now;
    }
}

/// A reset. One that arrives counts where TCP will believe it; others TCP questions or drops.
#[inline(always)]
pub(super) fn reset(packet: &Packet, flow: &mut Flow, egress: bool, block: Slot) {
    if !flow.is_open() {
        return;
    }
    let believed = egress || packet.tcp().is_none_or(|tcp| tcp.received == packet.seq);
    if believed {
        flow.broken(egress, true, packet.time(egress), block);
    }
}
