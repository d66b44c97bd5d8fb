use serde::{Deserialize, Serialize};

/// Temperatures and fans, as the kernel's hwmon interface has them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Sensors {
    /// Temperatures.
    pub temperatures: Vec<Temperature>,
    /// Fans.
    pub fans: Vec<Fan>,
}

/// A temperature.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Temperature {
    /// The chip that measures it.
    pub chip: String,
    /// What is measured; the sensor's own name where it has no label.
    pub label: String,
    /// Degrees Celsius.
    pub celsius: f64,
    /// The temperature that the chip calls critical.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub critical_celsius: Option<f64>,
}

/// A fan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Fan {
    /// The chip that measures it.
    pub chip: String,
    /// Which one; the sensor's own name where it has no label.
    pub label: String,
    /// Revolutions a minute.
    pub revolutions_per_minute: u64,
}
