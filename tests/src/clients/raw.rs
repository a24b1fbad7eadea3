//! A client that writes and reads exactly what it is told.

use std::io::{ErrorKind, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use anyhow::{Context, Result};
use inferscope::clock::monotonic_nanos;

use crate::ask::Ask;
use crate::clients::seen::Seen;
use crate::clients::stamp;
use crate::clients::transcript::{Response, Transcript};

/// Longest silence of a server.
const SILENCE: Duration = Duration::from_secs(20);

/// One connection.
pub struct Raw {
    stream: TcpStream,
    host: String,
    /// When the request under way began.
    started: u64,
    transcript: Transcript,
}

impl Raw {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE))?;
        stamp::enable(&stream)?;
        Ok(Self { stream, host: address.to_string(), started: 0, transcript: Transcript::default() })
    }

    /// Asks and reads to the end.
    pub fn ask(&mut self, ask: &Ask) -> Result<Seen> {
        self.send(ask, "")?;
        self.finish()
    }

    /// Sends a request, with further header lines (each ending in CRLF).
    pub fn send(&mut self, ask: &Ask, headers: &str) -> Result<()> {
        let body = ask.body().to_string();
        let mut message = self.head("POST", ask.api.path(), headers, body.len());
        message.extend_from_slice(body.as_bytes());
        self.write(&message)
    }

    /// A request's head.
    pub fn head(&self, method: &str, path: &str, headers: &str, length: usize) -> Vec<u8> {
        let host = &self.host;
        format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n{headers}\r\n"
        )
        .into_bytes()
    }

    /// Writes bytes; the first of a request begin its time.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if self.started == 0 {
            self.started = monotonic_nanos();
        }
        Ok(self.stream.write_all(bytes)?)
    }

    /// Reads until what came holds `bytes`, or the end.
    pub fn read_until(&mut self, bytes: &[u8]) -> Result<()> {
        let found = |transcript: &Transcript| transcript.bytes().windows(bytes.len()).any(|window| window == bytes);
        while !found(&self.transcript) && self.read_once()? {}
        Ok(())
    }

    /// Reads the response to its end.
    pub fn response(&mut self) -> Result<Response> {
        loop {
            if let Some(response) = self.transcript.response(false)? {
                return Ok(response);
            }
            if !self.read_once()? {
                return self.transcript.response(true)?.context("the connection closed before a response");
            }
        }
    }

    /// Reads the response to its end, and says what it was. The connection is ready for another request.
    pub fn finish(&mut self) -> Result<Seen> {
        let response = self.response()?;
        let seen = Seen::of(&response, self.started);
        self.started = 0;
        self.transcript = Transcript::default();
        seen
    }

    /// Closes; with something unread the kernel sends a reset.
    pub fn close(self) -> Result<()> {
        Ok(self.stream.shutdown(Shutdown::Both)?)
    }

    fn read_once(&mut self) -> Result<bool> {
        let mut buffer = [0; 16384];
        match stamp::read(self.stream.as_raw_fd(), &mut buffer) {
            Ok((0, _)) => Ok(false),
            Ok((got, arrival)) => {
                self.transcript.push(&buffer[..got], arrival);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(false),
            Err(error) => Err(error).context("cannot read the response"),
        }
    }
}
