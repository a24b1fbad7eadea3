//! What the kernel tells of NVIDIA's GPUs and their module: files, which no call into the driver holds up.

use std::fs;
use std::path::{Path, PathBuf};

use super::{SMALL, read_text};

/// PCI's number for NVIDIA, and its base class of displays, to which GPUs without an output belong as well.
const NVIDIA: &str = "0x10de";
const DISPLAY: &str = "0x03";

/// The kernel module: `driver/nvidia` below `/proc`, and `/sys`.
#[derive(Debug)]
pub struct Module {
    proc: PathBuf,
    sys: PathBuf,
}

impl Module {
    /// `proc` and `sys` are where `/proc` and `/sys` are mounted.
    pub fn new(proc: &Path, sys: &Path) -> Self {
        Self { proc: proc.join("driver/nvidia"), sys: sys.to_owned() }
    }

    /// True where it tells anything.
    pub fn is_loaded(&self) -> bool {
        self.proc.join("version").exists() || self.sys.join("module/nvidia").exists()
    }

    /// True where it is not loaded and there is a GPU. `nvmlInit` then has it loaded: as root it runs `modprobe nvidia`, else
    /// `nvidia-modprobe`, which is setuid. That is what NVIDIA's libraries 470.256, 535.261 and 550.163 were seen to do, and not
    /// to do without a GPU.
    pub fn is_awaited(&self) -> bool {
        !self.is_loaded() && self.gpus().is_some_and(|gpus| !gpus.is_empty())
    }

    /// Whether there is a GPU that no other driver has, such as one that hands it to a virtual machine; `None` where the bus
    /// cannot be looked at.
    pub fn is_of_use(&self) -> Option<bool> {
        let driver = |gpu: &Path| fs::read_link(gpu.join("driver")).ok();
        let is_free = |gpu: &PathBuf| driver(gpu).is_none_or(|driver| driver.ends_with("nvidia"));
        Some(self.gpus()?.iter().any(is_free))
    }

    /// NVIDIA's GPUs on the PCI bus; `None` where it cannot be looked at.
    fn gpus(&self) -> Option<Vec<PathBuf>> {
        let says = |device: &Path, file: &str, begin: &str| {
            read_text(&device.join(file), SMALL).is_some_and(|text| text.starts_with(begin))
        };
        let devices = fs::read_dir(self.sys.join("bus/pci/devices")).ok()?.flatten().map(|entry| entry.path());
        Some(devices.filter(|device| says(device, "vendor", NVIDIA) && says(device, "class", DISPLAY)).collect())
    }

    /// Its version: of `NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 …` the first word that is one.
    pub fn version(&self) -> Option<String> {
        let text = read_text(&self.proc.join("version"), SMALL)?;
        let is_version =
            |word: &&str| word.contains('.') && word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        text.split_whitespace().find(is_version).map(str::to_owned)
    }

    /// PCI addresses of the GPUs that it knows, in order; `None` where it does not tell.
    pub fn addresses(&self) -> Option<Vec<String>> {
        let folders = fs::read_dir(self.proc.join("gpus")).ok()?;
        let mut all: Vec<_> =
            folders.flatten().map(|folder| folder.file_name().to_string_lossy().into_owned()).collect();
        all.sort();
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::made_up::Machine;

    #[test]
    fn a_module_is_awaited_where_a_gpu_has_none() {
        let machine = Machine::new();
        let module = Module::new(&machine.host().path("/proc"), &machine.host().path("/sys"));
        assert!(module.is_of_use().is_none() && !module.is_awaited(), "there is nothing");
        // A GPU of somebody else; a GPU's sound, and a bridge between GPUs.
        machine.pci("0000:00:02.0", "0x8086", "0x030000");
        machine.pci("0000:3b:00.1", "0x10de", "0x040300");
        machine.pci("0000:07:00.0", "0x10de", "0x068000");
        assert!(!module.is_awaited(), "there is no GPU");
        machine.pci("0000:3b:00.0", "0x10de", "0x030200");
        assert!(module.is_awaited() && module.is_of_use() == Some(true));
        machine.link("sys/bus/pci/devices/0000:3b:00.0/driver", "../../../bus/pci/drivers/vfio-pci");
        assert!(module.is_awaited(), "the library looks at no driver");
        assert_eq!(module.is_of_use(), Some(false));
        machine.file("sys/module/nvidia/initstate", "live\n");
        assert!(module.is_loaded() && !module.is_awaited(), "where /proc does not tell");
    }
}
