use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use wachter_module::ModuleError;

/// When what is a problem. The defaults stand in `input.schema.json` too; a test compares them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Input {
    pub(crate) disk_used_percent: Threshold,
    pub(crate) inodes_used_percent: Threshold,
    pub(crate) memory_used_percent: Threshold,
    pub(crate) load_per_core: Threshold,
    pub(crate) network_errors_per_second: Threshold,
    pub(crate) zombies: Threshold,
    pub(crate) temperature_celsius: Threshold,
    pub(crate) temperature_margin_celsius: f64,
    pub(crate) ignore_mounts: BTreeSet<String>,
}

/// A problem begins at `raise` and ends below `resolve`; between them nothing changes, so that a
/// value that wavers is one problem and not many.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Threshold {
    pub(crate) raise: f64,
    pub(crate) resolve: f64,
}

impl Threshold {
    pub(crate) const fn new(raise: f64, resolve: f64) -> Self {
        Self { raise, resolve }
    }
}

impl Default for Input {
    fn default() -> Self {
        Self {
            disk_used_percent: Threshold::new(90.0, 85.0),
            inodes_used_percent: Threshold::new(90.0, 85.0),
            memory_used_percent: Threshold::new(95.0, 90.0),
            load_per_core: Threshold::new(4.0, 2.0),
            network_errors_per_second: Threshold::new(10.0, 1.0),
            zombies: Threshold::new(100.0, 50.0),
            temperature_celsius: Threshold::new(90.0, 80.0),
            temperature_margin_celsius: 5.0,
            ignore_mounts: BTreeSet::new(),
        }
    }
}

impl Input {
    /// What a schema cannot say: that the pairs are in order.
    pub(crate) fn check(&self) -> Result<(), ModuleError> {
        for (name, Threshold { raise, resolve }) in [
            ("disk_used_percent", self.disk_used_percent),
            ("inodes_used_percent", self.inodes_used_percent),
            ("memory_used_percent", self.memory_used_percent),
            ("load_per_core", self.load_per_core),
            ("network_errors_per_second", self.network_errors_per_second),
            ("zombies", self.zombies),
            ("temperature_celsius", self.temperature_celsius),
        ] {
            if !(0.0 < resolve && resolve < raise) {
                return Err(ModuleError::failed(format!(
                    "the input `{name}` is not right: `resolve` ({resolve}) must lie between 0 and `raise` ({raise})"
                )));
            }
        }
        if self.temperature_margin_celsius <= 0.0 {
            return Err(ModuleError::failed(
                "the input `temperature_margin_celsius` is not right: it must be above 0",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::Builtin;
    use serde_json::json;

    #[test]
    fn the_schema_has_the_keys_and_defaults_of_the_code() {
        let schema = Builtin::find("system-monitor").unwrap().input_schema();
        let properties = schema["properties"].as_object().unwrap();
        let defaults: serde_json::Map<_, _> =
            properties.iter().map(|(name, key)| (name.clone(), key["default"].clone())).collect();
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
