//! What a GPU is.

use std::sync::Arc;

use crate::model::attr::{self, Attributes, Value};

/// Names a GPU or an instance of one: its UUID.
pub type GpuId = Arc<str>;

/// Temperatures at which something happens, in degrees Celsius.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TemperatureLimits {
    /// The GPU switches itself off.
    pub shutdown: Option<u32>,
    /// The hardware slows it down.
    pub slowdown: Option<u32>,
    /// The most that it should run at.
    pub gpu_max: Option<u32>,
    /// The most that its memory should run at.
    pub memory_max: Option<u32>,
}

/// Which part of a divided GPU an instance is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Instance {
    /// GPU instance id: processes bear it too.
    pub id: u32,
    /// Multiprocessors that it has.
    pub multiprocessors: u32,
}

/// A GPU or a MIG instance, as far as it does not change from one second to the next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gpu {
    /// UUID.
    pub id: GpuId,
    /// Place in the driver's list; of an instance, its GPU's.
    pub index: u32,
    /// Product name.
    pub model: Arc<str>,
    /// Who made it.
    pub vendor: &'static str,
    /// Serial number of the board.
    pub serial: Option<Arc<str>>,
    /// PCI bus id.
    pub pci: Option<Arc<str>>,
    /// Version of the driver.
    pub driver: Arc<str>,
    /// Version of its firmware.
    pub firmware: Option<Arc<str>>,
    /// Persistence mode.
    pub persistence: Option<bool>,
    /// Compute mode: `default`, `prohibited`, `exclusive_process`.
    pub compute_mode: Option<&'static str>,
    /// MIG mode; `None` where it cannot be divided.
    pub mig: Option<bool>,
    /// Temperature limits.
    pub limits: TemperatureLimits,
    /// The GPU that an instance is part of.
    pub parent: Option<GpuId>,
    /// Which part it is.
    pub instance: Option<Instance>,
}

impl Gpu {
    /// Attributes of the resource that carries its metrics.
    pub fn resource(&self) -> Attributes {
        let name = match &self.instance {
            None => format!("GPU {}", self.index),
            Some(instance) => format!("GPU {} instance {}", self.index, instance.id),
        };
        let label = |text: &Arc<str>| Value::Label(Arc::clone(text));
        let mut attributes = vec![
            (attr::HW_ID, label(&self.id)),
            (attr::HW_TYPE, "gpu".into()),
            (attr::HW_NAME, Value::Label(name.into())),
            (attr::HW_MODEL, label(&self.model)),
            (attr::HW_VENDOR, self.vendor.into()),
            (attr::HW_DRIVER_VERSION, label(&self.driver)),
        ];
        let optional = [
            (attr::HW_PARENT, self.parent.as_ref().map(label)),
            (attr::HW_SERIAL_NUMBER, self.serial.as_ref().map(label)),
            (attr::HW_FIRMWARE_VERSION, self.firmware.as_ref().map(label)),
            (attr::GPU_PCI, self.pci.as_ref().map(label)),
            (attr::GPU_PERSISTENCE, self.persistence.map(Value::Bool)),
            (attr::GPU_COMPUTE_MODE, self.compute_mode.map(Value::Word)),
            (attr::GPU_MIG, self.mig.map(Value::Bool)),
        ];
        attributes.extend(optional.into_iter().filter_map(|(key, value)| Some((key, value?))));
        attributes
    }
}
