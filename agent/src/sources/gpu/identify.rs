//! Who a device is: its facts, its instances, and whoever will read it.

use std::path::Path;
use std::sync::Arc;

use nvml_wrapper::Device;
use nvml_wrapper::enum_wrappers::device::{ComputeMode, TemperatureThreshold};
use nvml_wrapper::error::{nvml_sym, nvml_try};

use super::failure::Failure;
use super::library::{Handle, Library};
use super::reader::{Part, Reader};
use super::watch::{Meter, Unsupported, Watch};
use crate::model::gpu::{Call, Cost, Gpu, Instance, TemperatureLimits};

/// A device that can be read.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) instances: Vec<Arc<Gpu>>,
    pub(super) reader: Box<Reader>,
}

/// Gets a device's handle and asks who it is.
pub(super) fn attach(
    library: &Arc<Library>,
    index: u32,
    proc: &Path,
    watch: &Watch,
) -> (Result<Attached, Failure>, Vec<Cost>) {
    let mut meter = Meter::new(watch, Unsupported::default());
    let attached = identify(library, index, proc, &mut meter);
    let (costs, _, failure) = meter.finish();
    let unknown = || failure.clone().unwrap_or(Failure::Failing("unknown"));
    (attached.filter(|_| failure.is_none()).ok_or_else(unknown), costs)
}

fn identify(library: &Arc<Library>, index: u32, proc: &Path, meter: &mut Meter<'_>) -> Option<Attached> {
    let device = meter.call(Call::Handle, || library.nvml.device_by_index(index))?;
    let id: Arc<str> = meter.call(Call::Facts, || device.uuid())?.into();
    let mig = meter.call(Call::Mig, || device.mig_mode()).map(|mode| mode.current == 1);
    let modes = Modes::of(&device, meter);
    let gpu = Gpu {
        index,
        model: meter.call(Call::Facts, || device.name()).unwrap_or_default().into(),
        vendor: "NVIDIA",
        pci: optional(meter, || device.pci_info()).map(|pci| pci.bus_id.into()),
        serial: optional(meter, || device.serial()).map(Arc::from),
        driver: Arc::clone(&library.version),
        firmware: optional(meter, || device.vbios_version()).map(Arc::from),
        persistence: modes.persistence,
        compute_mode: modes.compute,
        mig,
        limits: limits(&device, meter),
        parent: None,
        instance: None,
        id,
    };
    let parts = (mig == Some(true)).then(|| parts(&device, &gpu, meter));
    // SAFETY: the handle is used as long as the library is initialised: the reader holds the library.
    let handle = Handle(unsafe { device.handle() });
    library.listen(handle, meter);
    let instances = parts.iter().flatten().map(|part| Arc::clone(&part.gpu)).collect();
    let reader = Box::new(Reader::new(Arc::clone(library), handle, Arc::new(gpu), proc, parts, meter));
    Some(Attached { instances, reader })
}

/// What somebody may change while the device is in use.
#[derive(Debug)]
pub(super) struct Modes {
    pub(super) persistence: Option<bool>,
    pub(super) compute: Option<&'static str>,
}

impl Modes {
    pub(super) fn of(device: &Device<'_>, meter: &mut Meter<'_>) -> Self {
        let persistence = optional(meter, || device.is_in_persistent_mode());
        Self { persistence, compute: optional(meter, || device.compute_mode()).map(mode) }
    }
}

/// A fact that a device may not have. That one is lacking says nothing of the others: none is noted as unsupported.
fn optional<T>(meter: &mut Meter<'_>, body: impl FnOnce() -> Result<T, nvml_wrapper::error::NvmlError>) -> Option<T> {
    meter.call(Call::Facts, || Ok(body().ok())).flatten()
}

fn mode(mode: ComputeMode) -> &'static str {
    match mode {
        ComputeMode::Default => "default",
        ComputeMode::ExclusiveThread => "exclusive_thread",
        ComputeMode::Prohibited => "prohibited",
        ComputeMode::ExclusiveProcess => "exclusive_process",
    }
}

fn limits(device: &Device<'_>, meter: &mut Meter<'_>) -> TemperatureLimits {
    let mut limit = |which| optional(meter, || device.temperature_threshold(which));
    TemperatureLimits {
        shutdown: limit(TemperatureThreshold::Shutdown),
        slowdown: limit(TemperatureThreshold::Slowdown),
        gpu_max: limit(TemperatureThreshold::GpuMax),
        memory_max: limit(TemperatureThreshold::MemoryMax),
    }
}

/// The instances of a divided device. Places may be empty.
fn parts(device: &Device<'_>, whole: &Gpu, meter: &mut Meter<'_>) -> Vec<Part> {
    let most = meter.call(Call::Mig, || device.mig_device_count()).unwrap_or(0);
    let mut parts = Vec::new();
    for place in 0..most {
        let Some(found) = optional(meter, || device.mig_device_by_index(place)) else { continue };
        let facts = optional(meter, || {
            let id = found.uuid()?;
            Ok((id, found.name()?, instance_id(&found)?, found.attributes()?.multiprocessor_count))
        });
        let Some((id, model, instance, multiprocessors)) = facts else { continue };
        let gpu = Arc::new(Gpu {
            id: id.into(),
            model: model.into(),
            serial: None,
            firmware: None,
            persistence: None,
            compute_mode: None,
            mig: None,
            limits: TemperatureLimits::default(),
            parent: Some(Arc::clone(&whole.id)),
            instance: Some(Instance { id: instance, multiprocessors }),
            ..whole.clone()
        });
        // SAFETY: as for the whole device.
        parts.push(Part::new(Handle(unsafe { found.handle() }), gpu, place));
    }
    parts
}

fn instance_id(device: &Device<'_>) -> Result<u32, nvml_wrapper::error::NvmlError> {
    let get = nvml_sym(device.nvml().lib().nvmlDeviceGetGpuInstanceId.as_ref())?;
    let mut id = 0;
    // SAFETY: the handle is of this library, and the place to write to is valid.
    nvml_try(unsafe { get(device.handle(), &raw mut id) })?;
    Ok(id)
}
