//! The machine behind the calls: one for each loaded library, made by the first `nvmlInit`, gone with the last `nvmlShutdown`.

use std::ffi::{CStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nvml_wrapper_sys::bindings::{
    nvmlDevice_t, nvmlReturn_enum_NVML_ERROR_DRIVER_NOT_LOADED as DRIVER_NOT_LOADED,
    nvmlReturn_enum_NVML_ERROR_GPU_IS_LOST as GPU_IS_LOST,
    nvmlReturn_enum_NVML_ERROR_INVALID_ARGUMENT as INVALID_ARGUMENT,
    nvmlReturn_enum_NVML_ERROR_LIB_RM_VERSION_MISMATCH as LIB_RM_VERSION_MISMATCH,
    nvmlReturn_enum_NVML_ERROR_RESET_REQUIRED as RESET_REQUIRED,
    nvmlReturn_enum_NVML_ERROR_UNINITIALIZED as UNINITIALIZED, nvmlReturn_enum_NVML_ERROR_UNKNOWN as UNKNOWN,
    nvmlReturn_t,
};
use serde_json::Value;

use crate::abi::events::Pending;
use crate::account::Account;
use crate::control::{self, Command};
use crate::curve::Curve;
use crate::faults::{Effect, Faults, pass};
use crate::gpu::Gpu;
use crate::scenario::{Driver, Instance, Scenario};

/// Pause between two looks of a call that waits.
pub(crate) const LOOK: Duration = Duration::from_millis(2);

/// The machine, how many have initialised it, and what they spent.
pub(crate) struct Library {
    users: u32,
    account: Account,
    pub(crate) hardware: Option<Hardware>,
}

/// The machine.
pub(crate) struct Hardware {
    scenario: Scenario,
    epoch: u64,
    socket: Option<UnixDatagram>,
    faults: Faults,
    pub(crate) gpus: Vec<Gpu>,
    pub(crate) events: Pending,
    /// `nvidiactl`, then the devices' own nodes.
    nodes: Vec<(Option<usize>, File)>,
}

/// What a device handle stands for: a GPU, or an instance of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Target {
    pub(crate) gpu: usize,
    pub(crate) instance: Option<usize>,
}

// A C library has no other place for what its calls share.
static LIBRARY: Mutex<Library> = Mutex::new(Library { users: 0, account: Account::new(), hardware: None });

/// The library, with every command applied that was sent before.
pub(crate) fn library() -> MutexGuard<'static, Library> {
    let mut library = LIBRARY.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(hardware) = &mut library.hardware {
        hardware.obey();
    }
    library
}

/// Enters something into the account.
pub(crate) fn tally<T>(entry: impl FnOnce(&mut Account) -> T) -> T {
    entry(&mut LIBRARY.lock().unwrap_or_else(PoisonError::into_inner).account)
}

/// Runs a call: lets the faults have it first, then its body on the machine.
pub(crate) fn call<T>(
    name: &str,
    target: Option<nvmlDevice_t>,
    body: impl FnOnce(&mut Hardware) -> Result<T, nvmlReturn_t>,
) -> Result<T, nvmlReturn_t> {
    let place = target.and_then(Target::of).map(|target| target.gpu);
    let struck = {
        let mut library = library();
        let hardware = library.hardware.as_mut().ok_or(UNINITIALIZED)?;
        let latency = hardware.scenario.latency.iter().find(|one| one.call == name || one.call == "*");
        let micros = latency.map_or(0, |one| one.micros);
        (micros, hardware.faults.strike(name, place))
    };
    suffer(struck)?;
    body(library().hardware.as_mut().ok_or(UNINITIALIZED)?)
}

fn suffer((latency, struck): (u64, Option<(u64, Effect)>)) -> Result<(), nvmlReturn_t> {
    if latency > 0 {
        pass(latency);
    }
    match struck {
        None => Ok(()),
        Some((_, Effect::Error(code))) => Err(code),
        Some((_, Effect::Slow(micros))) => {
            pass(micros);
            Ok(())
        }
        Some((number, Effect::Hang)) => hang(number, Duration::MAX),
        Some((number, Effect::HangFor(millis))) => hang(number, Duration::from_millis(millis)),
    }
}

/// Until the fault is healed, or for a time.
fn hang(number: u64, time: Duration) -> Result<(), nvmlReturn_t> {
    let begun = Instant::now();
    while begun.elapsed() < time && library().hardware.as_ref().is_some_and(|hardware| hardware.faults.holds(number)) {
        std::thread::sleep(LOOK.min(time));
    }
    Ok(())
}

