//! The sampler's thread: decides what is asked when, and watches those that ask. It never calls the driver itself.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use super::budget::{Group, Share, Turn};
use super::cadence::nanos;
use super::devices::{Backoff, Devices, Due};
use super::failure::Failure;
use super::identify::Attached;
use super::kmsg::KernelLog;
use super::library::{Handle, Library, Told};
use super::outbox::Outbox;
use super::reader::Reader;
use super::settings::Settings;
use super::worker::{Done, Job, Outcome, Workers};
use crate::clock::monotonic_nanos;
use crate::host::nvidia::Module;
use crate::model::gpu::{DeviceState, DriverState, Event, EventKind, GpuId, Observation, XidSource};

/// Longest sleep while devices are in use, so that the kernel's log is looked at.
const LONGEST_SLEEP: u64 = 1_000_000_000;
/// Longest sleep otherwise.
const LONGEST_NAP: u64 = 60_000_000_000;
/// Time within which driver and kernel's log tell of the same error, in nanoseconds.
const SAME_ERROR: u64 = 10_000_000_000;
/// How long the end waits for calls to return.
const END: u64 = 1_500_000_000;

/// What reaches the sampler.
#[derive(Debug)]
pub(super) enum Message {
    /// A job is done.
    Done(Done),
    /// What is wanted from now on.
    Want(Want),
    /// Everybody is to be read at once.
    Refresh,
}

/// What is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Want {
    /// That devices are read.
    Read,
    /// That every device is let go.
    Release,
    /// That it ends.
    End,
}

/// A job under way.
#[derive(Clone, Copy, Debug)]
struct Running {
    worker: usize,
    what: What,
    /// It was reported as stuck.
    stuck: bool,
}

/// What a job is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum What {
    Driver,
    Device(u32),
}

/// Everything that the thread knows.
pub(super) struct Sampler {
    settings: Settings,
    inbox: Receiver<Message>,
    outbox: Outbox,
    workers: Workers,
    want: Want,
    ends_at: u64,
    library: Option<Arc<Library>>,
    devices: Devices,
    state: Option<DriverState>,
    open: Backoff,
    house: Turn,
    /// The library is to be closed and loaded anew.
    anew: bool,
    /// Libraries that were opened and are not closed: one, or two while a stuck call holds an old one.
    held: u32,
    /// The job that everything else waits for.
    running: Option<Running>,
    /// The job that nobody waits for any more.
    aside: Option<Running>,
    /// A job for which no thread could be started, and when that is tried again.
    postponed: Option<(Job, What, u64)>,
    /// GPUs that the kernel knew when the library was opened.
    listed: Option<Vec<String>>,
    module: Module,
    log: Option<KernelLog>,
    /// When the log last told of an error, by device.
    logged: BTreeMap<GpuId, u64>,
}

impl Sampler {
    pub(super) fn new(
        settings: Settings,
        inbox: Receiver<Message>,
        to_inbox: SyncSender<Message>,
        outbox: Outbox,
    ) -> Self {
        let now = monotonic_nanos();
        Self {
            open: Backoff::new(nanos(settings.retry), now),
            log: settings.kmsg.as_deref().and_then(open_log),
            devices: Devices::new(settings.clone()),
            workers: Workers::new(to_inbox),
            want: Want::Read,
            ends_at: u64::MAX,
            library: None,
            state: None,
            house: Turn::new(now, nanos(settings.cadence.house)),
            anew: false,
            held: 0,
            running: None,
            aside: None,
            postponed: None,
            listed: None,
            module: Module::new(&settings.proc, &settings.sys),
            logged: BTreeMap::new(),
            settings,
            inbox,
            outbox,
        }
    }

