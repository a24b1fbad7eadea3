//! Who is observed.

use std::path::PathBuf;
use std::sync::Arc;

/// Names a workload for the agent's lifetime; never used again for another one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct WorkloadId(pub u64);

/// What serves, as far as process names, titles and the wire tell. Becomes `gen_ai.provider.name`
/// where the API itself names none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Engine {
    /// Not recognised.
    Unknown,
    /// vLLM.
    Vllm,
    /// SGLang.
    Sglang,
    /// Hugging Face TGI.
    Tgi,
    /// llama.cpp's server.
    LlamaCpp,
    /// Ollama.
    Ollama,
    /// NVIDIA Triton.
    Triton,
}

/// A cgroup that is observed, or one listening socket in it where several servers share the cgroup.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Workload {
    /// Its name for the agent's lifetime.
    pub id: WorkloadId,
    /// A short name for people; becomes `service.name` unless something better is known.
    pub name: Arc<str>,
    /// What serves.
    pub engine: Engine,
    /// The cgroup's directory in the cgroup2 mount.
    pub cgroup: PathBuf,
    /// The cgroup's id: the inode of its directory.
    pub cgroup_id: u64,
    /// The listening port that tells it apart inside its cgroup; `None` = the whole cgroup.
    pub port: Option<u16>,
    /// The container's id, where the cgroup's path names one.
    pub container: Option<Arc<str>>,
}

#[cfg(test)]
impl Workload {
    /// One for tests: a whole cgroup.
    pub(crate) fn sample(id: WorkloadId) -> Arc<Self> {
        Arc::new(Self {
            id,
            name: "vllm".into(),
            engine: Engine::Vllm,
            cgroup: PathBuf::from("/sys/fs/cgroup/vllm"),
            cgroup_id: 1,
            port: None,
            container: None,
        })
    }
}
