use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a duration.
    #[error(
        "`{0}` is not a duration: write a whole number and a unit, as in 500ms, 30s, 10m, 6h or 90d"
    )]
    Duration(String),
    /// Not a size.
    #[error("`{0}` is not a size: write a whole number and a unit, as in 512KiB, 256MiB or 1GiB")]
    ByteSize(String),
    /// Not a share of the processor.
    #[error("`{0}` is not a processor share: write a number above 0 and up to 1024, as in 0.5")]
    CpuShare(String),
}

/// A span of time, written with its unit: `500ms`, `30s`, `10m`, `6h`, `90d`. Whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(u64);

const DURATION_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Duration {
    /// From milliseconds.
    #[must_use]
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(milliseconds)
    }

    /// From seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000))
    }

    /// In milliseconds.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// As the standard library's type.
    #[must_use]
    pub const fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }
}

/// An amount of bytes, written with its unit: `512KiB`, `256MiB`, `1GiB` (powers of 1024) or `10B`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

const SIZE_UNITS: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl ByteSize {
    /// From bytes.
    #[must_use]
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// From mebibytes.
    #[must_use]
    pub const fn from_mib(mebibytes: u64) -> Self {
        Self(mebibytes << 20)
    }

    /// In bytes.
    #[must_use]
    pub const fn as_bytes(self) -> u64 {
        self.0
    }
}

/// A share of processor time: 1 is one whole core. Kept in thousandths of a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuShare(u32);

impl CpuShare {
    /// From thousandths of a core.
    #[must_use]
    pub const fn from_millicores(millicores: u32) -> Self {
        Self(millicores)
    }

    /// In thousandths of a core.
    #[must_use]
    pub const fn as_millicores(self) -> u32 {
        self.0
    }
}

/// Splits `10m` into 10 and the factor of `m`.
fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|digit: char| digit.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// Writes with the largest unit that divides evenly.
fn write(value: u64, units: &[(&str, u64)], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (name, factor) = units
        .iter()
        .find(|(_, factor)| value >= *factor && value.is_multiple_of(*factor))
        .unwrap_or(&units[units.len() - 1]);
    f.pad(&format!("{}{name}", value / factor))
}

impl FromStr for Duration {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text, &DURATION_UNITS).map(Self).ok_or_else(|| UnitError::Duration(text.to_owned()))
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text, &SIZE_UNITS).map(Self).ok_or_else(|| UnitError::ByteSize(text.to_owned()))
    }
}

impl FromStr for CpuShare {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || UnitError::CpuShare(text.to_owned());
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || fraction.len() > 3 || !digits(whole) || !digits(fraction) {
            return Err(refused());
        }
        let thousandths = format!("{fraction:0<3}").parse::<u32>().map_err(|_| refused())?;
        let whole = whole.parse::<u32>().map_err(|_| refused())?;
        match whole.checked_mul(1_000).and_then(|whole| whole.checked_add(thousandths)) {
            Some(millicores @ 1..=1_024_000) => Ok(Self(millicores)),
            _ => Err(refused()),
        }
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(self.0, &DURATION_UNITS, f)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(self.0, &SIZE_UNITS, f)
    }
}

impl fmt::Display for CpuShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:03}", self.0 / 1_000, self.0 % 1_000);
        f.pad(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// Takes text and, for `cpu: 0.5`, a bare number.
struct AsText;

impl serde::de::Visitor<'_> for AsText {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number with its unit")
    }

    fn visit_str<E>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_u64<E>(self, number: u64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_f64<E>(self, number: f64) -> Result<String, E> {
        Ok(number.to_string())
    }
}

macro_rules! as_text {
    ($name:ident, $description:literal, $example:literal) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(AsText)?.parse().map_err(serde::de::Error::custom)
            }
        }

        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": ["string", "number"],
                    "description": $description,
                    "examples": [$example]
                })
            }
        }
    };
}

as_text!(Duration, "A span of time with its unit: ms, s, m, h or d", "30s");
as_text!(ByteSize, "An amount of bytes with its unit: B, KiB, MiB, GiB or TiB", "256MiB");
as_text!(CpuShare, "A share of processor time; 1 is one whole core", 0.5);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations() {
        assert_eq!("10m".parse(), Ok(Duration::from_secs(600)));
        assert_eq!("500ms".parse(), Ok(Duration::from_millis(500)));
        for bad in [
            "",
            "10",
            "m",
            "-1s",
            "1.5s",
            "10 m",
            "10min",
            "99999999999999999999s",
            "9999999999999999d",
        ] {
            assert!(bad.parse::<Duration>().is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!("256MiB".parse(), Ok(ByteSize::from_mib(256)));
        for bad in ["", "1", "1MB", "1mib", "-1KiB", "18446744073709551615KiB"] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
        }
    }

    #[test]
    fn shares() {
        assert_eq!("0.5".parse(), Ok(CpuShare::from_millicores(500)));
        assert_eq!("2".parse(), Ok(CpuShare::from_millicores(2_000)));
        for bad in ["", "0", "0.000", ".5", "0.0005", "-1", "1e3", "1025", "nan"] {
            assert!(bad.parse::<CpuShare>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(value in 0..u64::MAX / 2) {
            prop_assert_eq!(Duration(value).to_string().parse(), Ok(Duration(value)));
            prop_assert_eq!(ByteSize(value).to_string().parse(), Ok(ByteSize(value)));
        }

        #[test]
        fn shares_are_read_back(value in 1..=1_024_000u32) {
            prop_assert_eq!(CpuShare(value).to_string().parse(), Ok(CpuShare(value)));
        }

        #[test]
        fn any_text_is_parsed_or_refused(text: String) {
            let _ = (text.parse::<Duration>(), text.parse::<ByteSize>(), text.parse::<CpuShare>());
        }
    }
}
