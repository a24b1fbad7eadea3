//! Requests and responses on the sockets of an observed cgroup: metered where they pass, nothing delayed.

use aya_ebpf::bindings::bpf_sock;
use aya_ebpf::helpers::generated::{bpf_get_socket_cookie, bpf_skb_ancestor_cgroup_id, bpf_skb_cgroup_id, bpf_sk_fullsock, bpf_tcp_sock};
use aya_ebpf::macros::cgroup_skb;
use aya_ebpf::programs::SkBuffContext;
use inferscope_common::block::{Counter, Hist};
use inferscope_common::exchange::{COMPLETE, HOLES, JOINED, Step};
use inferscope_common::flow::{
    Endpoints, Kind as Record, PIECE_CAPTURE, REQUEST_CAPTURE, RESPONSE_CAPTURE, Role, STREAM_PIECES,
};
use inferscope_common::message::{CONTENT, ERROR, EVENT, HEAD_END, Kind, MESSAGE_END, TUNNEL};
use inferscope_common::sniff::{self, Start};

use crate::block::Slot;
use crate::exchange::{Flow, OPAQUE, SEEN, Tcp, UNREAD};
use crate::maps::FLOWS;
use crate::packet::{FIN, Glance, Packet, RST, SYN};
use crate::record;
use crate::replay;
use crate::sock::slot;
use crate::walk::walk;

