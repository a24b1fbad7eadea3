//! Candidates in, changes out.

use std::collections::BTreeSet;

use super::super::candidates::candidates;
use super::super::facts::Listener;
use super::super::facts::made_up::{group, listener, server};
use super::*;
use proptest::prelude::*;

struct Run {
    ledger: Ledger,
    now: Instant,
}

impl Run {
    fn new(trials: usize) -> Self {
        let settings = Settings { trials, ..Settings::default() };
        Self { ledger: Ledger::new(&settings), now: Instant::now() }
    }

    /// Changes as `+name` and `-id`, after a while.
    fn after(&mut self, seconds: u64, listeners: &[Listener]) -> Vec<String> {
        self.now += Duration::from_secs(seconds);
        let changes = self.ledger.step(self.now, candidates(listeners));
        let text = |change| match change {
            Change::Appeared(workload) => format!("+{} {}", workload.id.0, workload.name),
            Change::Vanished(id) => format!("-{}", id.0),
        };
        changes.into_iter().map(text).collect()
    }
}

fn on(port: u16, line: &str) -> Listener {
    listener(&group("/", 1), &server(u32::from(port), line), port)
}

#[test]
fn what_is_known_stays_and_what_is_not_is_tried() {
    let mut run = Run::new(16);
    let both = [on(8000, "vllm serve m"), on(80, "node a.js")];
    assert_eq!(run.after(0, &both), ["+1 vllm:8000", "+2 a.js:80"]);
    assert!(!run.ledger.is_on_trial(WorkloadId(1)) && run.ledger.is_on_trial(WorkloadId(2)));
    assert_eq!(run.after(59, &both), [""; 0]);
    assert_eq!(run.after(1, &both), ["-2"]);
    // It rests for as long as the trial, then twice, four, eight times as long, then for the longest.
    let mut id = 2;
    for rest in [60, 120, 240, 480, 900, 900] {
        id += 1;
        assert_eq!(run.after(rest - 1, &both), [""; 0]);
        assert_eq!(run.after(1, &both), [format!("+{id} a.js:80")]);
        assert_eq!(run.after(60, &both), [format!("-{id}")]);
    }
    assert_eq!(run.ledger.stages(), Stages { certain: 1, trial: 0, resting: 1 });
}

#[test]
fn a_request_makes_it_permanent_now_and_when_it_returns() {
    let mut run = Run::new(16);
    let node = [on(80, "node a.js")];
    assert_eq!(run.after(0, &node), ["+1 a.js:80"]);
    run.ledger.confirm(WorkloadId(1));
    assert!(!run.ledger.is_on_trial(WorkloadId(1)));
    assert_eq!(run.after(1000, &node), [""; 0]);
    assert_eq!(run.after(1, &[]), ["-1"]);
    assert_eq!(run.after(1, &node), ["+2 a.js:80"]);
    assert!(!run.ledger.is_on_trial(WorkloadId(2)));
    // Another program on the same port is another matter.
    run.after(1, &[]);
    assert_eq!(run.after(1, &[on(80, "node b.js")]), ["+3 b.js:80"]);
    assert!(run.ledger.is_on_trial(WorkloadId(3)));
}

#[test]
fn a_request_seen_as_the_trial_ends_counts() {
    let mut run = Run::new(16);
    let node = [on(80, "node a.js")];
    run.after(0, &node);
    assert_eq!(run.after(60, &node), ["-1"]);
    run.ledger.confirm(WorkloadId(1));
    assert_eq!(run.after(0, &node), ["+2 a.js:80"]);
    assert!(!run.ledger.is_on_trial(WorkloadId(2)));
    run.ledger.confirm(WorkloadId(77));
}

#[test]
fn trials_are_few_and_those_tried_least_come_first() {
    let mut run = Run::new(2);
    let all: Vec<Listener> = (1..=3).map(|port| on(port, "node a.js")).collect();
    assert_eq!(run.after(0, &all), ["+1 a.js:1", "+2 a.js:2"]);
    assert_eq!(run.after(60, &all), ["-1", "-2", "+3 a.js:3"]);
    assert_eq!(run.after(60, &all), ["-3", "+4 a.js:1", "+5 a.js:2"]);
    // One that is started anew is tried at once, if there is room.
    run.after(60, &all[..1]);
    assert_eq!(run.after(1, &all), ["+6 a.js:3", "+7 a.js:2"]);
}

#[test]
fn what_becomes_known_is_watched_for_good() {
    let mut run = Run::new(2);
    let gpu = |gpu| {
        let server = super::super::facts::Server { gpu, ..server(2, "python3 app.py") };
        [listener(&group("/", 1), &server, 80)]
    };
    assert_eq!(run.after(0, &gpu(false)), ["+1 app.py:80"]);
    assert_eq!(run.after(60, &gpu(false)), ["-1"]);
    assert_eq!(run.after(1, &gpu(true)), ["+2 app.py:80"]);
    assert_eq!(run.after(1000, &gpu(false)), [""; 0], "once known is known");
    // A title says what serves, and gives a better name.
    assert_eq!(run.after(1, &[on(81, "python3 x.py"), gpu(true)[0].clone()]), ["+3 x.py:81"]);
    assert_eq!(run.after(1, &[on(81, "VLLM::APIServer"), gpu(true)[0].clone()]), ["-3", "+4 vllm:81"]);
}

