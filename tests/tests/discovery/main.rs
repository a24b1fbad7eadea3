//! Finds real servers on this machine, with the kernel's notices. Needs root, python3, node, and the kernel half built in.

#[cfg(test)]
mod machine;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use inferscope::host::Host;
use inferscope::model::workload::Engine;
use inferscope::sources::workloads::{Discovery, Settings};
use inferscope_tests::cgroup::Cgroup;
use inferscope_tests::wait::patient;
use machine::{Agent, DEADLINE, Server, free_port};

/// What a user is promised, from listening to being watched.
const PROMISED: Duration = Duration::from_secs(1);
/// And from being gone to being let go.
const PROMISED_GONE: Duration = Duration::from_secs(2);

/// This machine may have other servers that nobody knows.
fn many_trials() -> Settings {
    Settings { trials: 1000, ..Settings::default() }
}

#[test]
fn servers_of_the_root_cgroup_are_found_by_port() {
    let mut agent = Agent::new(&many_trials(), true);
    let (python_port, node_port) = (free_port(), free_port());
    let python = Server::python(python_port, None);
    let found = agent.on_port(python_port);
    let took = python.listening.elapsed();
    assert!(took < patient(PROMISED), "{took:?}");
    assert_eq!(found.name.as_ref(), format!("http.server:{python_port}"));
    assert_eq!(found.cgroup_id, fs::metadata(&found.cgroup).unwrap().ino());
    assert!(agent.discovery.is_on_trial(found.id));
    agent.discovery.confirm(found.id);
    assert!(!agent.discovery.is_on_trial(found.id));

    let script = format!("require('http').createServer().listen({node_port}, () => console.log('listening'))");
    let node = Server::start("node", &["-e", &script], None);
    let found_node = agent.on_port(node_port);
    println!("from listening to watched: python {took:?}, node {:?}", node.listening.elapsed());
    assert_eq!(found_node.name.as_ref(), format!("node:{node_port}"));

    drop(python);
    let took = agent.gone(found.id);
    println!("from gone to let go: {took:?}");
    assert!(took < patient(PROMISED_GONE), "{took:?}");
    let _python = Server::python(python_port, None);
    let again = agent.on_port(python_port);
    assert_eq!(again.name, found.name);
    assert_ne!(again.id, found.id);
    assert!(!agent.discovery.is_on_trial(again.id), "it is known by now");
}

#[test]
fn a_known_server_in_a_cgroup_of_its_own_is_watched_whole() {
    let directory = tempfile::tempdir().unwrap();
    // What a launcher installed by pip looks like.
    let launcher = directory.path().join("vllm");
    fs::write(&launcher, "import sys, http.server\nhttp.server.test(port=int(sys.argv[3]))\n").unwrap();
    let port = free_port().to_string();
    let arguments = ["-u", launcher.to_str().unwrap(), "serve", "--port", &port];
    let cgroup = Cgroup::create("vllm").unwrap();
    let mut agent = Agent::new(&many_trials(), true);
    for _ in 0..2 {
        let server = Server::start("python3", &arguments, Some(cgroup.path()));
        let found = agent.in_cgroup(cgroup.path());
        let took = server.listening.elapsed();
        println!("from listening to watched: {took:?}");
        assert!(took < patient(PROMISED), "{took:?}");
        assert_eq!((found.engine, found.port), (Engine::Vllm, None));
        assert_eq!(Some(found.name.as_ref()), cgroup.path().file_name().unwrap().to_str());
        assert!(!agent.discovery.is_on_trial(found.id));
        drop(server);
        let took = agent.gone(found.id);
        assert!(took < patient(PROMISED_GONE), "{took:?}");
    }
}

