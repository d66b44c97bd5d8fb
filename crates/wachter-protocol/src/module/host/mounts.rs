use serde::{Deserialize, Serialize};

use super::{Moment, is_none};

/// Mounted file systems, once each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Mounts {
    /// When they were asked.
    #[serde(default)]
    pub taken: Moment,
    /// In the order of their targets.
    pub mounts: Vec<Mount>,
    /// How many are left out, since there are too many: those that may hang first, then those that lie in
    /// memory or in others.
    #[serde(default, skip_serializing_if = "is_none")]
    pub left_out: u32,
}

/// A mounted file system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Mount {
    /// Where it is mounted; where it is mounted more than once, the shortest of these.
    pub target: String,
    /// What is mounted: a device, mostly.
    pub source: String,
    /// Major and minor number of the device, as in `254:0`: that of a disk of the view `disks`, or
    /// one that the file system made up.
    #[serde(default)]
    pub device: String,
    /// The file system's type.
    pub kind: String,
    /// The file system as a whole is read-only: nobody can write to it.
    pub read_only: bool,
    /// Its space; left out for file systems that could make the question wait for ever, and where there are
    /// too many to ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Space>,
    /// Its inodes; left out where the file system does not count them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inodes: Option<Space>,
}

/// How much of something a file system has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Space {
    /// In all.
    pub total: u64,
    /// Free for the superuser.
    pub free: u64,
    /// Free for others.
    pub available: u64,
}

impl Space {
    /// The share that others than the superuser can no longer use: 0 to 1, as df(1) counts it.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more than 52 bits")]
    pub fn used_share(&self) -> f64 {
        let used = self.total.saturating_sub(self.free);
        let usable = used.saturating_add(self.available);
        if usable == 0 { 0.0 } else { used as f64 / usable as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_counted_as_df_does() {
        for (total, free, available, expected) in [
            (100, 20, 20, 0.8),
            (100, 20, 0, 1.0),
            (0, 0, 0, 0.0),
            (10, 20, 20, 0.0),
            (u64::MAX, 0, u64::MAX, 1.0),
        ] {
            let share = Space { total, free, available }.used_share();
            assert!((share - expected).abs() < 1e-9, "{total} {free} {available}: {share}");
        }
    }
}
