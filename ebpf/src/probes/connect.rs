//! Connections: how long they took to open, why they did not, who listens; and the exchanges they cut off.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use inferscope_common::block::{Counter, Hist};
use inferscope_common::flow::{Header, Kind, Listen};

use crate::maps::{CONNECTS, FLOWS};
use crate::record;
use crate::sock::{Sock, watched};

const ESTABLISHED: i32 = 1;
const SYN_SENT: i32 = 2;
const SYN_RECV: i32 = 3;
const CLOSE: i32 = 7;
const CLOSE_WAIT: i32 = 8;
const LISTEN: i32 = 10;

const EPIPE: i32 = 32;
const ECONNRESET: i32 = 104;
const ETIMEDOUT: i32 = 110;
const ECONNREFUSED: i32 = 111;

#[btf_tracepoint(function = "inet_sock_set_state")]
fn inet_sock_set_state(ctx: BtfTracePointContext) -> i32 {
    let (old, new): (i32, i32) = (ctx.arg(1), ctx.arg(2));
    let sock = Sock(ctx.arg::<*const core::ffi::c_void>(0));
    match (old, new) {
        (_, SYN_SENT) => began(sock),
        (SYN_SENT, ESTABLISHED) => opened(sock),
        (SYN_SENT, CLOSE) => failed(sock),
        (SYN_RECV, ESTABLISHED) => accepted(sock),
        (_, LISTEN) => listening(sock, 1),
        (LISTEN, CLOSE) => listening(sock, 0),
        (_, CLOSE) => closed(sock, old),
        _ => {}
    }
    0
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: reads a clock.
    unsafe { bpf_ktime_get_ns() }
}

#[inline(always)]
fn began(sock: Sock) {
    if sock.block().is_some()
        && let Some(since) = CONNECTS.get_or_create(sock.0)
    {
        *since = now();
    }
}

#[inline(always)]
fn opened(sock: Sock) {
    let Some(since) = CONNECTS.get(sock.0) else { return };
    let took = now().saturating_sub(*since);
    CONNECTS.delete(sock.0);
    if let Some(block) = sock.block() {
        block.record(Hist::Connect, took);
    }
}

#[inline(always)]
fn failed(sock: Sock) {
    if CONNECTS.get(sock.0).is_none() {
        return;
    }
    CONNECTS.delete(sock.0);
    if let Some(block) = sock.block() {
        let why = match sock.error() {
            ECONNREFUSED => Counter::ConnectRefused,
            ETIMEDOUT => Counter::ConnectTimedOut,
            _ => Counter::ConnectFailed,
        };
        block.count(why, 1);
    }
}

/// TCP has just measured from SYN-ACK to its acknowledgement: that is its first round trip.
#[inline(always)]
fn accepted(sock: Sock) {
    if let Some(block) = sock.block() {
        let took = sock.smoothed_rtt();
        if took != 0 {
            block.record(Hist::Handshake, took);
        }
    }
}

#[inline(always)]
fn listening(sock: Sock, listening: u32) {
    let header = Header { time: now(), kind: Kind::Listen as u8, ..Header::default() };
    record::listen(&header, &Listen { cgroup: sock.cgroup(), port: sock.local_port().into(), listening });
}

/// An exchange that no segment ended yet: the socket was closed under it, or timed out.
#[inline(always)]
fn closed(sock: Sock, old: i32) {
    let Some(flow) = FLOWS.get(sock.0) else { return };
    if flow.is_open()
        && let Some(block) = watched(flow)
    {
        let error = sock.error();
        // Without a FIN on the way, a reset follows.
        let reset = match error {
            0 => old == ESTABLISHED || old == CLOSE_WAIT,
            error => error == ECONNRESET || error == EPIPE,
        };
        flow.broken(error == 0, reset, now(), block);
    }
}
