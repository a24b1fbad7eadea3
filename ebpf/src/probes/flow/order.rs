//! Which bytes of a segment are new: nothing counts twice, and what is missing is noticed.

use inferscope_common::block::Counter;
use inferscope_common::exchange::HOLES;
use inferscope_common::order::{Order, Place};

use crate::block::Slot;
use crate::exchange::Flow;
use crate::packet::{Fresh, Packet};
use crate::replay;

/// What there is to do with a segment.
pub(super) enum Turn {
    /// Its fresh bytes are the next ones.
    Now(Fresh),
    /// Bytes before it are missing, and TCP waits for them too. It will not pass again.
    Early,
    /// Nothing of it is new.
    Never,
}

/// Finds the place of a segment with payload.
#[inline(always)]
pub(super) fn turn(packet: &Packet, flow: &mut Flow, egress: bool, block: Slot) -> Turn {
    let all = Fresh { from: 0, len: packet.len };
    let order = flow.order(egress);
    if order.is_next(packet.seq) || replay::is_on() {
        order.take_next(packet.len);
        return Turn::Now(all);
    }
    if !egress
        && !order.has_begun()
        && let Some(tcp) = packet.tcp()
    {
        order.begin(tcp.received);
    }
    let mut found = place(flow, egress, packet);
    if found == AHEAD {
        if !egress && waits(packet, packet.seq) {
            return Turn::Early;
        }
        bridge(flow, packet.seq, egress, block);
        found = place(flow, egress, packet);
    }
    if found as u32 == 0 {
        block.count(Counter::Duplicates, 1);
        return Turn::Never;
    }
    Turn::Now(Fresh { from: (found >> 32) as u32, len: found as u32 })
}

#[inline(always)]
fn place(flow: &mut Flow, egress: bool, packet: &Packet) -> u64 {
    // SAFETY: a live order.
    unsafe { place_segment(flow.order(egress), packet.seq, packet.len) }
}

/// Bytes are missing before the segment.
const AHEAD: u64 = u64::MAX;

/// Judges a segment and takes it where it is the next one: where its fresh bytes begin, and in the lower
/// half how many there are. This and the next two are functions of their own for the verifier, which
/// checks their loops once and not again for every caller.
///
/// # Safety
/// `order` must be valid or null.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn place_segment(order: *mut Order, seq: u32, len: u32) -> u64 {
    // SAFETY: the caller's.
    let Some(order) = (unsafe { order.as_mut() }) else { return 0 };
    match order.place(seq, len) {
        Place::Next { from, len } => {
            order.take(len);
            u64::from(from) << 32 | u64::from(len)
        }
        Place::Ahead(_) => AHEAD,
        Place::Known => 0,
    }
}

/// [`Order::bridge`].
///
/// # Safety
/// `order` must be valid or null.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn bridge_gap(order: *mut Order, to: u32) -> u32 {
    // SAFETY: the caller's.
    unsafe { order.as_mut() }.map_or(0, |order| order.bridge(to))
}

/// [`Order::take_early`], 1 for true.
///
/// # Safety
/// `order` must be valid or null.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn note_early(order: *mut Order, seq: u32, len: u32) -> u32 {
    // SAFETY: the caller's.
    u32::from(unsafe { order.as_mut() }.is_some_and(|order| order.take_early(seq, len)))
}

/// Notes that a segment has been metered before its turn, if that can be noted.
#[inline(always)]
pub(super) fn take_early(packet: &Packet, flow: &mut Flow) -> bool {
    // SAFETY: a live order.
    unsafe { note_early(&raw mut flow.arriving, packet.seq, packet.len) != 0 }
}

/// Whether a direction has come to its end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It goes on, or bytes before its FIN are missing and may still come.
    No,
    /// With every byte before it in place.
    Seen,
    /// With bytes before it that TCP has and that were not metered.
    Unseen,
}

/// Whether the segment at hand ends what arrives: with its own FIN, or as the last one before a FIN that
/// came too early.
#[inline(always)]
pub(super) fn end(packet: &Packet, flow: &mut Flow, is_fin: bool, block: Slot) -> End {
    if is_fin {
        let end = packet.seq.wrapping_add(packet.len);
        flow.arriving.ends_at(end);
        if flow.arriving.missing(end) > 0 && !waits(packet, end) {
            bridge(flow, end, false, block);
            return End::Unseen;
        }
    }
    if flow.arriving.is_over() { End::Seen } else { End::No }
}

/// Ends an exchange whose asking side goes on, if the end of the response could not be told: its head is
/// torn, or TCP has bytes of it that were not metered in place, and the workload has read them. True if so.
#[inline(always)]
pub(super) fn settle(packet: &Packet, flow: &mut Flow, egress: bool, now: u64, block: Slot) -> bool {
    if !flow.exchange.response.is_headless() {
        if !egress || flow.is_server() {
            return false;
        }
        let Some(tcp) = packet.tcp() else { return false };
        if flow.arriving.missing(tcp.received) == 0 {
            return false;
        }
        bridge(flow, tcp.received, false, block);
    }
    flow.end_unseen(now, block);
    true
}

/// True while TCP has not received everything before `seq`.
#[inline(always)]
fn waits(packet: &Packet, seq: u32) -> bool {
    packet.tcp().is_none_or(|tcp| (tcp.received.wrapping_sub(seq) as i32) < 0)
}

/// Goes on behind bytes that TCP took from segments that came too early, or that nobody watched.
#[inline(always)]
fn bridge(flow: &mut Flow, to: u32, egress: bool, block: Slot) {
    let gap = flow.order(egress).missing(to);
    // SAFETY: a live order.
    let lost = unsafe { bridge_gap(flow.order(egress), to) };
    if lost == 0 {
        return;
    }
    let (is_response, ended) = (flow.is_server() == egress, flow.has_ended());
    let exchange = &mut flow.exchange;
    let torn = if is_response {
        flow.steady = 0;
        exchange.figures.flags |= HOLES;
        exchange.figures.response_bytes += u64::from(lost);
        // Whether bytes before the first one are of this response, its first one will tell.
        if exchange.response.has_begun() {
            exchange.response.lose_head();
        }
        exchange.response.resume_after(gap.into());
        exchange.response.take_lost()
    } else {
        exchange.figures.request_bytes += u64::from(lost);
        exchange.request.resume_after(gap.into());
        if ended {
            // What comes next may well be another request.
            exchange.request.abandon();
        }
        0
    };
    block.count(Counter::LostOrder, u64::from(lost) + u64::from(torn));
}
