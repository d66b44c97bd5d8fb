use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};
use wachter_document::{Fault, Node, NodeValue, Place, decode, nearest};
use wachter_expression::{CompileError, Environment, Expression};
use wachter_model::{AgentName, Digest, Duration, ModuleName, NodeName, Topic, TopicFilter};
use wachter_protocol::{Allowance, Excess, Grant, LimitsAsked};

use super::input::InputSchema;
use super::{
    Agent, AgentFile, Concurrency, Presence, Scope, Triggers, holds_for, node_environment,
};
use crate::problem::Report;
use crate::settings::Settings;
use crate::sources::Module;
use crate::{Schedule, Trigger, position};

/// What agents are checked against.
pub(crate) struct Context<'c> {
    pub(crate) modules: &'c BTreeMap<ModuleName, Module>,
    pub(crate) schemas: &'c BTreeMap<ModuleName, Arc<InputSchema>>,
    pub(crate) grants: Option<&'c BTreeMap<ModuleName, Allowance>>,
    /// The settings, where they could be read.
    pub(crate) settings: Option<&'c Settings>,
    /// The same as a tree.
    pub(crate) settings_tree: &'c Node,
    pub(crate) host: Option<&'c NodeName>,
    pub(crate) labels: &'c Value,
    /// Whether modules have more than names here.
    pub(crate) manifests: bool,
}

/// An agent's day where nothing says how often.
const DAY: Duration = Duration::from_secs(86_400);

/// Checks an agent's file. Gives it, the agent and whether it runs here, unless something is wrong.
pub(crate) fn check(
    context: &Context<'_>,
    stem: &str,
    node: &Node,
    report: &mut Report,
) -> Option<(AgentFile, Agent, Presence)> {
    let (file, faults) = decode::<AgentFile>(node);
    let wrong = !faults.is_empty();
    report.errors(faults);
    // What can be read of it is checked all the same, so that everything is told at once.
    let file = file?;
    let mut checker = Checker { context, node, report, wrong };
    let (agent, presence) = checker.check(stem, file.clone());
    if checker.wrong { None } else { Some((file, agent, presence)) }
}

struct Checker<'c, 'r> {
    context: &'c Context<'c>,
    node: &'c Node,
    report: &'r mut Report,
    wrong: bool,
}

impl Checker<'_, '_> {
    fn check(&mut self, stem: &str, file: AgentFile) -> (Agent, Presence) {
        if file.name.as_str() != stem {
            let message = format!(
                "the agent is named `{}` and its file `{stem}`; name both alike",
                file.name
            );
            self.error(&["name"], message);
        }
        self.module(&file.module);
        let own = self.context.settings.and_then(|settings| settings.agents.get(&file.name));
        let own = own.cloned().unwrap_or_default();
        let on = self.triggers(&file, own.schedule);
        let key = file.concurrency.key.as_deref();
        let key = key.and_then(|text| {
            self.expression(&["concurrency", "key"], text, Environment::of_events(), false)
        });
        let nodes = file
            .nodes
            .as_deref()
            .and_then(|text| self.expression(&["nodes"], text, node_environment(), true));
        let with = self.with(&file.name, &file.module);
        let limits = self.limits(&file.module);
        let presence = match nodes {
            _ if own.enabled == Some(false) => Presence::Disabled,
            Some(nodes)
                if self.context.host.is_some()
                    && !holds_for(&nodes, self.context.host, self.context.labels) =>
            {
                Presence::Elsewhere
            }
            _ => Presence::Here,
        };
        let default_scope = if on.events.is_empty() { Scope::Node } else { Scope::Fleet };
        let every = match on.schedule.as_ref().map(Schedule::trigger) {
            Some(Trigger::Every(every)) => every.interval(),
            _ => DAY,
        };
        let agent = Agent {
            name: file.name,
            role: file.role,
            module: file.module,
            scope: file.scope.unwrap_or(default_scope),
            on,
            with,
            concurrency: Concurrency {
                limit: file.concurrency.limit,
                key,
                overlap: file.concurrency.overlap,
            },
            retry: file.retry,
            window: file.window,
            limits,
            every,
        };
        (agent, presence)
    }

    /// The place of a value, or of the deepest part of its path that there is.
    fn place(&self, path: &[&str]) -> Place {
        let known =
            (1..=path.len()).rev().find_map(|length| self.node.at(path[..length].iter().copied()));
        known.map_or(self.node.place, |node| node.place)
    }

    fn error(&mut self, path: &[&str], message: impl Into<String>) {
        self.wrong = true;
        let place = self.place(path);
        self.report.error(Fault::new(place, message));
    }

    fn warning(&mut self, path: &[&str], message: impl Into<String>) {
        let place = self.place(path);
        self.report.warning(Fault::new(place, message));
    }

