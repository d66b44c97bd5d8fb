//! What a module is told, and whether it takes that.

use serde_json::{Map, Value};
use wachter_config::{Agent, Catalogue, InputFault, InputRefused};

use super::wake::{RunRequested, Wake};

/// Whether the module of an agent takes what a request lays over the agent's own input. A module that
/// says nothing of its input takes everything.
///
/// # Errors
/// What it does not take: all of it, with the places.
pub fn allow_request(
    agent: &Agent,
    catalogue: &Catalogue,
    request: &RunRequested,
) -> Result<(), InputRefused> {
    if !matches!(request.input, Value::Null | Value::Object(_)) {
        let message = "it is no JSON object, and is laid over one".to_owned();
        let faults = vec![InputFault { path: "$".to_owned(), message }];
        return Err(InputRefused { module: agent.module.clone(), faults });
    }
    match catalogue.input_schema(&agent.module) {
        Some(schema) => schema.allow(&agent.module, &overlaid(agent, request)),
        None => Ok(()),
    }
}

/// What the module is told: the agent's input, and over it what was asked for.
pub(super) fn input(agent: &Agent, wake: &Wake) -> Value {
    match wake {
        Wake::Requested(request) => overlaid(agent, request),
        Wake::Due | Wake::Event => agent.with.clone(),
    }
}

/// The agent's input with what was asked for in the place of its keys.
fn overlaid(agent: &Agent, request: &RunRequested) -> Value {
    let Value::Object(asked) = &request.input else { return agent.with.clone() };
    let own = agent.with.as_object().cloned();
    match own {
        // An agent that is told nothing has nothing to lay it over.
        None if asked.is_empty() => agent.with.clone(),
        own => {
            let mut input: Map<String, Value> = own.unwrap_or_default();
            input.extend(asked.clone());
            Value::Object(input)
        }
    }
}
