//! The JSON Schema of the configuration file, and what it says of a setting.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::key::Key;
use super::raw::Raw;
use super::units::{Size, Time};

/// The JSON Schema of the configuration file.
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<Raw>().to_value();
    tidy(&mut schema);
    schema
}

/// Takes out what only a language with null could say, and defaults that the parts say themselves.
fn tidy(node: &mut Value) {
    let Some(fields) = node.as_object_mut() else { return };
    if let Some(Value::Array(either)) = fields.remove("anyOf") {
        let inner = either.into_iter().filter(|one| one["type"] != "null").filter_map(|one| match one {
            Value::Object(inner) => Some(inner),
            _ => None,
        });
        for (name, value) in inner.flatten() {
            fields.entry(name).or_insert(value);
        }
    }
    if let Some(Value::Array(types)) = fields.get_mut("type") {
        types.retain(|one| one != "null");
        if let [one] = types.as_slice() {
            let one = one.clone();
            fields.insert("type".to_owned(), one);
        }
    }
    if let Some(Value::Array(words)) = fields.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    if fields.contains_key("properties") || fields.get("default").is_some_and(Value::is_null) {
        fields.shift_remove("default");
    }
    if let Some(Value::Object(properties)) = fields.get_mut("properties") {
        properties.values_mut().for_each(tidy);
    }
}

/// What the schema says of a section or a setting.
#[derive(Clone, Copy)]
pub(super) struct Node<'a>(&'a Value);

impl<'a> Node<'a> {
    /// What a schema says of the whole file.
    pub(super) fn new(schema: &'a Value) -> Self {
        Self(schema)
    }

    /// What stands under a key, and whether anything on the way there is secret.
    pub(super) fn at(self, key: &Key) -> Option<(Self, bool)> {
        key.names().iter().try_fold((self, self.is_secret()), |(node, secret), name| {
            let child = node.child(name)?;
            Some((child, secret || child.is_secret()))
        })
    }

    /// What may stand under a name.
    pub(super) fn child(self, name: &str) -> Option<Self> {
        let named = self.0.get("properties").and_then(|all| all.get(name));
        named.or_else(|| self.0.get("additionalProperties").filter(|other| other.is_object())).map(Self)
    }

    /// Its own names, where they are fixed: those of a section.
    pub(super) fn children(self) -> Option<impl Iterator<Item = (&'a str, Self)>> {
        let properties = self.0.get("properties")?.as_object()?;
        Some(properties.iter().map(|(name, node)| (name.as_str(), Self(node))))
    }

    /// True for a section.
    pub(super) fn is_section(self) -> bool {
        self.0.get("properties").is_some()
    }

    /// True for what must not be shown.
    pub(super) fn is_secret(self) -> bool {
        self.0.get("writeOnly") == Some(&Value::Bool(true))
    }

    /// What it means.
    pub(super) fn description(self) -> &'a str {
        self.text("description")
    }

    /// What it is unless it is set.
    pub(super) fn default(self) -> Option<&'a Value> {
        self.0.get("default")
    }

    /// What it may look like.
    pub(super) fn example(self) -> Option<&'a Value> {
        self.0.get("examples")?.as_array()?.first()
    }

    /// Words that it may be, and their meaning; empty where there is no such list.
    pub(super) fn words(self) -> Vec<(&'a str, &'a str)> {
        let list = |name| self.0.get(name).and_then(Value::as_array).into_iter().flatten();
        let plain = list("enum").filter_map(|word| Some((word.as_str()?, "")));
        let described = list("oneOf").flat_map(|one| {
            let description = one["description"].as_str().unwrap_or_default();
            let several = one["enum"].as_array().into_iter().flatten().chain(one.get("const"));
            several.filter_map(move |word| Some((word.as_str()?, description)))
        });
        plain.chain(described).collect()
    }

    /// Words that it may be, where they need no explanation.
    pub(super) fn plain_words(self) -> Option<String> {
        let words = self.words();
        if words.iter().any(|(_, meaning)| !meaning.is_empty()) { None } else { choice(&words) }
    }

    /// What is accepted, in words.
    pub(super) fn accepts(self) -> String {
        let kind = choice(&self.words()).unwrap_or_else(|| {
            match (self.text("x-accepts"), self.text("type")) {
                ("", "boolean") => "true or false",
                ("", "integer") => "a whole number",
                ("", "number") => "a number",
                ("", "array") => "a list of strings",
                ("", "object") if self.is_section() => "a table",
                ("", "object") => "a table of names (in quotes if they hold dots) and strings",
                ("", _) => "a string",
                (written, _) => written,
            }
            .to_owned()
        });
        match self.range() {
            Some(range) => format!("{kind}, {range}"),
            None => kind,
        }
    }

    /// False for a value of the right type that is out of range.
    pub(super) fn contains(self, value: &toml::Value) -> bool {
        match (value, self.text("x-unit")) {
            (toml::Value::Integer(number), _) => self.is_within(*number as f64),
            (toml::Value::Float(number), _) => self.is_within(*number),
            (toml::Value::String(text), Time::UNIT) => self.is_between::<Time>(text),
            (toml::Value::String(text), Size::UNIT) => self.is_between::<Size>(text),
            _ => true,
        }
    }

    /// False for what is no number, too.
    fn is_within(self, number: f64) -> bool {
        let bound = |name| self.0.get(name).and_then(Value::as_f64);
        bound("minimum").is_none_or(|low| number >= low) && bound("maximum").is_none_or(|high| number <= high)
    }

    fn is_between<T: std::str::FromStr + PartialOrd>(self, text: &str) -> bool {
        let bound = |name| self.text(name).parse::<T>().ok();
        text.parse::<T>().is_ok_and(|value| {
            bound("x-minimum").is_none_or(|low| value >= low) && bound("x-maximum").is_none_or(|high| value <= high)
        })
    }

    /// Between what it may be, in words; `None` where that is not limited.
    pub(super) fn range(self) -> Option<String> {
        let bound = |number: &str, written: &str| match (self.0.get(number), self.0.get(written)) {
            (Some(number), _) => Some(number.to_string()),
            (_, Some(Value::String(text))) => Some(text.clone()),
            _ => None,
        };
        Some(format!("from {} to {}", bound("minimum", "x-minimum")?, bound("maximum", "x-maximum")?))
    }

    fn text(self, name: &str) -> &'a str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }
}

/// `"a", "b" or "c"`; `None` without words.
fn choice(words: &[(&str, &str)]) -> Option<String> {
    let quoted: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
    let (last, others) = quoted.split_last()?;
    Some(if others.is_empty() { last.clone() } else { format!("{} or {last}", others.join(", ")) })
}
