//! Who is an inference server, by process names, command lines and titles.

use std::path::Path;
use std::sync::Arc;

use super::products::{DAEMON_PREFIXES, DAEMONS, INTERPRETERS, PRODUCTS};
use crate::host::process::Process;
use crate::model::workload::Engine;

/// An inference server, a gateway to some, or a framework that serves models.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Product {
    /// Its name for people.
    pub(super) name: &'static str,
    /// What the model calls it.
    pub(super) engine: Engine,
    /// The port it serves requests on unless told otherwise.
    pub(super) port: u16,
    /// Names of its executable or script.
    pub(super) programs: &'static [&'static str],
    /// Python modules that it is run as, or that its scripts lie in.
    pub(super) modules: &'static [&'static str],
    /// Beginnings of the titles that its processes give themselves.
    pub(super) titles: &'static [&'static str],
}

/// What a process is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// An inference server.
    Server(&'static Product),
    /// A part of the system, or of another program, that serves no requests to models.
    Daemon,
    /// Nobody knows.
    Unknown,
}

/// What the names of a process tell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Recognised {
    /// A short name for people: the product, the script or module, or the executable.
    pub(super) program: Arc<str>,
    /// What it is.
    pub(super) kind: Kind,
    /// Ports that its command line names as those it listens on.
    pub(super) ports: Vec<u16>,
}

/// Characters kept of a name.
const NAME: usize = 48;
/// Options that name the port to listen on, alone or behind an address.
const PORT_OPTIONS: [&str; 7] = ["--port", "-p", "--http-port", "--http_port", "--listen-port", "--bind", "-b"];
/// Bytes of a short name that the kernel keeps.
const COMM: usize = 15;

/// Reads the names of a process.
pub(super) fn recognise(process: &Process) -> Recognised {
    let names = Names::of(process);
    let ports = ports(&process.command_line);
    if let Some(product) = PRODUCTS.iter().find(|product| names.are_of(product)) {
        return Recognised { program: product.name.into(), kind: Kind::Server(product), ports };
    }
    let kind = if names.are_of_daemon() { Kind::Daemon } else { Kind::Unknown };
    Recognised { program: tidy(names.best()).into(), kind, ports }
}

/// A name as it may be shown: one line, of a bounded length, and never empty.
pub(super) fn tidy(name: &str) -> String {
    let tidy: String = name.chars().take(NAME).map(|c| if c.is_ascii_graphic() { c } else { '_' }).collect();
    if tidy.is_empty() { "unknown".to_owned() } else { tidy }
}

/// The names that a process goes by.
struct Names<'a> {
    comm: &'a str,
    /// The first argument, or the title in its place.
    title: &'a str,
    /// The executable, from the first argument.
    program: &'a str,
    /// The script or module that an interpreter runs.
    script: Option<&'a str>,
    is_module: bool,
}

impl<'a> Names<'a> {
    fn of(process: &'a Process) -> Self {
        let exe = process.exe.as_deref().and_then(Path::to_str).unwrap_or_default();
        let title = process.command_line.first().map_or(exe, String::as_str);
        let program = program(title);
        let (script, is_module) = if is_interpreter(program) { script(&process.command_line) } else { (None, false) };
        Self { comm: &process.comm, title, program, script, is_module }
    }

    fn are_of(&self, product: &Product) -> bool {
        let titled = |prefix: &&str| self.title.starts_with(prefix) || self.comm.starts_with(prefix);
        if product.titles.iter().any(titled) || product.programs.contains(&self.program) {
            return true;
        }
        let Some(script) = self.script else {
            return self.program.is_empty() && product.programs.iter().any(|program| self.may_be(program));
        };
        let within = |module: &&str| match script.strip_prefix(module) {
            Some(rest) if self.is_module => rest.is_empty() || rest.starts_with('.'),
            _ => !self.is_module && script.contains(&format!("/{}/", module.replace('.', "/"))),
        };
        product.programs.contains(&base(script)) || product.modules.iter().any(within)
    }

    /// All that is left where the command line does not read.
    fn may_be(&self, program: &str) -> bool {
        self.comm == program || self.comm.len() == COMM && program.starts_with(self.comm)
    }

