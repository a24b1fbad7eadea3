//! The answering side of an exchange.

use inferscope_common::block::{Counter, Hist};
use inferscope_common::exchange::{HOLES, Step};
use inferscope_common::flow::{Kind as Record, PIECE_CAPTURE, RESPONSE_CAPTURE, STREAM_PIECES};
use inferscope_common::message::{CONTENT, ERROR, EVENT, MESSAGE_END, TUNNEL};
use inferscope_common::sniff::{self, Start};

use crate::block::Slot;
use crate::exchange::{Flow, OPAQUE};
use crate::packet::{Glance, Packet};
use crate::record;
use crate::walk::walk;

/// Of a stream's events, one in this many also samples the round trip.
const RTT_EVENTS: u32 = 16;

/// Bytes of a response.
#[inline(always)]
pub(super) fn response(packet: &Packet, from: u32, flow: &mut Flow, egress: bool, block: Slot) {
    let now = packet.time(egress);
    if !flow.is_open() {
        return unasked(packet, from, flow, now, block);
    }
    metered(packet, from, flow, now, block);
}

/// A response to a request that passed unseen: before the agent watched, or while another one was open.
#[inline(always)]
fn unasked(packet: &Packet, from: u32, flow: &mut Flow, now: u64, block: Slot) {
    if sniff::start(packet.start(from), packet.len - from) == Start::Response {
        flow.begin(true);
        flow.count_begun(block);
        metered(packet, from, flow, now, block);
    }
}

#[inline(always)]
fn metered(packet: &Packet, from: u32, flow: &mut Flow, now: u64, block: Slot) {
    let exchange = &mut flow.exchange;
    let (offset, len) = (exchange.figures.response_bytes, packet.len - from);
    flow_opened(flow, now, block);
    let exchange = &mut flow.exchange;
    let between = exchange.response.between_events();
    let glance = if from == 0 && between { Glance::take(packet, &mut flow.glance) } else { None };
    let step = if glance.as_ref().is_some_and(|glance| exchange.shape.fits(glance, len)) {
        Step { signals: CONTENT | EVENT, contents: 1, ends: 1 }
    } else {
        let kind = exchange.response_kind();
        let walked = walk(packet, from, &mut exchange.response, kind);
        if walked.left > 0 && walked.step.signals & MESSAGE_END == 0 {
            block.count(Counter::LostScan, walked.left.into());
            exchange.figures.flags |= HOLES;
        }
        let one_event = walked.step.contents == 1 && walked.step.ends == 1 && walked.step.signals == CONTENT | EVENT;
        if let Some(glance) = glance
            && one_event
            && exchange.response.between_events()
        {
            let (at, chunked) = (exchange.response.events.content_at, exchange.response.body.is_chunked());
            exchange.shape.learn(&glance, len, at, chunked);
        }
        walked.step
    };
    let early = exchange.figures.first_content == 0;
    // Events with a gap before them count in the histogram alone.
    let mut without_gap = step.contents;
    if let Some(gap) = exchange.responded(len.into(), now, step) {
        without_gap -= 1;
        let which = if flow.is_server() { Hist::EventGap } else { Hist::ClientEventGap };
        block.record(which, gap);
    }
    if without_gap > 0 {
        let which = if flow.is_server() { Counter::Events } else { Counter::ClientEvents };
        block.count(which, without_gap.into());
    }
    if early || step.signals & ERROR != 0 {
        capture_response(packet, from, len, offset, flow, now, block);
    }
    let ended = step.signals & MESSAGE_END != 0;
    if ended || step.contents > 0 && flow.exchange.figures.events % RTT_EVENTS == 0 {
        if let Some(tcp) = packet.tcp() {
            flow.sample(tcp, block);
        }
    }
    if ended {
        flow.end(now, block);
        if step.signals & TUNNEL != 0 {
            flow.flags |= OPAQUE;
        }
    }
}

#[inline(always)]
fn flow_opened(flow: &mut Flow, now: u64, block: Slot) {
    if flow.shut_since != 0 {
        flow.opened(now, block);
    }
}

/// Passes on the response's beginning, its end where that is far from the beginning, and of a stream
/// everything up to the first content.
#[inline(always)]
fn capture_response(packet: &Packet, from: u32, len: u32, offset: u64, flow: &mut Flow, now: u64, block: Slot) {
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
