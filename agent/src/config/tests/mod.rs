use std::time::Duration;

use super::*;
use crate::export::{Compression, Protocol};
use crate::model::batch::Temporality;

mod refused;
mod secrets;

/// Loads a file's text under a list of variables.
fn load(file: &str, env: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::build(Some(("inferscope.toml", file)), &environment(env), &[])
}

fn environment(env: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
    move |name| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
}

fn endpoint(destination: Option<&export::Destination>) -> Option<(Protocol, String)> {
    destination.map(|destination| (destination.protocol, destination.endpoint.to_string()))
}

#[test]
fn nothing_set_is_a_view_of_this_machine() {
    let config = Config::load(None, &|_| None).unwrap();
    assert_eq!((&config.export.metrics, &config.export.traces, &config.export.logs), (&None, &None, &None));
    assert!(config.watch.discover && config.watch.cgroups.is_empty());
    assert_eq!((config.kernel.workloads, config.kernel.ring_bytes), (256, 1 << 20), "slot 0 is nobody's");
    assert_eq!(config.wire, wire::Limits::default());
    assert_eq!(config.cadence, Cadence { metrics: Duration::from_secs(10), requests: None });
    assert_eq!(config.model.temporality, Temporality::Cumulative);
    assert_eq!((config.log.level, config.service_name.as_str()), (LevelFilter::INFO, "inferscope"));
    assert_eq!(raw::Watch::default().trial.0, config.watch.trial);
}

#[test]
fn the_printed_file_holds_the_defaults() {
    let printed = default_file();
    assert_eq!(layer(&printed), raw::Raw::default());
    // Every setting is in there, and is what it is said to be.
    let uncommented: Vec<_> = printed
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if setting.starts_with(|c: char| c.is_ascii_lowercase()) => setting,
            _ => line,
        })
        .collect();
    let all = uncommented.join("\n");
    for section in sections() {
        for setting in &section.settings {
            assert!(all.contains(&format!("\n{} = ", setting.name)), "{}.{}", section.name, setting.name);
        }
    }
    let (all, defaults) = (layer(&all), raw::Raw::default());
    assert_eq!((&all.metrics, &all.spans, &all.log), (&defaults.metrics, &defaults.spans, &defaults.log));
    assert_eq!(raw::Watch { cgroups: Vec::new(), ..all.watch }, defaults.watch);
    assert_eq!((all.otlp.queue, all.otlp.timeout), (defaults.otlp.queue, defaults.otlp.timeout));
    assert!(all.otlp.logs.client_key.is_some() && all.otlp.endpoint.is_some(), "examples are valid, too");
    insta::assert_snapshot!(printed);
}

/// The settings as written; a mistake is none.
fn layer(text: &str) -> raw::Raw {
    let mut mistakes = Mistakes::default();
    let schema = schema();
    let mut layers = Layers::new(Node::new(&schema), Document::parse("-", text, &mut mistakes));
    layers.remove_unknown(&mut mistakes);
    let (raw, _) = layers.read(&mut mistakes);
    mistakes.check().unwrap();
    raw
}

#[test]
fn a_workload_takes_what_the_comment_says() {
    use inferscope_common::{block, disk, sched, syscall};
    let stripes = syscall::MAX_STRIPES as usize * size_of::<syscall::Counts>();
    // Two rows to a workload: see `sources::host::load`.
    let rows = 2 * size_of::<sched::Row>() + size_of::<sched::SlotRows>();
    let probes = stripes + rows + size_of::<syscall::Latencies>() + size_of::<disk::Disk>();
    let flows = size_of::<block::Block>();
    assert_eq!((flows / 1024, (flows + probes).div_ceil(1024)), (28, 110));
    let schema = schema();
    let said = schema["properties"]["watch"]["properties"]["max_workloads"]["description"].as_str().unwrap();
    assert!(said.contains("110 KiB") && said.contains("28 of them"), "{said}");
}

#[test]
fn defaults_are_within_their_ranges() {
    let schema = schema();
    for section in sections() {
        for setting in section.settings {
            let key = setting.name.split('.').fold(Key::of(&section.name), |key, name| key.child(name));
            let (node, _) = Node::new(&schema).at(&key).unwrap();
            for value in [setting.default, setting.example].into_iter().flatten() {
                let value = toml::from_str::<toml::Table>(&format!("x = {value}")).unwrap().remove("x").unwrap();
                assert!(node.contains(&value), "{key} = {value}");
            }
        }
    }
}

