//! Observations in, batches out.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::batch::GpuBatch;
use super::call::{Call, Cost};
use super::charge::{Charged, Claims};
use super::device::Device;
use super::facts::GpuId;
use super::observation::{Observation, Sample};
use super::reading::Reading;
use super::shares::{self, InstanceUse, Owners};
use super::state::{DeviceState, DriverState};
use super::workload::WorkloadUse;
use crate::model::batch::{Point, Temporality};
use crate::model::energy::{Estimate, IdlePolicy, Method, Owner};
use crate::model::histogram::Histogram;
use crate::model::request::Request;
use crate::model::workload::WorkloadId;

/// Bounds and choices.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// What counters and histograms say of.
    pub temporality: Temporality,
    /// Who bears the energy of devices that do nothing.
    pub idle: IdlePolicy,
    /// Stretches of time of each workload in which requests are looked up; one for each [`Gpus::progress`].
    pub stretches: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { temporality: Temporality::default(), idle: IdlePolicy::default(), stretches: 600 }
    }
}

/// What is known of GPUs, and of what workloads use of them. Not shared: one task owns it.
#[derive(Debug)]
pub struct Gpus {
    limits: Limits,
    driver: Option<DriverState>,
    devices: BTreeMap<GpuId, Device>,
    workloads: BTreeMap<WorkloadId, WorkloadUse>,
    /// Costs of calls that concern no single device.
    costs: BTreeMap<Call, Histogram>,
}

