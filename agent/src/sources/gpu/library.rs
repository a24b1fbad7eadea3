//! The loaded library, and its events.

use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nvml_wrapper::Nvml;
use nvml_wrapper::bitmasks::event::EventTypes;
use nvml_wrapper::enums::event::XidError;
use nvml_wrapper::error::{NvmlError, nvml_sym, nvml_try};
use nvml_wrapper_sys::bindings::{NvmlLib, nvmlDevice_t, nvmlEventSet_t};

use super::failure::judge_init;
use super::watch::Meter;
use crate::model::gpu::{Call, DriverState};

/// Events that one look takes; the others wait for the next.
const EVENTS: usize = 64;

/// A device's handle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Handle(pub(super) nvmlDevice_t);

// SAFETY: NVML is thread-safe and a handle only names a device: nothing is read through it on this side.
unsafe impl Send for Handle {}

/// NVML, initialised. Dropping the last reference shuts NVML down, closes every device node and unloads the library: to be
/// done where calls may block.
#[derive(Debug)]
pub(super) struct Library {
    pub(super) nvml: Nvml,
    pub(super) version: Arc<str>,
    events: Option<EventSet>,
}

#[derive(Debug)]
struct EventSet(nvmlEventSet_t);

// SAFETY: the set is used by one thread at a time: the one that has the job of looking for events.
unsafe impl Send for EventSet {}
// SAFETY: as above; what is shared is the library, and only that job touches the set.
unsafe impl Sync for EventSet {}

/// Something that the driver told of a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Told {
    /// An Xid error.
    Xid(u32),
    /// It is divided in another way.
    Redivided,
}

/// True where the loader says that the library itself is not there, and not one that it needs.
fn is_nothing(said: &str, path: &Path) -> bool {
    said.contains(&format!("{}: cannot open shared object file: No such file", path.display()))
}

/// The version of a library that cannot be initialised, by the name of its file: `libnvidia-ml.so.570.172.08`.
fn named_version(path: &Path) -> Option<String> {
    let file = path.canonicalize().ok()?;
    let version = file.file_name()?.to_str()?.strip_prefix("libnvidia-ml.so.")?;
    version.contains('.').then(|| version.to_owned())
}

fn initialise(path: &Path) -> Result<Nvml, NvmlError> {
    Nvml::builder().lib_path(path.as_os_str()).init()
}

/// What initialising would say that does not load the kernel module. The library is unloaded again.
fn load(path: &Path) -> Result<Nvml, NvmlError> {
    // SAFETY: its constructors run, as they do for `initialise`; nothing of it is called.
    drop(unsafe { NvmlLib::new(path) }?);
    Err(NvmlError::DriverNotLoaded)
}

impl Library {
    /// Loads the first library that is there and initialises it, unless the kernel module is awaited
    /// ([`Module::is_awaited`](crate::host::nvidia::Module::is_awaited)): that would load it, perhaps behind the back of
    /// somebody who is replacing it.
    pub(super) fn open(paths: &[PathBuf], awaited: bool, meter: &mut Meter<'_>) -> Result<Self, DriverState> {
        let mut reason = None;
        for path in paths {
            let opened = meter.call(Call::Init, || Ok(if awaited { load(path) } else { initialise(path) }));
            match opened {
                Some(Ok(nvml)) => {
                    let version = meter.call(Call::Init, || nvml.sys_driver_version()).unwrap_or_default();
                    let set = meter.call(Call::Events, || nvml.create_event_set().map(ManuallyDrop::new));
                    // SAFETY: the handle is kept as long as the library; nothing else frees it.
                    let events = set.map(|set| EventSet(unsafe { set.handle() }));
                    return Ok(Self { nvml, version: version.into(), events });
                }
                Some(Err(error)) => match judge_init(&error, path) {
                    Some(DriverState::Mismatch { module, .. }) => {
                        return Err(DriverState::Mismatch { library: named_version(path), module });
                    }
                    Some(state) => return Err(state),
                    // Of several places, one where there is something tells more than those where there is nothing.
                    None => reason = reason.or_else(|| Some(error.to_string()).filter(|said| !is_nothing(said, path))),
                },
                None => {}
            }
        }
        let nothing = || {
            let places: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
            format!("there is none at {}", places.join(", "))
        };
        Err(DriverState::Absent { reason: reason.unwrap_or_else(nothing) })
    }

    /// Shuts NVML down and unloads it.
    pub(super) fn close(mut self, meter: &mut Meter<'_>) {
        if let Some(EventSet(set)) = self.events.take() {
            meter.call(Call::Events, || {
                let free = nvml_sym(self.nvml.lib().nvmlEventSetFree.as_ref())?;
                // SAFETY: the set was created by this library and is not used any more.
                nvml_try(unsafe { free(set) })
            });
        }
        meter.call(Call::Shutdown, || self.nvml.shutdown());
    }

    /// Asks to be told of a device's errors and changes.
    pub(super) fn listen(&self, device: Handle, meter: &mut Meter<'_>) {
        let Some(EventSet(set)) = &self.events else { return };
        meter.call(Call::Events, || {
            // By hand: the wrapper frees the whole set where one device has no events.
            let register = nvml_sym(self.nvml.lib().nvmlDeviceRegisterEvents.as_ref())?;
            let kinds = EventTypes::CRITICAL_XID_ERROR | EventTypes::MIG_CONFIG_CHANGE;
            // SAFETY: device and set are of this library, which is initialised.
            match nvml_try(unsafe { register(device.0, kinds.bits(), *set) }) {
                // Devices that cannot be divided tell of errors alone.
                Err(NvmlError::NotSupported | NvmlError::InvalidArg) => {
                    let kinds = EventTypes::CRITICAL_XID_ERROR;
                    // SAFETY: as above.
                    nvml_try(unsafe { register(device.0, kinds.bits(), *set) })
                }
                other => other,
            }
        });
    }

    /// What the driver has to tell, without waiting.
    pub(super) fn told(&self, meter: &mut Meter<'_>) -> Vec<(Handle, Told)> {
        let Some(EventSet(set)) = &self.events else { return Vec::new() };
        // SAFETY: the set is of this library; it is not dropped here, so it is freed once: in `close`.
        let set = ManuallyDrop::new(unsafe { nvml_wrapper::EventSet::new(*set, &self.nvml) });
        let mut told = Vec::new();
        meter.call(Call::Events, || {
            while told.len() < EVENTS {
                match set.wait(0) {
                    Ok(event) => {
                        // SAFETY: the handle is only compared with others.
                        let device = Handle(unsafe { event.device.handle() });
                        match event.event_data {
                            Some(XidError::Value(code)) => told.push((device, Told::Xid(code as u32))),
                            Some(XidError::Unknown) => told.push((device, Told::Xid(999))),
                            None => told.push((device, Told::Redivided)),
                        }
                    }
                    Err(NvmlError::Timeout) => break,
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        });
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_librarys_file_bears_its_version() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("libnvidia-ml.so.570.172.08"), folder.path().join("libnvidia-ml.so.1"));
        std::fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(named_version(&link).as_deref(), Some("570.172.08"));
        std::fs::rename(&file, folder.path().join("libnvidia-ml.so.2")).unwrap();
        assert_eq!(named_version(&folder.path().join("libnvidia-ml.so.2")), None);
        assert_eq!(named_version(&link), None, "it leads nowhere");
    }
}
