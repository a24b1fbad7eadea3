//! What cgroup files tell: CPU and its throttling, memory, pressure. Version 2, and the controllers of version 1.

use std::path::{Path, PathBuf};

use crate::host::{LIST, read_text};
use crate::model::host::{Pressure, Reading, Throttle};

/// Where a workload's files lie: directories that exist.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Files {
    unified: Option<PathBuf>,
    /// Version 1, by controller: a hierarchy that all processes share at its root says nothing of one workload.
    cpu: Option<PathBuf>,
    cpuacct: Option<PathBuf>,
    memory: Option<PathBuf>,
    blkio: Option<PathBuf>,
}

/// A limit beyond this many bytes is none: version 1 says it by a number near 2^63.
const NO_LIMIT: u64 = 1 << 60;

impl Files {
    /// Of a workload whose version 2 cgroup is `unified`. `mounts` is `/proc/mounts`, `membership`
    /// `/proc/PID/cgroup` of one of its processes, or empty.
    pub fn find(unified: &Path, mounts: &str, membership: &str) -> Self {
        let of = |controller: &str| {
            let hierarchy = mounts.lines().find_map(|line| v1_mount(line, controller))?;
            let path = membership.lines().find_map(|line| v1_path(line, controller)).filter(|path| *path != "/")?;
            Some(Path::new(hierarchy).join(path.trim_start_matches('/')))
        };
        let is_root = !unified.join("cgroup.type").exists();
        Self {
            unified: Some(unified.to_owned()).filter(|_| !is_root),
            cpu: of("cpu"),
            cpuacct: of("cpuacct"),
            memory: of("memory"),
            blkio: of("blkio"),
        }
    }

    /// True where version 2 alone tells anything.
    pub(super) fn is_unified_alone(&self) -> bool {
        [&self.cpu, &self.cpuacct, &self.memory, &self.blkio].into_iter().all(Option::is_none)
    }

    /// The cgroup that block I/O is charged to, where that is one of version 1.
    pub fn blkio(&self) -> Option<&Path> {
        self.blkio.as_deref()
    }

    /// Reads what there is.
    pub fn read(&self) -> Reading {
        let mut reading = Reading::default();
        if let Some(directory) = &self.unified {
            take_unified(&mut reading, directory);
        }
        take_v1(&mut reading, self);
        reading
    }
}

fn take_unified(reading: &mut Reading, directory: &Path) {
    let text = |name: &str| read_text(&directory.join(name), LIST).unwrap_or_default();
    let cpu = text("cpu.stat");
    reading.cpu_nanos = field(&cpu, "usage_usec").map(|micros| micros * 1000);
    reading.throttle = throttle(&cpu, "throttled_usec", 1000);
    reading.memory = number(&text("memory.current"));
    reading.memory_limit = number(&text("memory.max"));
    let events = text("memory.events");
    reading.memory_limit_hits = field(&events, "max");
    reading.oom_kills = field(&events, "oom_kill");
    let [cpu, memory, io] = ["cpu.pressure", "memory.pressure", "io.pressure"].map(text);
    reading.pressure = Pressure {
        cpu_some: total(&cpu, "some"),
        memory_some: total(&memory, "some"),
        memory_full: total(&memory, "full"),
        io_some: total(&io, "some"),
        io_full: total(&io, "full"),
    };
}

