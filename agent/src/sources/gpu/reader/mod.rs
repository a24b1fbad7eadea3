//! Reads one device. Whoever has the reader has the device: a reader that is out with a stuck call is a device set aside.

mod fields;
mod gpm;
mod health;
mod processes;

use std::path::Path;
use std::sync::Arc;

use nvml_wrapper::Device;
use nvml_wrapper::enums::device::DeviceArchitecture;
use nvml_wrapper::error::{NvmlError, nvml_sym, nvml_try};

use self::fields::Fields;
use self::gpm::Gpm;
use self::processes::Owners;
use super::failure::Failure;
use super::identify::Modes;
use super::library::{Handle, Library};
use super::throttle;
use super::watch::{Meter, Unsupported, Watch};
use crate::clock::monotonic_nanos;
use crate::model::gpu::{Call, Gpu, Groups, InstanceSample, Memory, Reading, Sample};

/// An instance of a divided device.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) gpu: Arc<Gpu>,
    handle: Handle,
    place: u32,
    gpm: Gpm,
}

impl Part {
    pub(super) fn new(handle: Handle, gpu: Arc<Gpu>, place: u32) -> Self {
        let instance = gpu.instance.map(|instance| instance.id);
        Self { gpu, handle, place, gpm: Gpm::of_instance(instance) }
    }
}

/// Reads one device.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) library: Arc<Library>,
    pub(super) handle: Handle,
    /// Who it is; replaced when its modes change.
    pub(super) gpu: Arc<Gpu>,
    unsupported: Unsupported,
    /// The driver's own average is told by the call for power.
    averages: bool,
    energy: Fields,
    health: Fields,
    nvlink: Fields,
    gpm: Gpm,
    fans: u32,
    divided: bool,
    parts: Vec<Part>,
    owners: Owners,
    /// The driver's time of the newest use that was told.
    seen: u64,
}

impl Reader {
    pub(super) fn new(
        library: Arc<Library>,
        handle: Handle,
        gpu: Arc<Gpu>,
        proc: &Path,
        divided: Option<Vec<Part>>,
        meter: &mut Meter<'_>,
    ) -> Self {
        // SAFETY: as in `read`.
        let device = unsafe { Device::new(handle.0, &library.nvml) };
        let architecture = meter.call(Call::Facts, || device.architecture());
        let fans = meter.call(Call::Fans, || device.num_fans()).unwrap_or(0);
        let gpm = meter.call(Call::Gpm, || device.gpm_support()).unwrap_or(false);
        let (divided, parts) = (divided.is_some(), divided.unwrap_or_default());
        Self {
            averages: matches!(
                architecture,
                Some(DeviceArchitecture::Ada | DeviceArchitecture::Hopper | DeviceArchitecture::Blackwell)
            ),
            gpm: if gpm && !divided { Gpm::of_device() } else { Gpm::none() },
            parts: if gpm { parts } else { parts.into_iter().map(|part| Part { gpm: Gpm::none(), ..part }).collect() },
            owners: Owners::new(proc),
            energy: Fields::energy(),
            health: Fields::health(),
            nvlink: Fields::nvlink(),
            unsupported: Unsupported::default(),
            seen: 0,
            library,
            handle,
            gpu,
            fans,
            divided,
        }
    }

    /// Frees what the library keeps for the reader, and hands the library back.
    pub(super) fn close(mut self) -> Arc<Library> {
        self.gpm.free(&self.library.nvml);
        self.parts.iter_mut().for_each(|part| part.gpm.free(&self.library.nvml));
        self.library
    }

    /// Reads.
    pub(super) fn read(&mut self, groups: Groups, watch: &Watch) -> (Sample, Option<Failure>) {
        let library = Arc::clone(&self.library);
        // SAFETY: the handle is of this library, which is initialised as long as it is held.
        let device = unsafe { Device::new(self.handle.0, &library.nvml) };
        let mut meter = Meter::new(watch, self.unsupported);
        let mut reading = Reading::default();
        self.quick(&device, &mut reading, &mut meter);
        let at = monotonic_nanos();
        let uses = groups.uses.then(|| self.uses(&device, &mut meter));
        let mut instances = Vec::new();
        if groups.health {
            self.at_leisure(&device, &mut reading, &mut meter);
            // Facts may be lacking without a failure: they are no sign of life of a device that answers nothing else.
            if meter.answered() {
                self.look_at_modes(&device, &mut meter);
            }
            self.look_for_division(&device, &mut meter);
            instances = self.instances(&device, &mut meter);
        }
        let processes = groups.processes.then(|| self.processes(&device, &mut meter)).flatten();
        let (costs, unsupported, failure) = meter.finish();
        self.unsupported = unsupported;
        let (gpu, asked) = (Arc::clone(&self.gpu.id), Some(groups));
        (Sample { gpu, at, asked, reading, processes, uses, instances, costs }, failure)
    }

