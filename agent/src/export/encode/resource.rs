//! Who the telemetry is of: resources and the instrumentation scope.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use crate::export::encode::sink::{Sink, key_value};
use crate::model::attr;
use crate::model::gpu::Gpu;
use crate::model::workload::Workload;

/// The agent, as it names itself to receivers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Name of the machine: `host.name`.
    pub host: String,
    /// Version of the agent: `service.version`, and the version of its scope.
    pub version: String,
    /// Tells this agent from every other one: `service.instance.id`.
    pub instance: String,
}

/// Name of the instrumentation scope, and of the agent as a service.
pub const SCOPE: &str = "inferscope";

/// The encoded scope of everything that the agent observes.
pub(super) fn scope(identity: &Identity) -> Vec<u8> {
    let scope =
        InstrumentationScope { name: SCOPE.to_owned(), version: identity.version.clone(), ..Default::default() };
    scope.encode_to_vec()
}

/// The encoded resource of a workload. `extra`: attributes of every resource; they replace none of its own.
pub(super) fn workload(workload: &Workload, host: &str, extra: &[(String, String)]) -> Vec<u8> {
    let cgroup = workload.cgroup.to_string_lossy();
    let mut attributes: Vec<KeyValue> = Vec::new();
    attributes.text(attr::SERVICE_NAME, &workload.name);
    attributes.text(attr::SERVICE_INSTANCE, &instance(workload, host, &cgroup));
    attributes.text(attr::HOST_NAME, host);
    if let Some(container) = &workload.container {
        attributes.text(attr::CONTAINER_ID, container);
    }
    attributes.text(attr::CGROUP, &cgroup);
    if let Some(port) = workload.port {
        attributes.int(attr::SERVER_PORT, port.into());
    }
    encoded(attributes, extra)
}

/// The encoded resource of a GPU or of an instance of one; `extra` as above.
pub(super) fn gpu(gpu: &Gpu, host: &str, extra: &[(String, String)]) -> Vec<u8> {
    let mut attributes: Vec<KeyValue> = Vec::new();
    attributes.text(attr::HOST_NAME, host);
    gpu.resource().iter().for_each(|(name, value)| attributes.value(name, value));
    encoded(attributes, extra)
}

fn encoded(mut attributes: Vec<KeyValue>, extra: &[(String, String)]) -> Vec<u8> {
    for (name, value) in extra {
        if attributes.iter().all(|known| known.key != *name) {
            attributes.push(key_value(name, Any::StringValue(value.clone())));
        }
    }
    Resource { attributes, ..Default::default() }.encode_to_vec()
}

/// `service.instance.id`: unique among the instances of a service, and the same after a restart of the agent.
fn instance(workload: &Workload, host: &str, cgroup: &str) -> String {
    let place = match &workload.container {
        Some(container) => container.to_string(),
        None => format!("{host}:{cgroup}"),
    };
    match workload.port {
        Some(port) => format!("{place}:{port}"),
        None => place,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    use crate::export::encode::samples;

    fn attributes(of: &Workload, extra: &[(&str, &str)]) -> BTreeMap<String, String> {
        let extra: Vec<_> = extra.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let resource = Resource::decode(&workload(of, "gpu-7", &extra)[..]).unwrap();
        let mut named = BTreeMap::new();
        for KeyValue { key, value, .. } in resource.attributes {
            let value = match value.and_then(|value| value.value) {
                Some(Any::StringValue(text)) => text,
                Some(Any::IntValue(number)) => number.to_string(),
                other => panic!("{key}: {other:?}"),
            };
            assert!(named.insert(key, value).is_none(), "a key stands twice");
        }
        named
    }

    #[test]
    fn a_workload_is_told_apart_from_every_other() {
        let instance = |workload: &Workload| attributes(workload, &[]).remove(attr::SERVICE_INSTANCE).unwrap();
        assert_eq!(instance(&samples::workload()), "gpu-7:/sys/fs/cgroup/system.slice/vllm.service:8000");
        assert_eq!(instance(&samples::container()), "4f2a");
        assert_eq!(instance(&Workload { port: Some(1), ..(*samples::container()).clone() }), "4f2a:1");
    }

    #[test]
    fn attributes_of_every_resource_are_added_and_replace_none() {
        let extra =
            [("service.name", "mine"), ("deployment.environment.name", "test"), ("deployment.environment.name", "b")];
        let named = attributes(&samples::workload(), &extra);
        assert_eq!((&*named["service.name"], &*named["deployment.environment.name"]), ("vllm", "test"));
    }
}
