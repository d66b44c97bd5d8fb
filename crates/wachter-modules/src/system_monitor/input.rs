use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wachter_module::ModuleError;

use super::alarms::Threshold;
use crate::exhaustion::Days;

/// When what is a problem. The defaults stand in `input.schema.json` too; a test compares them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Input {
    pub(crate) disk_used_percent: Threshold,
    pub(crate) inodes_used_percent: Threshold,
    pub(crate) memory_used_percent: Threshold,
    pub(crate) swap_used_percent: Threshold,
    pub(crate) swap_in_mebibytes_per_second: Threshold,
    pub(crate) load_per_core: Threshold,
    pub(crate) cpu_stolen_percent: Threshold,
    pub(crate) cpu_pressure_percent: Threshold,
    pub(crate) memory_pressure_percent: Threshold,
    pub(crate) disk_pressure_percent: Threshold,
    pub(crate) disk_busy_percent: Threshold,
    pub(crate) network_errors_per_second: Threshold,
    pub(crate) close_wait: Threshold,
    pub(crate) listen_overflows_per_second: Threshold,
    pub(crate) tracked_connections_percent: Threshold,
    pub(crate) descriptors_used_percent: Threshold,
    pub(crate) zombies: Threshold,
    pub(crate) unit_restarts_per_hour: Threshold,
    pub(crate) temperature_celsius: Threshold,
    pub(crate) temperature_margin_celsius: f64,
    pub(crate) disk_queue_length: f64,
    pub(crate) disk_full_days: Days,
    pub(crate) lasting_seconds: u64,
    pub(crate) clock_unsynchronized_seconds: u64,
    pub(crate) ignore_mounts: BTreeSet<String>,
    pub(crate) ignore_units: BTreeSet<String>,
}

impl Default for Input {
    fn default() -> Self {
        Self {
            disk_used_percent: Threshold::new(90.0, 85.0).critical(97.0),
            inodes_used_percent: Threshold::new(90.0, 85.0).critical(97.0),
            memory_used_percent: Threshold::new(95.0, 90.0),
            swap_used_percent: Threshold::new(80.0, 70.0),
            swap_in_mebibytes_per_second: Threshold::new(4.0, 1.0),
            load_per_core: Threshold::new(4.0, 2.0),
            cpu_stolen_percent: Threshold::new(10.0, 5.0),
            cpu_pressure_percent: Threshold::new(80.0, 60.0),
            memory_pressure_percent: Threshold::new(10.0, 5.0),
            disk_pressure_percent: Threshold::new(40.0, 20.0),
            disk_busy_percent: Threshold::new(95.0, 80.0),
            network_errors_per_second: Threshold::new(10.0, 1.0),
            close_wait: Threshold::new(200.0, 100.0),
            listen_overflows_per_second: Threshold::new(1.0, 0.1),
            tracked_connections_percent: Threshold::new(90.0, 80.0),
            descriptors_used_percent: Threshold::new(90.0, 80.0),
            zombies: Threshold::new(100.0, 50.0),
            unit_restarts_per_hour: Threshold::new(5.0, 2.0),
            temperature_celsius: Threshold::new(90.0, 80.0),
            temperature_margin_celsius: 5.0,
            disk_queue_length: 8.0,
            disk_full_days: Days { raise: 4.0, resolve: 6.0 },
            lasting_seconds: 120,
            clock_unsynchronized_seconds: 900,
            ignore_mounts: BTreeSet::new(),
            ignore_units: BTreeSet::new(),
        }
    }
}

impl Input {
    /// For how long a rate has to be too high.
    pub(super) const fn lasting(&self) -> Duration {
        Duration::from_secs(self.lasting_seconds)
    }

    /// What a schema cannot say: that the pairs are in order.
    ///
    /// # Errors
    /// The first that is not.
    pub(crate) fn check(&self) -> Result<(), ModuleError> {
        for (name, threshold) in [
            ("disk_used_percent", self.disk_used_percent),
            ("inodes_used_percent", self.inodes_used_percent),
            ("memory_used_percent", self.memory_used_percent),
            ("swap_used_percent", self.swap_used_percent),
            ("swap_in_mebibytes_per_second", self.swap_in_mebibytes_per_second),
            ("load_per_core", self.load_per_core),
            ("cpu_stolen_percent", self.cpu_stolen_percent),
            ("cpu_pressure_percent", self.cpu_pressure_percent),
            ("memory_pressure_percent", self.memory_pressure_percent),
            ("disk_pressure_percent", self.disk_pressure_percent),
            ("disk_busy_percent", self.disk_busy_percent),
            ("network_errors_per_second", self.network_errors_per_second),
            ("close_wait", self.close_wait),
            ("listen_overflows_per_second", self.listen_overflows_per_second),
            ("tracked_connections_percent", self.tracked_connections_percent),
            ("descriptors_used_percent", self.descriptors_used_percent),
            ("zombies", self.zombies),
            ("unit_restarts_per_hour", self.unit_restarts_per_hour),
            ("temperature_celsius", self.temperature_celsius),
        ] {
            threshold.check(name)?;
        }
        if self.temperature_margin_celsius <= 0.0 {
            return Err(ModuleError::failed(
                "the input `temperature_margin_celsius` is not right: it must be above 0",
            ));
        }
        self.disk_full_days.check("disk_full_days")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::Builtin;
    use serde_json::json;

    #[test]
    fn the_schema_has_the_keys_and_defaults_of_the_code() {
        let defaults = Builtin::find("system-monitor").unwrap().input_defaults();
        assert_eq!(json!(Input::default()), json!(defaults));
    }

    #[test]
    fn pairs_are_in_order() {
        for (input, expected) in [
            (json!({}), ""),
            (
                json!({ "zombies": { "raise": 5, "resolve": 5 } }),
                "`zombies` is not right: `resolve` (5)",
            ),
            (
                json!({ "load_per_core": { "raise": 1, "resolve": 0 } }),
                "`load_per_core` is not right",
            ),
            (json!({ "temperature_margin_celsius": 0 }), "must be above 0"),
            (
                json!({ "disk_used_percent": { "raise": 90, "resolve": 80, "critical": 80 } }),
                "`critical` (80) must lie above",
            ),
            (
                json!({ "disk_full_days": { "raise": 4, "resolve": 3 } }),
                "`disk_full_days` is not right",
            ),
        ] {
            let checked = serde_json::from_value::<Input>(input).unwrap().check();
            let message = checked.err().map(|error| format!("{error:?}")).unwrap_or_default();
            assert!(
                message.contains(expected) && message.is_empty() == expected.is_empty(),
                "{message}"
            );
        }
    }
}