    fn module(&mut self, name: &ModuleName) {
        let Some(module) = self.context.modules.get(name) else {
            let known = self.context.modules.keys().map(ModuleName::as_str);
            let hint = nearest(name.as_str(), known);
            let hint = hint.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
            self.error(&["module"], format!("there is no module `{name}` in `modules/`{hint}"));
            return;
        };
        // A module that may not run costs its own runs, not the release.
        let Some(grants) = self.context.grants else { return };
        if let Some(manifest) = &module.manifest
            && let Err(excess) = Grant::decide(Digest::of(b""), manifest, grants.get(name))
        {
            let message = format!(
                "`{name}` asks for more than this host grants, so it will not run: {}; \
                 see `grants` in the local file",
                Excess::list(&excess)
            );
            self.warning(&["module"], message);
        }
    }

    fn triggers(&mut self, file: &AgentFile, instead: Option<Schedule>) -> Triggers {
        let schedule = match (&file.on.every, &file.on.schedule) {
            (Some(_), Some(_)) => {
                self.error(
                    &["on", "every"],
                    "`on.every` and `on.schedule` say the same thing; keep one",
                );
                None
            }
            (Some(every), None) => Some(Schedule::new(Trigger::Every(*every))),
            (None, schedule) => schedule.clone(),
        };
        if self.context.manifests {
            self.events(&file.on.events);
        }
        let condition = file.on.condition.as_deref().and_then(|text| {
            if file.on.events.is_empty() {
                self.error(
                    &["on", "where"],
                    "`where` chooses among events; name them in `on.events`",
                );
            }
            self.expression(&["on", "where"], text, Environment::of_events(), true)
        });
        Triggers { schedule: instead.or(schedule), events: file.on.events.clone(), condition }
    }

    /// A type that no module emits may come from outside, but is more often misspelt.
    fn events(&mut self, filters: &[TopicFilter]) {
        let emitted = || {
            let manifests =
                self.context.modules.values().filter_map(|module| module.manifest.as_ref());
            manifests.flat_map(|manifest| &manifest.emits)
        };
        let mut unknown = Vec::new();
        for (index, filter) in filters.iter().enumerate() {
            let text = filter.to_string();
            if emitted().any(|topic| filter.matches(topic)) {
                continue;
            }
            if let Some(name) = nearest(&text, emitted().map(Topic::as_str)) {
                let message =
                    format!("no module of this release emits `{text}`; did you mean `{name}`?");
                unknown.push((index, message));
            }
        }
        for (index, message) in unknown {
            let list = self.node.at(["on", "events"]);
            let place = match list.map(|list| &list.value) {
                Some(NodeValue::List(nodes)) => nodes.get(index).map(|node| node.place),
                _ => None,
            };
            let place = place.unwrap_or_else(|| self.place(&["on", "events"]));
            self.report.warning(Fault::new(place, message));
        }
    }

    fn expression(
        &mut self,
        path: &[&str],
        text: &str,
        environment: &Environment,
        condition: bool,
    ) -> Option<Arc<Expression>> {
        let compiled = if condition {
            Expression::condition(text, environment)
        } else {
            Expression::compile(text, environment)
        };
        match compiled {
            Ok(expression) => Some(Arc::new(expression)),
            Err(error) => {
                self.wrong = true;
                let fault = expression_fault(self.report, self.place(path), text, &error);
                self.report.error(fault);
                None
            }
        }
    }

    /// The input: what the module gets on this host, under what the agent says, under what this host
    /// says for the agent.
    fn with(&mut self, agent: &AgentName, module: &ModuleName) -> Value {
        let tree = self.context.settings_tree;
        let layers = [
            tree.at(["modules", module.as_str(), "with"]),
            self.node.at(["with"]),
            tree.at(["agents", agent.as_str(), "with"]),
        ];
        let place = self.node.at(["with"]).map_or(self.place(&["module"]), |node| node.place);
        let with = layers
            .into_iter()
            .flatten()
            .fold(Node::empty(place), |below, above| below.overlaid(above));
        // Where the agent says something, a key that is missing is missing there.
        let with = Node { place, ..with };
        if let Some(schema) = self.context.schemas.get(module) {
            let faults = schema.check(&with);
            self.wrong |= !faults.is_empty();
            self.report.errors(faults);
        }
        match with.to_json() {
            Value::Object(map) if map.is_empty() => Value::Null,
            Value::Object(map) => Value::Object(map),
            _ => Value::Object(Map::new()),
        }
    }

    fn limits(&self, module: &ModuleName) -> LimitsAsked {
        let settings = self.context.settings.and_then(|settings| settings.modules.get(module));
        settings.map(|settings| settings.limits.clone()).unwrap_or_default()
    }
}

/// A fault within an expression, at its place in the document.
pub(crate) fn expression_fault(
    report: &Report,
    place: Place,
    text: &str,
    error: &CompileError,
) -> Fault {
    let document = report.sources.get(place.source).map_or("", |source| source.text.as_str());
    Fault::new(position::within(document, place, text, error.span.start), error.to_string())
}
