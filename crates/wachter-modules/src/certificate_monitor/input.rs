use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use wachter_module::ModuleError;

/// Where to look, and when what is a problem. The defaults stand in `input.schema.json` too; a test
/// compares them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Input {
    pub(crate) folders: Vec<PathBuf>,
    pub(crate) ignore: BTreeSet<PathBuf>,
    pub(crate) days: f64,
    pub(crate) urgent_days: f64,
}

impl Default for Input {
    fn default() -> Self {
        Self {
            folders: vec!["/etc/ssl".into()],
            // Whom the host trusts is not what it serves, keys are no certificates, and what was renewed is
            // kept in the last.
            ignore: ["/etc/ssl/certs", "/etc/ssl/private", "/etc/letsencrypt/archive"]
                .map(Into::into)
                .into(),
            days: 21.0,
            urgent_days: 7.0,
        }
    }
}

impl Input {
    /// What a schema cannot say: that the bounds are in order.
    ///
    /// # Errors
    /// They are not.
    pub(crate) fn check(&self) -> Result<(), ModuleError> {
        if !(0.0 <= self.urgent_days && self.urgent_days < self.days) {
            return Err(ModuleError::failed(format!(
                "the input `urgent_days` is not right: {} must lie between 0 and `days` ({})",
                self.urgent_days, self.days
            )));
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
        let mut defaults = Builtin::find("certificate-monitor").unwrap().input_defaults();
        // A set has no order of its own.
        let ignore: BTreeSet<PathBuf> = serde_json::from_value(defaults["ignore"].take()).unwrap();
        defaults.insert("ignore".to_owned(), json!(ignore));
        assert_eq!(json!(Input::default()), json!(defaults));
    }

    #[test]
    fn bounds_are_in_order() {
        for (days, urgent_days, expected) in
            [(21.0, 7.0, true), (7.0, 7.0, false), (7.0, -1.0, false)]
        {
            let input = Input { days, urgent_days, ..Input::default() };
            assert_eq!(input.check().is_ok(), expected, "{days} {urgent_days}");
        }
    }
}
