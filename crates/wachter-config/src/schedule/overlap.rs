use serde::{Deserialize, Serialize};

/// What becomes of work when as many runs are under way as `limit` says.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Overlap {
    /// It starts beside them all the same; only the limits of the node hold.
    Allow,
    /// It is passed over.
    Skip,
    /// It waits its turn.
    #[default]
    Queue,
    /// The oldest of them is ended, and it starts instead; what waits is given up.
    Replace,
}
