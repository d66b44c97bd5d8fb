use wachter_api::shapes::FinishedRun;
use wachter_api::{Nothing, RecordRun};
use wachter_runtime::RunRecord;

use super::Node;
use crate::failure::CommandError;
use crate::node::Offline;
use crate::place::HostOptions;

/// Puts the record of a run by hand into the journal: through the node, or, where none runs, without
/// one.
///
/// # Errors
/// It was not kept: why.
pub(crate) async fn record(options: &HostOptions, record: &RunRecord) -> Result<(), CommandError> {
    let finished = FinishedRun { record: serde_json::to_value(record)? };
    let node = Node::new(options);
    let sending = node.call::<RecordRun>(&Nothing {}, &finished);
    let sent = Offline::around(options.host()?, true, sending).await?;
    sent.map(drop).map_err(|error| {
        CommandError::new(
            error.kind,
            format!("the run is over, and its record was not kept: {}", error.message),
        )
    })
}
