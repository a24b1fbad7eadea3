//! The side that answers: a task of the runtime, with one question at a time.

use std::io;
use std::os::unix::net as std_unix;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::time::timeout;

use super::{LINE, PATIENCE, RELEASE, Wish, address};
use crate::clock::monotonic_nanos;
use crate::model::gpu::DriverState;
use crate::sources::gpu::GpuControl;

/// GPUs as whoever is asked for them sees them.
#[derive(Clone, Debug)]
pub struct GpuDesk {
    /// Lets go, and takes up.
    pub control: GpuControl,
    /// How the driver fares.
    pub state: watch::Receiver<Option<DriverState>>,
}

/// The socket of this process; must be called inside a tokio runtime.
///
/// # Errors
/// Where another process has the name.
pub fn listen() -> io::Result<UnixListener> {
    let listener = std_unix::UnixListener::bind_addr(&address(std::process::id())?)?;
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

/// Answers for ever. `gpus`: `None` where the agent reads none.
pub async fn serve(listener: UnixListener, mut gpus: Option<GpuDesk>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Ok(Err(error)) = timeout(RELEASE + PATIENCE, answer(stream, gpus.as_mut())).await {
                    tracing::warn!(%error, "a question went unanswered");
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot be asked");
                tokio::time::sleep(PATIENCE).await;
            }
        }
    }
}

async fn answer(mut stream: UnixStream, gpus: Option<&mut GpuDesk>) -> io::Result<()> {
    let asks = stream.peer_cred()?.uid();
    if asks != 0 && asks != rustix::process::geteuid().as_raw() {
        // At once: whoever may not ask keeps nobody waiting who may.
        let text = format!("failed user {asks} may not ask: run this as root, or as the agent's own user\n");
        return stream.write_all(text.as_bytes()).await;
    }
    let (read, mut write) = stream.split();
    let mut line = String::new();
    let mut read = BufReader::new(read.take(LINE));
    timeout(PATIENCE, read.read_line(&mut line)).await??;
    let text = match (Wish::of(&line), gpus) {
        (None, _) => "failed not understood: the agent is of another version".to_owned(),
        (Some(_), None) => "failed this agent reads no GPUs (gpu.enabled = false)".to_owned(),
        (Some(wish), Some(gpus)) => fulfil(wish, gpus).await,
    };
    write.write_all(format!("{text}\n").as_bytes()).await
}

async fn fulfil(wish: Wish, gpus: &mut GpuDesk) -> String {
    match wish {
        Wish::Release => {
            gpus.control.release();
            let over = |state: &Option<DriverState>| matches!(state, Some(DriverState::Released));
            let released = timeout(RELEASE, gpus.state.wait_for(over)).await.is_ok_and(|state| state.is_ok());
            if released {
                return "ok released: no device node of a GPU is open, and the driver's library is unloaded".to_owned();
            }
            let stuck = gpus.state.borrow().as_ref().and_then(DriverState::stuck);
            let state = DriverState::Releasing { stuck };
            format!("failed {}, and are let go then; see the kernel's log for NVRM", state.detail(monotonic_nanos()))
        }
        Wish::Acquire => {
            gpus.control.acquire();
            let over = |state: &Option<DriverState>| {
                !matches!(state, None | Some(DriverState::Released | DriverState::Releasing { .. }))
            };
            match timeout(RELEASE, gpus.state.wait_for(over)).await {
                Ok(Ok(state)) => match &*state {
                    Some(DriverState::Ready { version, devices }) => {
                        format!("ok acquired: {devices} GPUs, driver {version}")
                    }
                    Some(other) => {
                        let mend = other.mend().map(|mend| format!(": {mend}")).unwrap_or_default();
                        format!("failed the driver is {}{mend}; it is tried again", other.name().replace('_', " "))
                    }
                    None => "failed nothing is known of the driver yet".to_owned(),
                },
                _ => "failed the driver does not answer yet; it is tried again".to_owned(),
            }
        }
    }
}
