use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::oneshot;
use wachter_api::shapes::ReleaseReport;
use wachter_api::{
    ApplyReleaseBundle, Call, PinRelease, Problem, ProblemKind, RollBack, Server, Synchronize,
    UnpinRelease,
};

use super::problems::{stopping, undone};
use super::with;
use crate::node::context::Node;
use crate::node::orders::{Answer, Order};

pub(super) fn handlers(server: Server, node: &Arc<Node>) -> Server {
    server
        .answer::<Synchronize, _, _>(with(node, synchronize))
        .answer::<RollBack, _, _>(with(node, roll_back))
        .answer::<PinRelease, _, _>(with(node, pin))
        .answer::<UnpinRelease, _, _>(with(node, unpin))
        .answer::<ApplyReleaseBundle, _, _>(with(node, apply))
}

async fn synchronize(node: Arc<Node>, _: Call<Synchronize>) -> Result<ReleaseReport, Problem> {
    // What fails here is the server, mostly: the same again later may go well.
    order(&node, Order::Look, ProblemKind::Unavailable).await
}

async fn roll_back(node: Arc<Node>, call: Call<RollBack>) -> Result<ReleaseReport, Problem> {
    order(&node, |answer| Order::RollBack(call.body.to, answer), ProblemKind::Conflict).await
}

async fn pin(node: Arc<Node>, call: Call<PinRelease>) -> Result<ReleaseReport, Problem> {
    let pin = call.body;
    let make = |answer| Order::Pin(pin.sequence, pin.until, answer);
    order(&node, make, ProblemKind::Conflict).await
}

async fn unpin(node: Arc<Node>, _: Call<UnpinRelease>) -> Result<ReleaseReport, Problem> {
    order(&node, Order::Unpin, ProblemKind::Conflict).await
}

async fn apply(node: Arc<Node>, call: Call<ApplyReleaseBundle>) -> Result<ReleaseReport, Problem> {
    let path = PathBuf::from(call.body.path);
    if !path.is_absolute() {
        return Err(Problem::invalid(format!(
            "`{}` is not an absolute path, and the node works in another folder than you",
            path.display()
        )));
    }
    order(&node, |answer| Order::Apply(path, answer), ProblemKind::Conflict).await
}

/// Has the task that follows the repository do something, and waits for what it says. It is done also
/// where the caller hangs up.
///
/// # Errors
/// What that task said, as a problem of kind `otherwise` where it was neither refused nor wrong; or
/// the node stops.
pub(super) async fn order<T>(
    node: &Node,
    make: impl FnOnce(Answer<T>) -> Order,
    otherwise: ProblemKind,
) -> Result<T, Problem> {
    let (answer, answered) = oneshot::channel();
    node.orders.send(make(answer)).await.map_err(|_| stopping())?;
    let done = answered.await.map_err(|_| stopping())?;
    done.map_err(|error| undone(&error, otherwise))
}
