//! The answering side of an exchange.

use inferscope_common::block::{Counter, Hist};
use inferscope_common::exchange::{HOLES, Step};
use inferscope_common::flow::{Kind as Record, PIECE_CAPTURE, RESPONSE_CAPTURE, STREAM_PIECES};
use inferscope_common::message::{CONTENT, ERROR, EVENT, MESSAGE_END, TUNNEL};
use inferscope_common::shape::Found;
use inferscope_common::sniff;

use super::{discover, order};
use crate::block::Slot;
use crate::exchange::Flow;
use crate::packet::{Fresh, Glance, Packet};
use crate::record;
use crate::walk::walk;

/// Of a stream's events, one in this many also samples the round trip.
pub(super) const RTT_EVENTS: u32 = 16;

/// Responses in one packet that are told apart: more than one comes only where requests were pipelined.
const ANSWERS: u32 = 4;

/// Bytes of a response.
#[inline(always)]
pub(super) fn response(packet: &Packet, fresh: Fresh, flow: &mut Flow, egress: bool, mut block: Slot) {
    let now = packet.time(egress);
    let (mut fresh, mut answer) = (fresh, 0);
    while answer < ANSWERS {
        if !flow.is_open() {
            block = match unasked(packet, fresh, flow) {
                Some(block) => block,
                None => return,
            };
        }
        let left = metered(packet, fresh, flow, now, block);
        if left == 0 {
            return;
        }
        fresh = Fresh { from: fresh.from + fresh.len - left, len: left };
        answer += 1;
    }
    block.count(Counter::LostScan, fresh.len.into());
}

/// Begins an exchange with a response to a request that passed unseen: before the agent watched, or while
/// another one was open.
#[inline(always)]
fn unasked(packet: &Packet, fresh: Fresh, flow: &mut Flow) -> Option<Slot> {
    if !sniff::is_response(packet.start(fresh), fresh.len) {
        return None;
    }
    let block = discover::rewatch(packet, flow)?;
    flow.begin(true);
    flow.count_begun(block);
    Some(block)
}

/// An event with bytes missing before it, in a stream that it can be told from without them.
#[inline(always)]
pub(super) fn early(packet: &Packet, flow: &mut Flow, egress: bool, block: Slot) {
    if !flow.is_open() || !flow.exchange.response.is_stream() {
        return;
    }
    let Some(glance) = Glance::take(packet, &mut flow.glance) else { return };
    if flow.exchange.shape.fits(&glance, packet.len) && order::take_early(packet, flow) {
        tally(flow, packet.len, ONE_EVENT, packet.time(egress), block);
    }
}

pub(super) const ONE_EVENT: Step = Step { signals: CONTENT | EVENT, contents: 1, ends: 1 };

