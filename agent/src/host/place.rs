//! What the path of a cgroup tells: a container, a service, a group somebody made, or a place that many share.

use std::sync::Arc;

/// How a cgroup is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Use {
    /// It was made for one program: a container, a service, a group somebody made by hand.
    Own,
    /// Unrelated programs may share it: the root, a login session, a slice.
    Shared,
}

/// The cgroup to watch for a process, as its path tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The part of the path that is the container or the service: what lies below it belongs to it.
    pub path: String,
    /// How it is used.
    pub usage: Use,
    /// A name for people; containers seldom have one in their path.
    pub name: Option<String>,
    /// The container's id, 64 hexadecimal digits, or its name for LXC.
    pub container: Option<Arc<str>>,
}

/// Digits of a container's id.
const ID: usize = 64;

impl Place {
    /// Reads a path below the cgroup2 mount, `/` being its top.
    pub fn of(path: &str) -> Self {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let upto = |last: usize| format!("/{}", parts[..=last].join("/"));
        let container = (0..parts.len()).rev().find_map(|at| Some((at, container(&parts, at)?)));
        let own = parts.iter().rposition(|part| unit(part) == Some(Use::Own));
        match (container, own) {
            // A container may run services of its own.
            (container, Some(own)) if container.is_none_or(|(at, _)| at < own) => Self {
                path: upto(own),
                usage: Use::Own,
                name: Some(unit_name(parts[own])),
                container: container.map(|(_, id)| id.into()),
            },
            (Some((at, id)), _) => {
                let name = (id.len() != ID).then(|| id.to_owned());
                Self { path: upto(at), usage: Use::Own, name, container: Some(id.into()) }
            }
            (None, _) => match parts.last() {
                None => Self { path: "/".to_owned(), usage: Use::Shared, name: None, container: None },
                Some(last) => Self {
                    path: upto(parts.len() - 1),
                    usage: unit(last).unwrap_or(Use::Own),
                    name: Some(unit_name(last)),
                    container: None,
                },
            },
        }
    }
}

/// The id of a container whose cgroup is the part at `at`; LXC and LXD have names instead.
fn container<'a>(parts: &[&'a str], at: usize) -> Option<&'a str> {
    let part = parts[at];
    let below = || (at > 0 && matches!(parts[at - 1], "lxc" | "lxc.payload")).then_some(part);
    container_id(part).or_else(|| part.strip_prefix("lxc.payload.")).or_else(below)
}

/// The id in a part such as `docker-ID.scope`, `cri-containerd-ID`, `…slice:cri-containerd:ID` or `ID`.
fn container_id(part: &str) -> Option<&str> {
    // The helper processes of CRI-O and Podman have cgroups beside the container's own.
    if part.contains("conmon") {
        return None;
    }
    let part = part.strip_suffix(".scope").unwrap_or(part);
    let id = part.get(part.len().checked_sub(ID)?..)?;
    let rest = &part[..part.len() - ID];
    let parted = rest.is_empty() || rest.ends_with(['-', ':', '_']);
    (parted && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
}

/// What systemd's suffixes say; `None` for what is no unit.
fn unit(part: &str) -> Option<Use> {
    // A Slurm job's; its steps lie below.
    if part.strip_prefix("job_").is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit())) {
        return Some(Use::Own);
    }
    let (name, kind) = part.rsplit_once('.')?;
    match kind {
        // A user's manager is the parent of everything that the user runs.
        "service" if name.starts_with("user@") => Some(Use::Shared),
        "service" => Some(Use::Own),
        "scope" if ["session-", "init", "vte-spawn-", "tmux-"].iter().any(|shared| name.starts_with(shared)) => {
            Some(Use::Shared)
        }
        "scope" => Some(Use::Own),
        "slice" => Some(Use::Shared),
        _ => None,
    }
}

