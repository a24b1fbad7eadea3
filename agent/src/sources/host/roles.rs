//! What a process or thread does, by its name or title.

use inferscope_common::sched::Role;

/// Words of titles, in the order in which they are tried. Engines put their parts' names into the title
/// (`VLLM::EngineCore_DP0`, `sglang::scheduler_TP1`); a prefix of the operator's may stand before them.
const TITLES: &[(&str, Role)] = &[
    ("::APIServer", Role::Api),
    ("::EngineCore", Role::Engine),
    ("::Worker", Role::Worker),
    ("::DPCoordinator", Role::Controller),
    ("sglang::scheduler", Role::Engine),
    ("sglang::detokenizer", Role::Detokenizer),
    ("sglang::tokenizer_worker", Role::Tokenizer),
    ("sglang::data_parallel_controller", Role::Controller),
    ("text-generation-router", Role::Api),
    ("text-generation-server", Role::Worker),
    ("text-generation-launcher", Role::Controller),
    ("triton_python_backend_stub", Role::Worker),
    ("tritonserver", Role::Api),
    ("ollama runner", Role::Engine),
    ("ollama serve", Role::Api),
    ("llama-server", Role::Engine),
    // A lone API server keeps its command line.
    ("vllm serve", Role::Api),
    ("vllm.entrypoints.", Role::Api),
    ("sglang.launch_server", Role::Api),
    ("uvicorn", Role::Api),
    ("hypercorn", Role::Api),
    ("gunicorn", Role::Api),
];

/// Names of threads as the kernel keeps them: 15 bytes of what was set.
pub const NAMES: &[(&str, Role)] = &[
    ("VLLM::APIServer", Role::Api),
    ("VLLM::EngineCor", Role::Engine),
    ("VLLM::Worker", Role::Worker),
    ("VLLM::Worker_DP", Role::Worker),
    ("VLLM::Worker_PP", Role::Worker),
    ("VLLM::Worker_TP", Role::Worker),
    ("VLLM::Worker_EP", Role::Worker),
    ("VLLM::DPCoordin", Role::Controller),
    ("sglang::schedul", Role::Engine),
    ("sglang::detoken", Role::Detokenizer),
    ("sglang::tokeniz", Role::Tokenizer),
    ("sglang::data_pa", Role::Controller),
    ("text-generation", Role::Worker),
    ("tritonserver", Role::Api),
    ("llama-server", Role::Engine),
    ("ollama", Role::Api),
    ("uvicorn", Role::Api),
    ("cuda-EvtHandlr", Role::Driver),
    ("cuda00001400006", Role::Driver),
];

/// The role of a process by its title: the command line, words apart by spaces.
pub fn by_title(title: &str) -> Option<Role> {
    TITLES.iter().find(|(word, _)| title.contains(word)).map(|&(_, role)| role)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_of_engines_are_known() {
        for (title, role) in [
            ("VLLM::EngineCore", Role::Engine),
            ("VLLM::EngineCore_DP3", Role::Engine),
            ("prod-VLLM::Worker_DP0_TP1", Role::Worker),
            ("VLLM::APIServer_2", Role::Api),
            ("/usr/bin/python3 /usr/local/bin/vllm serve model --port 8000", Role::Api),
            ("sglang::scheduler_DP0_TP3", Role::Engine),
            ("sglang::detokenizer", Role::Detokenizer),
            ("/usr/local/bin/text-generation-router --port 80", Role::Api),
            ("/usr/bin/ollama runner --model x", Role::Engine),
        ] {
            assert_eq!(by_title(title), Some(role), "{title}");
        }
        assert_eq!(by_title("/usr/bin/python3 train.py"), None);
        assert_eq!(by_title(""), None);
    }

    #[test]
    fn names_are_as_long_as_the_kernel_keeps_them() {
        assert!(NAMES.iter().all(|(name, _)| name.len() <= 15));
    }
}
