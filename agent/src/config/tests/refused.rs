//! Every refusal, word by word.

use super::*;
use std::io::Write as _;

/// What is said of a file, and of variables over it.
fn refusal(file: &str, env: &[(&str, &str)]) -> String {
    load(file, env).unwrap_err().to_string()
}

#[test]
fn a_file_that_cannot_be_read() {
    let refusal = |path: &str| Config::load(Some(path.as_ref()), &|_| None).unwrap_err().to_string();
    insta::assert_snapshot!(refusal("/nonexistent/inferscope.toml"), @"cannot read the configuration /nonexistent/inferscope.toml: No such file or directory (os error 2)");
    insta::assert_snapshot!(refusal("/"), @"cannot read the configuration /: Is a directory (os error 21)");
    let mut binary = tempfile::NamedTempFile::new().unwrap();
    binary.write_all(b"\xff\xfe").unwrap();
    let shown = refusal(&binary.path().display().to_string());
    insta::assert_snapshot!(shown.replace(&binary.path().display().to_string(), "FILE"), @"cannot read the configuration FILE: stream did not contain valid UTF-8");
    insta::assert_snapshot!(refusal("/dev/zero"), @"cannot read the configuration /dev/zero: larger than 1048576 bytes");
}

#[test]
fn text_that_is_no_toml() {
    insta::assert_snapshot!(refusal("[otlp\nendpoint = 'x", &[]), @"inferscope.toml:1:6: no TOML: unclosed table, expected `]`");
    insta::assert_snapshot!(refusal("[otlp]\nendpoint = http://c\n", &[]), @"inferscope.toml:2:12: no TOML: string values must be quoted, expected literal string");
    insta::assert_snapshot!(refusal("[otlp]\nqueue = 1\nqueue = 2\n", &[]), @"inferscope.toml:3:1: no TOML: duplicate key");
    insta::assert_snapshot!(refusal("[spans]\nqueue = 99999999999999999999\n", &[]), @"inferscope.toml:2:9: no TOML: a number has too many digits");
}

