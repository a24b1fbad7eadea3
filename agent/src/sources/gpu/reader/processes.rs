//! Who holds a device and who uses it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nvml_wrapper::Device;
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::struct_wrappers::device::ProcessInfo;

use super::Reader;
use crate::host::{LIST, read_text};
use crate::model::gpu::{Call, Process, ProcessKind, SmUse};
use crate::sources::gpu::watch::Meter;

/// Begin of the name of MPS servers, which the kernel cuts to 15 bytes.
const MPS_SERVER: &str = "nvidia-cuda-mps";

/// Cgroups of processes, as read from `/proc`.
#[derive(Debug)]
pub(super) struct Owners {
    proc: PathBuf,
    cgroups: HashMap<u32, Option<Arc<Path>>>,
}

impl Owners {
    pub(super) fn new(proc: &Path) -> Self {
        Self { proc: proc.to_owned(), cgroups: HashMap::new() }
    }

    /// A process's cgroup below the cgroup2 mount, looked up once between two lists of processes.
    fn cgroup(&mut self, pid: u32) -> Option<Arc<Path>> {
        let Self { proc, cgroups } = self;
        cgroups.entry(pid).or_insert_with(|| cgroup(&proc.join(pid.to_string()))).clone()
    }

    fn is_mps_server(&self, pid: u32) -> bool {
        let name = read_text(&self.proc.join(pid.to_string()).join("comm"), LIST);
        name.is_some_and(|name| name.starts_with(MPS_SERVER))
    }
}

impl Reader {
    /// The processes that hold the device; `None` where it does not tell.
    pub(super) fn processes(&mut self, device: &Device<'_>, meter: &mut Meter<'_>) -> Option<Vec<Process>> {
        let computing = meter.call(Call::Processes, || match compute(device) {
            // Of all instances together it is told to the privileged alone.
            Err(NvmlError::NoPermission) if self.divided => self.by_instance(device),
            other => other,
        })?;
        // Devices without graphics, or drivers before 510, do not know these.
        let drawing = meter.call(Call::Processes, || Ok(device.running_graphics_processes().unwrap_or_default()));
        let clients = meter.call(Call::Processes, || Ok(device.mps_running_compute_processes().unwrap_or_default()));
        let (drawing, clients) = (drawing.unwrap_or_default(), clients.unwrap_or_default());
        // A pid may belong to another process by now.
        self.owners.cgroups.clear();
        let with_mps = !clients.is_empty();
        let mut processes: Vec<Process> = Vec::new();
        for (kind, list) in
            [(ProcessKind::MpsClient, clients), (ProcessKind::Compute, computing), (ProcessKind::Graphics, drawing)]
        {
            for info in list {
                if processes.iter().any(|known| known.pid == info.pid && known.instance == info.gpu_instance_id) {
                    continue;
                }
                let is_server = with_mps && kind == ProcessKind::Compute && self.owners.is_mps_server(info.pid);
                processes.push(Process {
                    pid: info.pid,
                    kind: if is_server { ProcessKind::MpsServer } else { kind },
                    memory: match info.used_gpu_memory {
                        UsedGpuMemory::Used(bytes) => Some(bytes),
                        UsedGpuMemory::Unavailable => None,
                    },
                    instance: info.gpu_instance_id,
                    cgroup: self.owners.cgroup(info.pid),
                });
            }
        }
        Some(processes)
    }

    fn by_instance(&self, device: &Device<'_>) -> Result<Vec<ProcessInfo>, NvmlError> {
        let mut all = Vec::new();
        for part in &self.parts {
            // SAFETY: as for the whole device; handles of instances that are gone are answered with an error.
            let instance = unsafe { Device::new(part.handle.0, device.nvml()) };
            let id = part.gpu.instance.map(|instance| instance.id);
            all.extend(compute(&instance)?.into_iter().map(|info| ProcessInfo { gpu_instance_id: id, ..info }));
        }
        Ok(all)
    }

    /// Use of the multiprocessors since the last time.
    pub(super) fn uses(&mut self, device: &Device<'_>, meter: &mut Meter<'_>) -> Vec<SmUse> {
        if self.divided {
            return Vec::new();
        }
        let seen = self.seen;
        let samples = meter.call(Call::ProcessUtilization, || match device.process_utilization_stats(seen) {
            // Nobody used it.
            Err(NvmlError::NotFound) => Ok(Vec::new()),
            other => other,
        });
        let mut uses = Vec::new();
        for sample in samples.into_iter().flatten() {
            // Drivers are known to return what was told before, and rests of memory in place of percentages.
            if sample.timestamp > seen && (1..=100).contains(&sample.sm_util) && sample.pid != 0 {
                self.seen = self.seen.max(sample.timestamp);
                uses.push(SmUse { pid: sample.pid, sm_pct: sample.sm_util, cgroup: self.owners.cgroup(sample.pid) });
            }
        }
        uses
    }
}

/// Drivers before 510 know the second form of it.
fn compute(device: &Device<'_>) -> Result<Vec<ProcessInfo>, NvmlError> {
    match device.running_compute_processes() {
        Err(NvmlError::FailedToLoadSymbol(_) | NvmlError::FunctionNotFound) => device.running_compute_processes_v2(),
        other => other,
    }
}

/// The cgroup2 line of a process's `cgroup` file.
fn cgroup(process: &Path) -> Option<Arc<Path>> {
    let text = read_text(&process.join("cgroup"), LIST)?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(Arc::from(Path::new(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_one_cgroup_of_the_second_version() {
        let own = cgroup(Path::new("/proc/self")).unwrap();
        assert!(own.is_absolute());
        assert_eq!(cgroup(Path::new("/proc/0")), None);
    }
}
