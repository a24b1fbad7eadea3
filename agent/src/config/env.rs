//! OpenTelemetry's environment variables, as settings.

use std::ffi::OsString;

use toml::{Table, Value};

use super::error::{Mistakes, Place};
use super::key::Key;
use super::layers::Layers;
use super::pairs;

/// An environment variable, and the setting that it stands for.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// The setting, such as `otlp.endpoint`.
    pub setting: &'static str,
    reads: Reads,
}

/// How the text of a variable becomes a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reads {
    /// As it is.
    Text,
    /// One of a few words, in whatever case.
    Word,
    /// `true` or `false`.
    Flag,
    /// `true` or `false`, for a setting that says the opposite.
    Not,
    /// A number of milliseconds.
    Millis,
    /// Names and secret values; they replace what was there.
    Headers,
    /// Names and values; they are added to what was there.
    Attributes,
    /// `otlp` or `none`.
    Exporter,
    /// `cumulative`, `delta` or `lowmemory`.
    Temporality,
}

macro_rules! variables {
    (each signal: $($suffix:literal $field:literal $each:ident,)* single: $($name:literal $setting:literal $reads:ident,)*) => {
        &[
            $(
                Variable { name: concat!("OTEL_EXPORTER_OTLP_", $suffix), setting: concat!("otlp.", $field), reads: Reads::$each },
                Variable { name: concat!("OTEL_EXPORTER_OTLP_METRICS_", $suffix), setting: concat!("otlp.metrics.", $field), reads: Reads::$each },
                Variable { name: concat!("OTEL_EXPORTER_OTLP_TRACES_", $suffix), setting: concat!("otlp.traces.", $field), reads: Reads::$each },
                Variable { name: concat!("OTEL_EXPORTER_OTLP_LOGS_", $suffix), setting: concat!("otlp.logs.", $field), reads: Reads::$each },
            )*
            $(Variable { name: $name, setting: $setting, reads: Reads::$reads },)*
        ]
    };
}

/// Every variable that is read. Of two for the same setting the later one counts.
pub const VARIABLES: &[Variable] = variables! {
    each signal:
    "ENDPOINT" "endpoint" Text,
    "PROTOCOL" "protocol" Word,
    "INSECURE" "insecure" Flag,
    "COMPRESSION" "compression" Word,
    "HEADERS" "headers" Headers,
    "TIMEOUT" "timeout" Millis,
    "CERTIFICATE" "certificate" Text,
    "CLIENT_CERTIFICATE" "client_certificate" Text,
    "CLIENT_KEY" "client_key" Text,
    single:
    "OTEL_SDK_DISABLED" "otlp.enabled" Not,
    "OTEL_METRICS_EXPORTER" "metrics.export" Exporter,
    "OTEL_TRACES_EXPORTER" "spans.export" Exporter,
    "OTEL_LOGS_EXPORTER" "log.export" Exporter,
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE" "metrics.temporality" Temporality,
    "OTEL_METRIC_EXPORT_INTERVAL" "metrics.interval" Millis,
    "OTEL_LOG_LEVEL" "log.level" Word,
    "OTEL_RESOURCE_ATTRIBUTES" "resource.attributes" Attributes,
    "OTEL_SERVICE_NAME" "resource.service_name" Text,
};

