//! The devices as the sampler knows them: who is there, how they fare, and when it is their turn.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use super::cadence::{Cadence, nanos};
use super::failure::Failure;
use super::identify::Attached;
use super::library::Handle;
use super::outbox::Outbox;
use super::reader::Reader;
use super::settings::Settings;
use super::worker::Turn;
use crate::clock::monotonic_nanos;
use crate::host::nvidia::Module;
use crate::model::gpu::{DeviceState, Event, EventKind, Gpu, GpuId, Groups, Observation, Sample, TemperatureLimits};

/// Longest pause before another try, in nanoseconds.
const LONGEST_PAUSE: u64 = 60_000_000_000;
/// Tries for a device after which the library is loaded anew: some losses only heal so.
const TRIES: u32 = 8;

/// Pauses that grow with each failure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    first: u64,
    pause: u64,
    pub(super) due: u64,
}

impl Backoff {
    pub(super) fn new(first: u64, now: u64) -> Self {
        Self { first, pause: first, due: now }
    }

    pub(super) fn failed(&mut self, now: u64) {
        self.due = now + self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE.max(self.first));
    }

    pub(super) fn succeeded(&mut self) {
        self.pause = self.first;
    }
}

/// A place in the driver's list.
#[derive(Debug)]
pub(super) struct Device {
    /// Who is there; somebody unknown until its handle was got.
    gpu: Arc<Gpu>,
    known: bool,
    instances: Vec<Arc<Gpu>>,
    state: DeviceState,
    reader: Option<Box<Reader>>,
    /// Where its reader is: at home, or out with a job.
    out: bool,
    cadence: Cadence,
    /// Its reader is ready, or out.
    attached: bool,
    /// When it is to be attached where it is not.
    retry: Backoff,
    /// Times that attaching or reading it failed since it was last read.
    tries: u32,
}

impl Device {
    /// To be attached after a pause that grows until it is read. True where loading the library anew may help.
    fn failed(&mut self, now: u64) -> bool {
        self.attached = false;
        self.tries += 1;
        self.retry.failed(now);
        self.tries.is_multiple_of(TRIES)
    }

    /// To be attached at once.
    fn again(&mut self, now: u64) {
        self.attached = false;
        self.retry.due = now;
    }
}

/// What is to be done for a device.
#[derive(Debug)]
pub(super) enum Due {
    Attach(Option<Box<Reader>>),
    Read(Box<Reader>, Groups),
}

/// All devices.
#[derive(Debug)]
pub(super) struct Devices {
    settings: Settings,
    all: Vec<Device>,
    /// Who was announced and is not gone.
    announced: BTreeMap<GpuId, Arc<Gpu>>,
}

impl Devices {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, all: Vec::new(), announced: BTreeMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// The driver lists so many devices: each is to be attached. `stuck` is one that a call into an old library still holds: it
    /// waits until that returns.
    pub(super) fn listed(&mut self, count: u32, version: &Arc<str>, module: &Module, stuck: Option<u32>, now: u64) {
        // The driver lists devices by address. Where it lists others than the kernel module, nothing tells who is who.
        let addresses = module.addresses().filter(|all| all.len() == count as usize).unwrap_or_default();
        let mut before = std::mem::take(&mut self.all).into_iter();
        for index in 0..count {
            let before = before.next();
            let fresh = || Device {
                gpu: Arc::new(unknown(index, addresses.get(index as usize), version)),
                known: false,
                instances: Vec::new(),
                state: DeviceState::Ok,
                reader: None,
                out: false,
                cadence: Cadence::new(self.settings.cadence, now),
                attached: false,
                retry: Backoff::new(nanos(self.settings.retry), now),
                tries: 0,
            };
            let (device, retry) = (before.unwrap_or_else(fresh), Backoff::new(nanos(self.settings.retry), now));
            let out = stuck == Some(index);
            self.all.push(Device { reader: None, out, attached: false, retry, tries: 0, ..device });
        }
    }

