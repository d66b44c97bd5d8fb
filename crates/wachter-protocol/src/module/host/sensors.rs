use serde::{Deserialize, Serialize};

use super::is_none;

/// Temperatures and fans, as the kernel's hwmon interface has them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Sensors {
    /// Temperatures.
    pub temperatures: Vec<Temperature>,
    /// Fans.
    pub fans: Vec<Fan>,
    /// How many are left out, since there are too many.
    #[serde(default, skip_serializing_if = "is_none")]
    pub left_out: u32,
}

/// A temperature.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Temperature {
    /// The chip that measures it.
    pub chip: String,
    /// The device that the chip is part of, as in `nvme0` or `0000:01:00.0`: it tells chips of one name
    /// apart. Left out where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
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
    /// The device that the chip is part of; left out where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Which one; the sensor's own name where it has no label.
    pub label: String,
    /// Revolutions a minute.
    pub revolutions_per_minute: u64,
}
