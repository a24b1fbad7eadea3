//! What TCP tells: delays, round trips, connections, resets, stalls.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::time::Duration;

use inferscope::clock::monotonic_nanos;
use inferscope_common::block::{Counter, Hist};
use inferscope_common::hist;
use socket2::{Domain, Socket, Type};

use crate::http::{DONE, REQUEST, SHORT, STREAM, chunk, event};
use crate::pair::{Family, Maker, Pair};
use crate::rig::{Counts, Rig, wait_for};

const PAUSE: Duration = Duration::from_millis(250);

/// A server that reads late: the request waits in its socket, and the wait has a name.
#[test]
fn a_late_read_is_a_read_delay() {
    let mut rig = Rig::new();
    let watched = rig.watch("read");
    let mut pair = Pair::served_by(&watched.cgroup);
    let begun = monotonic_nanos();
    pair.client.write_all(REQUEST.as_bytes()).unwrap();
    let written = monotonic_nanos();
    std::thread::sleep(PAUSE);
    let reading = monotonic_nanos();
    pair.server.read_exact(&mut [0; 10]).unwrap();
    let read = monotonic_nanos();
    pair.server.read_exact(&mut vec![0; REQUEST.len() - 10]).unwrap();
    pair.answer(SHORT);
    let delay = rig.one().figures.read_delay;
    assert!((reading - written..=read - begun).contains(&delay), "{delay} within {begun} {written} {reading} {read}");
    assert_eq!(rig.counts(&watched).hist(Hist::ReadDelay), (1, delay));
    // The next request on the connection has its own.
    let span = pair.ask(REQUEST);
    pair.answer(SHORT);
    let next = rig.one().figures.read_delay;
    assert!(next > 0 && next <= span.read - span.begun, "{next}");
    assert_eq!(rig.counts(&watched).hist(Hist::ReadDelay), (2, delay + next));
}

/// The asking side has no request to read.
#[test]
fn answers_have_no_read_delay() {
    let mut rig = Rig::new();
    let watched = rig.watch("no-read");
    let mut pair = Pair::asked_by(&watched.cgroup);
    pair.ask(REQUEST);
    pair.answer(SHORT);
    assert_eq!(rig.one().figures.read_delay, 0);
    assert_eq!(rig.counts(&watched).hist(Hist::ReadDelay), (0, 0));
}

/// Connections that were opened and accepted, within the time that the system call took.
#[test]
fn connections_are_timed() {
    let mut rig = Rig::new();
    let (opener, acceptor) = (rig.watch("opener"), rig.watch("acceptor"));
    let mut maker = Maker::new(Family::V4, Some(&acceptor.cgroup), Some(&opener.cgroup), 5);
    let begun = monotonic_nanos();
    let pairs: Vec<Pair> = (0..5).map(|_| maker.connect()).collect();
    let took = monotonic_nanos() - begun;
    let (count, sum) = rig.counts(&opener).hist(Hist::Connect);
    assert_eq!(count, 5);
    assert!(sum > 0 && sum <= took, "{sum} of {took}");
    // TCP keeps its first round trip in microseconds, one at least.
    let (count, sum) = rig.counts(&acceptor).hist(Hist::Handshake);
    assert_eq!(count, 5);
    assert!(sum >= 5000 && sum <= took + 5000, "{sum} of {took}");
    // Each end is counted for its own workload alone.
    assert_eq!(rig.counts(&opener).hist(Hist::Handshake).0, 0);
    assert_eq!(rig.counts(&acceptor).hist(Hist::Connect).0, 0);
    drop(pairs);
}

/// Connections in vain, by reason.
#[test]
fn connections_in_vain_are_counted_by_reason() {
    let mut rig = Rig::new();
    let watched = rig.watch("vain");
    let make = |count: usize| -> Vec<Socket> {
        let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        watched.cgroup.inside(|| (0..count).map(|_| socket()).collect()).unwrap()
    };
    // A port on which nobody listens any more.
    let gone = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    for socket in make(3) {
        assert_eq!(socket.connect(&gone.into()).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }
    // A backlog that is full drops every further SYN: such a connection hangs until it is given up.
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let full = listener.local_addr().unwrap();
    let filler = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    filler.connect(&full).unwrap();
    let mut hanging = make(2);
    let impatient = hanging.pop().unwrap();
    impatient.set_nonblocking(true).unwrap();
    assert!(impatient.connect(&full).is_err());
    drop(impatient);
    // TCP itself gives up after one more try, three seconds from now.
    let patient = hanging.pop().unwrap();
    patient.set_tcp_syn_retries(1);
    assert_eq!(patient.connect(&full).unwrap_err().kind(), ErrorKind::TimedOut);

    // TCP tells who waits first, and closes then.
    let closed = |counts: &Counts| counts.get(Counter::ConnectTimedOut) > 0;
    let counts = rig.until(&watched, "the connection that timed out", closed);
    let by_reason = [Counter::ConnectRefused, Counter::ConnectFailed, Counter::ConnectTimedOut];
    assert_eq!(by_reason.map(|counter| counts.get(counter)), [3, 1, 1]);
    assert_eq!(counts.hist(Hist::Connect).0, 0);
}

trait SynRetries {
    fn set_tcp_syn_retries(&self, count: i32);
}

impl SynRetries for Socket {
    fn set_tcp_syn_retries(&self, count: i32) {
        let (level, name, len) = (libc::IPPROTO_TCP, libc::TCP_SYNCNT, size_of::<i32>() as u32);
        // SAFETY: an option of four bytes.
        let result = unsafe { libc::setsockopt(self.as_raw_fd(), level, name, (&raw const count).cast(), len) };
        assert_eq!(result, 0);
    }
}

/// What the kernel says of a connection.
pub(crate) fn tcp_info(socket: &impl AsRawFd) -> libc::tcp_info {
    // SAFETY: plain numbers.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut len = size_of::<libc::tcp_info>() as u32;
    let (level, name) = (libc::IPPROTO_TCP, libc::TCP_INFO);
    // SAFETY: a buffer of the length given.
    let result = unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, (&raw mut info).cast(), &raw mut len) };
    assert_eq!(result, 0);
    info
}

