//! The kernel's own list of sockets that listen, over netlink (`sock_diag`), in one network namespace.
//!
//! It names each socket's cgroup, the very one that programs on cgroups go by: a socket keeps that of
//! the process which made it, wherever the process moves. Two fixed structs of `linux/inet_diag.h` are all of
//! the protocol that it takes.

use std::fs::File;
use std::io;
use std::time::Duration;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with, sockopt,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::sockets::Listening;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const INET_DIAG_CGROUP_ID: u16 = 21;
const IPPROTO_TCP: u8 = 6;
const TCP_LISTEN: u8 = 10;
const FAMILIES: [AddressFamily; 2] = [AddressFamily::INET, AddressFamily::INET6];

const HEADER: usize = 16;
/// `struct inet_diag_req_v2`.
const REQUEST: usize = 56;
/// `struct inet_diag_msg`: its port in network order, and its inode, at these bytes.
const MESSAGE: usize = 72;
const PORT_AT: usize = 4;
const INODE_AT: usize = 68;
/// The kernel answers at once; it does not answer at all only where something is broken.
const PATIENCE: Duration = Duration::from_secs(1);
const BUFFER: usize = 32 << 10;
/// Sockets taken of one family.
const SOCKETS: usize = 16_384;

/// Sockets that listen in the calling thread's network namespace.
pub fn listening() -> io::Result<Vec<Listening>> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::SOCK_DIAG))?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(PATIENCE))?;
    let mut found = Vec::new();
    let mut buffer = vec![0; BUFFER];
    for family in FAMILIES {
        send(&socket, &request(family), SendFlags::empty())?;
        let limit = found.len() + SOCKETS;
        loop {
            let (_, length) = recv(&socket, &mut buffer[..], RecvFlags::empty())?;
            if parse(buffer.get(..length).unwrap_or_default(), &mut found)? {
                break;
            }
            found.truncate(limit);
        }
    }
    Ok(found)
}

/// The same in the namespace behind an open `/proc/PID/ns/net`. Takes the calling thread there for good: for threads that
/// do nothing else. Needs CAP_SYS_ADMIN.
pub fn listening_in(namespace: &File) -> io::Result<Vec<Listening>> {
    use std::os::fd::AsFd;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
    listening()
}

fn request(family: AddressFamily) -> [u8; HEADER + REQUEST] {
    let mut bytes = [0; HEADER + REQUEST];
    bytes[..4].copy_from_slice(&((HEADER + REQUEST) as u32).to_ne_bytes());
    bytes[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes[6..8].copy_from_slice(&NLM_F_REQUEST_DUMP.to_ne_bytes());
    bytes[HEADER] = family.as_raw() as u8;
    bytes[HEADER + 1] = IPPROTO_TCP;
    bytes[HEADER + 4..HEADER + 8].copy_from_slice(&(1u32 << TCP_LISTEN).to_ne_bytes());
    bytes
}

/// Takes the sockets out of one part of the answer; true when it was the last part.
fn parse(mut part: &[u8], found: &mut Vec<Listening>) -> io::Result<bool> {
    let cut = || io::Error::new(io::ErrorKind::InvalidData, "the kernel's list of sockets is cut off");
    while part.len() >= HEADER {
        let length = number(part, 0).map(u32::from_ne_bytes).ok_or_else(cut)? as usize;
        let kind = number(part, 4).map(u16::from_ne_bytes).ok_or_else(cut)?;
        let body = part.get(HEADER..length).ok_or_else(cut)?;
        match kind {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => {
                let code = number(body, 0).map_or(0, i32::from_ne_bytes);
                return Err(io::Error::from_raw_os_error(-code));
            }
            _ => found.extend(socket(body)),
        }
        part = part.get(aligned(length)..).unwrap_or_default();
    }
    Ok(false)
}

fn socket(body: &[u8]) -> Option<Listening> {
    let port = number(body, PORT_AT).map(u16::from_be_bytes)?;
    let inode = number(body, INODE_AT).map(u32::from_ne_bytes)?;
    let listens = body.get(1) == Some(&TCP_LISTEN) && inode != 0;
    listens.then(|| Listening { inode: inode.into(), port, cgroup: cgroup(body.get(MESSAGE..).unwrap_or_default()) })
}

/// The attribute with the socket's cgroup; kernels before 5.8 have none.
fn cgroup(mut attributes: &[u8]) -> Option<u64> {
    loop {
        let length = number(attributes, 0).map(u16::from_ne_bytes)? as usize;
        let kind = number(attributes, 2).map(u16::from_ne_bytes)?;
        if kind == INET_DIAG_CGROUP_ID {
            return number(attributes, 4).map(u64::from_ne_bytes);
        }
        attributes = attributes.get(aligned(length.max(4))..)?;
    }
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lists_a_socket_of_this_process_and_its_cgroup() {
        let here = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let there = std::net::TcpListener::bind("[::1]:0");
        let listed = listening().unwrap();
        for socket in [Ok(here), there].into_iter().flatten() {
            let port = socket.local_addr().unwrap().port();
            let found = listed.iter().find(|listed| listed.port == port).expect("listed");
            assert!(found.cgroup.is_some_and(|id| id != 0), "{found:?}");
        }
    }

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.resize(HEADER, 0);
        bytes.extend(body);
        bytes.resize(aligned(bytes.len()), 0);
        bytes
    }

    fn body(inode: u32) -> Vec<u8> {
        let mut body = vec![0; MESSAGE];
        (body[0], body[1]) = (2, TCP_LISTEN);
        body[PORT_AT..PORT_AT + 2].copy_from_slice(&8080u16.to_be_bytes());
        body[INODE_AT..].copy_from_slice(&inode.to_ne_bytes());
        body
    }

    #[test]
    fn answers_come_in_parts_with_and_without_a_cgroup() {
        let mut with = body(7);
        with.extend([5, 0, 9, 0, 1, 0, 0, 0]);
        with.extend([12, 0, 21, 0]);
        with.extend(99u64.to_ne_bytes());
        let part = [message(SOCK_DIAG_BY_FAMILY, &with), message(SOCK_DIAG_BY_FAMILY, &body(8))].concat();
        let mut found = Vec::new();
        assert!(!parse(&part, &mut found).unwrap());
        assert!(parse(&message(NLMSG_DONE, &[0; 4]), &mut found).unwrap());
        let expected = [(7, Some(99)), (8, None)].map(|(inode, cgroup)| Listening { inode, port: 8080, cgroup });
        assert_eq!(found, expected);
        let error = parse(&message(NLMSG_ERROR, &(-2i32).to_ne_bytes()), &mut found).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound, "the module is not there");
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..256), length in 0u32..128) {
            let mut bytes = bytes;
            if bytes.len() > 4 {
                bytes[..4].copy_from_slice(&length.to_ne_bytes());
            }
            drop(parse(&bytes, &mut Vec::new()));
            cgroup(&bytes);
        }
    }
}