#[test]
fn without_notices_servers_are_found_all_the_same() {
    let cgroup = Cgroup::create("quiet").unwrap();
    let mut agent = Agent::new(&many_trials(), false);
    let server = Server::python(free_port(), Some(cgroup.path()));
    let found = agent.in_cgroup(cgroup.path());
    let took = server.listening.elapsed();
    println!("from listening to watched, without notices: {took:?}");
    assert!(took < patient(PROMISED), "{took:?}");
    assert_eq!(found.port, None);
    drop(server);
    assert!(agent.gone(found.id) < patient(PROMISED_GONE));
}

#[test]
fn a_server_in_a_network_namespace_of_its_own_is_found() {
    let cgroup = Cgroup::create("namespace").unwrap();
    let mut agent = Agent::new(&many_trials(), true);
    let port = free_port().to_string();
    let arguments = ["--net", "python3", "-u", "-m", "http.server", &port];
    let server = Server::start("unshare", &arguments, Some(cgroup.path()));
    let found = agent.in_cgroup(cgroup.path());
    let took = server.listening.elapsed();
    println!("from listening to watched, in a namespace of its own: {took:?}");
    assert!(took < patient(PROMISED), "{took:?}");
    assert!(agent.discovery.figures().namespaces >= 2);
    drop(server);
    assert!(agent.gone(found.id) < patient(PROMISED_GONE));
}

#[test]
fn a_socket_keeps_the_cgroup_that_it_was_made_in() {
    let (before, after) = (Cgroup::create("before").unwrap(), Cgroup::create("after").unwrap());
    let server = Server::python(free_port(), Some(before.path()));
    after.take(server.child.id()).unwrap();
    let mut agent = Agent::new(&many_trials(), false);
    assert_eq!(agent.in_cgroup(before.path()).port, None);
    assert!(agent.watched.iter().all(|workload| workload.cgroup != after.path()), "{:?}", agent.watched);
}

#[test]
fn a_given_cgroup_is_watched_while_it_exists() {
    let cgroup = Cgroup::create("given").unwrap();
    let settings = Settings { cgroups: vec![cgroup.path().to_owned()], discover: false, ..Settings::default() };
    let mut agent = Agent::new(&settings, false);
    let found = agent.in_cgroup(cgroup.path());
    assert_eq!(found.port, None);
    fs::remove_dir(cgroup.path()).unwrap();
    agent.gone(found.id);
    fs::create_dir(cgroup.path()).unwrap();
    let again = agent.in_cgroup(cgroup.path());
    assert_eq!(again.name, found.name);
    assert_ne!(again.cgroup_id, found.cgroup_id);
    let nowhere = Settings { cgroups: vec![cgroup.path().join("nowhere"), "/proc".into()], ..settings };
    let error = Discovery::new(Host::default(), &nowhere).err().unwrap().to_string();
    assert!(error.contains("nowhere"), "{error}");
}

#[test]
fn looking_at_many_processes_stays_cheap() {
    let cgroup = Cgroup::create("many").unwrap();
    let sleepers: Vec<Child> = (0..500)
        .map(|_| {
            let mut command = Command::new("sleep");
            cgroup.adopt(command.arg("1000")).unwrap();
            command.spawn().unwrap()
        })
        .collect();
    let mut agent = Agent::new(&many_trials(), false);
    let first = agent.discovery.figures();
    let deadline = Instant::now() + 2 * patient(DEADLINE);
    while agent.discovery.figures().surveys < 2 && Instant::now() < deadline {
        agent.scan();
        std::thread::sleep(Duration::from_millis(20));
    }
    let second = agent.discovery.figures();
    println!("at first {first:?}\nlater {second:?}");
    assert!(first.processes >= sleepers.len());
    assert!(first.survey < patient(Duration::from_millis(500)), "{first:?}");
    assert!(second.survey < patient(Duration::from_millis(100)), "{second:?}");
    assert!(second.tables < patient(Duration::from_millis(10)), "{second:?}");
    drop(cgroup);
    sleepers.into_iter().for_each(|mut sleeper| drop(sleeper.wait()));
}