    /// Runs until it is to end. False where a call that is stuck keeps a library.
    pub(super) fn run(mut self) -> bool {
        while !self.is_over() {
            self.start_what_is_due();
            let wait = self.sleep();
            match self.inbox.recv_timeout(wait) {
                Ok(Message::Done(done)) => self.done(done),
                Ok(Message::Want(want)) => self.wants(want),
                Ok(Message::Refresh) => self.devices.refresh(monotonic_nanos()),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.watch();
            self.read_log();
            self.outbox.retry();
        }
        self.workers.end();
        self.held == 0
    }

    fn wants(&mut self, want: Want) {
        if self.want == Want::End {
            return;
        }
        self.want = want;
        let now = monotonic_nanos();
        match want {
            Want::End => self.ends_at = now + END,
            Want::Read => self.open.due = now,
            Want::Release if self.held == 0 && self.running.is_none() => self.set_state(DriverState::Released),
            Want::Release => {}
        }
    }

    /// Everything is let go, or has had its time.
    fn is_over(&self) -> bool {
        self.want == Want::End && (monotonic_nanos() >= self.ends_at || (self.held == 0 && self.running.is_none()))
    }

    /// Starts the job that is due first, where no other is waited for.
    fn start_what_is_due(&mut self) {
        let now = monotonic_nanos();
        if self.running.is_some() || self.postponed.as_ref().is_some_and(|(_, _, at)| *at > now) {
            return;
        }
        if let Some((job, what, _)) = self.postponed.take() {
            self.start(job, what);
            return;
        }
        if !self.workers.any_free() {
            return;
        }
        let Some(library) = self.library.clone() else {
            // A library that a stuck call holds does not keep another from being loaded, unless all is to be let go.
            if self.want == Want::Read && self.open.due <= now {
                self.listed = self.module.addresses();
                let (paths, awaited) = (self.settings.libraries.clone(), self.module.is_awaited());
                self.start(Job::Open { paths, awaited }, What::Driver);
            }
            return;
        };
        if self.anew || self.want != Want::Read {
            drop(library);
            let (readers, library) = (self.devices.take_home(), self.library.take());
            self.anew = false;
            self.start(Job::Close { readers, library }, What::Driver);
            return;
        }
        let house = Some(self.house.due()).filter(|_| self.may_keep_house());
        let device = self.devices.next();
        match device {
            Some((due, index)) if due <= now && house.is_none_or(|house| due <= house) => {
                self.start_device(index, library, now);
            }
            _ if house.is_some_and(|house| house <= now) => self.start(Job::House(library), What::Driver),
            _ => {}
        }
    }

    fn start_device(&mut self, index: u32, library: Arc<Library>, now: u64) {
        let job = match self.devices.send_out(index, now) {
            Some(Due::Attach(before)) => Job::Attach { library, index, proc: self.settings.proc.clone(), before },
            Some(Due::Read(reader, groups)) => Job::Read { index, reader, groups },
            None => return,
        };
        self.start(job, What::Device(index));
    }

    fn start(&mut self, job: Job, what: What) {
        match self.workers.start(job) {
            Ok(worker) => self.running = Some(Running { worker, what, stuck: false }),
            Err(job) => self.postponed = Some((job, what, monotonic_nanos() + LONGEST_SLEEP)),
        }
    }

    /// Not while a call that concerns no single device is stuck already.
    fn may_keep_house(&self) -> bool {
        self.aside.is_none_or(|aside| aside.what != What::Driver)
    }

    /// How long nothing is to be done.
    fn sleep(&self) -> Duration {
        let now = monotonic_nanos();
        let (patience, deadline) = (nanos(self.settings.patience), nanos(self.settings.deadline));
        let began = |running: &Running| self.workers.current(running.worker).map_or(now, |(_, since)| since);
        let longest = if self.library.is_some() { LONGEST_SLEEP } else { LONGEST_NAP };
        let mut until = (now + longest).min(self.ends_at);
        if let Some(running) = &self.running {
            let looked = if self.others_may_go_on() { patience.min(deadline) } else { deadline };
            until = until.min(if running.stuck { u64::MAX } else { began(running) + looked });
        } else if let Some((_, _, at)) = &self.postponed {
            until = until.min(*at);
        } else if self.workers.any_free() && self.want == Want::Read {
            let house = if self.may_keep_house() { self.house.due() } else { u64::MAX };
            let due = match &self.library {
                None => self.open.due,
                Some(_) => self.devices.next().map_or(house, |(due, _)| due.min(house)),
            };
            until = until.min(due);
        }
        if let Some(aside) = self.aside.as_ref().filter(|aside| !aside.stuck) {
            until = until.min(began(aside) + deadline);
        }
        Duration::from_nanos(until.saturating_sub(now))
    }

    /// Looks after calls that take long: first others go on without them, then they are reported.
    fn watch(&mut self) {
        let now = monotonic_nanos();
        let age = |workers: &Workers, running: &Running| {
            workers.current(running.worker).map_or(0, |(_, since)| now.saturating_sub(since))
        };
        if let Some(running) = self.running.filter(|_| self.others_may_go_on())
            && age(&self.workers, &running) >= nanos(self.settings.patience)
        {
            (self.aside, self.running) = (Some(running), None);
        }
        let deadline = nanos(self.settings.deadline);
        for mut running in [self.running, self.aside].into_iter().flatten() {
            if running.stuck || age(&self.workers, &running) < deadline {
                continue;
            }
            if let Some((call, since)) = self.workers.current(running.worker) {
                running.stuck = true;
                *self.slot(running.worker) = Some(running);
                match running.what {
                    What::Device(index) => {
                        self.devices.set_state(index, DeviceState::Stuck { call, since }, &mut self.outbox);
                    }
                    What::Driver if self.want == Want::Read => self.set_state(DriverState::Stuck { call, since }),
                    What::Driver => self.set_state(DriverState::Releasing { stuck: Some((call, since)) }),
                }
            }
        }
        let nobody_goes_on = self.running.is_some_and(|running| running.stuck) && !self.others_may_go_on();
        if nobody_goes_on && self.want == Want::Read {
            self.devices.wait(&mut self.outbox);
        }
        self.tell_release();
    }

    /// One job may be left alone. Without a library there is nothing that others could go on with.
    fn others_may_go_on(&self) -> bool {
        self.aside.is_none() && self.library.is_some()
    }

    /// What a release still waits for.
    fn tell_release(&mut self) {
        let waits = self.library.is_none() || !self.workers.any_free();
        if self.want == Want::Release && self.held > 0 && waits {
            let waits = [self.running, self.aside].into_iter().flatten().find(|running| running.stuck);
            let stuck = waits.and_then(|running| self.workers.current(running.worker));
            if self.running.is_none() || stuck.is_some() {
                self.set_state(DriverState::Releasing { stuck });
            }
        }
    }

    fn slot(&mut self, worker: usize) -> &mut Option<Running> {
        if self.running.is_some_and(|running| running.worker == worker) { &mut self.running } else { &mut self.aside }
    }

    fn done(&mut self, done: Done) {
        let now = monotonic_nanos();
        self.workers.finished(done.worker);
        let running = self.slot(done.worker).take();
        let late = running.is_some_and(|running| running.stuck);
        self.held -= u32::from(done.closed);
        let cost_of_house = Group::House.cost(&done.costs);
        if !done.costs.is_empty() {
            self.outbox.send(Observation::Costs(done.costs));
        }
        match done.outcome {
            Outcome::Opened(opened) => self.opened(opened, now),
            Outcome::Attached(index, attached) => self.attached(index, attached, now),
            Outcome::Read(turn) if !self.is_current(&turn.reader.library) => self.close_old(turn.index, *turn.reader),
            Outcome::Read(turn) => {
                let failure = turn.failure.clone();
                self.anew |= self.devices.came_home(turn, now, &mut self.outbox);
                self.driver_failed(failure.as_ref(), now);
            }
            Outcome::House { devices, told, failure } => {
                self.house.done(now, cost_of_house, &Share::of(Group::House, &self.settings.cadence, 1));
                if late && self.want == Want::Read {
                    self.ready();
                }
                told.into_iter().for_each(|(handle, told)| self.told(handle, told, now));
                let listed = self.devices.len();
                self.anew |=
                    devices.is_some_and(|devices| devices as usize != listed) || self.module.addresses() != self.listed;
                self.driver_failed(failure.as_ref(), now);
            }
            Outcome::Closed => {}
        }
        if self.want == Want::Release && self.held == 0 {
            self.set_state(DriverState::Released);
        }
    }

    fn opened(&mut self, opened: Result<(Arc<Library>, u32), DriverState>, now: u64) {
        match opened {
            Ok((library, count)) => {
                self.held += 1;
                let stuck = self.aside.and_then(|aside| match aside.what {
                    What::Device(index) => Some(index),
                    What::Driver => None,
                });
                self.devices.listed(count, &library.version, &self.module, stuck, now);
                self.devices.none_listed(&mut self.outbox);
                self.library = Some(library);
                self.open.succeeded();
                self.house.restart(now);
                if self.want == Want::Read {
                    self.ready();
                }
            }
            Err(state) => {
                self.open.failed(now);
                let state = self.with_module(state);
                if self.want == Want::Read {
                    self.set_state(state);
                }
            }
        }
    }

    /// A machine whose kernel module is loaded has GPUs: that no library is found there is a fault, and so is that one that is
    /// named cannot be loaded. That the module is not loaded where there is nothing for it to drive is none.
    fn with_module(&self, state: DriverState) -> DriverState {
        let named = self.settings.named;
        match state {
            DriverState::Absent { reason } if named || self.module.is_loaded() => {
                DriverState::Unloadable { reason, named }
            }
            DriverState::NotLoaded if !self.module.is_loaded() && self.module.is_of_use() == Some(false) => {
                DriverState::NoDevice
            }
            DriverState::Mismatch { library, .. } => DriverState::Mismatch { library, module: self.module.version() },
            other => other,
        }
    }

    fn attached(&mut self, index: u32, attached: Result<Attached, Failure>, now: u64) {
        match attached {
            Ok(attached) if !self.is_current(&attached.reader.library) => self.close_old(index, *attached.reader),
            attached => {
                let failure = attached.as_ref().err().cloned();
                self.anew |= self.devices.attached(index, attached, now, &mut self.outbox);
                self.driver_failed(failure.as_ref(), now);
            }
        }
    }

    /// A failure of the driver as a whole: it is let go and loaded anew after a pause.
    fn driver_failed(&mut self, failure: Option<&Failure>, now: u64) {
        let library = || self.library.as_ref().map(|library| library.version.to_string());
        if let Some(state) = failure.and_then(|failure| failure.of_driver(library())) {
            self.anew = true;
            self.open.failed(now);
            let state = self.with_module(state);
            self.set_state(state);
        }
    }

    fn is_current(&self, library: &Arc<Library>) -> bool {
        self.library.as_ref().is_some_and(|current| Arc::ptr_eq(current, library))
    }

    /// A reader that comes home after its library was let go. Its own thread is free to close it.
    fn close_old(&mut self, index: u32, reader: Reader) {
        self.devices.back(index);
        let job = Job::Close { readers: vec![reader], library: None };
        if self.running.is_none() {
            self.start(job, What::Driver);
        } else {
            match self.workers.start(job) {
                Ok(worker) => self.aside = Some(Running { worker, what: What::Driver, stuck: false }),
                Err(job) => self.postponed = Some((job, What::Driver, monotonic_nanos())),
            }
        }
    }

    /// What the driver tells. Of errors that the kernel's log tells too, the log knows more.
    fn told(&mut self, handle: Handle, told: Told, now: u64) {
        match told {
            Told::Redivided => self.devices.redivided(handle, now),
            Told::Xid(code) => {
                self.read_log();
                let Some(gpu) = self.devices.by_handle(handle) else { return };
                if self.logged.get(&gpu).is_none_or(|logged| now.saturating_sub(*logged) > SAME_ERROR) {
                    let kind = EventKind::Xid { code, pid: None, source: XidSource::Driver };
                    self.outbox.send(Observation::Event(Event { gpu, at: now, kind }));
                }
            }
        }
    }

    fn read_log(&mut self) {
        let now = monotonic_nanos();
        for xid in self.log.as_mut().map(KernelLog::xids).unwrap_or_default() {
            if let Some(gpu) = self.devices.by_pci(xid.pci) {
                self.logged.insert(Arc::clone(&gpu), now);
                let kind = EventKind::Xid { code: xid.code, pid: xid.pid, source: XidSource::KernelLog };
                self.outbox.send(Observation::Event(Event { gpu, at: now, kind }));
            }
        }
    }

    fn ready(&mut self) {
        if let Some(library) = &self.library {
            let (version, devices) = (library.version.to_string(), self.devices.len() as u32);
            self.set_state(DriverState::Ready { version, devices });
        }
    }

    fn set_state(&mut self, state: DriverState) {
        if self.state.as_ref() != Some(&state) {
            let (name, detail) = (state.name(), state.detail(monotonic_nanos()));
            match state.mend() {
                None => tracing::info!(state = name, detail, "GPU driver"),
                // A machine without GPUs is no reason for alarm.
                Some(_) if matches!(state, DriverState::Absent { .. }) => tracing::debug!(detail, "no GPU driver"),
                Some(mend) => tracing::warn!(state = name, detail, mend, "GPU driver"),
            }
            self.outbox.send(Observation::Driver(state.clone()));
            self.state = Some(state);
        }
    }
}

fn open_log(path: &Path) -> Option<KernelLog> {
    KernelLog::open(path)
        .inspect_err(
            |error| tracing::debug!(%error, path = %path.display(), "Xid errors come from the driver's events"),
        )
        .ok()
}
