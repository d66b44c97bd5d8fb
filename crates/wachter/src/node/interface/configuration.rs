use std::collections::BTreeMap;
use std::sync::Arc;

use wachter_api::shapes::{Configuration, Module, Origin, OriginatedValue, Reloaded};
use wachter_api::{
    Call, GetConfiguration, ListModules, Problem, ProblemKind, ReloadConfiguration, Server,
};
use wachter_runtime::ModuleStanding;

use super::problems::{no_release, unknown};
use super::release::order;
use super::with;
use crate::node::context::Node;
use crate::node::orders::Order;

pub(super) fn handlers(server: Server, node: &Arc<Node>) -> Server {
    server
        .answer::<GetConfiguration, _, _>(with(node, configuration))
        .answer::<ReloadConfiguration, _, _>(with(node, reload))
        .answer::<ListModules, _, _>(with(node, modules))
}

async fn configuration(
    node: Arc<Node>,
    call: Call<GetConfiguration>,
) -> Result<Configuration, Problem> {
    let deployment = node.deployment.borrow().clone().ok_or_else(no_release)?;
    let all = deployment.catalogue.values();
    let wanted = call.query.path.unwrap_or_default();
    let values: BTreeMap<String, OriginatedValue> = all
        .iter()
        .filter(|value| is_below(&value.path, &wanted))
        .map(|value| {
            // Of the one in force first.
            let origins = value.origins.iter().rev().map(|origin| Origin {
                layer: origin.layer.to_string(),
                place: origin.path.clone(),
                line: Some(origin.line).filter(|line| *line > 0),
            });
            let shown = OriginatedValue { value: value.value.clone(), origins: origins.collect() };
            (value.path.clone(), shown)
        })
        .collect();
    if values.is_empty() && !wanted.is_empty() {
        let known = all.iter().map(|value| value.path.as_str());
        return Err(unknown("value", &wanted, known, "wachter config get"));
    }
    Ok(Configuration { digest: deployment.catalogue.digest(), values })
}

/// Whether a dotted path is `base`, or below it.
fn is_below(path: &str, base: &str) -> bool {
    base.is_empty()
        || path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

async fn reload(node: Arc<Node>, _: Call<ReloadConfiguration>) -> Result<Reloaded, Problem> {
    // A local file that is wrong is refused whole, and the one before stays.
    order(&node, Order::Reload, ProblemKind::Refused).await
}

async fn modules(node: Arc<Node>, _: Call<ListModules>) -> Result<Vec<Module>, Problem> {
    let deployment = node.deployment.borrow().clone();
    let modules = deployment.iter().flat_map(|deployment| &deployment.modules);
    let modules = modules.map(|(name, module)| {
        let (digest, grant) = match &module.standing {
            ModuleStanding::Ready { digest, grant, .. }
            | ModuleStanding::Waiting { digest, grant, .. } => {
                (Some(*digest), serde_json::to_value(grant).ok())
            }
            ModuleStanding::Refused(_) => (None, None),
        };
        Module {
            name: name.clone(),
            version: module.version.clone(),
            digest,
            refused: module.reason().map(str::to_owned),
            waits_for: module.waits_for().map(str::to_owned),
            grant,
        }
    });
    Ok(modules.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_itself_and_what_is_below() {
        let check = |path: &str, base: &str, expected: bool| {
            assert_eq!(is_below(path, base), expected, "{path} below {base}");
        };
        check("log.level", "", true);
        check("log.level", "log", true);
        check("log.level", "log.level", true);
        check("log.level", "lo", false);
        check("log.level", "log.le", false);
        check("log", "log.level", false);
    }
}
