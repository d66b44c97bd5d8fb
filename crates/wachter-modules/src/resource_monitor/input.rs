use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use wachter_module::ModuleError;

use super::processes::Consumer;
use crate::alarms::Threshold;
use crate::exhaustion::Days;

/// The most consumers of each resource that may be named.
const MAX_TOP: usize = 50;

/// When what is a problem. The defaults stand in `input.schema.json` too; a test compares them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Input {
    pub(crate) memory_exhausted_days: Days,
    pub(crate) descriptors_exhausted_days: Days,
    pub(crate) cpu_hog_percent: Threshold,
    pub(crate) cpu_hog_seconds: u64,
    pub(crate) cpu_spinning_percent: Threshold,
    pub(crate) cpu_spinning_seconds: u64,
    pub(crate) zombies_of_one_parent: Threshold,
    pub(crate) zombies_seconds: u64,
    pub(crate) restarts: Threshold,
    pub(crate) restarts_seconds: u64,
    pub(crate) forks_per_second: Threshold,
    pub(crate) forks_seconds: u64,
    pub(crate) top: usize,
    pub(crate) ignore: BTreeSet<String>,
}

impl Default for Input {
    fn default() -> Self {
        Self {
            memory_exhausted_days: Days { raise: 7.0, resolve: 10.0 },
            descriptors_exhausted_days: Days { raise: 7.0, resolve: 10.0 },
            cpu_hog_percent: Threshold::new(50.0, 30.0),
            cpu_hog_seconds: 600,
            cpu_spinning_percent: Threshold::new(95.0, 60.0),
            cpu_spinning_seconds: 3_600,
            zombies_of_one_parent: Threshold::new(30.0, 10.0),
            zombies_seconds: 60,
            restarts: Threshold::new(5.0, 1.0),
            restarts_seconds: 600,
            forks_per_second: Threshold::new(500.0, 250.0),
            forks_seconds: 120,
            top: 5,
            ignore: BTreeSet::new(),
        }
    }
}

impl Input {
    /// What a schema cannot say: that the pairs are in order.
    ///
    /// # Errors
    /// The first that is not.
    pub(crate) fn check(&self) -> Result<(), ModuleError> {
        for (name, threshold) in [
            ("cpu_hog_percent", self.cpu_hog_percent),
            ("cpu_spinning_percent", self.cpu_spinning_percent),
            ("zombies_of_one_parent", self.zombies_of_one_parent),
            ("restarts", self.restarts),
            ("forks_per_second", self.forks_per_second),
        ] {
            threshold.check(name)?;
        }
        self.memory_exhausted_days.check("memory_exhausted_days")?;
        self.descriptors_exhausted_days.check("descriptors_exhausted_days")?;
        if self.top > MAX_TOP {
            return Err(ModuleError::failed(format!(
                "the input `top` is not right: {} is more than {MAX_TOP}",
                self.top
            )));
        }
        Ok(())
    }

    /// Whether problems of a process are told.
    pub(super) fn watches(&self, consumer: &Consumer<'_>) -> bool {
        let is_ignored = |name: &String| self.ignore.contains(name);
        !is_ignored(&consumer.process.name) && !consumer.group.as_ref().is_some_and(is_ignored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::Builtin;
    use serde_json::json;

    #[test]
    fn the_schema_has_the_keys_and_defaults_of_the_code() {
        let defaults = Builtin::find("resource-monitor").unwrap().input_defaults();
        assert_eq!(json!(Input::default()), json!(defaults));
    }

    #[test]
    fn pairs_are_in_order() {
        for (input, expected) in [
            (json!({}), ""),
            (json!({ "restarts": { "raise": 2, "resolve": 2 } }), "`restarts` is not right"),
            (
                json!({ "memory_exhausted_days": { "raise": 3, "resolve": 2 } }),
                "`memory_exhausted_days` is not right",
            ),
            (json!({ "top": 51 }), "51 is more than 50"),
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
