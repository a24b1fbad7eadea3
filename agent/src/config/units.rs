//! Lengths of time and numbers of bytes as people write them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A length of time, such as `10s`, `500ms` or `1m 30s`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Time(pub(super) Duration);

impl Time {
    pub(super) const UNIT: &str = "time";

    pub(super) const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    pub(super) const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }
}

impl FromStr for Time {
    type Err = humantime::DurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        humantime::parse_duration(text).map(Self)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

/// A number of bytes, such as `16MiB`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Size(pub(super) u64);

impl Size {
    pub(super) const UNIT: &str = "size";

    pub(super) const fn mib(mib: u64) -> Self {
        Self(mib << 20)
    }
}

/// Units of sizes. The largest comes first, and those that are printed before those that are only read.
const UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// A text that is no size.
#[derive(thiserror::Error, Clone, Copy, PartialEq, Eq, Debug)]
#[error("no size")]
pub(super) struct NoSize;

impl FromStr for Size {
    type Err = NoSize;

    fn from_str(text: &str) -> Result<Self, NoSize> {
        let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
        let number = &text[..text.len() - unit.len()];
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit.trim()).ok_or(NoSize)?;
        let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(*factor));
        bytes.map(Self).ok_or(NoSize)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits =
            |(name, factor): &&(&str, u64)| name.ends_with("iB") && self.0 != 0 && self.0.is_multiple_of(*factor);
        let (name, factor) = UNITS.iter().find(fits).copied().unwrap_or(("B", 1));
        write!(f, "{}{name}", self.0 / factor)
    }
}

/// Strings in the file that hold a `$type`: the schema has `$pattern` for editors and `$accepts` for people.
macro_rules! written_as_string {
    ($type:ident, $pattern:literal, $accepts:literal) => {
        impl TryFrom<String> for $type {
            type Error = <Self as FromStr>::Err;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "x-unit": Self::UNIT, "x-accepts": $accepts })
            }
        }
    };
}

written_as_string!(Time, "^[0-9].*[a-zA-Zµ]$", "a time such as \"10s\", \"500ms\" or \"1m 30s\"");
written_as_string!(Size, "^[0-9]+ ?(B|kB|KiB|MB|MiB|GB|GiB)$", "a size such as \"16MiB\" or \"64KiB\"");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nothing_panics(text in "\\PC{0,24}", digits in "[0-9]{0,24}", unit in "[a-zA-Zµ. ]{0,4}") {
            for text in [text, format!("{digits}{unit}")] {
                drop((text.parse::<Time>(), text.parse::<Size>()));
            }
        }

        #[test]
        fn what_is_printed_reads_as_itself(nanos in 0u64.., bytes: u64, shift in 0u32..40) {
            let time = Time(Duration::from_nanos(nanos));
            prop_assert_eq!(time.to_string().parse::<Time>(), Ok(time));
            for size in [Size(bytes), Size(bytes >> shift << shift)] {
                prop_assert_eq!(size.to_string().parse::<Size>(), Ok(size));
            }
        }

        #[test]
        fn a_size_is_its_number_times_its_unit(number in 0u64..1 << 30, (name, factor) in proptest::sample::select(UNITS.to_vec())) {
            prop_assert_eq!(format!("{number}{name}").parse::<Size>(), Ok(Size(number * factor)));
            prop_assert_eq!(format!("{number} {name}").parse::<Size>(), Ok(Size(number * factor)));
        }
    }

    #[test]
    fn sizes_print_in_the_largest_unit_that_is_exact() {
        for (bytes, text) in [(0, "0B"), (1023, "1023B"), (1024, "1KiB"), (1536 << 20, "1536MiB"), (2 << 30, "2GiB")] {
            assert_eq!(Size(bytes).to_string(), text);
        }
    }

    #[test]
    fn what_has_no_unit_or_does_not_fit_is_refused() {
        for text in ["", "16", "MiB", "16 mib", "-1B", "1.5MiB", "18446744073709551616B", "17179869184GiB"] {
            assert_eq!(text.parse::<Size>(), Err(NoSize), "{text}");
        }
        for text in ["", "10", "s", "-1s", "10 parsecs", "99999999999999999999s"] {
            assert!(text.parse::<Time>().is_err(), "{text}");
        }
    }
}
