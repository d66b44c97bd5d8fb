use serde::{Deserialize, Serialize};

/// When a snapshot was taken, on a clock that nobody sets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Moment {
    /// Identifies the boot: counters of different boots cannot be compared. Empty where unknown.
    pub boot: String,
    /// Time since boot, suspension included.
    pub uptime_milliseconds: u64,
    /// The time of day, since 1970 in UTC. It goes back where somebody sets the clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unix_milliseconds: Option<u64>,
}

impl Moment {
    /// Milliseconds from `earlier` to here; none across a boot, and none where no time has passed.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Option<u64> {
        let same = self.boot == earlier.boot;
        let passed = self.uptime_milliseconds.checked_sub(earlier.uptime_milliseconds)?;
        (same && passed > 0).then_some(passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_passes_across_a_boot() {
        let at = |boot: &str, uptime_milliseconds| Moment {
            boot: boot.into(),
            uptime_milliseconds,
            ..Moment::default()
        };
        for (now, earlier, expected) in [
            (at("a", 50), at("a", 20), Some(30)),
            (at("a", 50), at("a", 50), None),
            (at("a", 20), at("a", 50), None),
            (at("b", 50), at("a", 20), None),
        ] {
            assert_eq!(now.since(&earlier), expected, "{now:?} {earlier:?}");
        }
    }
}
