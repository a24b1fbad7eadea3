//! GPUs, by way of NVML: read on threads of their own, so that nothing that the driver does holds anybody up.
//!
//! [`GpuSource::start`] starts the sampler's thread, which decides what is asked when and watches one or two threads that
//! call the driver (`worker` says why). Observations come out of a bounded queue that [`GpuSource::poll`] empties without
//! waiting.

mod budget;
mod cadence;
mod devices;
mod failure;
mod identify;
mod kmsg;
mod library;
mod outbox;
mod reader;
mod sampler;
mod settings;
mod throttle;
mod watch;
mod worker;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use self::outbox::Outbox;
use self::sampler::{Message, Sampler, Want};
pub use self::settings::{Cadence, Settings};
use crate::model::gpu::Observation;

/// Messages that wait for the sampler: far more than its few threads can have under way.
const MESSAGES: usize = 64;
/// How long [`GpuSource::stop`] waits.
const STOP: Duration = Duration::from_secs(2);

/// The GPUs of this machine. Nothing in here waits, but for [`Self::stop`].
#[derive(Debug)]
pub struct GpuSource {
    inbox: SyncSender<Message>,
    queue: Receiver<Observation>,
    lost: Arc<AtomicU64>,
    thread: Option<JoinHandle<bool>>,
    over: Receiver<()>,
}

/// Lets go of the devices, and takes them up again, from elsewhere than where observations are taken. Nothing in here waits.
#[derive(Clone, Debug)]
pub struct GpuControl {
    inbox: SyncSender<Message>,
}

impl GpuControl {
    /// As [`GpuSource::release`].
    pub fn release(&self) {
        want(&self.inbox, Want::Release);
    }

    /// As [`GpuSource::acquire`].
    pub fn acquire(&self) {
        want(&self.inbox, Want::Read);
    }
}

/// The sampler takes what reaches it at once, so that there is room.
fn want(inbox: &SyncSender<Message>, want: Want) {
    if inbox.try_send(Message::Want(want)).is_err() {
        tracing::error!(?want, "the GPU sampler does not listen");
    }
}

impl GpuSource {
    /// Starts to look for devices and to read them.
    ///
    /// # Errors
    /// Where the thread cannot be started. That there is no driver is an observation, not an error.
    pub fn start(settings: Settings) -> io::Result<Self> {
        let (inbox, messages) = sync_channel(MESSAGES);
        let (sender, queue) = sync_channel(settings.queue.max(1));
        let (done, over) = sync_channel::<()>(1);
        let lost = Arc::new(AtomicU64::new(0));
        let outbox = Outbox::new(sender, Arc::clone(&lost));
        let to_inbox = inbox.clone();
        let thread = thread::Builder::new().name("gpu-sampler".to_owned()).spawn(move || {
            let all_closed = Sampler::new(settings, messages, to_inbox, outbox).run();
            drop(done);
            all_closed
        })?;
        Ok(Self { inbox, queue, lost, thread: Some(thread), over })
    }

    /// Takes the observations that wait.
    pub fn poll(&mut self, mut take: impl FnMut(Observation)) {
        while let Ok(observation) = self.queue.try_recv() {
            take(observation);
        }
    }

    /// Asks for fresh readings of energy, power, utilisation and memory. To be called some 100 ms before a flush, so that what
    /// it tells is as new as it says, however slowly devices are read otherwise.
    pub fn refresh(&self) {
        // Where the sampler is behind, it reads at once anyway.
        drop(self.inbox.try_send(Message::Refresh));
    }

    /// Observations that found the queue full so far.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Lets go of every device and unloads the driver's library, until [`Self::acquire`]. [`DriverState::Released`] is
    /// observed when it is done; that takes less than a second, unless a call is stuck, which [`DriverState::Releasing`]
    /// tells.
    ///
    /// [`DriverState::Released`]: crate::model::gpu::DriverState::Released
    /// [`DriverState::Releasing`]: crate::model::gpu::DriverState::Releasing
    pub fn release(&self) {
        want(&self.inbox, Want::Release);
    }

    /// Takes the devices up again.
    pub fn acquire(&self) {
        want(&self.inbox, Want::Read);
    }

    /// Lets go of everything and ends. Waits for two seconds at most; false where a call that is stuck keeps its thread, and
    /// the library, until it returns.
    pub fn stop(mut self) -> bool {
        want(&self.inbox, Want::End);
        let over = self.over.recv_timeout(STOP) == Err(RecvTimeoutError::Disconnected);
        match self.thread.take() {
            Some(thread) if over => thread.join().unwrap_or(false),
            _ => false,
        }
    }

    /// For whoever may ask for the devices.
    pub fn control(&self) -> GpuControl {
        GpuControl { inbox: self.inbox.clone() }
    }
}

impl Drop for GpuSource {
    fn drop(&mut self) {
        if self.thread.is_some() {
            want(&self.inbox, Want::End);
        }
    }
}