impl Gpus {
    /// Knows nothing yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits, driver: None, devices: BTreeMap::new(), workloads: BTreeMap::new(), costs: BTreeMap::new() }
    }

    /// State of the driver's library, once it is known.
    pub fn driver(&self) -> Option<&DriverState> {
        self.driver.as_ref()
    }

    /// Every device and instance with its state and what it showed last.
    pub fn devices(&self) -> impl Iterator<Item = (&Arc<super::Gpu>, &DeviceState, &Reading)> {
        self.devices.values().filter(|device| !device.gone).map(|device| (&device.gpu, device.state(), &device.latest))
    }

    /// Takes an observation. `owner` tells which workload a process belongs to, by
    /// its id and its cgroup, a path below the cgroup2 mount; `now` is
    /// Unix time in nanoseconds.
    pub fn observe(
        &mut self,
        observation: Observation,
        now: u64,
        owner: &mut dyn FnMut(u32, &Path) -> Option<WorkloadId>,
    ) {
        match observation {
            Observation::Driver(state) => {
                // A call that concerns no single device keeps none from being read.
                if !matches!(state, DriverState::Ready { .. } | DriverState::Stuck { .. }) {
                    self.devices.values_mut().for_each(Device::interrupt);
                }
                self.driver = Some(state);
            }
            Observation::Appeared(gpu) => {
                let idle = self.limits.idle;
                let device =
                    self.devices.entry(Arc::clone(&gpu.id)).or_insert_with(|| Device::new(Arc::clone(&gpu), idle, now));
                device.gpu = gpu;
                device.gone = false;
            }
            Observation::Gone(id) => {
                if let Some(device) = self.devices.get_mut(&id) {
                    device.gone = true;
                    device.interrupt();
                }
                self.workloads.values_mut().for_each(|workload| workload.left(&id));
            }
            Observation::State(id, state) => self.set_state(&id, &state),
            Observation::Sample(sample) => self.sample(*sample, owner),
            Observation::Event(event) => {
                if let Some(device) = self.devices.get_mut(&event.gpu) {
                    device.happened(event);
                }
            }
            Observation::Costs(costs) => pay(&mut self.costs, &costs),
        }
    }

    /// Splits the energy of every device up to its last reading, by the use that was measured last. What is given to
    /// workloads and to nobody then adds up to the devices' counters exactly.
    pub fn settle(&mut self) {
        for device in self.devices.values_mut() {
            if let Some(charged) = device.charge.settle() {
                give(device, &charged, &mut self.workloads, self.limits);
            }
        }
    }

    /// Tells how far a workload is: its output tokens so far (events that stream, and tokens of finished requests that did
    /// not), and the time that its requests were under way so far, added up, in nanoseconds. `at` is monotonic time. Call it
    /// every second or so, after [`Self::settle`]: what lies between two calls is what requests are looked up in.
    pub fn progress(&mut self, id: WorkloadId, at: u64, tokens: u64, busy: u64) {
        if let Some(workload) = self.workloads.get_mut(&id) {
            workload.progress(at, tokens, busy);
        }
    }

    /// The same between two such calls, for requests that ended since the last one.
    pub fn so_far(&mut self, id: WorkloadId, at: u64, tokens: u64, busy: u64) {
        if let Some(workload) = self.workloads.get_mut(&id) {
            workload.so_far(at, tokens, busy);
        }
    }

    /// What a finished request is estimated to have used; `None` for workloads without a GPU.
    pub fn request(&self, request: &Request) -> Option<Estimate> {
        let begun = request.started?;
        let first = request.time_to_first_token.map_or(begun, |nanos| begun + nanos);
        self.estimate(request.workload, first, request.ended, request.output_tokens.unwrap_or(0))
    }

    /// The same for a request of a workload that put out so many tokens between two instants of monotonic time.
    pub fn estimate(&self, workload: WorkloadId, first: u64, ended: u64, tokens: u64) -> Option<Estimate> {
        self.workloads.get(&workload)?.request(first, ended, tokens)
    }

    /// What is new of each device, its energy split up to its last reading: take points of workloads after this. `now` is Unix time and `instant` monotonic time, in nanoseconds.
    pub fn flush(&mut self, now: u64, instant: u64) -> Vec<GpuBatch> {
        self.settle();
        let delta = self.limits.temporality == Temporality::Delta;
        let batches = self.devices.values_mut().map(|device| device.flush(delta, now, instant)).collect();
        self.devices.retain(|_, device| !device.gone);
        batches
    }

    /// Appends what is new of a workload: its energy, memory, utilisation and joules per token.
    pub fn workload_points(&mut self, id: WorkloadId, points: &mut Vec<Point>) {
        let delta = self.limits.temporality == Temporality::Delta;
        if let Some(workload) = self.workloads.get_mut(&id) {
            workload.collect(delta, points);
        }
    }

    /// What calls took that concern no single device, by kind, since ever.
    pub fn costs(&self) -> impl Iterator<Item = (Call, &Histogram)> {
        self.costs.iter().map(|(call, histogram)| (*call, histogram))
    }

    /// True for a workload that has used or held a GPU.
    pub fn has(&self, id: WorkloadId) -> bool {
        self.workloads.contains_key(&id)
    }

    /// Forgets a workload that ended, after its last points were taken. What its processes go on to use, or were last seen to,
    /// is no workload's.
    pub fn forget(&mut self, id: WorkloadId) {
        self.workloads.remove(&id);
        self.devices.values_mut().for_each(|device| device.charge.disown(id));
    }

    /// Instances share the state of the GPU that they are part of.
    fn set_state(&mut self, id: &GpuId, state: &DeviceState) {
        let concerned = |device: &&mut Device| device.gpu.id == *id || device.gpu.parent.as_ref() == Some(id);
        self.devices.values_mut().filter(concerned).for_each(|device| device.set_state(*state));
        if *state != DeviceState::Ok {
            self.workloads.values_mut().for_each(|workload| workload.left(id));
        }
    }

    fn sample(&mut self, sample: Sample, owners: &mut Owners<'_>) {
        for said in &sample.instances {
            if let Some(device) = self.devices.get_mut(&said.gpu) {
                let reading = Reading { memory: said.memory, activity: said.activity, ..Reading::default() };
                device.read(&reading, true, sample.at);
            }
        }
        let divided = self.divided(&sample.gpu);
        let Some(device) = self.devices.get_mut(&sample.gpu) else { return };
        device.pay(&sample.costs);
        let Some(asked) = sample.asked else { return };
        device.read(&sample.reading, asked.health, sample.at);
        if asked.processes {
            self.workloads.values_mut().for_each(|workload| workload.left(&sample.gpu));
            for process in sample.processes.iter().flatten() {
                if let (Owner::Workload(id), Some(bytes)) = (shares::owner_of(process, owners), process.memory) {
                    workload(&mut self.workloads, id, self.limits).hold(&sample.gpu, bytes);
                }
            }
            device.list(sample.processes);
        }
        let Some(uses) = sample.uses else { return };
        let (method, uses) = if divided.is_empty() {
            (Method::SmShare, shares::uses(&uses, &device.processes, owners))
        } else {
            shares::instances(&divided, &device.processes, owners)
        };
        let holds = shares::holds(&device.processes, owners);
        if let Some(charged) = device.charge.claim(Claims { method, uses, holds }) {
            give(device, &charged, &mut self.workloads, self.limits);
        }
    }

    /// The instances of a divided device with their activity; none of one that is whole.
    fn divided(&self, id: &GpuId) -> Vec<InstanceUse> {
        let instances = self.devices.values().filter(|device| !device.gone && device.gpu.parent.as_ref() == Some(id));
        let activity = |device: &Device| device.latest.activity.and_then(|activity| activity.sm);
        instances.filter_map(|device| Some((device.gpu.instance?, activity(device)))).collect()
    }
}

/// Gives an interval's energy to those that it was split over.
fn give(device: &mut Device, charged: &Charged, workloads: &mut BTreeMap<WorkloadId, WorkloadUse>, limits: Limits) {
    device.settle(charged);
    let id = &device.gpu.id;
    for part in &charged.parts {
        if let Owner::Workload(owner) = part.owner {
            workload(workloads, owner, limits).give(id, part, charged.source, charged.at);
        }
    }
    let uses = &device.charge.claims().uses;
    let whole = uses.iter().map(|claim| claim.weight).sum();
    for (owner, workload) in workloads {
        let own = uses.iter().filter(|claim| claim.owner == Owner::Workload(*owner)).map(|claim| claim.weight).sum();
        workload.use_of(id, device.latest.utilization_pct, own, whole, charged.nanos);
    }
}

fn workload(all: &mut BTreeMap<WorkloadId, WorkloadUse>, id: WorkloadId, limits: Limits) -> &mut WorkloadUse {
    all.entry(id).or_insert_with(|| WorkloadUse::new(limits.stretches))
}

fn pay(into: &mut BTreeMap<Call, Histogram>, costs: &[Cost]) {
    for cost in costs {
        into.entry(cost.call).or_default().record(cost.nanos);
    }
}
