//! Numbers with the unit in which a person reads them at a glance.

/// A duration in seconds, to three digits: `812µs`, `1.24ms`, `45.1s`.
pub(super) fn duration(seconds: f64) -> String {
    let (nanos, units) = (seconds * 1e9, ["ns", "µs", "ms", "s"]);
    scaled(nanos, &units)
}

/// A number per second, to three digits: `0.25`, `41.8`, `9.12k`.
pub(super) fn rate(per_second: f64) -> String {
    match per_second {
        0.0 => "0".to_owned(),
        rate if rate < 0.005 => "<0.01".to_owned(),
        rate => scaled(rate, &["", "k", "M", "G"]),
    }
}

/// A whole number: `1234`, `56.8k`.
pub(super) fn count(count: u64) -> String {
    if count < 10_000 { count.to_string() } else { scaled(count as f64, &["", "k", "M", "G"]) }
}

/// A share from 0 to 1: `0%`, `1.2%`, `45%`.
pub(super) fn share(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        0.0 => "0%".to_owned(),
        percent if percent < 0.05 => "<0.1%".to_owned(),
        percent if percent < 9.95 => format!("{percent:.1}%"),
        percent if (99.5..100.0).contains(&percent) => ">99%".to_owned(),
        percent => format!("{percent:.0}%"),
    }
}

/// Three digits in the smallest unit that needs no more; units are a thousand apart.
fn scaled(value: f64, units: &[&str]) -> String {
    let mut value = value;
    let (last, others) = units.split_last().map_or(("", units), |(last, others)| (*last, others));
    for unit in others {
        if value < 999.5 {
            return three(value) + unit;
        }
        value /= 1000.0;
    }
    three(value) + last
}

fn three(value: f64) -> String {
    match value {
        value if value < 9.995 => format!("{value:.2}"),
        value if value < 99.95 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a text says, read back by somebody who knows the units alone.
    fn read(text: &str) -> f64 {
        let at = text.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(text.len());
        let factor = match &text[at..] {
            "ns" => 1e-9,
            "µs" => 1e-6,
            "ms" => 1e-3,
            "" | "s" => 1.0,
            "%" => 0.01,
            "k" => 1e3,
            "M" => 1e6,
            "G" => 1e9,
            other => panic!("{other}"),
        };
        text[..at].parse::<f64>().unwrap() * factor
    }

    proptest! {
        #[test]
        fn three_digits_are_right(exponent in -7.0f64..2.9) {
            let value = 10f64.powf(exponent);
            let text = duration(value);
            prop_assert!((read(&text) - value).abs() / value <= 0.005_001, "{value} {text}");
            prop_assert!(text.chars().count() <= 6, "{text}");
        }

        #[test]
        fn rates_are_right(exponent in -2.0f64..11.9) {
            let value = 10f64.powf(exponent);
            let text = rate(value);
            // Below one there are two digits behind the point.
            let slack = if value < 1.0 { 0.005 / value } else { 0.005_001 };
            prop_assert!((read(&text) - value).abs() / value <= slack + 1e-9, "{value} {text}");
            prop_assert!(text.chars().count() <= 5, "{text}");
        }

        #[test]
        fn counts_are_right(value in 0u64..1_000_000_000_000) {
            let (text, exact) = (count(value), value as f64);
            prop_assert!((read(&text) - exact).abs() <= exact * 0.005_001, "{value} {text}");
            prop_assert!(value >= 10_000 || text == value.to_string());
        }

        #[test]
        fn shares_are_right(value in 0.0005f64..0.994) {
            let text = share(value);
            prop_assert!((read(&text) - value).abs() <= if value < 0.0995 { 0.000_501 } else { 0.005_001 }, "{value} {text}");
        }
    }

    #[test]
    fn ends_say_that_they_are_not_exact() {
        let shares = [0.0, 0.0001, 0.012, 0.45, 0.996, 1.0].map(share);
        assert_eq!(shares, ["0%", "<0.1%", "1.2%", "45%", ">99%", "100%"]);
        assert_eq!([0.0, 0.001, 0.25, 999.6].map(rate), ["0", "<0.01", "0.25", "1.00k"]);
        assert_eq!(
            [0.0, 60e-9, 9.996e-3, 0.9996, 256.0].map(duration),
            ["0.00ns", "60.0ns", "10.0ms", "1.00s", "256s"]
        );
    }
}