#[test]
fn a_budget_is_a_share_and_a_number_of_cpus() {
    let text = "[budget]\ncpu_percent = 3\ncpus = 0.25\nmemory = '1GiB'\nstate = '/a'\nrecovery = '5s'\n[metrics]\ninterval = '1h'";
    let settings = load(text, &[]).unwrap().governor;
    let expected = governor::Settings {
        cpu_share: 0.03,
        cpu_most: 0.25,
        memory: 1 << 30,
        window: Duration::from_secs(60),
        hold: Duration::from_secs(5),
        state: "/a".into(),
        healthy: Duration::from_secs(600),
    };
    assert_eq!(settings, expected);
    let default = load("", &[]).unwrap().governor;
    assert_eq!((default.window, default.budget(2).cpu), (Duration::from_secs(10), 0.02), "a window is an interval");
}

#[test]
fn one_endpoint_serves_every_signal() {
    let config = load("[otlp]\nendpoint = 'http://collector:4318/base'", &[]).unwrap();
    let http = |signal: &str| Some((Protocol::HttpProtobuf, format!("http://collector:4318/base/v1/{signal}")));
    assert_eq!(endpoint(config.export.metrics.as_ref()), http("metrics"));
    assert_eq!(endpoint(config.export.traces.as_ref()), http("traces"));
    assert_eq!(endpoint(config.export.logs.as_ref()), http("logs"));
    assert_eq!(config.cadence.requests, Some(Duration::from_secs(1)));
}

#[test]
fn a_signal_has_its_own_settings_before_the_general_ones() {
    let file = "
        [otlp]
        endpoint = 'collector:4317'
        compression = 'none'
        headers = { a = '1', B = '2' }
        certificate = '/ca.pem'
        [otlp.traces]
        endpoint = 'https://traces.example.com/otlp'
        headers = { c = '3' }
        timeout = '2s'
        client_certificate = '/c.pem'
        client_key = '/k.pem'
    ";
    let config = load(file, &[]).unwrap();
    let (metrics, traces) = (config.export.metrics.unwrap(), config.export.traces.unwrap());
    assert_eq!(endpoint(Some(&metrics)), Some((Protocol::Grpc, "https://collector:4317/".to_owned())));
    assert_eq!(endpoint(Some(&traces)), Some((Protocol::HttpProtobuf, "https://traces.example.com/otlp".to_owned())));
    assert_eq!(metrics.headers, [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]);
    assert_eq!(traces.headers, [("c".to_owned(), "3".to_owned())]);
    assert_eq!((metrics.compression, traces.compression), (Compression::None, Compression::None));
    assert_eq!((metrics.timeout, traces.timeout), (Duration::from_secs(10), Duration::from_secs(2)));
    assert_eq!(metrics.tls, export::Tls { ca: Some("/ca.pem".into()), client: None });
    assert_eq!(traces.tls.client, Some(("/c.pem".into(), "/k.pem".into())));
}

#[test]
fn a_variable_goes_before_the_setting_that_it_stands_for() {
    let file = "
        [otlp]
        endpoint = 'http://file:4318'
        headers = { a = 'file', b = 'file' }
        [otlp.logs]
        endpoint = 'http://file-logs:4318/x'
        [resource.attributes]
        a = 'file'
        b = 'file'
    ";
    let env = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", " http://env:4318 "),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://env-traces:4317"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=env%20value"),
        ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "c=env"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", ""),
        ("OTEL_RESOURCE_ATTRIBUTES", "a=env,service.name=attribute"),
    ];
    let config = load(file, &env).unwrap();
    let (metrics, traces, logs) =
        (config.export.metrics.unwrap(), config.export.traces.unwrap(), config.export.logs.unwrap());
    assert_eq!(metrics.endpoint, "http://env:4318/v1/metrics");
    assert_eq!(endpoint(Some(&traces)), Some((Protocol::Grpc, "http://env-traces:4317/".to_owned())));
    assert_eq!(logs.endpoint, "http://file-logs:4318/x", "a signal's own setting goes before the general one");
    assert_eq!(metrics.headers, [("c".to_owned(), "env".to_owned())]);
    assert_eq!(traces.headers, [("a".to_owned(), "env value".to_owned())]);
    assert_eq!((metrics.timeout, metrics.compression), (Duration::from_millis(1500), Compression::Gzip));
    assert_eq!(config.export.resource, [("a", "env"), ("b", "file")].map(|(a, b)| (a.to_owned(), b.to_owned())));
    assert_eq!(config.service_name, "attribute");
    let env = [("OTEL_RESOURCE_ATTRIBUTES", "service.name=attribute"), ("OTEL_SERVICE_NAME", "own")];
    assert_eq!(load("", &env).unwrap().service_name, "own");
}

