//! What a node that runs says of itself, over its socket.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use wachter_api::shapes::{ConfigurationQuery, RunsQuery};
use wachter_api::{Client, ClientError, Nothing};

use super::redactor::MARK;
use crate::failure::{CommandError, chain};

/// How long the node may take for one answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What modules are told, do and say: not for a bundle.
const CONTENTS: [&str; 7] = ["input", "output", "events", "findings", "with", "data", "state"];

/// Its answers by name, each of which may be a refusal.
///
/// # Errors
/// No node answers there.
pub(super) async fn ask(
    socket: &Path,
) -> Result<Vec<(&'static str, Result<Value, CommandError>)>, String> {
    let client = Client::new(socket);
    let nothing = Nothing {};
    let mut answers = Vec::new();
    macro_rules! ask {
        ($name:literal, $endpoint:ident, $query:expr) => {
            let query = $query;
            let asked = client.call::<wachter_api::$endpoint>(&query, &nothing);
            let answer = match tokio::time::timeout(PATIENCE, asked).await {
                Ok(Err(error @ (ClientError::NotRunning { .. } | ClientError::Denied { .. }))) => {
                    return Err(chain(&error));
                }
                Ok(answer) => answer.map_err(CommandError::from),
                Err(_) => Err(CommandError::failed("the node took too long")),
            };
            let value =
                answer.and_then(|answer| Ok(without_contents(serde_json::to_value(answer)?)));
            answers.push(($name, value));
        };
    }
    ask!("status", GetStatus, Nothing {});
    ask!("health", GetHealth, Nothing {});
    ask!("agents", ListAgents, Nothing {});
    ask!("modules", ListModules, Nothing {});
    ask!("subscriptions", ListSubscriptions, Nothing {});
    ask!("configuration", GetConfiguration, ConfigurationQuery::default());
    ask!("runs", ListRuns, RunsQuery { limit: Some(500), ..RunsQuery::default() });
    Ok(answers)
}

/// Whether a dotted path of configuration leads to what a module is told.
pub(super) fn is_input(path: &str) -> bool {
    path.split(['.', '[']).any(|word| word == "with" || word == "input")
}

fn without_contents(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            let input = fields.get("path").and_then(Value::as_str).is_some_and(is_input);
            for (name, field) in fields {
                let hidden = CONTENTS.contains(&name.as_str()) || (input && name == "value");
                *field = if hidden { MARK.into() } else { without_contents(field.take()) };
            }
        }
        Value::Array(items) => {
            items.iter_mut().for_each(|item| *item = without_contents(item.take()));
        }
        _ => {}
    }
    value
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn contents_go_and_the_rest_stays() {
        let value = json!([
            { "run": "r", "output": { "a": 1 }, "usage": { "wall": 7 } },
            { "path": "agent.backup.with.key", "value": "v", "origins": [] },
            { "path": "log.level", "value": "debug" },
        ]);
        let expected = json!([
            { "run": "r", "output": MARK, "usage": { "wall": 7 } },
            { "path": "agent.backup.with.key", "value": MARK, "origins": [] },
            { "path": "log.level", "value": "debug" },
        ]);
        assert_eq!(without_contents(value), expected);
        assert!(!is_input("agent.without.on"));
    }
}