/// `nvmlInit`: makes the machine for the first user.
pub(crate) fn init() -> Result<(), nvmlReturn_t> {
    let mut library = library();
    if library.hardware.is_none() {
        let hardware = Hardware::load()?;
        if let Some(file) = &hardware.scenario.account {
            library.account.open(file).map_err(refused)?;
        }
        library.hardware = Some(hardware);
    }
    let struck = library.hardware.as_mut().map(|hardware| (0, hardware.faults.strike("nvmlInit_v2", None)));
    library.users += 1;
    drop(library);
    let done = struck.map_or(Ok(()), suffer);
    if done.is_err() {
        leave();
    }
    done
}

fn refused(error: io::Error) -> nvmlReturn_t {
    eprintln!("nvml-sim: {error}");
    UNKNOWN
}

/// `nvmlShutdown`: the last user takes the machine away.
pub(crate) fn shutdown() -> Result<(), nvmlReturn_t> {
    call("nvmlShutdown", None, |_| Ok(()))?;
    leave();
    Ok(())
}

fn leave() {
    let mut library = library();
    library.users = library.users.saturating_sub(1);
    if library.users == 0
        && let Some(path) = library.hardware.take().and_then(|hardware| hardware.scenario.socket)
    {
        // Somebody may have taken it away before.
        drop(fs::remove_file(path));
    }
}

impl Target {
    /// By its handle; `None` where it is none.
    pub(crate) fn of(handle: nvmlDevice_t) -> Option<Self> {
        let word = handle.addr();
        let gpu = (word >> 16).checked_sub(1)?;
        Some(Self { gpu, instance: (word & 0xffff).checked_sub(1) })
    }

    /// Its handle. A handle of an instance names a place, as NVML's do: another instance may take the place.
    pub(crate) fn handle(self) -> nvmlDevice_t {
        std::ptr::without_provenance_mut(((self.gpu + 1) << 16) | self.instance.map_or(0, |place| place + 1))
    }
}

impl Hardware {
    fn load() -> Result<Self, nvmlReturn_t> {
        let scenario = read_scenario().map_err(|reason| {
            eprintln!("nvml-sim: {reason}");
            UNKNOWN
        })?;
        check(&scenario.driver)?;
        let mut hardware = Self {
            epoch: scenario.epoch.unwrap_or_else(monotonic),
            socket: scenario.socket.as_deref().map(control::bind).transpose().map_err(refused)?,
            faults: Faults::default(),
            gpus: Vec::new(),
            events: Pending::default(),
            nodes: Vec::new(),
            scenario,
        };
        hardware.scenario.fault.clone().into_iter().for_each(|fault| hardware.faults.add(fault));
        for (place, device) in hardware.scenario.device.clone().into_iter().enumerate() {
            hardware.gpus.push(Gpu { place, device, since: 0.0 });
        }
        hardware.open_node(None).map_err(refused)?;
        Ok(hardware)
    }

    /// Opens the file that stands for a device node and holds it, once.
    pub(crate) fn open_node(&mut self, place: Option<usize>) -> io::Result<()> {
        let Some(directory) = &self.scenario.nodes else { return Ok(()) };
        if !self.nodes.iter().any(|(held, _)| *held == place) {
            let name = place.map_or_else(|| "nvidiactl".to_owned(), |place| format!("nvidia{place}"));
            let file = OpenOptions::new().create(true).append(true).open(directory.join(name))?;
            self.nodes.push((place, file));
        }
        Ok(())
    }

    pub(crate) fn driver(&self) -> &Driver {
        &self.scenario.driver
    }

    pub(crate) fn is_privileged(&self) -> bool {
        !self.scenario.unprivileged
    }

    /// Seconds since the scenario's start.
    pub(crate) fn time(&self) -> f64 {
        monotonic().saturating_sub(self.epoch) as f64 / 1e9
    }

    /// The GPU behind a handle, if it answers.
    pub(crate) fn gpu(&self, handle: nvmlDevice_t) -> Result<&Gpu, nvmlReturn_t> {
        let target = Target::of(handle).ok_or(INVALID_ARGUMENT)?;
        self.answering(target.gpu)
    }

    /// A whole GPU: calls that know no instances refuse those.
    pub(crate) fn whole(&self, handle: nvmlDevice_t) -> Result<&Gpu, nvmlReturn_t> {
        let target = Target::of(handle).ok_or(INVALID_ARGUMENT)?;
        if target.instance.is_some() { Err(crate::abi::NOT_SUPPORTED) } else { self.answering(target.gpu) }
    }

    /// The instance behind a handle; `None` for a whole GPU.
    pub(crate) fn instance(&self, handle: nvmlDevice_t) -> Result<Option<&Instance>, nvmlReturn_t> {
        let target = Target::of(handle).ok_or(INVALID_ARGUMENT)?;
        let Some(place) = target.instance else { return Ok(None) };
        let mig = &self.answering(target.gpu)?.device.mig;
        let found = mig.enabled.then(|| mig.instance.get(place)).flatten();
        found.map(Some).ok_or(INVALID_ARGUMENT)
    }