    fn are_of_daemon(&self) -> bool {
        let is_daemon =
            |name: &str| DAEMONS.contains(&name) || DAEMON_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        let own = [self.title, self.program, self.script.map_or("", base)];
        own.into_iter().any(is_daemon) || self.title.is_empty() && is_daemon(self.comm)
    }

    fn best(&self) -> &'a str {
        let script = self.script.map(|script| if self.is_module { script } else { base(script) });
        let found = [script, Some(self.program), Some(self.comm)];
        found.into_iter().flatten().find(|name| !name.is_empty()).unwrap_or_default()
    }
}

/// The executable's name in `/usr/bin/x`, `x`, or the title `x: master process`.
fn program(title: &str) -> &str {
    let first = if title.starts_with('/') { title } else { title.split(' ').next().unwrap_or_default() };
    base(first.trim_end_matches(':'))
}

fn base(path: &str) -> &str {
    path.rsplit('/').find(|part| !part.is_empty()).unwrap_or_default()
}

fn is_interpreter(program: &str) -> bool {
    // `python3.12` is `python`, `node22` is `node`.
    let stem = program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    INTERPRETERS.contains(&stem)
}

/// What an interpreter runs, and whether it is a module.
fn script(arguments: &[String]) -> (Option<&str>, bool) {
    let mut rest = arguments.iter().skip(1).map(String::as_str);
    while let Some(argument) = rest.next() {
        match argument {
            "-m" => return (rest.next(), true),
            "-jar" => return (rest.next(), false),
            "-c" | "-e" => return (None, false),
            "-X" | "-W" | "-r" | "--require" | "--import" | "-cp" | "-classpath" => drop(rest.next()),
            script if !script.starts_with('-') => return (Some(script), false),
            _ => {}
        }
    }
    (None, false)
}

