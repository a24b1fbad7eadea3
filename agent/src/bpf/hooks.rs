//! The tracepoints beside the flow programs: each may be missing, and then says what goes with it.

use aya::programs::{BtfTracePoint, ProgramError};
use aya::{Btf, Ebpf};

/// A tracepoint, and what is lost without it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// Program and tracepoint share this name.
    pub name: &'static str,
    /// What it measures.
    pub signal: &'static str,
    /// What became of it.
    pub state: HookState,
}

/// What became of a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookState {
    /// It runs.
    Attached,
    /// It does not, for this reason.
    Unavailable(String),
}

/// Every tracepoint, with its signal.
const HOOKS: [(&str, &str); 5] = [
    ("inet_sock_set_state", "connect latency and failures, handshakes, requests cut off by a close"),
    ("tcp_rcv_space_adjust", "read delay"),
    ("tcp_retransmit_skb", "retransmits"),
    ("tcp_send_reset", "resets sent"),
    ("tcp_receive_reset", "resets received"),
];

/// Loads and attaches every hook that this kernel allows.
pub(super) fn attach(ebpf: &mut Ebpf, btf: Option<&Btf>) -> Vec<Hook> {
    HOOKS
        .iter()
        .map(|&(name, signal)| {
            let attached = match btf {
                Some(btf) => attach_one(ebpf, name, btf).map_err(|error| reason(&error)),
                None => Err("the kernel has no BTF (CONFIG_DEBUG_INFO_BTF)".to_owned()),
            };
            let state = attached.map_or_else(HookState::Unavailable, |()| HookState::Attached);
            Hook { name, signal, state }
        })
        .collect()
}

fn attach_one(ebpf: &mut Ebpf, name: &str, btf: &Btf) -> Result<(), ProgramError> {
    let program: &mut BtfTracePoint = ebpf.program_mut(name).ok_or(ProgramError::NotLoaded)?.try_into()?;
    program.load(name, btf)?;
    program.attach()?;
    Ok(())
}

/// The error and its causes in one line; a verifier's log does not belong in a status line.
pub(super) fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        // Some errors name their cause themselves.
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = inner.source();
    }
    let line = text.lines().next().unwrap_or_default();
    line.split(" Verifier output:").next().unwrap_or(line).to_owned()
}
