//! The steady state of a stream: a packet that is the next event and nothing else, as nearly all are.
//!
//! What happens here happens in [`super::response`] too, to whatever does not pass. It stands apart, and
//! everything else behind a call, so that the compiler keeps what it needs in registers.

use inferscope_common::block::Hist;

use super::response::{ONE_EVENT, RTT_EVENTS};
use crate::block::Slot;
use crate::exchange::Flow;
use crate::packet::{FIN, Glance, Packet, RST};
use crate::replay;

/// Meters the segment if it is the next event of a stream under way.
#[inline(always)]
pub(super) fn next_event(packet: &Packet, flow: &mut Flow, egress: bool, block: Slot) -> bool {
    if flow.steady == 0 || !flow.is_open() || flow.is_server() != egress || packet.flags & (FIN | RST) != 0 {
        return false;
    }
    // A stall ends, or a look at TCP is due.
    if flow.shut_since != 0 || flow.exchange.figures.events % RTT_EVENTS == RTT_EVENTS - 1 {
        return false;
    }
    if !flow.order(egress).is_next(packet.seq) && !replay::is_on() {
        return false;
    }
    let Some(glance) = Glance::take(packet, &mut flow.glance) else { return false };
    if !flow.exchange.shape.fits(&glance, packet.len) {
        return false;
    }
    flow.order(egress).take_next(packet.len);
    let gap = flow.exchange.responded(packet.len.into(), packet.time(egress), ONE_EVENT).unwrap_or(0);
    block.record_here(if egress { Hist::EventGap } else { Hist::ClientEventGap }, gap);
    true
}