/// A unit's name as people write it: services keep their suffix, scopes lose it, escapes are undone.
fn unit_name(part: &str) -> String {
    let part = part.strip_suffix(".scope").unwrap_or(part);
    let part = part.strip_prefix("machine-").unwrap_or(part);
    let mut name = String::with_capacity(part.len());
    let mut rest = part;
    while let Some((before, after)) = rest.split_once("\\x") {
        name.push_str(before);
        let digits = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match digits.filter(u8::is_ascii_graphic) {
            Some(byte) => {
                name.push(char::from(byte));
                rest = &after[2..];
            }
            None => {
                name.push_str("\\x");
                rest = after;
            }
        }
    }
    name.push_str(rest);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID1: &str = "1c33afbc9e5aa6c69150d1af05254b562a4b17c313fc6153e3625cf456922bfe";
    const ID2: &str = "aa53afbc9e5aa6c69150d1af05254b562a4b17c313fc6153e3625cf456922b00";
    const POD: &str = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-poddde1244b_5bb5.slice";

    #[test]
    fn containers_of_every_runtime() {
        // Path with `ID` for the container's id, and what below it belongs to the container.
        let table = [
            (format!("{POD}/cri-containerd-ID.scope"), ""),
            (format!("{POD}/crio-ID.scope"), "/container"),
            (format!("{POD}/cri-containerd-ID"), ""),
            ("/kubepods/burstable/pod6a4ce4a0-ba47-11ea-b2a7-0cc47ac5979e/ID".to_owned(), "/kube-proxy"),
            ("/kubepods/poda38c12e8/crio-ID".to_owned(), ""),
            (format!("/docker/{ID2}/kubelet.slice/kubelet-kubepods.slice/x.slice/cri-containerd-ID.scope"), ""),
            (format!("/system.slice/docker-{ID2}.scope/kubepods/burstable/pod1/ID"), ""),
            ("/system.slice/containerd.service/kubepods-burstable-pod4.slice:cri-containerd:ID".to_owned(), ""),
            ("/system.slice/docker-ID.scope".to_owned(), "/init.scope"),
            ("/docker/ID".to_owned(), ""),
            ("/machine.slice/libpod-ID.scope".to_owned(), "/container"),
            ("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope".to_owned(), ""),
        ];
        for (path, below) in table {
            let path = path.replace("ID", ID1);
            let place = Place::of(&format!("{path}{below}"));
            let expected = Place { path, usage: Use::Own, name: None, container: Some(ID1.into()) };
            assert_eq!(place, expected);
        }
    }

    #[test]
    fn services_groups_and_places_that_many_share() {
        use Use::{Own, Shared};
        let table = [
            ("/", "/", Shared, None),
            ("", "/", Shared, None),
            ("/system.slice/vllm.service", "/system.slice/vllm.service", Own, Some("vllm.service")),
            ("/system.slice/vllm.service/worker", "/system.slice/vllm.service", Own, Some("vllm.service")),
            ("/system.slice/a\\x2db.service", "/system.slice/a\\x2db.service", Own, Some("a-b.service")),
            (
                "/user.slice/user-0.slice/session-3.scope",
                "/user.slice/user-0.slice/session-3.scope",
                Shared,
                Some("session-3"),
            ),
            (
                "/user.slice/user-0.slice/user@0.service/init.scope",
                "/user.slice/user-0.slice/user@0.service/init.scope",
                Shared,
                Some("init"),
            ),
            (
                "/user.slice/user@0.service/app.slice/ollama.service",
                "/user.slice/user@0.service/app.slice/ollama.service",
                Own,
                Some("ollama.service"),
            ),
            ("/machine.slice/machine-web.scope/payload", "/machine.slice/machine-web.scope", Own, Some("web")),
            ("/system.slice/run-r12ab.scope", "/system.slice/run-r12ab.scope", Own, Some("run-r12ab")),
            ("/llama", "/llama", Own, Some("llama")),
            ("/llama.cpp", "/llama.cpp", Own, Some("llama.cpp")),
            (
                "/system.slice/slurmstepd.scope/job_12/step_0/user/task_0",
                "/system.slice/slurmstepd.scope/job_12",
                Own,
                Some("job_12"),
            ),
        ];
        for (path, unit, usage, name) in table {
            let expected = Place { path: unit.into(), usage, name: name.map(str::to_owned), container: None };
            assert_eq!(Place::of(path), expected);
        }
    }

    #[test]
    fn lxc_has_names_and_services() {
        let place = Place::of("/lxc.payload.web/.lxc");
        assert_eq!((place.path.as_str(), place.name.as_deref()), ("/lxc.payload.web", Some("web")));
        let place = Place::of("/lxc/web/system.slice/ollama.service");
        assert_eq!((place.name.as_deref(), place.container.as_deref()), (Some("ollama.service"), Some("web")));
    }

    #[test]
    fn helpers_of_containers_are_none() {
        let place = Place::of(&format!("/machine.slice/libpod-conmon-{ID1}.scope"));
        assert_eq!(place.container, None);
        assert_eq!(Place::of(&format!("/x{ID1}")).container, None, "65 digits are no id");
        assert_eq!(Place::of("/docker/ünïcödeünïcödeünïcödeünïcödeünïcödeünïcödeünïcöde€").container, None);
    }
}
