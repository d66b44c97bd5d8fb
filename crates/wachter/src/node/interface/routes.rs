use std::sync::Arc;

use wachter_api::shapes::RouteExplanation;
use wachter_api::{Call, ExplainEventRoutes, Problem, Server};
use wachter_model::{Event, chain};
use wachter_runtime::dispatch::{Explanation, Routes, explain};

use super::problems::no_release;
use super::with;
use crate::node::context::Node;

pub(super) fn handlers(server: Server, node: &Arc<Node>) -> Server {
    server.answer::<ExplainEventRoutes, _, _>(with(node, explain_routes))
}

async fn explain_routes(
    node: Arc<Node>,
    call: Call<ExplainEventRoutes>,
) -> Result<Vec<RouteExplanation>, Problem> {
    let deployment = node.deployment.borrow().clone().ok_or_else(no_release)?;
    let event = call.body.event.map(|event| Event::from_json(event.to_string().as_bytes()));
    let event = event
        .transpose()
        .map_err(|error| Problem::invalid(format!("`event`: {}", chain(&error))))?;
    let handle = node.agents.borrow().clone();
    let told = match handle {
        // It went away in between, mostly, and then there is nobody who is paused or at work.
        Some(handle) => handle.explain(event.clone()).await.ok(),
        None => None,
    };
    let routes = Routes { node: &node.name, deployment: &deployment, reports: &[] };
    let explained = told.unwrap_or_else(|| explain(event.as_ref(), &routes));
    Ok(explained.into_iter().map(shown).collect())
}

fn shown(explanation: Explanation) -> RouteExplanation {
    let Explanation { agent, topics, condition, reached, reason } = explanation;
    RouteExplanation { agent, topics, condition, reached, reason }
}
