use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;
use wachter_api::shapes::Frozen;
use wachter_api::{Call, FreezeEffects, Nothing, Problem, ProblemKind, Server, ThawEffects};

use super::{problems, with};
use crate::node::announce::{EFFECTS_FROZEN, EFFECTS_THAWED};
use crate::node::context::Node;

pub(super) fn handlers(server: Server, node: &Arc<Node>) -> Server {
    server
        .answer::<FreezeEffects, _, _>(with(node, freeze))
        .answer::<ThawEffects, _, _>(with(node, thaw))
}

async fn freeze(node: Arc<Node>, call: Call<FreezeEffects>) -> Result<Frozen, Problem> {
    let reason = problems::reason(&call.body.reason)?;
    if reason.is_empty() {
        return Err(Problem::invalid("`reason` is empty; say why, for whoever finds it frozen"));
    }
    let frozen = Frozen { reason, by: call.caller.name, since: Timestamp::now() };
    let doing = {
        let frozen = frozen.clone();
        async move {
            let written = node.freezer.freeze(frozen.clone(), &node.agents).await;
            let data = json!({ "reason": frozen.reason, "by": frozen.by });
            drop(tokio::spawn(async move {
                node.announcer.tell(EFFECTS_FROZEN, "", &data).await;
            }));
            written
        }
    };
    to_its_end(doing).await?.map_err(|error| {
        Problem::new(
            ProblemKind::Unavailable,
            format!("effects are stopped until the node starts again: that cannot be written: {error}; make room and freeze once more"),
        )
    })?;
    Ok(frozen)
}

async fn thaw(node: Arc<Node>, call: Call<ThawEffects>) -> Result<Nothing, Problem> {
    let by = call.caller.name;
    let doing = async move {
        if node.freezer.thaw(&node.agents).await? {
            drop(tokio::spawn(async move {
                node.announcer.tell(EFFECTS_THAWED, "", &json!({ "by": by })).await;
            }));
        }
        Ok::<(), std::io::Error>(())
    };
    to_its_end(doing).await?.map_err(|error| {
        Problem::new(ProblemKind::Unavailable, format!("effects stay stopped: {error}"))
    })?;
    Ok(Nothing {})
}

/// Does something wholly, also where the caller hangs up in the middle.
async fn to_its_end<T: Send + 'static>(
    doing: impl Future<Output = T> + Send + 'static,
) -> Result<T, Problem> {
    tokio::spawn(doing).await.map_err(|error| Problem::internal(error.to_string()))
}