/// Lets the segment pass, whatever it was.
const PASS: i32 = 1;
/// Levels of cgroups searched for an observed one above the socket's own.
const LEVELS: i32 = 12;
/// Of a stream's events, one in this many also samples the round trip.
const RTT_EVENTS: u32 = 16;

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
        None => match replay::flow(packet.sock).or_else(|| discover(&packet, egress)) {
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
    let Some(from) = in_order(&packet, flow, egress, block) else { return };
    if flow.is_server() == egress {
        response(&packet, from, flow, egress, block);
    } else {
        request(&packet, from, flow, egress, block);
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

/// Where the new bytes of a segment begin; `None` where it has none, or cannot be used yet.
#[inline(always)]
fn in_order(packet: &Packet, flow: &mut Flow, egress: bool, block: Slot) -> Option<u32> {
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
        let waits = tcp(packet).is_none_or(|tcp| (tcp.received.wrapping_sub(packet.seq) as i32) < 0);
        if waits {
            return false;
        }
    }
    block.count(Counter::LostOrder, ahead.into());
    let exchange = &mut flow.exchange;
    if flow.role == Role::Server as u8 && egress || flow.role == Role::Client as u8 && !egress {
        exchange.figures.flags |= HOLES;
        exchange.figures.response_bytes += u64::from(ahead);
        exchange.response.resume_after(ahead.into());
    } else {
        exchange.figures.request_bytes += u64::from(ahead);
        exchange.request.resume_after(ahead.into());
    }
    true
}

/// Bytes of a request.
#[inline(always)]
fn request(packet: &Packet, from: u32, flow: &mut Flow, egress: bool, block: Slot) {
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
        if let Some(tcp) = tcp(packet) {
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

/// Bytes of a response.
#[inline(always)]
fn response(packet: &Packet, from: u32, flow: &mut Flow, egress: bool, block: Slot) {
    let now = packet.time(egress);
    if !flow.is_open() {
        return unasked(packet, from, flow, egress, now, block);
    }
    metered(packet, from, flow, now, block);
}

/// A response to a request that passed unseen: before the agent watched, or while another one was open.
#[inline(always)]
fn unasked(packet: &Packet, from: u32, flow: &mut Flow, _egress: bool, now: u64, block: Slot) {
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
        if let Some(tcp) = tcp(packet) {
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

/// A flow for a socket that begins to speak HTTP/1, if its cgroup is observed.
#[inline(always)]
fn discover(packet: &Packet, egress: bool) -> Option<&'static mut Flow> {
    let role = match (sniff::start(packet.start(0), packet.len), egress) {
        (Start::Request { .. } | Start::Undecided, false) | (Start::Response, true) => Role::Server,
        (Start::Request { .. } | Start::Undecided, true) | (Start::Response, false) => Role::Client,
        _ => return None,
    };
    let endpoints = endpoints(packet)?;
    let slot = observed(packet, endpoints.local_port.into())?;
    let block = Slot::get(slot)?;
    let Some(flow) = FLOWS.get_or_create(packet.sock) else {
        block.count(Counter::LostState, 1);
        return None;
    };
    flow.slot = slot;
    flow.role = role as u8;
    flow.endpoints = endpoints;
    // SAFETY: the context of this program.
    flow.cookie = unsafe { bpf_get_socket_cookie(packet.skb().cast()) };
    Some(flow)
}

/// The slot of the socket's cgroup, or of the nearest one above it that is observed.
#[inline(always)]
fn observed(packet: &Packet, port: u32) -> Option<u32> {
    // SAFETY: the context of this program.
    let own = unsafe { bpf_skb_cgroup_id(packet.skb()) };
    if let Some(found) = slot(own, port) {
        return Some(found);
    }
    let mut level = LEVELS;
    while level >= 0 {
        // SAFETY: as above; a level that does not exist answers 0, which no cgroup has.
        let above = unsafe { bpf_skb_ancestor_cgroup_id(packet.skb(), level) };
        if above != 0 && above != own {
            if let Some(found) = slot(above, port) {
                return Some(found);
            }
        }
        level -= 1;
    }
    None
}

#[inline(always)]
fn tcp(packet: &Packet) -> Option<Tcp> {
    // SAFETY: the helper answers null for what is no TCP socket; the fields are translated by the verifier.
    unsafe {
        let tcp = bpf_tcp_sock(packet.sock.cast_mut().cast()).as_ref()?;
        Some(Tcp { rtt: tcp.srtt_us >> 3, retransmits: tcp.total_retrans, received: tcp.rcv_nxt })
    }
}

#[inline(always)]
fn endpoints(packet: &Packet) -> Option<Endpoints> {
    const AF_INET: u32 = 2;
    const MAPPED: [u32; 3] = [0, 0, 0xffff_u32.to_be()];
    // SAFETY: the helper answers null for what is no full socket.
    let sock: *const bpf_sock = unsafe { bpf_sk_fullsock(packet.sock.cast_mut().cast()) };
    if sock.is_null() {
        return None;
    }
    // Each field by its own load at its own offset, which the verifier translates; hence volatile.
    macro_rules! field {
        ($($place:tt)*) => {
            // SAFETY: `sock` is a full socket.
            unsafe { (&raw const (*sock).$($place)*).read_volatile() }
        };
    }
    let (local4, remote4) = (field!(src_ip4), field!(dst_ip4));
    let (mut local, mut remote) = (
        [field!(src_ip6[0]), field!(src_ip6[1]), field!(src_ip6[2]), field!(src_ip6[3])],
        [field!(dst_ip6[0]), field!(dst_ip6[1]), field!(dst_ip6[2]), field!(dst_ip6[3])],
    );
    let mut family = 6;
    if field!(family) == AF_INET {
        local = [MAPPED[0], MAPPED[1], MAPPED[2], local4];
        remote = [MAPPED[0], MAPPED[1], MAPPED[2], remote4];
        family = 4;
    }
    Some(Endpoints {
        local: bytes(local),
        remote: bytes(remote),
        local_port: field!(src_port) as u16,
        remote_port: u16::from_be(field!(dst_port)),
        family,
        reserved: [0; 3],
    })
}

#[inline(always)]
fn bytes(words: [u32; 4]) -> [u8; 16] {
    // SAFETY: sixteen bytes either way; the words already stand in network order.
    unsafe { core::mem::transmute(words) }
}
