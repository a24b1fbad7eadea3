//! The side that asks.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;

use super::{LINE, PATIENCE, PREFIX, RELEASE, Wish, address};
use crate::host::{Host, read_text};

/// Bytes read of the list of sockets.
const SOCKETS: u64 = 16 << 20;

/// Why nothing was done.
#[derive(thiserror::Error, Debug)]
pub enum AskError {
    /// Nobody listens.
    #[error(
        "no agent runs here: start one (`inferscope agent`), or ask where it runs, in its container or network namespace"
    )]
    Nobody,
    /// Several listen.
    #[error("several agents run here, with the process ids {}: say which one (--pid)", list(.0))]
    Several(Vec<u32>),
    /// It does not listen, or refused.
    #[error("cannot ask the agent with the process id {pid}: {why}{}", mend(.why))]
    Unreachable {
        /// Which.
        pid: u32,
        /// Why.
        why: io::Error,
    },
    /// It could not do it.
    #[error("{0}")]
    Failed(String),
}

fn list(pids: &[u32]) -> String {
    pids.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

fn mend(why: &io::Error) -> &'static str {
    match why.kind() {
        io::ErrorKind::ConnectionRefused => " (no agent with this process id listens here)",
        io::ErrorKind::UnexpectedEof => " (it closed without an answer; its log may say why)",
        _ => "",
    }
}

/// Asks the agent with this process id, or the only one there is. Returns what it says.
pub fn ask(host: &Host, pid: Option<u32>, wish: Wish) -> Result<String, AskError> {
    let pid = match (pid, agents(host).as_slice()) {
        (Some(pid), _) | (None, &[pid]) => pid,
        (None, []) => return Err(AskError::Nobody),
        (None, several) => return Err(AskError::Several(several.to_vec())),
    };
    let answer = converse(pid, wish).map_err(|why| AskError::Unreachable { pid, why })?;
    match answer.split_once(' ') {
        Some(("ok", text)) => Ok(text.to_owned()),
        Some(("failed", text)) => Err(AskError::Failed(text.to_owned())),
        _ => Err(AskError::Failed(format!("the agent's answer is not understood: {answer:?}"))),
    }
}

fn converse(pid: u32, wish: Wish) -> io::Result<String> {
    let mut stream = UnixStream::connect_addr(&address(pid)?)?;
    stream.set_read_timeout(Some(RELEASE + PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // A refusal may be there before anything was asked.
    let asked = writeln!(stream, "{}", wish.word());
    let mut answer = String::new();
    let read = BufReader::new(stream.take(LINE)).read_line(&mut answer);
    if answer.is_empty() {
        return Err(asked.and(read).err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(answer.trim().to_owned())
}

/// Process ids of the agents that listen in this network namespace.
fn agents(host: &Host) -> Vec<u32> {
    let sockets = read_text(&host.path("/proc/net/unix"), SOCKETS).unwrap_or_default();
    let mut pids: Vec<u32> = sockets.lines().filter_map(listener).collect();
    pids.sort_unstable();
    pids.dedup();
    pids
}

/// Of a line that ends with the name of an agent's socket: `… @inferscope-agent-123`.
fn listener(line: &str) -> Option<u32> {
    let name = line.rsplit_once('@')?.1;
    // The kernel fills a name up with what stands for zeroes.
    name.strip_prefix(PREFIX)?.trim_end_matches('@').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::made_up::Machine;

    #[test]
    fn agents_are_found_by_the_names_of_their_sockets() {
        let machine = Machine::new();
        machine.file(
            "proc/net/unix",
            "Num RefCount Protocol Flags Type St Inode Path\n\
             0000000000000000: 00000002 00000000 00010000 0001 01 13 /run/dbus.sock\n\
             0000000000000000: 00000002 00000000 00010000 0001 01 14 @inferscope-agent-77\n\
             0000000000000000: 00000003 00000000 00000000 0001 03 15 @inferscope-agent-77\n\
             0000000000000000: 00000002 00000000 00010000 0001 01 16 @inferscope-agent-x\n",
        );
        assert_eq!(agents(machine.host()), [77]);
    }

    #[test]
    fn without_an_agent_it_says_so() {
        let error = ask(Machine::new().host(), None, Wish::Release).unwrap_err();
        assert!(error.to_string().starts_with("no agent runs here"), "{error}");
        let error = ask(Machine::new().host(), Some(u32::MAX), Wish::Release).unwrap_err();
        assert!(error.to_string().contains("no agent with this process id listens here"), "{error}");
    }
}
