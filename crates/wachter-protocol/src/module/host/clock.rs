use serde::{Deserialize, Serialize};

use super::Moment;

/// How the kernel keeps the time of day (adjtimex(2)).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Clock {
    /// When it was asked.
    pub taken: Moment,
    /// Something keeps it in step with other clocks.
    pub synchronized: bool,
    /// How well; left out where the node may not ask the kernel itself, as under systemd.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discipline: Option<Discipline>,
}

/// How well the kernel's clock is kept in step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Discipline {
    /// How far it is off, where the kernel itself corrects it. Programs that steer it themselves leave
    /// it at 0.
    pub offset_nanoseconds: i64,
    /// How far it is off by estimate of the program that keeps it in step.
    pub estimated_error_microseconds: u64,
    /// How far it can be off at most; it grows while nothing keeps it in step.
    pub maximum_error_microseconds: u64,
    /// By how much its rate is corrected, in parts per thousand million.
    pub frequency_parts_per_billion: i64,
}