/// The round trip is TCP's own, as it is when the last byte leaves.
#[test]
fn the_round_trip_is_tcps_own() {
    let mut rig = Rig::new();
    let watched = rig.watch("rtt");
    let mut pair = Pair::served_by(&watched.cgroup);
    pair.ask(REQUEST);
    let first = tcp_info(&pair.server).tcpi_rtt;
    pair.answer(STREAM);
    pair.answer(event("x"));
    // An acknowledgement under way would move it.
    let settled = || (tcp_info(&pair.server).tcpi_unacked == 0).then(|| tcp_info(&pair.server).tcpi_rtt);
    let last = wait_for("the last acknowledgement", settled);
    pair.answer(DONE);
    let figures = rig.one().figures;
    assert_eq!((figures.rtt, figures.rtt_min), (last, first.min(last)));
    // Sampled at the request's head and at the response's end.
    let (count, sum) = rig.counts(&watched).hist(Hist::Rtt);
    assert_eq!((count, sum), (2, u64::from(first + last) * 1000));
}

/// A client that reads nothing for half a second while the server has more to send.
#[test]
fn a_shut_window_is_a_stall() {
    let mut rig = Rig::new();
    let watched = rig.watch("stall");
    let listener = watched.cgroup.inside(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).unwrap();
    let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    client.set_recv_buffer_size(8 << 10).unwrap();
    client.connect(&listener.local_addr().unwrap().into()).unwrap();
    let (server, _) = listener.accept().unwrap();
    let mut pair = Pair { server, client: client.into() };
    pair.server.set_nodelay(true).unwrap();
    pair.ask(REQUEST);
    pair.answer(STREAM);
    // Until the server's socket is full, too: the window is long shut by then.
    pair.server.set_nonblocking(true).unwrap();
    let padding = chunk(&format!(": {}\n\n", "p".repeat(1000)));
    let begun = monotonic_nanos();
    let mut sent = 0;
    let full = wait_for("a full socket", || match pair.server.write(padding.as_bytes()) {
        Ok(written) => {
            sent += written;
            None
        }
        Err(error) => (error.kind() == ErrorKind::WouldBlock).then(monotonic_nanos),
    });
    std::thread::sleep(2 * PAUSE);
    let resumed = monotonic_nanos();
    let mut left = sent;
    let mut buffer = vec![0; 1 << 16];
    let mut drained = None;
    while left > 0 {
        left -= pair.client.read(&mut buffer).unwrap();
        drained.get_or_insert_with(monotonic_nanos);
    }
    let drained = monotonic_nanos();
    pair.server.set_nonblocking(false).unwrap();
    // The rest of the event that was cut, then the end.
    let cut = sent % padding.len();
    if cut > 0 {
        pair.answer(&padding[cut..]);
    }
    pair.answer(DONE);
    let stalled = rig.one().figures.stalled;
    assert!((resumed - full..=drained - begun).contains(&stalled), "{stalled}: {begun} {full} {resumed} {drained}");
    let (count, sum) = rig.counts(&watched).hist(Hist::WriteStall);
    assert!(count >= 1);
    assert_eq!(sum, stalled);
}

/// A sender that TCP paces: bytes have the time at which they left, not the time of the write.
#[test]
fn paced_bytes_have_the_time_at_which_they_left() {
    let mut rig = Rig::new();
    let watched = rig.watch("paced");
    let mut pair = Pair::served_by(&watched.cgroup);
    // Ten segments pass unpaced, of nearly 64 KiB each here.
    let rate: u64 = 4_000_000;
    let (level, name, len) = (libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE, size_of::<u64>() as u32);
    // SAFETY: an option of eight bytes.
    let set = unsafe { libc::setsockopt(pair.server.as_raw_fd(), level, name, (&raw const rate).cast(), len) };
    assert_eq!(set, 0);
    pair.ask(REQUEST);
    let body = "b".repeat(2_000_000);
    let begun = monotonic_nanos();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
    pair.answer(head + &body);
    let read = monotonic_nanos();
    let figures = rig.one().figures;
    assert!(read - begun > 200_000_000, "nothing was paced: {} ns", read - begun);
    let (first, last) = (figures.response_first, figures.last);
    assert!(begun <= first && last <= read, "{begun} {first} {last} {read}");
    assert!(last - first > (read - begun) / 2, "{first} to {last} of {begun} to {read}");
}

/// One gap between two events falls into the slot of its own length.
#[test]
fn a_gap_falls_into_its_slot() {
    let mut rig = Rig::new();
    let watched = rig.watch("gap");
    let mut pair = Pair::served_by(&watched.cgroup);
    pair.ask(REQUEST);
    pair.answer(STREAM);
    pair.answer(event("a"));
    std::thread::sleep(Duration::from_millis(7));
    pair.answer(event("b"));
    pair.answer(DONE);
    let figures = rig.one().figures;
    let gap = figures.last_content - figures.first_content;
    assert!(gap >= 7_000_000 && figures.longest_gap == gap);
    let counts = rig.counts(&watched);
    assert_eq!(counts.hist(Hist::EventGap), (1, gap));
    assert_eq!(counts.slots(Hist::EventGap), [hist::slot(gap)]);
}
