//! The control socket: one JSON object in each datagram.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use serde::{Deserialize, Serialize};

use crate::faults::Fault;
use crate::scenario::Device;

/// How long [`send`] waits for room in the socket.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest datagram.
const LONGEST: usize = 1 << 16;

/// A change of the machine.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Changes fields of a device. A number for a quantity that changes over time holds from now on.
    Set {
        /// Its place.
        device: usize,
        /// Fields as in a scenario; objects are merged, everything else is replaced.
        fields: serde_json::Value,
    },
    /// Another share of the SMs for a process, from now on.
    Sm {
        /// The device's place.
        device: usize,
        /// The process.
        pid: u32,
        /// Percent.
        pct: f64,
    },
    /// Puts another GPU into the machine.
    Add(Box<Device>),
    /// Takes the last GPU out of the machine.
    Remove,
    /// Changes fields of the driver.
    Driver(serde_json::Value),
    /// An Xid error happens.
    Xid {
        /// The device's place.
        device: usize,
        /// Its number.
        code: u64,
    },
    /// A fault begins.
    Fault(Fault),
    /// Faults end: those of the call (`*` = of every call) and the device (none = of every device).
    Heal {
        /// The function.
        call: String,
        /// The device's place.
        device: Option<usize>,
    },
}

/// Sends a command. Fails while no library is in use: change the scenario's file then.
pub fn send(socket: &Path, command: &Command) -> io::Result<()> {
    let sender = UnixDatagram::unbound()?;
    sender.set_write_timeout(Some(PATIENCE))?;
    sender.send_to(&serde_json::to_vec(command)?, socket).map(|_| ())
}

/// Makes the socket, in place of one that is left over.
pub(crate) fn bind(path: &Path) -> io::Result<UnixDatagram> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = UnixDatagram::bind(path)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The next command that waits; what cannot be read is said on standard error.
pub(crate) fn receive(socket: &UnixDatagram) -> Option<Command> {
    let mut datagram = vec![0; LONGEST];
    loop {
        let length = socket.recv(&mut datagram).ok()?;
        match serde_json::from_slice(&datagram[..length]) {
            Ok(command) => return Some(command),
            Err(error) => eprintln!("nvml-sim: not a command: {error}"),
        }
    }
}
