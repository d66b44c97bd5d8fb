use std::process::ExitCode;
use std::time::SystemTime;

use serde_json::{Value, json};
use wachter_log_analyzer::LogAnalyzer;
use wachter_module::protocol::Manifest;

use crate::certificate_monitor::CertificateMonitor;
use crate::disk_health::DiskHealth;
use crate::resource_monitor::ResourceMonitor;
use crate::system_monitor::SystemMonitor;

/// A module that is part of this executable.
pub(crate) struct Builtin {
    /// Its name, which its manifest repeats.
    pub(crate) name: &'static str,
    manifest: &'static str,
    input_schema: &'static str,
    /// Runs it on the process's stdin and stdout.
    pub(crate) run: fn() -> ExitCode,
}

macro_rules! builtin {
    ($name:literal, $module:expr) => {
        Builtin {
            name: $name,
            manifest: include_str!(concat!("../modules/", $name, "/module.yaml")),
            input_schema: include_str!(concat!("../modules/", $name, "/input.schema.json")),
            run: || wachter_module::run(&$module),
        }
    };
}

/// Every module of this executable. A new one is one line here and one folder in `modules`.
pub(crate) const BUILTINS: &[Builtin] = &[
    builtin!("system-monitor", SystemMonitor),
    builtin!("resource-monitor", ResourceMonitor),
    builtin!("log-analyzer", LogAnalyzer),
    builtin!("certificate-monitor", CertificateMonitor { now: SystemTime::now }),
    builtin!("disk-health", DiskHealth { now: SystemTime::now }),
];

impl Builtin {
    /// The module of a name.
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        BUILTINS.iter().find(|builtin| builtin.name == name)
    }

    /// The manifest as it ships.
    pub(crate) fn manifest(&self) -> Manifest {
        Manifest::read(self.manifest).expect("a test reads the manifest of every module")
    }

    /// The JSON Schema of the input.
    pub(crate) fn input_schema(&self) -> Value {
        self.input_schema.parse().expect("a test reads the schema of every module")
    }

    /// What its schema says that each key of the input is where it is left out.
    #[cfg(test)]
    pub(crate) fn input_defaults(&self) -> serde_json::Map<String, Value> {
        let schema = self.input_schema();
        let properties = schema["properties"].as_object().expect("an input has keys");
        properties.iter().map(|(name, key)| (name.clone(), key["default"].clone())).collect()
    }

    /// What `--list` says of it.
    pub(crate) fn describe(&self) -> Value {
        json!({
            "name": self.name,
            "manifest": self.manifest(),
            "input_schema": self.input_schema(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wachter_module::protocol::RuntimeKind;

    #[test]
    fn every_module_ships_what_it_is() {
        for builtin in BUILTINS {
            let manifest = builtin.manifest();
            assert_eq!(manifest.name.as_str(), builtin.name);
            assert_eq!(manifest.runtime.kind, RuntimeKind::Builtin);
            assert_eq!(manifest.runtime.entrypoint.as_str(), builtin.name);
            assert!(manifest.description.is_some() && !manifest.capabilities.is_empty());
            assert_eq!(
                manifest.input.map(|input| input.file.to_string()).as_deref(),
                Some("input.schema.json")
            );
            let schema = builtin.input_schema();
            assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        }
    }
}