#[test]
fn unknown_settings() {
    insta::assert_snapshot!(refusal("[otlp.metrics]\nendpont = 'x'", &[]), @"inferscope.toml:2:1: otlp.metrics.endpont: no such setting; did you mean `endpoint`? (there are: endpoint, protocol, insecure, compression, headers, timeout, certificate, client_certificate, client_key)");
    insta::assert_snapshot!(refusal("endpoint = 'x'", &[]), @"inferscope.toml:1:1: endpoint: no such setting; did you mean `otlp.endpoint`? (there are: watch, host, metrics, spans, gpu, otlp, log, budget, resource)");
    insta::assert_snapshot!(refusal("[exporter]\n'a b' = 1", &[]), @"inferscope.toml:1:2: exporter: no such setting (there are: watch, host, metrics, spans, gpu, otlp, log, budget, resource)");
    insta::assert_snapshot!(refusal("[spans.'ä b']\nx = 1", &[]), @r#"inferscope.toml:1:8: spans."ä b": no such setting (there are: export, wait, queue)"#);
}

#[test]
fn a_library_without_a_name() {
    insta::assert_snapshot!(refusal("[gpu]\nlibrary = ''", &[]), @r#"inferscope.toml:2:11: gpu.library: found ""; accepted: the path of libnvidia-ml.so.1; without this setting it is looked for"#);
}

#[test]
fn values_of_another_type() {
    let file = "
otlp = 5
[watch]
cgroups = [1, '/a']
discover = 'yes'
trial = 10
max_workloads = '255'
ring = '4 megabytes'
[metrics]
interval = '10'
temporality = 'Delta'
[resource]
service_name = 2020-01-01
attributes = { a.b = 'x' }
";
    insta::assert_snapshot!(refusal(file, &[]), @r#"
    9 mistakes in the configuration:
      inferscope.toml:2:8: otlp: found 5; accepted: a table
      inferscope.toml:4:11: watch.cgroups: found [1, "/a"]; accepted: a list of strings
      inferscope.toml:5:12: watch.discover: found "yes"; accepted: true or false
      inferscope.toml:6:9: watch.trial: found 10; accepted: a time such as "10s", "500ms" or "1m 30s", from 1s to 1day
      inferscope.toml:7:17: watch.max_workloads: found "255"; accepted: a whole number, from 1 to 4095
      inferscope.toml:8:8: watch.ring: found "4 megabytes"; accepted: a size such as "16MiB" or "64KiB", from 64KiB to 1GiB
      inferscope.toml:10:12: metrics.interval: found "10"; accepted: a time such as "10s", "500ms" or "1m 30s", from 100ms to 1h
      inferscope.toml:11:15: metrics.temporality: found "Delta"; accepted: "cumulative" or "delta"
      inferscope.toml:14:16: resource.attributes.a: found a table; accepted: a string (a name with dots stands in quotes)
    "#);
    insta::assert_snapshot!(refusal("[otlp]\nheaders = { a = 1 }\nmetrics = [{ headers = {} }]\nprotocol = 'http/json'", &[]), @r#"
    3 mistakes in the configuration:
      inferscope.toml:2:17: otlp.headers.a: found something else (not shown); accepted: a string
      inferscope.toml:3:11: otlp.metrics: found a list of other things; accepted: a table
      inferscope.toml:4:12: otlp.protocol: found "http/json"; accepted: "grpc" or "http/protobuf"
    "#);
    insta::assert_snapshot!(refusal("[watch]\ncgroups = [[]]\n[otlp]\ncompression = 'zstd'\ninsecure = 1.5\nendpoint = 4317", &[]), @r#"
    4 mistakes in the configuration:
      inferscope.toml:2:11: watch.cgroups: found a list of other things; accepted: a list of strings
      inferscope.toml:4:15: otlp.compression: found "zstd"; accepted: "gzip" or "none"
      inferscope.toml:5:12: otlp.insecure: found 1.5; accepted: true or false
      inferscope.toml:6:12: otlp.endpoint: found 4317; accepted: a string
    "#);
    let long = "x".repeat(500);
    insta::assert_snapshot!(refusal(&format!("[log]\nlevel = \"\\n{long}\""), &[]), @r#"inferscope.toml:2:9: log.level: found "\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…; accepted: "off", "error", "warn", "info", "debug" or "trace""#);
}

#[test]
fn values_out_of_range() {
    let file = "
[watch]
max_workloads = 0
ring = '1KiB'
exchanges = -1
[metrics]
interval = '2h'
series = 4294967296
[otlp]
timeout = '0s'
request = '65MiB'
[otlp.traces]
timeout = '11m'
";
    insta::assert_snapshot!(refusal(file, &[]), @r#"
    8 mistakes in the configuration:
      inferscope.toml:3:17: watch.max_workloads: found 0; accepted: a whole number, from 1 to 4095
      inferscope.toml:4:8: watch.ring: found "1KiB"; accepted: a size such as "16MiB" or "64KiB", from 64KiB to 1GiB
      inferscope.toml:5:13: watch.exchanges: found -1; accepted: a whole number, from 1 to 1000000
      inferscope.toml:7:12: metrics.interval: found "2h"; accepted: a time such as "10s", "500ms" or "1m 30s", from 100ms to 1h
      inferscope.toml:8:10: metrics.series: found 4294967296; accepted: a whole number, from 1 to 100000
      inferscope.toml:10:11: otlp.timeout: found "0s"; accepted: a time such as "10s", "500ms" or "1m 30s", from 1ms to 10m
      inferscope.toml:11:11: otlp.request: found "65MiB"; accepted: a size such as "16MiB" or "64KiB", from 16KiB to 64MiB
      inferscope.toml:13:11: otlp.traces.timeout: found "11m"; accepted: a time such as "10s", "500ms" or "1m 30s", from 1ms to 10m
    "#);
}

#[test]
fn budgets_that_are_none() {
    let file = "[budget]\ncpu_percent = 0\ncpus = nan\nmemory = '1B'\nrecovery = '0s'\n";
    insta::assert_snapshot!(refusal(file, &[]), @r#"
    4 mistakes in the configuration:
      inferscope.toml:2:15: budget.cpu_percent: found 0; accepted: a number, from 0.001 to 100.0
      inferscope.toml:3:8: budget.cpus: found nan; accepted: a number, from 0.001 to 1024.0
      inferscope.toml:4:10: budget.memory: found "1B"; accepted: a size such as "16MiB" or "64KiB", from 1MiB to 1024GiB
      inferscope.toml:5:12: budget.recovery: found "0s"; accepted: a time such as "10s", "500ms" or "1m 30s", from 1s to 1day
    "#);
    insta::assert_snapshot!(refusal("[budget]\ncpu_percent = '1%'\ncpus = 1e9", &[]), @r#"
    2 mistakes in the configuration:
      inferscope.toml:2:15: budget.cpu_percent: found "1%"; accepted: a number, from 0.001 to 100.0
      inferscope.toml:3:8: budget.cpus: found 1000000000.0; accepted: a number, from 0.001 to 1024.0
    "#);
}

#[test]
fn settings_that_go_against_each_other() {
    insta::assert_snapshot!(refusal("[watch]\ndiscover = false", &[]), @"inferscope.toml:2:12: watch.discover: nothing is left to watch: let it be true, or name cgroups in watch.cgroups");
    insta::assert_snapshot!(refusal("[watch]\ncgroups = ['system.slice']", &[]), @r#"inferscope.toml:2:11: watch.cgroups: found ["system.slice"]; accepted: absolute paths"#);
    insta::assert_snapshot!(refusal("[watch]\nring = '5MiB'", &[]), @r#"inferscope.toml:2:8: watch.ring: found "5MiB"; accepted: a power of two such as "4MiB""#);
    insta::assert_snapshot!(refusal("[budget]\nstate = 'run'", &[]), @r#"inferscope.toml:2:9: budget.state: found "run"; accepted: an absolute path"#);
    insta::assert_snapshot!(refusal("[otlp]\nrequest = '17MiB'", &[]), @r#"inferscope.toml:2:11: otlp.request: found "17MiB"; accepted: no more than otlp.queue, 8MiB"#);
    insta::assert_snapshot!(refusal("[otlp]\nqueue = '512KiB'", &[]), @r#"inferscope.toml:2:9: otlp.queue: found "512KiB"; accepted: no less than otlp.request, 1MiB"#);
    insta::assert_snapshot!(refusal("[resource]\nservice_name = ''\nattributes = { '' = 'x', 'service.name' = 'y' }", &[]), @r#"
    3 mistakes in the configuration:
      inferscope.toml:2:16: resource.service_name: found ""; accepted: a name
      inferscope.toml:3:21: resource.attributes: an attribute without a name
      inferscope.toml:3:43: resource.attributes."service.name": every workload has its own; the agent's is resource.service_name
    "#);
}

#[test]
fn endpoints() {
    insta::assert_snapshot!(refusal("[otlp]\nendpoint = 'unix:///run/otlp'", &[]), @r#"inferscope.toml:2:12: otlp.endpoint: found "unix:///run/otlp"; accepted: a URL such as http://host:4318 or https://host/path"#);
    insta::assert_snapshot!(refusal("[otlp]\nendpoint = 'http://c:4317/v1/traces'", &[]), @r#"inferscope.toml:2:12: otlp.endpoint: found "http://c:4317/v1/traces"; accepted: host:port, http://host:port or https://host:port, without a path"#);
    insta::assert_snapshot!(refusal("[otlp]\nprotocol = 'http/protobuf'\nendpoint = 'c:4318'", &[]), @r#"inferscope.toml:3:12: otlp.endpoint: found "c:4318"; accepted: a URL such as http://host:4318 or https://host/path"#);
    insta::assert_snapshot!(refusal("[otlp]\nendpoint = 'https://user:secret@c'", &[]), @r#"inferscope.toml:2:12: otlp.endpoint: found "https://…@c"; accepted: a URL without name and password (put them into a header)"#);
    insta::assert_snapshot!(refusal("[otlp.logs]\nendpoint = ''", &[]), @r#"inferscope.toml:2:12: otlp.logs.endpoint: found ""; accepted: host:port, http://host:port or https://host:port, without a path"#);
}

#[test]
fn certificates() {
    insta::assert_snapshot!(refusal("[otlp]\nclient_certificate = '/c.pem'", &[]), @"inferscope.toml:2:22: otlp.client_certificate: is of no use without client_key: set both, or neither");
    insta::assert_snapshot!(refusal("", &[("OTEL_EXPORTER_OTLP_LOGS_CLIENT_KEY", "/k.pem")]), @"OTEL_EXPORTER_OTLP_LOGS_CLIENT_KEY: otlp.logs.client_key: is of no use without client_certificate: set both, or neither");
}

#[test]
fn headers() {
    let file = "[otlp]
endpoint = 'c:4317'
[otlp.headers]
'Bearer abc' = 'x'
authorization = \"secret\\u00e4\"
Content-Type = 'x'
grpc-timeout = '1'
key-bin = 'abc'
Key = '1'
key = '2'
";
    insta::assert_snapshot!(refusal(file, &[]), @"
    6 mistakes in the configuration:
      inferscope.toml:3:1: otlp.headers: a name that ends in `-bin` is for binary metadata, which has no text
      inferscope.toml:4:16: otlp.headers: a name (not shown) has characters that no header's name has
      inferscope.toml:5:17: otlp.headers: the value of `authorization` (not shown) has characters other than visible ASCII
      inferscope.toml:6:16: otlp.headers: `content-type` is set by the protocol
      inferscope.toml:7:16: otlp.headers: `grpc-timeout` is set by the protocol
      inferscope.toml:10:7: otlp.headers: `key` is there twice: upper and lower case are the same
    ");
}

#[test]
fn variables() {
    let env = [
        ("OTEL_SDK_DISABLED", "yes"),
        ("OTEL_EXPORTER_OTLP_INSECURE", "1"),
        ("OTEL_METRICS_EXPORTER", "prometheus"),
        ("OTEL_TRACES_EXPORTER", "otlp,console"),
        ("OTEL_LOGS_EXPORTER", "console"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "sum"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "10s"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "-1"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "0"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_LOGS_COMPRESSION", "zstd"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=b, Bearer abc"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "collector:4318/v1"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a"),
        ("OTEL_LOG_LEVEL", "verbose"),
    ];
    insta::assert_snapshot!(refusal("", &env), @r#"
    15 mistakes in the configuration:
      OTEL_EXPORTER_OTLP_INSECURE: otlp.insecure: found "1"; accepted: "true" or "false"
      OTEL_EXPORTER_OTLP_HEADERS: otlp.headers: entry 2 (not shown) is no pair; accepted: name=value,name=value with commas, percent signs and spaces percent-encoded
      OTEL_EXPORTER_OTLP_TIMEOUT: otlp.timeout: found "-1"; accepted: a whole number of milliseconds such as 10000
      OTEL_SDK_DISABLED: otlp.enabled: found "yes"; accepted: "true" or "false"
      OTEL_METRICS_EXPORTER: metrics.export: found "prometheus"; accepted: "otlp" or "none"
      OTEL_TRACES_EXPORTER: spans.export: found "otlp,console"; accepted: "otlp" or "none"
      OTEL_LOGS_EXPORTER: log.export: found "console"; accepted: "otlp" or "none"
      OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: metrics.temporality: found "sum"; accepted: "cumulative", "delta" or "lowmemory"
      OTEL_METRIC_EXPORT_INTERVAL: metrics.interval: found "10s"; accepted: a whole number of milliseconds such as 10000
      OTEL_RESOURCE_ATTRIBUTES: resource.attributes: entry 1 (not shown) is no pair; accepted: name=value,name=value with commas, percent signs and spaces percent-encoded
      OTEL_LOG_LEVEL: log.level: found "verbose"; accepted: "off", "error", "warn", "info", "debug" or "trace"
      OTEL_EXPORTER_OTLP_LOGS_COMPRESSION: otlp.logs.compression: found "zstd"; accepted: "gzip" or "none"
      OTEL_EXPORTER_OTLP_PROTOCOL: otlp.protocol: found "http/json"; accepted: "grpc" or "http/protobuf"
      OTEL_EXPORTER_OTLP_TRACES_TIMEOUT: otlp.traces.timeout: found "0ms"; accepted: a time such as "10s", "500ms" or "1m 30s", from 1ms to 10m
      OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: otlp.traces.endpoint: found "collector:4318/v1"; accepted: host:port, http://host:port or https://host:port, without a path
    "#);
}

#[test]
fn mistakes_of_file_and_environment_are_told_together() {
    let refused = refusal(
        "[spans]\nwait = 'soon'\n[otlp]\nendpoint = 'ftp://c'\ntimeout = '1'",
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "x")],
    );
    insta::assert_snapshot!(refused, @r#"
    3 mistakes in the configuration:
      inferscope.toml:2:8: spans.wait: found "soon"; accepted: a time such as "10s", "500ms" or "1m 30s", from 10ms to 10m
      inferscope.toml:5:11: otlp.timeout: found "1"; accepted: a time such as "10s", "500ms" or "1m 30s", from 1ms to 10m
      OTEL_EXPORTER_OTLP_TIMEOUT: otlp.timeout: found "x"; accepted: a whole number of milliseconds such as 10000
    "#);
}
