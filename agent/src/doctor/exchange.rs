//! One small request over loopback, and what the kernel half counted of it.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use inferscope_common::block::{Block, Counter};
use inferscope_common::flow::SlotKey;

use crate::bpf::Kernel;
use crate::host::cgroup;

const REQUEST: &[u8] = b"GET /inferscope/doctor HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
/// Slot 0 stays empty by agreement.
const SLOT: u32 = 1;
const DEADLINE: Duration = Duration::from_secs(2);

/// Requests that were counted on a port of this process, whose cgroup is attached. The last packet may pass after this
/// process has read it: waits for the count.
pub(super) fn meter(kernel: &mut Kernel, own: &Path) -> io::Result<u64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    let key = SlotKey { cgroup: cgroup::id(own)?, port: port.into(), reserved: 0 };
    kernel.observe(key, SLOT).map_err(io::Error::other)?;
    let sent = exchange(&listener, port);
    let mapped = kernel.block(SLOT)?;
    let mut block = Box::new(Block::zeroed());
    let mut counted = || {
        mapped.read(&mut block);
        block.counters[Counter::RequestsEnded as usize]
    };
    let deadline = Instant::now() + DEADLINE;
    while sent.is_ok() && counted() == 0 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    let requests = counted();
    kernel.forget(key);
    sent.map(|()| requests)
}

/// Both ends in one thread: everything fits into the sockets' buffers.
fn exchange(listener: &TcpListener, port: u16) -> io::Result<()> {
    let mut client = TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), DEADLINE)?;
    let (mut server, _) = listener.accept()?;
    for socket in [&client, &server] {
        socket.set_read_timeout(Some(DEADLINE))?;
    }
    client.write_all(REQUEST)?;
    server.read_exact(&mut [0; REQUEST.len()])?;
    server.write_all(RESPONSE)?;
    drop(server);
    client.read_to_end(&mut Vec::new()).map(|_| ())
}
