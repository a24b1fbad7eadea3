//! Tables of names: one row teaches the agent a server.

use super::recognise::Product;
use crate::model::workload::Engine;

/// Programs that run scripts, without the digits of their version.
pub(super) const INTERPRETERS: [&str; 10] =
    ["python", "pypy", "node", "nodejs", "bun", "deno", "ruby", "java", "bash", "sh"];

/// Parts of the system. A program that takes such a name is not found by itself; a given cgroup is watched all the same.
pub(super) const DAEMONS: [&str; 75] = [
    "inferscope",
    "init",
    "sshd",
    "dropbear",
    "xinetd",
    "inetd",
    "rpcbind",
    "rpc.statd",
    "rpc.mountd",
    "cupsd",
    "avahi-daemon",
    "chronyd",
    "ntpd",
    "dnsmasq",
    "named",
    "unbound",
    "dhclient",
    "NetworkManager",
    "smbd",
    "nmbd",
    "master",
    "exim4",
    "dovecot",
    "snapd",
    "libvirtd",
    "virtqemud",
    "Xorg",
    "xrdp",
    "x11vnc",
    "gdm3",
    // Containers and clusters.
    "kubelet",
    "kube-proxy",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "k3s",
    "etcd",
    "coredns",
    "containerd",
    "containerd-shim-runc-v2",
    "dockerd",
    "docker-proxy",
    "conmon",
    "crio",
    "runc",
    "podman",
    "rootlessport",
    "slirp4netns",
    "calico-node",
    "cilium-agent",
    "cilium-operator",
    "flanneld",
    "slurmd",
    "slurmctld",
    "munged",
    "tailscaled",
    // Stores.
    "postgres",
    "mysqld",
    "mariadbd",
    "redis-server",
    "valkey-server",
    "memcached",
    "mongod",
    "beam.smp",
    // Telemetry.
    "node_exporter",
    "prometheus-node-exporter",
    "dcgm-exporter",
    "nv-hostengine",
    "nvidia-persistenced",
    "prometheus",
    "alertmanager",
    "fluent-bit",
    "telegraf",
    // Ray's own parts; requests come in through its proxies.
    "raylet",
    "gcs_server",
];

/// Beginnings of such names.
pub(super) const DAEMON_PREFIXES: [&str; 7] =
    ["systemd", "(systemd", "sshd-", "qemu-system-", "otelcol", "/sbin/init", "ray::"];

const NONE: &[&str] = &[];

/// A product that nobody's API names.
const fn other(
    name: &'static str,
    port: u16,
    programs: &'static [&'static str],
    modules: &'static [&'static str],
) -> Product {
    Product { name, engine: Engine::Unknown, port, programs, modules, titles: NONE }
}

/// Every product. The first row that fits wins.
pub(super) const PRODUCTS: [Product; 26] = [
    Product {
        name: "vllm",
        engine: Engine::Vllm,
        port: 8000,
        programs: &["vllm", "vllm-rs"],
        modules: &["vllm.entrypoints", "vllm.v1"],
        titles: &["VLLM::"],
    },
    Product {
        name: "sglang",
        engine: Engine::Sglang,
        port: 30000,
        programs: &["sglang"],
        modules: &["sglang.launch_server", "sglang.srt"],
        titles: &["sglang::"],
    },
    Product {
        name: "tgi",
        engine: Engine::Tgi,
        port: 3000,
        programs: &["text-generation-launcher", "text-generation-router", "text-generation-server"],
        modules: &["text_generation_server"],
        titles: NONE,
    },
    Product {
        name: "llama-server",
        engine: Engine::LlamaCpp,
        port: 8080,
        programs: &["llama-server", "llamafile", "llamafiler"],
        modules: &["llama_cpp.server"],
        titles: NONE,
    },
    Product {
        name: "ollama",
        engine: Engine::Ollama,
        port: 11434,
        programs: &["ollama", "ollama_llama_server"],
        modules: NONE,
        titles: NONE,
    },
    Product {
        name: "triton",
        engine: Engine::Triton,
        port: 8000,
        programs: &["tritonserver"],
        modules: NONE,
        titles: NONE,
    },
    Product {
        name: "ray-serve",
        engine: Engine::Unknown,
        port: 8000,
        programs: NONE,
        modules: NONE,
        titles: &["ray::ProxyActor", "ray::HTTPProxyActor"],
    },
    other("trtllm-serve", 8000, &["trtllm-serve"], &["tensorrt_llm.commands"]),
    other("lmdeploy", 23333, &["lmdeploy"], &["lmdeploy.serve"]),
    other("bentoml", 3000, &["bentoml"], &["bentoml", "_bentoml_impl"]),
    other("tei", 3000, &["text-embeddings-router"], NONE),
    other("mistral.rs", 1234, &["mistralrs-server", "mistralrs"], NONE),
    other("dynamo", 8000, &["dynamo-run"], &["dynamo.frontend"]),
    other("litellm", 4000, &["litellm"], &["litellm"]),
    other("vllm-router", 8001, &["vllm-router"], &["vllm_router"]),
    other("sglang-router", 30000, &["sglang-router", "sgl-router", "sgl-model-gateway"], &["sglang_router"]),
    other("local-ai", 8080, &["local-ai"], NONE),
    other("koboldcpp", 5001, &["koboldcpp", "koboldcpp.py"], NONE),
    other("mlx-lm", 8080, &["mlx_lm.server"], &["mlx_lm"]),
    other("infinity", 7997, &["infinity_emb"], &["infinity_emb"]),
    other("xinference", 9997, &["xinference", "xinference-local"], &["xinference"]),
    other("aphrodite", 2242, &["aphrodite"], &["aphrodite"]),
    other("lightllm", 8000, NONE, &["lightllm.server"]),
    other("mlserver", 8080, &["mlserver"], &["mlserver"]),
    other("tf-serving", 8501, &["tensorflow_model_server"], NONE),
    other("huggingfaceserver", 8080, NONE, &["huggingfaceserver"]),
];
