//! Which character devices are GPUs, as the kernel registers them.

use std::path::Path;

use crate::host::{LIST, read_text};

/// Drivers' names in `/proc/devices`.
const DRIVERS: &[&str] = &[
    "nvidia",
    "nvidia-frontend",
    "nvidiactl",
    "nvidia-uvm",
    "nvidia-caps",
    "nvidia-caps-imex-channels",
    "drm",
    "kfd",
    "accel",
    "habanalabs",
    "neuron",
];

/// Major numbers of the GPUs' drivers that are loaded now.
pub(super) fn gpus() -> Vec<u32> {
    gpu_majors(&read_text(Path::new("/proc/devices"), LIST).unwrap_or_default())
}

/// Major numbers of GPUs' drivers among the character devices of `/proc/devices`.
pub fn gpu_majors(devices: &str) -> Vec<u32> {
    let characters = devices.lines().skip_while(|line| *line != "Character devices:").skip(1);
    let registered = characters.take_while(|line| !line.is_empty()).filter_map(|line| line.trim().split_once(' '));
    registered.filter(|(_, name)| DRIVERS.contains(name)).filter_map(|(major, _)| major.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_character_devices_of_gpus_count() {
        let devices =
            "Character devices:\n  1 mem\n195 nvidia\n226 drm\n511 nvidia-uvm\n\nBlock devices:\n195 nvidia\n";
        assert_eq!(gpu_majors(devices), [195, 226, 511]);
        assert!(gpu_majors("").is_empty());
    }
}
