//! What stands around the agent: other processes, GPUs, and where OpenTelemetry goes.

use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use super::Check;
use crate::host::nvidia::Module;
use crate::host::patience::Patience;
use crate::host::{Host, sockets};
use crate::sources::workloads::{Discovery, Settings};

/// Longest wait for a name and a connection.
const DEADLINE: Duration = Duration::from_secs(2);
/// Processes tried.
const TRIED: usize = 64;
const LIBRARY: &str = "libnvidia-ml.so.1";
/// Where the dynamic loader looks without being told, and where containers get the driver's libraries.
const LIBRARIES: [&str; 12] = [
    "/lib64",
    "/usr/lib64",
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/lib",
    "/usr/lib",
    "/usr/local/nvidia/lib64",
    "/run/nvidia/driver/usr/lib/x86_64-linux-gnu",
    "/home/kubernetes/bin/nvidia/lib64",
    "/usr/lib/wsl/lib",
];

/// An endpoint of OTLP.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// What is shipped there: `metrics`, `traces and logs`.
    pub signals: String,
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// Whether what is to be watched can be.
pub(super) fn watch(host: &Host, settings: &Settings) -> Check {
    const NAME: &str = "watch";
    match Discovery::new(host.clone(), settings) {
        Ok(_) => {
            let given = match settings.cgroups.len() {
                0 => None,
                1 => Some("the cgroup that was named".to_owned()),
                count => Some(format!("the {count} cgroups that were named")),
            };
            let found = settings.discover.then(|| "inference servers that are found by themselves".to_owned());
            let all: Vec<String> = given.into_iter().chain(found).collect();
            match all.is_empty() {
                false => Check::ok(NAME, all.join(", and ")),
                true => Check::missing(NAME, "nothing").mended_by("name cgroups (--cgroup), or set watch.discover"),
            }
        }
        Err(error) => Check::missing(NAME, error.to_string()).mended_by("correct watch.cgroups, or --cgroup"),
    }
}

/// Whether the processes of others can be looked at, by whose sockets servers are found.
pub(super) fn processes(host: &Host) -> Check {
    const NAME: &str = "processes";
    let own = std::process::id();
    let others: Vec<u32> = host.pids().into_iter().filter(|&pid| pid != own).collect();
    let count = others.len();
    if host.text("/proc/2/comm").as_deref() != Some("kthreadd") {
        let found = format!(
            "{count} besides this one, in a namespace of their own: no servers outside of it are found, and GPUs name \
             processes that are not known here"
        );
        return Check::degraded(
            NAME,
            found,
            "run in the host's PID namespace (hostPID: true, --pid=host), or name cgroups",
        );
    }
    let open =
        |pid: u32| sockets::namespace(host, pid).is_some() && std::fs::read_dir(host.of_process(pid, "fd")).is_ok();
    // The youngest: the oldest are the kernel's own. One that has ended meanwhile is not closed.
    let tried = count.min(TRIED);
    let is_closed = |pid: &u32| !open(*pid) && host.of_process(*pid, "stat").exists();
    match others.iter().rev().take(TRIED).filter(|pid| is_closed(pid)).count() {
        0 => Check::ok(NAME, format!("{count} besides this one, open to look at")),
        // Some are guarded against everybody.
        few if few * 10 <= tried => Check::ok(NAME, format!("{count} besides this one, nearly all open to look at")),
        closed => Check::degraded(
            NAME,
            format!("{closed} of {tried} that were tried are closed to this one: no servers among them are found"),
            "give CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH, mount /proc without hidepid, or name cgroups",
        ),
    }
}

/// NVIDIA's management library, looked for where the dynamic loader would. It is not loaded.
pub(super) fn gpu(host: &Host, library_path: Option<&str>) -> Check {
    const NAME: &str = "NVML";
    let module = Module::new(&host.path("/proc"), &host.path("/sys"));
    match (library(host, library_path), module.version()) {
        (Some(path), Some(driver)) => Check::ok(NAME, format!("{}, driver {driver}", path.display())),
        (Some(path), None) if module.is_of_use() == Some(false) => Check::missing(
            NAME,
            format!("{}, but no GPU of NVIDIA on the PCI bus that its driver might have", path.display()),
        ),
        (Some(path), None) => Check::degraded(
            NAME,
            format!("{}, but the driver is not loaded", path.display()),
            "modprobe nvidia, or, in a container, use the NVIDIA runtime",
        ),
        (None, Some(driver)) => Check::degraded(
            NAME,
            format!("driver {driver} is loaded, but {LIBRARY} is not where libraries are looked for"),
            "install it, or, in a container, set NVIDIA_DRIVER_CAPABILITIES=utility",
        ),
        (None, None) => Check::missing(
            NAME,
            format!("no {LIBRARY}, and no NVIDIA driver: this machine has no such GPU, or hides it"),
        ),
    }
}

fn library(host: &Host, library_path: Option<&str>) -> Option<PathBuf> {
    let told = library_path.into_iter().flat_map(|path| path.split(':')).filter(|path| !path.is_empty());
    let told: Vec<PathBuf> = told.map(PathBuf::from).collect();
    let configured = configured(host);
    let usual = LIBRARIES.iter().map(PathBuf::from);
    let mut all = told.into_iter().chain(configured).chain(usual).map(|folder| host.path(folder).join(LIBRARY));
    all.find(|path| path.exists())
}

/// Folders that `/etc/ld.so.conf.d` names.
fn configured(host: &Host) -> Vec<PathBuf> {
    let files = std::fs::read_dir(host.path("/etc/ld.so.conf.d")).into_iter().flatten().flatten();
    let texts = files.filter_map(|file| crate::host::read_text(&file.path(), 1 << 16));
    let folders = texts.flat_map(|text| text.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>());
    folders.filter(|line| line.starts_with('/')).map(PathBuf::from).collect()
}

/// Whether each endpoint answers.
pub(super) fn endpoints(endpoints: &[Endpoint], tell: &mut dyn FnMut(Check)) {
    if endpoints.is_empty() {
        tell(Check::ok(
            "OTLP",
            "nothing is shipped: no endpoint is set (OTEL_EXPORTER_OTLP_ENDPOINT), or shipping is switched off",
        ));
    }
    for Endpoint { signals, host, port } in endpoints {
        let (name, at) = (format!("OTLP {signals}"), format!("{host}:{port}"));
        tell(match connect(host, *port) {
            Ok(()) => Check::ok(name, format!("{at} accepts connections")),
            Err(why) => {
                let found = format!("{at} does not: {why}; batches wait in memory, the oldest are dropped");
                Check::degraded(name, found, "start a collector there, or correct the endpoint in the configuration")
            }
        });
    }
}

/// Names may take as long to resolve as connections to open.
fn connect(host: &str, port: u16) -> Result<(), String> {
    let target = (host.trim_matches(['[', ']']).to_owned(), port);
    let tried = Patience::default().within(2 * DEADLINE, move || {
        let tried = target.to_socket_addrs().map_err(|error| error.to_string()).and_then(|addresses| {
            let mut why = "the name has no address".to_owned();
            for address in addresses {
                match TcpStream::connect_timeout(&address, DEADLINE) {
                    Ok(_) => return Ok(()),
                    Err(error) => why = error.to_string(),
                }
            }
            Err(why)
        });
        Some(tried)
    });
    tried.unwrap_or_else(|| Err(format!("no answer within {} s", 2 * DEADLINE.as_secs())))
}
