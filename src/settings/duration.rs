//! Durations as text: a whole number and one unit, such as `"45s"`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

/// Each unit with its length in milliseconds, longest first.
const UNITS: [(&str, u64); 5] =
    [("d", 24 * 60 * 60 * 1000), ("h", 60 * 60 * 1000), ("m", 60 * 1000), ("s", 1000), ("ms", 1)];

/// Parses `"500ms"`, `"45s"`, `"2m"`, `"24h"` or `"30d"`. Returns `None` for anything else: signs, fractions, spaces,
/// several units, and durations of 2^64 milliseconds or more.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let digits_end = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at(digits_end);
    let (_, unit_ms) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let count: u64 = digits.parse().ok()?;
    count.checked_mul(*unit_ms).map(Duration::from_millis)
}

/// Formats a duration for [`parse_duration`], in the longest unit that divides it. Fractions of a millisecond are
/// dropped.
pub fn format_duration(duration: Duration) -> String {
    let total_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if total_ms == 0 {
        return "0s".to_owned();
    }
    UNITS
        .iter()
        .find(|(_, unit_ms)| total_ms.is_multiple_of(*unit_ms))
        .map_or_else(|| format!("{total_ms}ms"), |(name, unit_ms)| format!("{}{name}", total_ms / unit_ms))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text).ok_or_else(|| {
        D::Error::custom(
            r#"must be a duration, a whole number and a unit (ms, s, m, h or d), such as "45s" or "500ms""#,
        )
    })
}

pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format_duration(*duration))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_every_unit() {
        for (text, ms) in [
            ("0s", 0),
            ("1ms", 1),
            ("500ms", 500),
            ("45s", 45_000),
            ("2m", 120_000),
            ("24h", 86_400_000),
            ("30d", 2_592_000_000),
            ("007s", 7_000),
        ] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        for text in [
            "",
            "45",
            "s",
            "-1s",
            "+1s",
            "1.5s",
            "1 s",
            " 1s",
            "1s ",
            "1h30m",
            "1S",
            "1us",
            "1w",
            "½s",
            "١s",
            "18446744073709551616ms",
            "18446744073709551615s",
            "213503982335d",
        ] {
            assert_eq!(parse_duration(text), None, "{text:?}");
        }
    }

    #[test]
    fn writes_the_longest_unit_that_fits() {
        for text in ["0s", "1ms", "1500ms", "45s", "90s", "2m", "24d", "23h", "61m"] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), text);
        }
        assert_eq!(format_duration(Duration::from_secs(86_400)), "1d");
    }

    proptest! {
        #[test]
        fn formatted_durations_parse_back(ms in any::<u64>()) {
            let duration = Duration::from_millis(ms);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Some(duration));
        }

        #[test]
        fn parsing_never_panics(text in "\\PC*") {
            let _ = parse_duration(&text);
        }
    }
}