    /// A GPU at a place, if it answers.
    pub(crate) fn answering(&self, place: usize) -> Result<&Gpu, nvmlReturn_t> {
        check(&self.scenario.driver)?;
        let gpu = self.gpus.get(place).ok_or(INVALID_ARGUMENT)?;
        if gpu.device.lost {
            return Err(GPU_IS_LOST);
        }
        if gpu.device.reset_required {
            return Err(RESET_REQUIRED);
        }
        Ok(gpu)
    }

    fn obey(&mut self) {
        while let Some(command) = self.socket.as_ref().and_then(control::receive) {
            if let Err(error) = self.apply(command) {
                eprintln!("nvml-sim: cannot do that: {error}");
            }
        }
    }

    fn apply(&mut self, command: Command) -> Result<(), String> {
        let time = self.time();
        match command {
            Command::Set { device, fields } => {
                let gpu = self.gpus.get_mut(device).ok_or("no such device")?;
                let mig = gpu.device.mig.clone();
                gpu.device = changed(&gpu.device, fields, time)?;
                if gpu.device.mig != mig {
                    self.events.mig_changed(device);
                }
            }
            Command::Sm { device, pid, pct } => {
                let gpu = self.gpus.get_mut(device).ok_or("no such device")?;
                let process = gpu.device.process.iter_mut().find(|process| process.pid == pid);
                process.ok_or("no such process")?.sm_pct.set(time, pct);
            }
            Command::Add(device) => self.gpus.push(Gpu { place: self.gpus.len(), device: *device, since: time }),
            Command::Remove => drop(self.gpus.pop().ok_or("no device left")?),
            Command::Driver(fields) => self.scenario.driver = changed(&self.scenario.driver, fields, time)?,
            Command::Xid { device, code } => self.events.xid(device, code),
            Command::Fault(fault) => self.faults.add(fault),
            Command::Heal { call, device } => self.faults.heal(&call, device),
        }
        Ok(())
    }
}

/// Module and library must be there and of one version.
fn check(driver: &Driver) -> Result<(), nvmlReturn_t> {
    if !driver.loaded {
        return Err(DRIVER_NOT_LOADED);
    }
    let same = driver.module.as_ref().is_none_or(|module| *module == driver.library);
    if same { Ok(()) } else { Err(LIB_RM_VERSION_MISMATCH) }
}

/// The same with some fields replaced: curves that are given a number take it from now on.
fn changed<T: serde::Serialize + serde::de::DeserializeOwned>(old: &T, fields: Value, time: f64) -> Result<T, String> {
    let mut whole = serde_json::to_value(old).map_err(|error| error.to_string())?;
    merge(&mut whole, fields, time);
    serde_json::from_value(whole).map_err(|error| error.to_string())
}

fn merge(into: &mut Value, from: Value, time: f64) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value, time);
            }
        }
        (into, Value::Number(number)) if is_curve(into) => {
            let curve: Option<Curve> = serde_json::from_value(into.clone()).ok();
            if let (Some(mut curve), Some(number)) = (curve, number.as_f64()) {
                curve.set(time, number);
                *into = serde_json::to_value(curve).unwrap_or(Value::Null);
            }
        }
        (into, from) => *into = from,
    }
}

/// Curves are written with a point, other numbers without.
fn is_curve(value: &Value) -> bool {
    value.is_f64() || value.as_array().is_some_and(|points| points.first().is_some_and(Value::is_array))
}

fn read_scenario() -> Result<Scenario, String> {
    let path = std::env::var_os("NVML_SIM_SCENARIO").map(PathBuf::from).or_else(|| beside("scenario.toml"));
    let path = path.ok_or("no scenario: set NVML_SIM_SCENARIO to its path")?;
    let text = fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// A file in the directory that the library was loaded from.
fn beside(name: &str) -> Option<PathBuf> {
    // SAFETY: an all-zero `Dl_info` is a valid one, and `dladdr` only fills it in.
    let info = unsafe {
        let mut info: libc::Dl_info = std::mem::zeroed();
        let found = libc::dladdr(std::ptr::from_ref(&LIBRARY).cast(), &raw mut info);
        if found == 0 || info.dli_fname.is_null() {
            return None;
        }
        info
    };
    // SAFETY: `dladdr` found the object, whose name lives as long as it is loaded: as long as this code.
    let path = unsafe { CStr::from_ptr(info.dli_fname) }.to_bytes().to_vec();
    Some(Path::new(&OsString::from_vec(path)).with_file_name(name))
}

/// `CLOCK_MONOTONIC` in nanoseconds.
pub(crate) fn monotonic() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists and the place to write to is valid.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