fn take_v1(reading: &mut Reading, files: &Files) {
    let text = |directory: &Option<PathBuf>, name: &str| {
        directory.as_ref().and_then(|path| read_text(&path.join(name), LIST)).unwrap_or_default()
    };
    // In a hybrid hierarchy version 2 knows the CPU time of a cgroup, but not what a controller of version 1 does.
    reading.cpu_nanos = reading.cpu_nanos.or_else(|| number(&text(&files.cpuacct, "cpuacct.usage")));
    reading.throttle = reading.throttle.or_else(|| throttle(&text(&files.cpu, "cpu.stat"), "throttled_time", 1));
    reading.memory = reading.memory.or_else(|| number(&text(&files.memory, "memory.usage_in_bytes")));
    let limit = || number(&text(&files.memory, "memory.limit_in_bytes")).filter(|&limit| limit < NO_LIMIT);
    reading.memory_limit = reading.memory_limit.or_else(limit);
    reading.memory_limit_hits = reading.memory_limit_hits.or_else(|| number(&text(&files.memory, "memory.failcnt")));
    reading.oom_kills = reading.oom_kills.or_else(|| field(&text(&files.memory, "memory.oom_control"), "oom_kill"));
}

/// True where `/proc/mounts` has controllers of version 1.
pub(super) fn has_v1(mounts: &str) -> bool {
    mounts.lines().any(|line| line.split(' ').nth(2) == Some("cgroup"))
}

/// The directory of a line of `/proc/mounts` that mounts a controller of version 1.
fn v1_mount<'a>(line: &'a str, controller: &str) -> Option<&'a str> {
    let mut fields = line.split(' ');
    let (_, directory, kind, options) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    (kind == "cgroup" && options.split(',').any(|option| option == controller)).then_some(directory)
}

/// The path of a line of `/proc/PID/cgroup` that is about a controller of version 1.
fn v1_path<'a>(line: &'a str, controller: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    controllers.split(',').any(|name| name == controller).then_some(path)
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// The value of a line `name value`.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(number)
}

/// The total of a line of a pressure file.
fn total(text: &str, kind: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.split(' ').next() == Some(kind))?;
    line.split(' ').find_map(|word| word.strip_prefix("total=")).and_then(number)
}

fn throttle(text: &str, time: &str, unit: u64) -> Option<Throttle> {
    let (periods, throttled) = (field(text, "nr_periods")?, field(text, "nr_throttled")?);
    Some(Throttle { periods, throttled, nanos: field(text, time)? * unit })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0\n\
        cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0\n\
        cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0\n";

    #[test]
    fn hybrid_hierarchies_are_found_where_they_tell_processes_apart() {
        let membership = "9:memory:/kubepods/pod1\n4:cpu,cpuacct:/\n0::/kubepods/pod1\n";
        let files = Files::find(Path::new("/nowhere"), MOUNTS, membership);
        assert_eq!(files.memory.as_deref(), Some(Path::new("/sys/fs/cgroup/memory/kubepods/pod1")));
        assert_eq!((files.cpu, files.blkio), (None, None), "at the root, and not mounted");
        assert_eq!(files.unified, None, "no such cgroup");
        assert!(has_v1(MOUNTS) && !has_v1("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n"));
    }

    #[test]
    fn values_are_in_one_unit_whatever_the_version() {
        let new = "usage_usec 5\nnr_periods 10\nnr_throttled 3\nthrottled_usec 7\n";
        let old = "nr_periods 10\nnr_throttled 3\nthrottled_time 7000\n";
        let expected = Some(Throttle { periods: 10, throttled: 3, nanos: 7000 });
        assert_eq!(throttle(new, "throttled_usec", 1000), expected);
        assert_eq!(throttle(old, "throttled_time", 1), expected);
        assert_eq!(throttle("usage_usec 5\n", "throttled_usec", 1000), None, "the controller is off");
    }

    #[test]
    fn pressure_and_events_are_read_by_name() {
        let pressure =
            "some avg10=0.00 avg60=1.00 avg300=0.50 total=123\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=45\n";
        assert_eq!((total(pressure, "some"), total(pressure, "full")), (Some(123), Some(45)));
        let events = "low 0\nhigh 0\nmax 9\noom 2\noom_kill 1\noom_group_kill 0\n";
        assert_eq!((field(events, "max"), field(events, "oom_kill")), (Some(9), Some(1)));
        assert_eq!(number("max\n"), None, "no limit");
    }
}
