//! Traffic that is no inference, of which nothing may be counted as such.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// What passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Passed {
    /// Connections, plain HTTP included.
    pub connections: u64,
    /// Of them plain HTTP, one request each: HTTP, but no inference.
    pub http: u64,
}

impl std::ops::AddAssign for Passed {
    fn add_assign(&mut self, more: Self) {
        self.connections += more.connections;
        self.http += more.http;
    }
}

/// One protocol: what the client says, and what it is answered, in turns.
struct Talk {
    turns: Vec<(Vec<u8>, Vec<u8>)>,
    http: bool,
}

fn talk(turns: &[(&[u8], &[u8])]) -> Talk {
    let turns = turns.iter().map(|(asked, answered)| (asked.to_vec(), answered.to_vec())).collect();
    Talk { turns, http: false }
}

/// Every protocol.
fn talks() -> Vec<Talk> {
    let redis = talk(&[
        (b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nvalue\r\n", b"+OK\r\n"),
        (b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", b"$5\r\nvalue\r\n"),
    ]);
    let postgres = talk(&[
        (b"\0\0\0\x16\0\x03\0\0user\0postgres\0\0", b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I"),
        (b"Q\0\0\0\x0dSELECT 1\0", b"T\0\0\0\x21\0\x01?column?\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0"),
    ]);
    let memcached = talk(&[(b"get key\r\n", b"END\r\n")]);
    let smtp = talk(&[(b"EHLO localhost\r\n", b"250 localhost\r\n"), (b"QUIT\r\n", b"221 bye\r\n")]);
    // Words in capitals, as methods are.
    let nats = talk(&[(b"CONNECT {\"verbose\":false}\r\nPING\r\n", b"PONG\r\n"), (b"PUB a 2\r\nok\r\n", b"+OK\r\n")]);
    let http2 = talk(&[(
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        b"\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0",
    )]);
    let noise = |seed: u64, length: usize| {
        let step = |state: &mut u64| {
            *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            Some((*state >> 33) as u8)
        };
        std::iter::repeat_n(seed, length).scan(seed, move |state, _| step(state)).collect::<Vec<u8>>()
    };
    let random = Talk { turns: vec![(noise(1, 3000), noise(2, 5000)), (noise(3, 17), noise(4, 1))], http: false };
    let mut hello = b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03".to_vec();
    hello.extend(noise(5, 508));
    let mut answer = b"\x16\x03\x03\0\x7a\x02\0\0\x76\x03\x03".to_vec();
    answer.extend(noise(6, 118));
    let tls = Talk { turns: vec![(hello, answer)], http: false };
    // An answer that nobody asked for, and prose about an endpoint.
    let prose = talk(&[(
        b"see /v1/chat/completions, data: [DONE]\n",
        b"data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n",
    )]);
    let page = b"GET /index.html HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let html = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<p>hello</p>\n";
    let http = Talk { http: true, ..talk(&[(page, html)]) };
    vec![redis, postgres, memcached, smtp, nats, http2, random, tls, prose, http]
}

/// Lets every protocol pass `rounds` times, between sockets of this process.
pub fn pass(rounds: u32) -> Result<Passed> {
    let mut passed = Passed::default();
    for talk in talks() {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        thread::scope(|scope| {
            let server = scope.spawn(|| (0..rounds).try_for_each(|_| answer(&listener, &talk)));
            let client = (0..rounds).try_for_each(|_| ask(TcpStream::connect(address)?, &talk));
            let Ok(served) = server.join() else { bail!("a server of unrelated traffic panicked") };
            client.and(served).context("unrelated traffic did not pass")
        })?;
        passed.connections += u64::from(rounds);
        passed.http += if talk.http { u64::from(rounds) } else { 0 };
    }
    Ok(passed)
}

fn ask(mut stream: TcpStream, talk: &Talk) -> Result<()> {
    for (asked, answered) in &talk.turns {
        stream.write_all(asked)?;
        stream.read_exact(&mut vec![0; answered.len()])?;
    }
    Ok(())
}

fn answer(listener: &TcpListener, talk: &Talk) -> Result<()> {
    let (mut stream, _) = listener.accept()?;
    for (asked, answered) in &talk.turns {
        stream.read_exact(&mut vec![0; asked.len()])?;
        stream.write_all(answered)?;
    }
    Ok(())
}
