//! NVIDIA's own libraries, of several drivers, on a machine without what they drive: what the simulator stands in for is held
//! against them, and the agent is let loose on them. Needs root.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use inferscope::model::gpu::{DriverState, Observation};
use inferscope::sources::gpu::{GpuSource, Settings};
use inferscope_tests::gpu::{is_loaded, pci_gpu, settings};
use inferscope_tests::{tools, wait};
use libloading::Library;

const WITHIN: Duration = Duration::from_secs(20);
/// What the kernel module tells where it is loaded.
const DRIVER: &str = "/proc/driver/nvidia/version";
/// Times that a library is looked at and let go.
const TIMES: usize = 50;

/// The libraries and the major versions of their drivers; none where they could not be had, which is said.
fn libraries() -> Result<Vec<(u32, PathBuf)>> {
    let all = tools::nvml()?;
    if all.is_empty() {
        eprintln!(
            "skipped: NVIDIA's libraries are not there (`cargo xtask tools` fetches them and says where they are)"
        );
    }
    Ok(all)
}

/// Those of the simulator's functions that a library does not have.
fn lacks(path: &Path) -> Result<BTreeSet<&'static str>> {
    // SAFETY: its constructors only prepare what is undone when it is unloaded.
    let library = unsafe { Library::new(path) }?;
    // SAFETY: symbols are looked up and not used.
    let has = |name: &&str| unsafe { library.get::<*const ()>(name.as_bytes()) }.is_ok();
    Ok(nvidia_ml::functions().into_iter().filter(|name| !has(name)).collect())
}

#[test]
fn the_simulator_exports_what_nvidias_libraries_export() -> Result<()> {
    // What came later; the reader goes another way for it or does without.
    let since_565 = ["nvmlDeviceGetFanSpeedRPM"];
    let since_510 = [
        "nvmlDeviceGetComputeRunningProcesses_v3",
        "nvmlDeviceGetCurrentClocksEventReasons",
        "nvmlDeviceGetGraphicsRunningProcesses_v3",
        "nvmlDeviceGetMPSComputeRunningProcesses_v3",
        "nvmlDeviceGetMemoryInfo_v2",
        "nvmlDeviceGetNumFans",
        "nvmlGpmMetricsGet",
        "nvmlGpmMigSampleGet",
        "nvmlGpmQueryDeviceSupport",
        "nvmlGpmSampleAlloc",
        "nvmlGpmSampleFree",
        "nvmlGpmSampleGet",
    ];
    for (driver, path) in libraries()? {
        let mut later = BTreeSet::from(since_565);
        later.extend(since_510.iter().filter(|_| driver < 510));
        assert_eq!(lacks(&path)?, later, "driver {driver}");
    }
    Ok(())
}

/// A machine with a GPU whose kernel module is not loaded, for programs in a mount namespace of their own. `modprobe` there only
/// notes that it was called.
struct Machine {
    directory: tempfile::TempDir,
}

impl Machine {
    fn new(library: &Path) -> Result<Self> {
        let machine = Self { directory: tempfile::tempdir()? };
        let gpu = pci_gpu(&machine.path("devices"))?;
        fs::create_dir_all(machine.path("sbin"))?;
        // Vendor, device, and from the ninth byte on the class: a GPU without an output.
        let mut config = [0; 64];
        config[..4].copy_from_slice(&[0xde, 0x10, 0x30, 0x23]);
        config[9..12].copy_from_slice(&[0x00, 0x02, 0x03]);
        fs::write(gpu.join("config"), config)?;
        let modprobe = machine.path("sbin/modprobe");
        fs::write(&modprobe, format!("#!/bin/sh\necho \"$@\" >> {}\n", machine.path("called").display()))?;
        fs::set_permissions(&modprobe, fs::Permissions::from_mode(0o755))?;
        symlink(library, machine.path("libnvidia-ml.so.1"))?;
        Ok(machine)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What a program prints there. Device nodes that it makes are gone with it.
    fn run(&self, program: &Path, arguments: &[&str]) -> Result<String> {
        let here = self.directory.path().display();
        let script = format!(
            "mount --bind {here}/devices /sys/bus/pci/devices && mount --bind {here}/sbin /usr/sbin && \
             mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && mknod -m 666 /dev/urandom c 1 9 && \
             \"$0\" \"$@\"; ls /dev"
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script]).arg(program).args(arguments);
        let output = command.env("LD_LIBRARY_PATH", self.directory.path()).output()?;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        Ok(format!("{out}{err}"))
    }