#[test]
fn a_new_cgroup_of_the_same_path_is_a_new_workload_of_the_same_name() {
    let mut run = Run::new(2);
    let at = |id| [listener(&group("/system.slice/ollama.service", id), &server(2, "ollama serve"), 11434)];
    assert_eq!(run.after(0, &at(1)), ["+1 ollama.service"]);
    assert_eq!(run.after(1, &at(2)), ["-1", "+2 ollama.service"]);
}

#[test]
fn a_container_keeps_its_name_whichever_of_its_processes_comes_first() {
    let mut run = Run::new(2);
    let id = "1c33afbc9e5aa6c69150d1af05254b562a4b17c313fc6153e3625cf456922bfe";
    let at = |line| [listener(&group(&format!("/docker/{id}"), 1), &server(2, line), 80)];
    assert_eq!(run.after(0, &at("nginx")), ["+1 nginx-1c33afbc9e5a"]);
    run.after(1, &[]);
    assert_eq!(run.after(1, &at("python3 app.py")), ["+2 nginx-1c33afbc9e5a"]);
    run.after(1, &[]);
    for id in [3, 4] {
        assert_eq!(run.after(1, &at("vllm serve m")), [format!("+{id} vllm-1c33afbc9e5a")]);
        run.after(1, &[]);
    }
}

#[test]
fn names_are_unique_and_stay() {
    let mut run = Run::new(2);
    let at = |path, pid| listener(&group(path, 1), &server(pid, "ollama serve"), 11434);
    let (one, two) = (at("/a.slice/ollama.service", 1), at("/b.slice/ollama.service", 2));
    assert_eq!(run.after(0, std::slice::from_ref(&one)), ["+1 ollama.service"]);
    assert_eq!(run.after(1, &[one.clone(), two.clone()]), ["+2 ollama.service-2"]);
    assert_eq!(run.after(1, std::slice::from_ref(&two)), ["-1"]);
    assert_eq!(run.after(1, &[]), ["-2"]);
    assert_eq!(run.after(1, &[two, one]), ["+3 ollama.service", "+4 ollama.service-2"]);
}

#[test]
fn the_memory_of_what_is_gone_is_bounded() {
    let mut run = Run::new(2);
    for port in 1..=2 * REMEMBERED as u16 {
        run.after(1, &[on(port, "vllm serve m")]);
    }
    assert_eq!(run.ledger.entries.len(), REMEMBERED + 1);
}

/// Seconds since the moment before, what listens (port, which program, which cgroup), who is confirmed.
type Moment = (u64, Vec<(u16, u8, u64)>, Option<u64>);

fn moments() -> impl Strategy<Value = Vec<Moment>> {
    let moment =
        (0u64..100, proptest::collection::vec((1u16..6, 0u8..4, 1u64..3), 0..6), proptest::option::of(0u64..40));
    proptest::collection::vec(moment, 0..60)
}

proptest! {
    #[test]
    fn workloads_come_and_go_in_turns(moments in moments(), trials in 0usize..4) {
        let mut run = Run::new(trials);
        let mut watched: HashMap<WorkloadId, Workload> = HashMap::new();
        let mut ever = BTreeSet::new();
        for (seconds, sockets, confirmed) in moments {
            let lines = ["vllm serve m", "node a.js", "python3 b.py", "sshd"];
            let listeners: Vec<Listener> = sockets.iter().map(|(port, program, id)| {
                let path = if port % 2 == 0 { "/" } else { "/system.slice/x.service" };
                listener(&group(path, *id), &server(u32::from(*port), lines[usize::from(*program)]), *port)
            }).collect();
            run.now += Duration::from_secs(seconds);
            for change in run.ledger.step(run.now, candidates(&listeners)) {
                match change {
                    Change::Appeared(workload) => {
                        prop_assert!(ever.insert(workload.id), "an identity is used once");
                        let twin = watched.values().find(|w| w.name == workload.name || (&w.cgroup, w.port) == (&workload.cgroup, workload.port));
                        prop_assert!(twin.is_none(), "{workload:?} {twin:?}");
                        watched.insert(workload.id, workload);
                    }
                    Change::Vanished(id) => prop_assert!(watched.remove(&id).is_some(), "{id:?} was not there"),
                }
            }
            let on_trial = watched.keys().filter(|id| run.ledger.is_on_trial(**id)).count();
            prop_assert!(on_trial <= trials);
            let stages = run.ledger.stages();
            prop_assert_eq!(stages.certain + stages.trial, watched.len());
            prop_assert_eq!(stages.trial, on_trial);
            if let Some(id) = confirmed.map(WorkloadId) {
                run.ledger.confirm(id);
                prop_assert!(!watched.contains_key(&id) || !run.ledger.is_on_trial(id));
            }
        }
        for change in run.ledger.step(run.now, Vec::new()) {
            prop_assert!(matches!(change, Change::Vanished(id) if watched.remove(&id).is_some()));
        }
        prop_assert!(watched.is_empty());
    }
}