#[test]
fn every_variable_sets_what_it_names() {
    let values = |variable: &Variable| match variable.setting.rsplit('.').next() {
        Some("endpoint") => "http://other:4318",
        Some("protocol") => "HTTP/Protobuf",
        Some("insecure") => "True",
        Some("compression") => "NONE",
        Some("headers" | "attributes") => "x=y",
        Some("timeout" | "interval") => "1234",
        Some("enabled") => "true",
        Some("export") => "none",
        Some("temporality") => "LowMemory",
        Some("level") => "DEBUG",
        _ => "/some/thing",
    };
    for variable in VARIABLES {
        let schema = schema();
        let mut layers = Layers::new(Node::new(&schema), Document::default());
        let mut mistakes = Mistakes::default();
        env::apply(&environment(&[(variable.name, values(variable))]), &mut layers, &mut mistakes);
        let (_, whole) = layers.read(&mut mistakes);
        mistakes.check().unwrap_or_else(|error| panic!("{}: {error}", variable.name));
        let default = toml::Table::try_from(raw::Raw::default()).unwrap();
        let at = |table: toml::Table| {
            let key = Key::of(variable.setting);
            key.names().iter().try_fold(toml::Value::Table(table), |value, name| value.get(name).cloned())
        };
        assert_ne!(at(whole), at(default), "{}", variable.name);
        assert_eq!(layers.place(&Key::of(variable.setting)).is_some(), variable.setting != "resource.attributes");
    }
}

#[test]
fn what_is_switched_off_is_not_shipped() {
    let file = "[otlp]\nendpoint = 'http://collector:4317'";
    let shipped = |env: &[(&str, &str)]| {
        let export = load(file, env).unwrap().export;
        (export.metrics.is_some(), export.traces.is_some(), export.logs.is_some())
    };
    assert_eq!(shipped(&[]), (true, true, true));
    assert_eq!(shipped(&[("OTEL_SDK_DISABLED", "TRUE")]), (false, false, false));
    assert_eq!(shipped(&[("OTEL_SDK_DISABLED", "false")]), (true, true, true));
    assert_eq!(shipped(&[("OTEL_METRICS_EXPORTER", "none")]), (false, true, true));
    assert_eq!(shipped(&[("OTEL_TRACES_EXPORTER", "None"), ("OTEL_LOGS_EXPORTER", "otlp")]), (true, false, true));
    let config = load(file, &[("OTEL_TRACES_EXPORTER", "none")]).unwrap();
    assert_eq!(config.cadence.requests, None);
}

#[test]
fn temporality_is_read_from_the_environment() {
    let of = |word| load("", &[("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", word)]).unwrap().model.temporality;
    assert_eq!(of("delta"), Temporality::Delta);
    assert_eq!(of("LOWMEMORY"), Temporality::Delta);
    assert_eq!(of("Cumulative"), Temporality::Cumulative);
}

#[test]
fn cgroups_of_the_command_line_are_all_that_is_watched() {
    let file = ("inferscope.toml", "[watch]\ncgroups = ['/sys/fs/cgroup/a']");
    let config = Config::build(Some(file), &|_| None, &["here".into()]).unwrap();
    assert_eq!((config.watch.cgroups.clone(), config.watch.discover), (vec![PathBuf::from("here")], false));
    let shown = config.effective();
    let line = shown.lines().find(|line| line.starts_with("cgroups = [\"here\"]"));
    assert!(line.is_some_and(|line| line.ends_with("# command line")), "{shown}");
}

#[test]
fn what_is_in_force_is_shown_with_its_origin() {
    let file = "
[watch]
trial = \"1m 30s\"

[otlp]
headers = { authorization = \"Bearer abc\" }

[otlp.traces]
endpoint = \"https://traces.example.com/?key=abc\"

[resource.attributes]
team = \"a\"
";
    let env = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
        ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "api-key=abc"),
        ("OTEL_LOGS_EXPORTER", "none"),
        ("OTEL_RESOURCE_ATTRIBUTES", "k8s.node.name=n1"),
    ];
    let effective = load(file, &env).unwrap().effective();
    assert!(toml::from_str::<toml::Table>(&effective).is_ok(), "it is a configuration by itself");
    insta::assert_snapshot!(effective);
    insta::assert_snapshot!(Config::load(None, &|_| None).unwrap().effective());
}

#[test]
fn the_schema_is_what_it_was() {
    insta::assert_snapshot!(serde_json::to_string_pretty(&schema()).unwrap());
}