    /// A device whose call into an old library has returned.
    pub(super) fn back(&mut self, index: u32) {
        if let Some(device) = self.all.get_mut(index as usize) {
            device.out = false;
        }
    }

    /// Everybody is to be read at once.
    pub(super) fn refresh(&mut self, now: u64) {
        self.all.iter_mut().for_each(|device| device.cadence.refresh(now));
    }

    /// When the next device is due, and which.
    pub(super) fn next(&self) -> Option<(u64, u32)> {
        let due = |device: &Device| if device.attached { device.cadence.due() } else { device.retry.due };
        let home = self.all.iter().zip(0..).filter(|(device, _)| !device.out);
        home.map(|(device, index)| (due(device), index)).min()
    }

    /// Sends a device's reader out.
    pub(super) fn send_out(&mut self, index: u32, now: u64) -> Option<Due> {
        let device = self.all.get_mut(index as usize)?;
        device.out = true;
        if !device.attached {
            return Some(Due::Attach(device.reader.take()));
        }
        let groups = device.cadence.groups(now);
        Some(Due::Read(device.reader.take()?, groups))
    }

    /// Every reader that is at home, to be closed.
    pub(super) fn take_home(&mut self) -> Vec<Reader> {
        self.all.iter_mut().filter_map(|device| device.reader.take()).map(|reader| *reader).collect()
    }

    /// A device is ready to be read, or not. True where loading the library anew may help.
    pub(super) fn attached(
        &mut self,
        index: u32,
        attached: Result<Attached, Failure>,
        now: u64,
        outbox: &mut Outbox,
    ) -> bool {
        let Some(device) = self.all.get_mut(index as usize) else { return false };
        device.out = false;
        match attached {
            Ok(Attached { instances, reader }) => {
                (device.gpu, device.known, device.instances) = (Arc::clone(&reader.gpu), true, instances);
                (device.reader, device.attached) = (Some(reader), true);
                device.cadence = Cadence::new(self.settings.cadence, now);
                // It is well once it was read.
                self.announce(outbox);
                false
            }
            Err(failure) => {
                let anew = device.failed(now);
                self.announce(outbox);
                let state = failure.of_device().unwrap_or(DeviceState::Failing { error: failure.name() });
                self.set_state(index, state, outbox);
                anew
            }
        }
    }

    /// A reader came home from its turn. True where loading the library anew may help.
    pub(super) fn came_home(&mut self, turn: Turn, now: u64, outbox: &mut Outbox) -> bool {
        let Turn { index, reader, groups, mut sample, failure } = turn;
        let (count, mut anew) = (self.all.len(), false);
        let Some(device) = self.all.get_mut(index as usize) else { return false };
        device.out = false;
        device.cadence.done(now, groups, &sample, count);
        let changed = device.gpu != reader.gpu;
        device.gpu = Arc::clone(&reader.gpu);
        device.reader = Some(reader);
        match failure {
            None => {
                device.tries = 0;
                device.retry.succeeded();
                self.set_state(index, DeviceState::Ok, outbox);
            }
            Some(failure) => {
                // Who is divided in another way is there; everybody else needs time.
                if failure == Failure::Redivided {
                    device.again(now);
                } else {
                    anew = device.failed(now);
                }
                if let Some(state) = failure.of_device() {
                    self.set_state(index, state, outbox);
                }
                // What was read before it failed is half a reading; what it cost is known.
                *sample = Sample::costs_alone(*sample);
            }
        }
        if changed {
            self.announce(outbox);
        }
        outbox.send(Observation::Sample(sample));
        anew
    }

