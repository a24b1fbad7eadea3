//! Which bytes of a segment are new: nothing counts twice, and what is missing is noticed.

use inferscope_common::block::Counter;
use inferscope_common::exchange::HOLES;

use crate::block::Slot;
use crate::exchange::{Flow, SEEN};
use crate::packet::Packet;
use crate::replay;

/// Where the new bytes of a segment begin; `None` where it has none, or cannot be used yet.
#[inline(always)]
pub(super) fn in_order(packet: &Packet, flow: &mut Flow, egress: bool, block: Slot) -> Option<u32> {
    if replay::is_on() {
        return Some(0);
    }
    let way = usize::from(egress);
    if flow.flags & SEEN[way] == 0 {
        flow.flags |= SEEN[way];
        flow.next[way] = packet.seq;
    }
    let ahead = packet.seq.wrapping_sub(flow.next[way]) as i32;
    let from = if ahead < 0 {
        let known = ahead.unsigned_abs();
        if known >= packet.len {
            block.count(Counter::Duplicates, 1);
            return None;
        }
        known
    } else {
        if ahead > 0 && !hole(packet, flow, egress, ahead as u32, block) {
            return None;
        }
        0
    };
    flow.next[way] = packet.seq.wrapping_add(packet.len);
    Some(from)
}

/// Bytes are missing before this segment. False: they may still come, and the segment again with them.
#[inline(always)]
fn hole(packet: &Packet, flow: &mut Flow, egress: bool, ahead: u32, block: Slot) -> bool {
    if !egress {
        // TCP waits for the missing bytes too, or took them from segments that came out of order.
        let waits = packet.tcp().is_none_or(|tcp| (tcp.received.wrapping_sub(packet.seq) as i32) < 0);
        if waits {
            return false;
        }
    }
    block.count(Counter::LostOrder, ahead.into());
    let is_response = flow.is_server() == egress;
    let exchange = &mut flow.exchange;
    if is_response {
        exchange.figures.flags |= HOLES;
        exchange.figures.response_bytes += u64::from(ahead);
        exchange.response.resume_after(ahead.into());
    } else {
        exchange.figures.request_bytes += u64::from(ahead);
        exchange.request.resume_after(ahead.into());
    }
    true
}
