use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What has to survive of an agent's times, to be kept under its name.
///
/// Kept after the ticks that it follows from were taken up: whoever dies between gets them again, under
/// the same [key](super::Tick::key).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentTimes {
    version: Version,
    /// The trigger that the times belong to, in words.
    pub(super) trigger: String,
    /// The last tick that was handed out or passed over; before the first, the time of declaration.
    pub(super) last: Timestamp,
    /// Whether it has yet to run at all.
    pub(super) first: bool,
    /// Whether a person paused it.
    pub(super) paused: bool,
    /// How often the clock was corrected: see [`Tick::era`](super::Tick::era).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) era: u32,
}

impl AgentTimes {
    pub(super) fn new(
        trigger: String,
        last: Timestamp,
        first: bool,
        paused: bool,
        era: u32,
    ) -> Self {
        Self { version: Version, trigger, last, first, paused, era }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The version of this format: 1. Another is refused when it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version;

impl Version {
    const NUMBER: u32 = 1;
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(Self::NUMBER)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            Self::NUMBER => Ok(Self),
            other => Err(serde::de::Error::custom(format_args!(
                "times of agents in version {other}, and version {} is the only one known here; \
                 use the version of Wachter that wrote them, or a later one",
                Self::NUMBER
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_is_refused() {
        let kept = AgentTimes::new("every 30s".into(), Timestamp::UNIX_EPOCH, false, true, 0);
        let text = serde_json::to_string(&kept).unwrap();
        assert_eq!(
            text,
            r#"{"version":1,"trigger":"every 30s","last":"1970-01-01T00:00:00Z","first":false,"paused":true}"#
        );
        assert_eq!(serde_json::from_str::<AgentTimes>(&text).unwrap(), kept);
        let newer = text.replace("\"version\":1", "\"version\":2");
        let message = serde_json::from_str::<AgentTimes>(&newer).unwrap_err().to_string();
        assert!(message.contains("in version 2, and version 1"), "{message}");
    }
}