    /// Another state of a device.
    pub(super) fn set_state(&mut self, index: u32, state: DeviceState, outbox: &mut Outbox) {
        let Some(device) = self.all.get_mut(index as usize) else { return };
        if let Entry::Vacant(place) = self.announced.entry(Arc::clone(&device.gpu.id)) {
            place.insert(Arc::clone(&device.gpu));
            outbox.send(Observation::Appeared(Arc::clone(&device.gpu)));
        }
        if device.state != state {
            let (gpu, name, now) = (&device.gpu.id, state.name(), monotonic_nanos());
            match state.mend() {
                None => tracing::info!(%gpu, index, state = name, "GPU answers"),
                Some(mend) => {
                    let detail = state.meaning(now);
                    tracing::warn!(%gpu, index, state = name, detail, mend, "GPU does not answer as it should");
                }
            }
            device.state = state;
            outbox.send(Observation::State(Arc::clone(gpu), state));
            outbox.send(Observation::Event(Event { gpu: Arc::clone(gpu), at: now, kind: EventKind::State(state) }));
        }
    }

    /// Nobody is read for now: whoever is at home waits for those that are out.
    pub(super) fn wait(&mut self, outbox: &mut Outbox) {
        for index in 0..self.all.len() as u32 {
            let waits = |device: &Device| !device.out && device.state == DeviceState::Ok;
            if self.all.get(index as usize).is_some_and(waits) {
                self.set_state(index, DeviceState::Waiting, outbox);
            }
        }
    }

    /// Everybody to be attached anew, at once: somebody says that they changed.
    pub(super) fn redivided(&mut self, handle: Handle, now: u64) {
        let is = |device: &&mut Device| device.reader.as_ref().is_some_and(|reader| reader.handle == handle);
        self.all.iter_mut().filter(is).for_each(|device| device.again(now));
    }

    /// Who has a handle.
    pub(super) fn by_handle(&self, handle: Handle) -> Option<GpuId> {
        let is = |device: &&Device| device.reader.as_ref().is_some_and(|reader| reader.handle == handle);
        self.all.iter().find(is).map(|device| Arc::clone(&device.gpu.id))
    }

    /// Who has a PCI address.
    pub(super) fn by_pci(&self, pci: (u32, u32, u32)) -> Option<GpuId> {
        let is = |device: &&Device| device.gpu.pci.as_deref().and_then(super::kmsg::pci) == Some(pci);
        self.all.iter().find(is).map(|device| Arc::clone(&device.gpu.id))
    }

    /// Tells who came or changed, and, once everybody was tried, who is gone.
    fn announce(&mut self, outbox: &mut Outbox) {
        let there: Vec<Arc<Gpu>> = self
            .all
            .iter()
            .filter(|device| device.known || device.tries > 0)
            .flat_map(|device| std::iter::once(&device.gpu).chain(&device.instances))
            .map(Arc::clone)
            .collect();
        for gpu in &there {
            if self.announced.get(&gpu.id) != Some(gpu) {
                self.announced.insert(Arc::clone(&gpu.id), Arc::clone(gpu));
                outbox.send(Observation::Appeared(Arc::clone(gpu)));
            }
        }
        let tried = |device: &Device| device.attached || device.tries > 0;
        if self.all.iter().all(tried) {
            self.announced.retain(|id, _| {
                let stays = there.iter().any(|gpu| gpu.id == *id);
                if !stays {
                    outbox.send(Observation::Gone(Arc::clone(id)));
                }
                stays
            });
        }
    }

    /// Nobody is listed any more.
    pub(super) fn none_listed(&mut self, outbox: &mut Outbox) {
        if self.all.is_empty() {
            self.announce(outbox);
        }
    }
}

/// Somebody whose handle could not be got.
fn unknown(index: u32, address: Option<&String>, version: &Arc<str>) -> Gpu {
    Gpu {
        id: address.map_or_else(|| format!("unknown-{index}"), |address| format!("unknown-{address}")).into(),
        index,
        model: Arc::from("unknown"),
        vendor: "NVIDIA",
        serial: None,
        pci: address.map(|address| Arc::from(address.as_str())),
        driver: Arc::clone(version),
        firmware: None,
        persistence: None,
        compute_mode: None,
        mig: None,
        limits: TemperatureLimits::default(),
        parent: None,
        instance: None,
    }
}