/// Ports named by options such as `--port 8000` or `--bind=0.0.0.0:8000`.
fn ports(arguments: &[String]) -> Vec<u16> {
    let named = arguments.iter().enumerate().filter_map(|(at, argument)| {
        let (option, value) = match argument.split_once('=') {
            Some((option, value)) => (option, value),
            None => (argument.as_str(), arguments.get(at + 1)?.as_str()),
        };
        PORT_OPTIONS.contains(&option).then(|| value.rsplit(':').next()?.parse().ok()).flatten()
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(comm: &str, line: &str) -> Recognised {
        let command_line = line.split_whitespace().map(str::to_owned).collect();
        recognise(&Process { pid: 2, parent: 1, start: 0, comm: comm.to_owned(), command_line, exe: None })
    }

    #[test]
    fn inference_servers() {
        use Engine::{LlamaCpp, Ollama, Sglang, Tgi, Triton, Unknown, Vllm};
        let table = [
            ("VLLM::APIServer", "VLLM::APIServer_0", "vllm", Vllm),
            ("VLLM::EngineCor", "VLLM::EngineCore_DP0", "vllm", Vllm),
            ("vllm", "/opt/venv/bin/python3.12 /opt/venv/bin/vllm serve m --port 8000", "vllm", Vllm),
            ("python3", "python3 -u -m vllm.entrypoints.openai.api_server --model m", "vllm", Vllm),
            ("python", "python /x/site-packages/vllm/entrypoints/openai/api_server.py", "vllm", Vllm),
            ("sglang::schedul", "sglang::scheduler_TP0", "sglang", Sglang),
            ("python3", "python3 -X dev -m sglang.launch_server --model-path m", "sglang", Sglang),
            ("text-generation", "text-generation-launcher --model-id m", "tgi", Tgi),
            ("text-generation", "text-generation-router --port 80", "tgi", Tgi),
            ("llama-server", "/usr/local/bin/llama-server -m x.gguf", "llama-server", LlamaCpp),
            ("python3", "python3 -m llama_cpp.server --model x", "llama-server", LlamaCpp),
            ("ollama", "/usr/local/bin/ollama serve", "ollama", Ollama),
            ("ollama", "", "ollama", Ollama),
            ("text-generation", "", "tgi", Tgi),
            ("tritonserver", "tritonserver --model-repository=/m", "triton", Triton),
            ("trtllm-serve", "/usr/bin/python3 /usr/local/bin/trtllm-serve m", "trtllm-serve", Unknown),
            ("lmdeploy", "python3 /opt/bin/lmdeploy serve api_server m", "lmdeploy", Unknown),
            ("bentoml", "/usr/bin/python3.11 /usr/bin/bentoml serve .", "bentoml", Unknown),
            ("ray::ProxyActor", "ray::ProxyActor", "ray-serve", Unknown),
            ("text-embeddings", "text-embeddings-router --port 80", "tei", Unknown),
            ("mistralrs-server", "mistralrs-server --port 1234 plain -m m", "mistral.rs", Unknown),
            ("python3", "python3 -m dynamo.frontend --http-port 8000", "dynamo", Unknown),
            ("litellm", "/usr/bin/python3 /usr/bin/litellm --config c.yaml", "litellm", Unknown),
        ];
        for (comm, line, program, engine) in table {
            let found = of(comm, line);
            let Kind::Server(product) = found.kind else { panic!("{line}: {found:?}") };
            assert_eq!((found.program.as_ref(), product.engine), (program, engine), "{line}");
        }
    }

    #[test]
    fn unknown_servers_have_telling_names() {
        let table = [
            ("uvicorn", "/venv/bin/python3 /venv/bin/uvicorn app:app --port 8000", "uvicorn"),
            ("python3", "python3 -m uvicorn app:app", "uvicorn"),
            ("python3", "python3 -m http.server 8000", "http.server"),
            ("python3", "python3 -c from_multiprocessing.spawn", "python3"),
            ("python3", "python3 /srv/vllm/app.py", "app.py"),
            ("node", "/usr/bin/node --inspect -r dotenv/config /srv/gateway/server.js", "server.js"),
            ("gunicorn", "gunicorn: master [app:app]", "gunicorn"),
            ("java", "java -Xmx1g -jar /srv/gateway.jar", "gateway.jar"),
            ("my-server", "./my-server", "my-server"),
            ("my-server", "", "my-server"),
            ("", "", "unknown"),
            ("x", "/\u{1b}[31mevil\n", "_[31mevil"),
        ];
        for (comm, line, program) in table {
            let found = of(comm, line);
            assert_eq!((found.program.as_ref(), found.kind), (program, Kind::Unknown), "{line}");
        }
        assert_eq!(of("x", &"y".repeat(300)).program.len(), NAME);
    }

    #[test]
    fn parts_of_the_system() {
        let table = [
            ("sshd", "sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups"),
            ("systemd-resolve", "/usr/lib/systemd/systemd-resolved"),
            ("systemd", "/sbin/init"),
            ("kubelet", "/usr/bin/kubelet --config=/c"),
            ("postgres", "postgres: checkpointer"),
            ("redis-server", "/usr/bin/redis-server *:6379"),
            ("node_exporter", "/bin/node_exporter"),
            ("dcgm-exporter", "/usr/bin/dcgm-exporter -f /etc/c.csv"),
            ("raylet", "/x/ray/core/src/ray/raylet/raylet --raylet_socket_name=s"),
            ("ray::ServeRepli", "ray::ServeReplica:app:Model"),
            ("inferscope", "/usr/bin/inferscope agent"),
            ("rpcbind", ""),
        ];
        for (comm, line) in table {
            assert_eq!(of(comm, line).kind, Kind::Daemon, "{line}");
        }
        assert_eq!(of("nodejs", "node_exporter_like").kind, Kind::Unknown);
    }

    #[test]
    fn ports_of_a_command_line() {
        let table = [
            ("vllm serve m --port 8001 --host 0.0.0.0", vec![8001]),
            ("vllm serve m --port=8001", vec![8001]),
            ("granian --host ::1 --port 9000", vec![9000]),
            ("hypercorn -b 127.0.0.1:7000 app", vec![7000]),
            ("x --port", vec![]),
            ("x --port 70000 --port=", vec![]),
        ];
        for (line, ports) in table {
            assert_eq!(of("x", line).ports, ports, "{line}");
        }
    }
}