/// The environment of this process, for [`super::Config::load`].
pub fn process(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// Beginning of the names that are OpenTelemetry's.
const PREFIX: &str = "OTEL_";
/// Characters that a slip of the finger changes, at most.
const SLIP: usize = 2;

/// Which of these variables look like settings and are none, in order; behind a name the one that may be meant. Values are not
/// told: they may be secret.
pub fn unread(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Vec<String> {
    let names = variables.into_iter().filter(|(_, value)| !value.is_empty());
    let names = names.map(|(name, _)| name.to_string_lossy().escape_debug().to_string());
    let known = |name: &str| VARIABLES.iter().any(|variable| variable.name == name);
    let mut unread: Vec<String> = names.filter(|name| name.starts_with(PREFIX) && !known(name)).collect();
    unread.sort_unstable();
    for name in &mut unread {
        let distance = |variable: &&Variable| strsim::levenshtein(name, variable.name);
        if let Some(meant) = VARIABLES.iter().min_by_key(distance).filter(|meant| distance(meant) <= SLIP) {
            *name = format!("{name} ({}?)", meant.name);
        }
    }
    unread
}

/// Puts what the variables say over what the file says. An empty variable says nothing.
pub(super) fn apply(env: &dyn Fn(&str) -> Option<String>, layers: &mut Layers<'_>, mistakes: &mut Mistakes) {
    for variable in VARIABLES {
        let Some(text) = env(variable.name) else { continue };
        let text = text.trim();
        if !text.is_empty() {
            variable.apply(text, layers, mistakes);
        }
    }
}

impl Variable {
    /// How it is written, for people.
    pub fn form(&self) -> &'static str {
        match self.reads {
            Reads::Text => "as in the file, without quotes",
            Reads::Word => "as in the file, without quotes, in upper or lower case",
            Reads::Flag => "`true` or `false`",
            Reads::Not => "`true` or `false`, the opposite of the setting",
            Reads::Millis => "a whole number of milliseconds",
            Reads::Headers => "`name=value,name=value`, percent-encoded; they replace those of the file",
            Reads::Attributes => "`name=value,name=value`, percent-encoded; they are added to those of the file",
            Reads::Exporter => "`otlp` or `none`",
            Reads::Temporality => "`cumulative`, `delta` or `lowmemory`, which is `delta` here",
        }
    }

    fn apply(&self, text: &str, layers: &mut Layers<'_>, mistakes: &mut Mistakes) {
        let (key, place) = (Key::of(self.setting), Place::Variable(self.name));
        match self.reads {
            Reads::Headers | Reads::Attributes => match pairs::parse(text) {
                Ok(pairs) if self.reads == Reads::Headers => {
                    let table: Table = pairs.into_iter().map(|(name, value)| (name, Value::String(value))).collect();
                    layers.set(&key, table, place);
                }
                Ok(pairs) => pairs.into_iter().for_each(|(name, value)| {
                    let own = if name == SERVICE_NAME { Key::of("resource.service_name") } else { key.child(&name) };
                    layers.set(&own, value, place.clone());
                }),
                Err(entry) => {
                    let problem = format!("entry {entry} (not shown) is no pair; accepted: {PAIRS}");
                    mistakes.note(Some(place), &key, problem);
                }
            },
            _ => match self.reads.value(text) {
                Ok(value) => layers.set(&key, value, place),
                Err(accepted) => mistakes.refuse(Some(place), &key, Some(&format!("{text:?}")), accepted),
            },
        }
    }
}

impl Reads {
    fn value(self, text: &str) -> Result<Value, &'static str> {
        let word = text.to_lowercase();
        match (self, word.as_str()) {
            (Self::Text | Self::Headers | Self::Attributes, _) => Ok(text.into()),
            (Self::Word, word) => Ok(word.into()),
            (Self::Flag, "true") | (Self::Not, "false") | (Self::Exporter, "otlp") => Ok(true.into()),
            (Self::Flag, "false") | (Self::Not, "true") | (Self::Exporter, "none") => Ok(false.into()),
            (Self::Flag | Self::Not, _) => Err("\"true\" or \"false\""),
            (Self::Exporter, _) => Err("\"otlp\" or \"none\""),
            (Self::Temporality, "cumulative") => Ok("cumulative".into()),
            // What the two differ in, asynchronous instruments, is always cumulative here.
            (Self::Temporality, "delta" | "lowmemory") => Ok("delta".into()),
            (Self::Temporality, _) => Err("\"cumulative\", \"delta\" or \"lowmemory\""),
            (Self::Millis, digits) => match digits.parse::<u32>() {
                Ok(millis) => Ok(format!("{millis}ms").into()),
                Err(_) => Err("a whole number of milliseconds such as 10000"),
            },
        }
    }
}

/// Workloads have names of their own: this one is the agent's.
pub(super) const SERVICE_NAME: &str = "service.name";

const PAIRS: &str = "name=value,name=value with commas, percent signs and spaces percent-encoded";

#[cfg(test)]
mod tests {
    use super::*;

    fn unread_of(variables: &[(&str, &str)]) -> Vec<String> {
        unread(variables.iter().map(|(name, value)| (name.into(), value.into())))
    }

    #[test]
    fn what_is_set_and_not_read_is_named_without_its_value() {
        let set = [
            ("OTEL_TRACES_SAMPLER", "always_off"),
            ("OTEL_EXPORTER_OTLP_ENDPONT", "http://user:secret@collector:4317"),
            ("OTEL_EXPORTER_OTLP_METRIC_HEADERS", "key=secret"),
            ("OTEL_BSP_SCHEDULE_DELAY", "10"),
            ("OTEL_PROPAGATORS", ""),
            ("PATH", "/bin"),
        ];
        let expected = [
            "OTEL_BSP_SCHEDULE_DELAY",
            "OTEL_EXPORTER_OTLP_ENDPONT (OTEL_EXPORTER_OTLP_ENDPOINT?)",
            "OTEL_EXPORTER_OTLP_METRIC_HEADERS (OTEL_EXPORTER_OTLP_METRICS_HEADERS?)",
            "OTEL_TRACES_SAMPLER",
        ];
        assert_eq!(unread_of(&set), expected);
    }

    #[test]
    fn what_is_read_is_not_named() {
        let all: Vec<_> = VARIABLES.iter().map(|variable| (variable.name, "x")).collect();
        assert_eq!(unread_of(&all), Vec::<String>::new());
    }
}