    /// What is cheap and moves: energy, power, utilisation, memory, throttling.
    fn quick(&mut self, device: &Device<'_>, reading: &mut Reading, meter: &mut Meter<'_>) {
        self.energy.read(device, Call::EnergyFields, reading, meter);
        if reading.energy_mj.is_none() {
            reading.energy_mj = meter.call(Call::Energy, || device.total_energy_consumption());
        }
        if reading.power_average_mw.is_none() && reading.power_instant_mw.is_none() {
            let power = meter.call(Call::Power, || device.power_usage());
            *if self.averages { &mut reading.power_average_mw } else { &mut reading.power_instant_mw } = power;
        }
        if let Some(rates) = meter.call(Call::Utilization, || device.utilization_rates()) {
            (reading.utilization_pct, reading.memory_activity_pct) = (Some(rates.gpu), Some(rates.memory));
        }
        reading.memory = meter.call(Call::Memory, || memory(device));
        reading.throttle = meter.call(Call::ThrottleReasons, || throttle::reasons(device)).map(throttle::causes);
    }

    /// Modes are changed while the device is in use. One that is not told this time is taken to be as it was.
    fn look_at_modes(&mut self, device: &Device<'_>, meter: &mut Meter<'_>) {
        let modes = Modes::of(device, meter);
        let persistence = modes.persistence.or(self.gpu.persistence);
        let compute_mode = modes.compute.or(self.gpu.compute_mode);
        if (persistence, compute_mode) != (self.gpu.persistence, self.gpu.compute_mode) {
            self.gpu = Arc::new(Gpu { persistence, compute_mode, ..Gpu::clone(&self.gpu) });
        }
    }

    /// Instances come and go while the device is in use: their handles then stand for nothing, or for others.
    fn look_for_division(&self, device: &Device<'_>, meter: &mut Meter<'_>) {
        let Some(mode) = meter.call(Call::Mig, || device.mig_mode()) else { return };
        if (mode.current == 1) != self.divided {
            meter.fail(Failure::Redivided);
        }
        if !self.divided {
            return;
        }
        let now = meter.call(Call::Mig, || {
            let places = 0..device.mig_device_count()?;
            let there = places.filter_map(|place| Some((place, device.mig_device_by_index(place).ok()?.uuid().ok()?)));
            Ok(there.collect::<Vec<_>>())
        });
        let same = |now: &[(u32, String)]| {
            now.iter()
                .map(|(place, id)| (*place, id.as_str()))
                .eq(self.parts.iter().map(|part| (part.place, &*part.gpu.id)))
        };
        if now.is_some_and(|now| !same(&now)) {
            meter.fail(Failure::Redivided);
        }
    }

    fn instances(&mut self, device: &Device<'_>, meter: &mut Meter<'_>) -> Vec<InstanceSample> {
        let mut said = Vec::new();
        for part in &mut self.parts {
            // SAFETY: as in `read`; handles of instances that are gone are answered with an error.
            let instance = unsafe { Device::new(part.handle.0, device.nvml()) };
            let memory = meter.call(Call::Memory, || memory(&instance));
            let activity = part.gpm.read(device, meter);
            said.push(InstanceSample { gpu: Arc::clone(&part.gpu.id), memory, activity });
        }
        said
    }
}

/// Drivers before 510 know one form of it, later ones both.
fn memory(device: &Device<'_>) -> Result<Memory, NvmlError> {
    match device.memory_info() {
        Ok(memory) => Ok(Memory { total: memory.total, used: memory.total.saturating_sub(memory.free) }),
        Err(NvmlError::FailedToLoadSymbol(_) | NvmlError::FunctionNotFound) => {
            let get = nvml_sym(device.nvml().lib().nvmlDeviceGetMemoryInfo.as_ref())?;
            let mut memory = nvml_wrapper_sys::bindings::nvmlMemory_t { total: 0, free: 0, used: 0 };
            // SAFETY: the handle is of this library, and the place to write to is valid.
            nvml_try(unsafe { get(device.handle(), &raw mut memory) })?;
            Ok(Memory { total: memory.total, used: memory.used })
        }
        Err(error) => Err(error),
    }
}
