//! The threads that call the driver: the only ones that it can hold up.
//!
//! One thread makes all calls. When a call takes longer than the others' patience, that thread is left alone with it, and a
//! second one, started then and kept, goes on with the other devices. A call that returns gives its thread back: threads are
//! reused, never ended while the source runs, and there are never more than two. Where the second one gets stuck as well
//! there is no third: everything waits for either of them.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};

use super::failure::Failure;
use super::identify::{Attached, attach};
use super::library::{Handle, Library, Told};
use super::reader::Reader;
use super::sampler::Message;
use super::watch::{Meter, Unsupported, Watch};
use crate::model::gpu::{Call, Cost, DriverState, Groups, Sample};

/// Threads in all: one that works, one that may be stuck.
const MOST: usize = 2;

/// Something to do that may take for ever.
#[derive(Debug)]
pub(super) enum Job {
    /// Load and initialise; load alone while the kernel module is awaited.
    Open { paths: Vec<PathBuf>, awaited: bool },
    /// Get a device ready to be read; close what read it before.
    Attach { library: Arc<Library>, index: u32, proc: PathBuf, before: Option<Box<Reader>> },
    /// Read a device.
    Read { index: u32, reader: Box<Reader>, groups: Groups },
    /// Count devices and take what the driver tells of its own accord.
    House(Arc<Library>),
    /// Let go of readers, and of the library with the last of them.
    Close { readers: Vec<Reader>, library: Option<Arc<Library>> },
}

/// What came of a job.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Initialised, with so many devices, or not.
    Opened(Result<(Arc<Library>, u32), DriverState>),
    /// A device is ready to be read, or not.
    Attached(u32, Result<Attached, Failure>),
    /// A device was read.
    Read(Turn),
    /// Devices, and what the driver told.
    House { devices: Option<u32>, told: Vec<(Handle, Told)>, failure: Option<Failure> },
    /// Let go.
    Closed,
}

/// A device that was read.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) index: u32,
    pub(super) reader: Box<Reader>,
    pub(super) groups: Groups,
    pub(super) sample: Box<Sample>,
    pub(super) failure: Option<Failure>,
}

/// A finished job.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) worker: usize,
    pub(super) outcome: Outcome,
    /// What it cost, where a sample does not tell.
    pub(super) costs: Vec<Cost>,
    /// A library was shut down and unloaded, because nothing uses it any more.
    pub(super) closed: bool,
}

/// The threads.
#[derive(Debug)]
pub(super) struct Workers {
    inbox: SyncSender<Message>,
    all: Vec<Worker>,
}

#[derive(Debug)]
struct Worker {
    jobs: SyncSender<Job>,
    watch: Arc<Watch>,
    busy: bool,
    thread: JoinHandle<()>,
}

impl Workers {
    pub(super) fn new(inbox: SyncSender<Message>) -> Self {
        Self { inbox, all: Vec::new() }
    }

    /// True where a job would find a thread.
    pub(super) fn any_free(&self) -> bool {
        self.all.len() < MOST || self.all.iter().any(|worker| !worker.busy)
    }

    /// Gives a job to a free thread and says to which. The job comes back where no thread is free or can be started.
    pub(super) fn start(&mut self, job: Job) -> Result<usize, Job> {
        let free = self.all.iter().position(|worker| !worker.busy);
        let place = match free {
            Some(place) => place,
            None if self.all.len() < MOST => match Worker::start(self.all.len(), &self.inbox) {
                Ok(worker) => {
                    self.all.push(worker);
                    self.all.len() - 1
                }
                Err(error) => {
                    tracing::error!(%error, "cannot start a thread for calls into the GPU driver");
                    return Err(job);
                }
            },
            None => return Err(job),
        };
        let worker = &mut self.all[place];
        match worker.jobs.try_send(job) {
            Ok(()) => {
                worker.busy = true;
                Ok(place)
            }
            Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => Err(job),
        }
    }

    /// A thread has finished its job.
    pub(super) fn finished(&mut self, worker: usize) {
        self.all[worker].busy = false;
    }

    /// The call that a thread is in, and since when.
    pub(super) fn current(&self, worker: usize) -> Option<(Call, u64)> {
        self.all[worker].watch.current()
    }

    /// Ends the threads that are free; those that are stuck end when their call returns.
    pub(super) fn end(self) {
        for Worker { jobs, busy, thread, .. } in self.all {
            drop(jobs);
            if !busy && thread.join().is_err() {
                tracing::error!("a thread for calls into the GPU driver panicked");
            }
        }
    }
}

impl Worker {
    fn start(number: usize, inbox: &SyncSender<Message>) -> io::Result<Self> {
        let (jobs, receiver) = sync_channel(1);
        let watch = Arc::new(Watch::default());
        let (inbox, watched) = (inbox.clone(), Arc::clone(&watch));
        let thread = thread::Builder::new()
            .name(format!("gpu-calls-{number}"))
            .spawn(move || work(number, &receiver, &watched, &inbox))?;
        Ok(Self { jobs, watch, busy: false, thread })
    }
}

fn work(worker: usize, jobs: &Receiver<Job>, watch: &Watch, inbox: &SyncSender<Message>) {
    while let Ok(job) = jobs.recv() {
        let mut meter = Meter::new(watch, Unsupported::default());
        let (outcome, used, mut costs) = run(job, watch, &mut meter);
        // The library may have been let go meanwhile: whoever uses it last closes it.
        let mut closed = false;
        for library in used.into_iter().filter_map(Arc::into_inner) {
            library.close(&mut meter);
            closed = true;
        }
        costs.extend(meter.finish().0);
        if inbox.send(Message::Done(Done { worker, outcome, costs, closed })).is_err() {
            return;
        }
    }
}

/// Does a job. Hands back what it used of the library, and costs that neither a sample nor the meter tells.
fn run(job: Job, watch: &Watch, meter: &mut Meter<'_>) -> (Outcome, Vec<Arc<Library>>, Vec<Cost>) {
    match job {
        Job::Open { paths, awaited } => {
            let opened = Library::open(&paths, awaited, meter).and_then(|library| {
                let devices = meter.call(Call::Count, || library.nvml.device_count());
                let devices =
                    devices.ok_or_else(|| DriverState::Failed { reason: "it counts no devices".to_owned() })?;
                Ok((Arc::new(library), devices))
            });
            (Outcome::Opened(opened), Vec::new(), Vec::new())
        }
        Job::Attach { library, index, proc, before } => {
            let mut used: Vec<_> = before.map(|reader| reader.close()).into_iter().collect();
            let (attached, costs) = attach(&library, index, &proc, watch);
            used.push(library);
            (Outcome::Attached(index, attached), used, costs)
        }
        Job::Read { index, mut reader, groups } => {
            let (sample, failure) = reader.read(groups, watch);
            let turn = Turn { index, reader, groups, sample: Box::new(sample), failure };
            (Outcome::Read(turn), Vec::new(), Vec::new())
        }
        Job::House(library) => {
            let devices = meter.call(Call::Count, || library.nvml.device_count());
            let told = library.told(meter);
            let failure = meter.failure().cloned();
            (Outcome::House { devices, told, failure }, vec![library], Vec::new())
        }
        Job::Close { readers, library } => {
            let used = readers.into_iter().map(Reader::close).chain(library).collect();
            (Outcome::Closed, used, Vec::new())
        }
    }
}