/// Meters fresh bytes to the response's end at most, and says how many are left.
#[inline(always)]
fn metered(packet: &Packet, fresh: Fresh, flow: &mut Flow, now: u64, block: Slot) -> u32 {
    if flow.shut_since != 0 {
        flow.opened(now, block);
    }
    if flow.exchange.figures.flags & HOLES != 0 && !flow.exchange.response.has_begun() {
        begin_behind_gap(packet, fresh, flow);
    }
    if flow.exchange.response.is_headless() {
        block.count(Counter::LostOrder, fresh.len.into());
        tally(flow, fresh.len, Step::default(), now, block);
        return 0;
    }
    let exchange = &mut flow.exchange;
    let offset = exchange.figures.response_bytes;
    let whole = fresh.len == packet.len;
    let glance =
        if whole && exchange.response.between_events() { Glance::take(packet, &mut flow.glance) } else { None };
    let (step, left) = if glance.as_ref().is_some_and(|glance| exchange.shape.fits(glance, fresh.len)) {
        (ONE_EVENT, 0)
    } else {
        let kind = exchange.response_kind();
        let walked = walk(packet, fresh, &mut exchange.response, kind);
        let lost = exchange.response.take_lost();
        if lost > 0 {
            block.count(Counter::LostOrder, lost.into());
            exchange.figures.flags |= HOLES;
        }
        let one_event = walked.step == ONE_EVENT;
        if let Some(glance) = glance
            && one_event
            && exchange.response.between_events()
        {
            let events = &exchange.response.events;
            let found = Found {
                content_at: events.content_at,
                content_end: events.content_end,
                chunked: exchange.response.body.is_chunked(),
            };
            exchange.shape.learn(&glance, fresh.len, found);
        }
        (walked.step, walked.left)
    };
    let ended = step.signals & MESSAGE_END != 0;
    let fresh = if ended { Fresh { len: fresh.len - left, ..fresh } } else { fresh };
    let early = exchange.figures.first_content == 0;
    tally(flow, fresh.len, step, now, block);
    if early || step.signals & ERROR != 0 {
        capture_response(packet, fresh, offset, flow, now, block);
    }
    if (ended || step.contents > 0 && flow.exchange.figures.events.is_multiple_of(RTT_EVENTS))
        && let Some(tcp) = packet.tcp()
    {
        flow.sample(tcp, block);
    }
    if ended {
        flow.end(now, block);
        flow.opaque = u8::from(step.signals & TUNNEL != 0);
        return if flow.opaque == 0 { left } else { 0 };
    }
    if left > 0 {
        block.count(Counter::LostScan, left.into());
        flow.exchange.figures.flags |= HOLES;
    }
    let exchange = &flow.exchange;
    let is_steady =
        exchange.figures.first_content != 0 && exchange.shape.is_known() && exchange.response.between_events();
    flow.steady = u8::from(is_steady);
    0
}

/// Bytes are missing before the first of a response: they were of an unseen one before it, or its own beginning.
#[inline(always)]
fn begin_behind_gap(packet: &Packet, fresh: Fresh, flow: &mut Flow) {
    let exchange = &mut flow.exchange;
    if !sniff::is_response(packet.start(fresh), fresh.len) {
        exchange.response.lose_head();
    } else if exchange.figures.response_first == 0 {
        exchange.figures.flags &= !HOLES;
        exchange.figures.response_bytes = 0;
    }
}

/// Notes what bytes of the response brought.
#[inline(always)]
fn tally(flow: &mut Flow, bytes: u32, step: Step, now: u64, block: Slot) {
    // Events with a gap before them count in the histogram alone.
    let mut without_gap = step.contents;
    if let Some(gap) = flow.exchange.responded(bytes.into(), now, step) {
        without_gap -= 1;
        let which = if flow.is_server() { Hist::EventGap } else { Hist::ClientEventGap };
        block.record(which, gap);
    }
    if without_gap > 0 {
        let which = if flow.is_server() { Counter::Events } else { Counter::ClientEvents };
        block.count(which, without_gap.into());
    }
}

/// Passes on the response's beginning, its end where that is far from the beginning, and of a stream
/// everything up to the first content.
#[inline(always)]
fn capture_response(packet: &Packet, fresh: Fresh, offset: u64, flow: &mut Flow, now: u64, block: Slot) {
    let Fresh { from, len } = fresh;
    let mut header = flow.header(Record::Response, now);
    header.offset = offset;
    let response = &flow.exchange.response;
    let skip = if response.is_stream() {
        if flow.pieces >= STREAM_PIECES {
            return block.count(Counter::LostBudget, 1);
        }
        flow.pieces += 1;
        header.captured = len.min(PIECE_CAPTURE);
        0
    } else if offset < u64::from(RESPONSE_CAPTURE) {
        header.captured = len.min(RESPONSE_CAPTURE - offset as u32);
        record::piece(packet, from, &header, block);
        if offset + u64::from(len) <= u64::from(RESPONSE_CAPTURE) || !near_end(flow) {
            return;
        }
        header.captured = len.min(PIECE_CAPTURE);
        len - header.captured
    } else if near_end(flow) {
        header.captured = len.min(PIECE_CAPTURE);
        len - header.captured
    } else {
        return;
    };
    header.offset = offset + u64::from(skip);
    record::piece(packet, from + skip, &header, block);
}

#[inline(always)]
fn near_end(flow: &Flow) -> bool {
    let response = &flow.exchange.response;
    response.is_done() || response.body.left().is_some_and(|left| left <= u64::from(PIECE_CAPTURE))
}
