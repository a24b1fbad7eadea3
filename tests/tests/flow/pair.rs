//! Two ends of a TCP connection, each made where it belongs.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use inferscope::clock::monotonic_nanos;
use inferscope_tests::cgroup::Cgroup;
use socket2::{Domain, SockRef, Socket, Type};

use crate::link::{Link, Space};
use crate::rig::DEADLINE;

/// Written by one thread and read by the same one: more than this might not fit in between.
const INLINE: usize = 16 << 10;

/// How the two ends name their addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Family {
    V4,
    V6,
    /// IPv4 on the wire, an IPv6 socket at the server.
    MappedServer,
    /// IPv4 on the wire, an IPv6 socket at the client.
    MappedClient,
}

impl Family {
    pub(crate) const ALL: [Self; 4] = [Self::V4, Self::V6, Self::MappedServer, Self::MappedClient];

    fn listen_at(self) -> SocketAddr {
        match self {
            Self::V4 | Self::MappedClient => (Ipv4Addr::LOCALHOST, 0).into(),
            Self::V6 => (Ipv6Addr::LOCALHOST, 0).into(),
            Self::MappedServer => (Ipv6Addr::UNSPECIFIED, 0).into(),
        }
    }

    fn connect_to(self, port: u16) -> SocketAddr {
        match self {
            Self::V4 | Self::MappedServer => (Ipv4Addr::LOCALHOST, port).into(),
            Self::V6 => (Ipv6Addr::LOCALHOST, port).into(),
            Self::MappedClient => (Ipv4Addr::LOCALHOST.to_ipv6_mapped(), port).into(),
        }
    }

    fn client(self) -> Socket {
        let domain = if matches!(self, Self::V4 | Self::MappedServer) { Domain::IPV4 } else { Domain::IPV6 };
        Socket::new(domain, Type::STREAM, None).unwrap()
    }
}

/// Makes connections whose ends live in given cgroups. Moving a process takes milliseconds, so that
/// clients' sockets are made in advance.
pub(crate) struct Maker {
    target: SocketAddr,
    listener: TcpListener,
    clients: Vec<Socket>,
}

impl Maker {
    /// For `count` connections; an end without a cgroup lives where this process does.
    pub(crate) fn new(family: Family, server: Option<&Cgroup>, client: Option<&Cgroup>, count: usize) -> Self {
        let listener = inside(server, || TcpListener::bind(family.listen_at()).unwrap());
        let clients = inside(client, || (0..count).map(|_| family.client()).collect());
        let target = family.connect_to(listener.local_addr().unwrap().port());
        Self { target, listener, clients }
    }

    /// For one connection over a link, with the server at `address` of its near end.
    pub(crate) fn over(link: &Link, address: IpAddr, server: Option<&Cgroup>, client: Option<&Cgroup>) -> Self {
        let mut maker = Self::listening(&link.near, address, server);
        inside(client, || maker.add_client(&link.far));
        maker
    }

    /// For one connection inside a namespace.
    pub(crate) fn within(space: &Space, address: IpAddr, server: Option<&Cgroup>) -> Self {
        let mut maker = Self::listening(space, address, server);
        maker.add_client(space);
        maker
    }

    fn listening(space: &Space, address: IpAddr, server: Option<&Cgroup>) -> Self {
        let listener = inside(server, || space.inside(|| TcpListener::bind((address, 0)).unwrap()));
        Self { target: listener.local_addr().unwrap(), listener, clients: Vec::new() }
    }

    /// One more client, in a namespace.
    pub(crate) fn add_client(&mut self, space: &Space) {
        let domain = Domain::for_address(self.target);
        self.clients.push(space.inside(|| Socket::new(domain, Type::STREAM, None).unwrap()));
    }

    pub(crate) fn port(&self) -> u16 {
        self.target.port()
    }

    /// The next connection.
    pub(crate) fn connect(&mut self) -> Pair {
        self.connect_with(|_| {})
    }

    /// The next connection, whose client does something before the server may have accepted it.
    pub(crate) fn connect_with(&mut self, client_does: impl FnOnce(&mut TcpStream)) -> Pair {
        let client = self.clients.pop().expect("no socket was made for this connection");
        client.connect(&self.target.into()).unwrap();
        let mut client = TcpStream::from(client);
        client_does(&mut client);
        let (server, _) = self.listener.accept().unwrap();
        Pair::of(server, client)
    }
}

fn inside<T>(cgroup: Option<&Cgroup>, work: impl FnOnce() -> T) -> T {
    match cgroup {
        Some(cgroup) => cgroup.inside(work).unwrap(),
        None => work(),
    }
}

pub(crate) struct Pair {
    pub(crate) server: TcpStream,
    pub(crate) client: TcpStream,
}

/// When a write was begun and when its bytes had been read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) begun: u64,
    pub(crate) read: u64,
}

impl Pair {
    fn of(server: TcpStream, client: TcpStream) -> Self {
        for end in [&server, &client] {
            end.set_nodelay(true).unwrap();
            end.set_read_timeout(Some(DEADLINE)).unwrap();
            end.set_write_timeout(Some(DEADLINE)).unwrap();
        }
        Self { server, client }
    }

    /// A connection over IPv4 whose server is watched.
    pub(crate) fn served_by(cgroup: &Cgroup) -> Self {
        Maker::new(Family::V4, Some(cgroup), None, 1).connect()
    }

    /// A connection over IPv4 whose client is watched.
    pub(crate) fn asked_by(cgroup: &Cgroup) -> Self {
        Maker::new(Family::V4, None, Some(cgroup), 1).connect()
    }

    /// The client writes and the server reads.
    pub(crate) fn ask(&mut self, bytes: impl AsRef<[u8]>) -> Span {
        pass(&mut self.client, &mut self.server, bytes.as_ref())
    }

    /// The server writes and the client reads.
    pub(crate) fn answer(&mut self, bytes: impl AsRef<[u8]>) -> Span {
        pass(&mut self.server, &mut self.client, bytes.as_ref())
    }
}

/// Passes bytes on and waits until they have been read: each write is a packet of its own.
pub(crate) fn pass(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) -> Span {
    let begun = monotonic_nanos();
    let mut got = vec![0; bytes.len()];
    if bytes.len() <= INLINE {
        from.write_all(bytes).unwrap();
        to.read_exact(&mut got).unwrap();
    } else {
        std::thread::scope(|scope| {
            scope.spawn(|| from.write_all(bytes).unwrap());
            to.read_exact(&mut got).unwrap();
        });
    }
    assert!(got == bytes, "the wire changed the bytes");
    Span { begun, read: monotonic_nanos() }
}

/// Closes without courtesy.
pub(crate) fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}
