//! The asking side of an exchange.

use inferscope_common::block::Counter;
use inferscope_common::exchange::JOINED;
use inferscope_common::flow::{Kind as Record, PIECE_CAPTURE, REQUEST_CAPTURE};
use inferscope_common::message::{HEAD_END, Kind, MESSAGE_END};
use inferscope_common::sniff::{self, Start};

use crate::block::Slot;
use crate::exchange::{Flow, OPAQUE, UNREAD};
use crate::packet::Packet;
use crate::record;
use crate::walk::walk;

/// Bytes of a request.
#[inline(always)]
pub(super) fn request(packet: &Packet, from: u32, flow: &mut Flow, egress: bool, block: Slot) {
    let now = packet.time(egress);
    let over = flow.number == 0 || flow.exchange.request.is_done() || flow.exchange.figures.flags & JOINED != 0;
    if over {
        if flow.is_open() {
            return block.count(Counter::LostPipelined, 1);
        }
        flow.begin(false);
        if !egress {
            flow.flags |= UNREAD;
        }
    }
    let offset = flow.exchange.figures.request_bytes;
    let len = packet.len - from;
    flow.exchange.requested(len.into(), now);
    if offset < 4 {
        match sniff::go_on(offset as u32, packet.start(from), len) {
            Start::Request { bodyless } => flow.exchange.bodyless |= u8::from(bodyless),
            Start::Undecided => {}
            _ => {
                flow.flags |= OPAQUE;
                return;
            }
        }
    }
    let walked = walk(packet, from, &mut flow.exchange.request, Kind::Request);
    if walked.step.signals & HEAD_END != 0 {
        flow.count_begun(block);
        if let Some(tcp) = packet.tcp() {
            flow.sample(tcp, block);
        }
    }
    if walked.step.signals & MESSAGE_END != 0 && walked.left > 0 {
        block.count(Counter::LostPipelined, 1);
    }
    capture_request(packet, from, len, offset, flow, now, block);
}

/// Passes on the request's beginning, and its end where that is far from the beginning.
#[inline(always)]
fn capture_request(packet: &Packet, from: u32, len: u32, offset: u64, flow: &Flow, now: u64, block: Slot) {
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
