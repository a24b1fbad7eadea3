//! The asking side of an exchange.

use inferscope_common::block::Counter;
use inferscope_common::exchange::JOINED;
use inferscope_common::flow::{Kind as Record, PIECE_CAPTURE, REQUEST_CAPTURE};
use inferscope_common::message::{HEAD_END, Kind, MESSAGE_END, NOT_HTTP};
use inferscope_common::sniff::{self, Start};

use super::{discover, order};
use crate::block::Slot;
use crate::exchange::Flow;
use crate::maps::FLOWS;
use crate::packet::{Fresh, Packet};
use crate::record;
use crate::walk::walk;

/// Bytes of a request.
#[inline(always)]
pub(super) fn request(packet: &Packet, fresh: Fresh, flow: &mut Flow, egress: bool, mut block: Slot) {
    let now = packet.time(egress);
    let over = flow.number == 0 || flow.exchange.request.is_done() || flow.exchange.figures.flags & JOINED != 0;
    let offset = if over { 0 } else { flow.exchange.figures.request_bytes };
    if offset < 4 {
        // What has once spoken HTTP/1 may use any method; anything else is known by its method.
        let (offset, start) = (offset as u32, packet.start(fresh));
        let judged = if flow.number == 0 {
            sniff::go_on(offset, start, fresh.len)
        } else {
            sniff::request(offset, start, fresh.len)
        };
        let bodyless = match judged {
            Start::Request { bodyless } => bodyless,
            Start::Undecided => false,
            _ => return stray(packet, flow),
        };
        if over {
            if flow.is_open() && !order::settle(packet, flow, egress, now, block) {
                return block.count(Counter::LostPipelined, 1);
            }
            block = match discover::rewatch(packet, flow) {
                Some(block) => block,
                None => return FLOWS.delete(packet.sock),
            };
            flow.begin(false);
            flow.unread = u8::from(!egress);
        }
        flow.exchange.bodyless |= u8::from(bodyless);
    }
    let walked = walk(packet, fresh, &mut flow.exchange.request, Kind::Request);
    if walked.step.signals & NOT_HTTP != 0 {
        return stray(packet, flow);
    }
    // What follows the message's end is another request: its answer will tell.
    if walked.step.signals & MESSAGE_END != 0 && walked.left > 0 {
        block.count(Counter::LostPipelined, 1);
    }
    let lost = flow.exchange.request.take_lost();
    if lost > 0 {
        block.count(Counter::LostOrder, lost.into());
    }
    let fresh = Fresh { len: fresh.len - walked.left, ..fresh };
    flow.exchange.requested(fresh.len.into(), now);
    if walked.step.signals & HEAD_END != 0 {
        flow.count_begun(block);
        if let Some(tcp) = packet.tcp() {
            flow.sample(tcp, block);
        }
    }
    if !flow.has_ended() {
        capture_request(packet, fresh, offset, flow, now, block);
    }
}

/// Bytes that begin no request: the rest of one that was sent too early, or no HTTP/1 at all.
#[inline(always)]
fn stray(packet: &Packet, flow: &mut Flow) {
    flow.exchange.request.abandon();
    if flow.number <= 1 && !flow.is_open() && !flow.has_ended() {
        FLOWS.delete(packet.sock);
    }
}

/// Passes on the request's beginning, and its end where that is far from the beginning.
#[inline(always)]
fn capture_request(packet: &Packet, fresh: Fresh, offset: u64, flow: &Flow, now: u64, block: Slot) {
    let Fresh { from, len } = fresh;
    let mut header = flow.header(Record::Request, now);
    if offset < u64::from(REQUEST_CAPTURE) {
        header.offset = offset;
        header.captured = len.min(REQUEST_CAPTURE - offset as u32);
        record::piece(packet, from, &header, block);
        if offset + u64::from(len) <= u64::from(REQUEST_CAPTURE) {
            return;
        }
    }
    // The last bytes, be they spread over two packets.
    let left = flow.exchange.request.body.left().unwrap_or(u64::MAX);
    if left <= u64::from(PIECE_CAPTURE) || flow.exchange.request.is_done() {
        header.captured = len.min(PIECE_CAPTURE);
        let skip = len - header.captured;
        header.offset = offset + u64::from(skip);
        record::piece(packet, from + skip, &header, block);
    }
}
