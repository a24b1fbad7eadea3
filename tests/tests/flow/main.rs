//! The kernel half on the running kernel: real sockets in cgroups of the tests' own. Needs root and an
//! agent that was built with its kernel half.

#[cfg(test)]
mod attach;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod counters;
#[cfg(test)]
mod disorder;
#[cfg(test)]
mod endings;
#[cfg(test)]
mod exchanges;
#[cfg(test)]
mod http;
#[cfg(test)]
mod link;
#[cfg(test)]
mod loss;
#[cfg(test)]
mod pair;
#[cfg(test)]
#[path = "../../../agent/tests/wire/recording.rs"]
#[expect(dead_code, reason = "the agent's own tests use the rest of it")]
mod recording;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod segment;
#[cfg(test)]
mod tcp;
#[cfg(test)]
mod wire;