    /// What `modprobe` was called with.
    fn called(&self) -> String {
        fs::read_to_string(self.path("called")).unwrap_or_default()
    }
}

/// Scenario: a GPU whose driver is not loaded: somebody is replacing it, or hands the GPU to a virtual machine.
/// Guarantees: the library would load it, as it does for whoever else initialises it; the agent does not let it, and tells.
#[test]
fn nvidias_libraries_load_the_kernel_module_and_the_agent_does_not_let_them() -> Result<()> {
    if Path::new(DRIVER).exists() {
        eprintln!("skipped: the driver of this machine is loaded");
        return Ok(());
    }
    let python = tools::python()?;
    let binding = "import pynvml\ntry: pynvml.nvmlInit()\nexcept pynvml.NVMLError as error: print(error)";
    for (driver, library) in libraries()? {
        let machine = Machine::new(&library)?;
        let said = machine.run(&tools::inferscope()?, &["doctor"])?;
        ensure!(said.contains("the kernel module is not loaded"), "driver {driver}: {said}");
        ensure!(
            !said.contains("nvidiactl") && machine.called().is_empty(),
            "driver {driver}: {}: {said}",
            machine.called()
        );
        let said = machine.run(&python, &["-c", binding])?;
        ensure!(said.contains("Driver Not Loaded") && said.contains("nvidiactl"), "driver {driver}: {said}");
        assert!(machine.called().starts_with("nvidia\n"), "driver {driver}: {}", machine.called());

        // Without a GPU there is nothing to load, and nothing is wrong.
        fs::remove_dir_all(machine.path("devices/0000:3b:00.0"))?;
        fs::remove_file(machine.path("called"))?;
        let said = machine.run(&tools::inferscope()?, &["doctor"])?;
        ensure!(said.contains("no GPU of NVIDIA on the PCI bus"), "driver {driver}: {said}");
        ensure!(!said.contains("the kernel module") && machine.called().is_empty(), "driver {driver}: {said}");
    }
    Ok(())
}

/// Guarantees: waiting for the module takes nothing that is not given back, however long it lasts.
#[test]
fn a_library_that_waits_for_its_module_is_let_go_each_time() -> Result<()> {
    for (driver, library) in libraries()? {
        let machine = Machine::new(&library)?;
        let (proc, sys) = (machine.path("proc"), machine.path("sys"));
        fs::create_dir_all(sys.join("bus/pci"))?;
        symlink(machine.path("devices"), sys.join("bus/pci/devices"))?;
        let open = || fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        let before = open();
        for _ in 0..TIMES {
            let settings = Settings { proc: proc.clone(), sys: sys.clone(), ..settings(&library) };
            let mut source = GpuSource::start(settings)?;
            let mut told = None;
            let state = wait::until(WITHIN, "the driver's state", || {
                source.poll(|seen| {
                    if let Observation::Driver(state) = seen {
                        told = Some(state);
                    }
                });
                told.take()
            })?;
            assert_eq!(state, DriverState::NotLoaded, "driver {driver}");
            ensure!(source.stop(), "a call has not returned");
        }
        assert!(open() <= before + 2, "driver {driver}: {} descriptors, {before} before", open());
        assert!(!is_loaded(&library), "driver {driver}");
    }
    Ok(())
}
