//! From texts to a catalogue: read every file, lay the layers over each other, check the whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use wachter_document::{Fault, Node, NodeValue, Place, Step, decode, nearest};
use wachter_expression::Expression;
use wachter_model::{AgentName, Digest, ModuleName, NodeName};
use wachter_protocol::Limits;

use crate::agent::{
    AgentFile, Context, InputSchema, Presence, check, expression_fault, holds_for, node_environment,
};
use crate::catalogue::Catalogue;
use crate::files::ConfigFile;
use crate::layer::LayerKind;
use crate::overrides;
use crate::problem::{Problems, Report};
use crate::settings::{Settings, is_reserved, reserved};
use crate::sources::Sources;

/// The lowest layer.
pub(crate) const DEFAULTS: &str = include_str!("defaults.yaml");

/// Files of the managed repository, read.
#[derive(Default)]
struct Documents<'a> {
    /// Settings of all nodes.
    settings: Option<Node>,
    groups: BTreeMap<&'a str, Node>,
    hosts: BTreeMap<&'a str, Node>,
    /// By the names of the files.
    agents: BTreeMap<&'a str, Node>,
}

pub(crate) fn load(sources: &Sources<'_>) -> Result<Catalogue, Problems> {
    let mut report = Report::default();
    let built_in = report.add("defaults", DEFAULTS);
    let defaults = Node::read(DEFAULTS, built_in).expect("the defaults are checked by a test");
    let documents = documents(sources, &mut report);
    let labels = json!(sources.labels);
    let layers = layers(sources, &documents, &defaults, &labels, &mut report);
    let merged = layers.iter().fold(defaults.clone(), |below, (_, above)| below.overlaid(above));
    // Each layer was checked by itself, where a fault is found even if a layer above hides it.
    let (settings, faults) = decode::<Settings>(&merged);
    report.errors(faults);
    let schemas = schemas(sources, &mut report);
    let context = Context {
        modules: &sources.modules,
        schemas: &schemas,
        grants: sources.grants.as_ref(),
        settings: settings.as_ref(),
        settings_tree: &merged,
        host: sources.host.as_ref(),
        labels: &labels,
        manifests: sources.modules.values().any(|module| module.manifest.is_some()),
    };
    let (mut agents, mut absent, mut agent_files) =
        (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut files = Vec::new();
    for (stem, node) in &documents.agents {
        let Some((file, agent, presence)) = check(&context, stem, node, &mut report) else {
            continue;
        };
        files.push(file);
        agent_files.insert(agent.name.clone(), node.clone());
        match presence {
            Presence::Here => drop(agents.insert(agent.name.clone(), agent)),
            other => drop(absent.insert(agent.name, other)),
        }
    }
    if let Some(settings) = &settings {
        check_names(sources, &documents, settings, &merged, &mut report);
    }
    let paths = report.sources.iter().map(|source| source.path.clone()).collect();
    let warnings = report.finish()?;
    let settings = settings.expect("settings that cannot be read were reported just now");
    let digest = digest(&settings, &files, &agents, &absent);
    let layers = std::iter::once((LayerKind::Defaults, defaults)).chain(layers).collect();
    Ok(Catalogue {
        settings,
        agents,
        absent,
        schemas,
        digest,
        warnings,
        merged,
        layers,
        agent_files,
        paths,
    })
}

/// Reads all files, those of other hosts and groups too: what is wrong there is wrong.
fn documents<'a>(sources: &Sources<'a>, report: &mut Report) -> Documents<'a> {
    let mut documents = Documents::default();
    for (path, text) in &sources.files {
        let file = ConfigFile::of(path);
        if file == ConfigFile::Other {
            continue;
        }
        let source = report.add(path, text);
        if file == ConfigFile::Unknown {
            let place = Place { source, line: 0, column: 0 };
            report.warning(Fault::new(place, ConfigFile::hint(path)));
            continue;
        }
        let node = match Node::read(text, source) {
            // A file of remarks alone says nothing.
            Ok(node) if node.value == NodeValue::Null && !matches!(file, ConfigFile::Agent(_)) => {
                Node::empty(node.place)
            }
            Ok(node) => node,
            Err(error) => {
                let place = Place { source, line: error.line, column: error.column };
                report.error(Fault::new(place, error.message));
                continue;
            }
        };
        let before = match file {
            ConfigFile::Settings => documents.settings.replace(node),
            ConfigFile::Group(name) => documents.groups.insert(name, node),
            ConfigFile::Host(name) => documents.hosts.insert(name, node),
            ConfigFile::Agent(name) => documents.agents.insert(name, node),
            ConfigFile::Other | ConfigFile::Unknown => None,
        };
        if let Some(before) = before {
            let other = report.sources.get(before.place.source);
            let other = other.map(|source| source.path.clone()).unwrap_or_default();
            let place = Place { source, line: 0, column: 0 };
            report.error(Fault::new(place, format!("says what {other} says; keep one of them")));
        }
    }
    documents
}

/// The layers above the defaults that are for this host, the lowest first. All are checked.
fn layers(
    sources: &Sources<'_>,
    documents: &Documents<'_>,
    defaults: &Node,
    labels: &Value,
    report: &mut Report,
) -> Vec<(LayerKind, Node)> {
    let mut layers = Vec::new();
    if let Some(settings) = &documents.settings {
        layers.extend(layer(LayerKind::Repository, settings, defaults, report));
    }
    for (name, node) in &documents.groups {
        let (when, node) = apart(node, "when");
        let joined = joins(name, when.as_ref(), sources, labels, report);
        let group = layer(LayerKind::Group((*name).to_owned()), &node, defaults, report);
        layers.extend(group.filter(|_| joined));
    }
    for (name, node) in &documents.hosts {
        if let Err(error) = name.parse::<NodeName>() {
            let place = Place { line: 0, column: 0, ..node.place };
            report.error(Fault::new(place, error.to_string()));
        }
        let host = layer(LayerKind::Host, node, defaults, report);
        let own = sources.host.as_ref().is_some_and(|host| host.as_str() == *name);
        layers.extend(host.filter(|_| own));
    }
    if let Some((path, text)) = sources.local {
        let source = report.add(path, text);
        match Node::read(text, source) {
            Ok(file) => {
                let settings = file.entry("settings").map(|entry| &entry.value);
                let settings = settings.filter(|node| node.value != NodeValue::Null);
                layers.extend(
                    settings.and_then(|node| layer(LayerKind::Local, node, defaults, report)),
                );
            }
            Err(error) => {
                let place = Place { source, line: error.line, column: error.column };
                report.error(Fault::new(place, error.message));
            }
        }
    }
    let environment = overrides::of_environment(&sources.environment, defaults, report);
    layers.extend(layer(LayerKind::Environment, &environment, defaults, report));
    let flags = overrides::of_flags(&sources.flags, report);
    layers.extend(layer(LayerKind::Flags, &flags, defaults, report));
    layers.retain(|(_, node)| !node.entries().is_empty());
    layers
}

/// Checks one layer by itself. What is wrong in it does not reach the layers above.
fn layer(
    kind: LayerKind,
    node: &Node,
    defaults: &Node,
    report: &mut Report,
) -> Option<(LayerKind, Node)> {
    if !matches!(node.value, NodeValue::Map(_)) {
        let message = "must be a map of sections, as in `log: { level: debug }`";
        report.error(Fault::new(node.place, message));
        return None;
    }
    report.errors(reserved(&kind, node));
    let mut node = node.clone();
    if kind != LayerKind::Local
        && let NodeValue::Map(entries) = &mut node.value
    {
        entries.retain(|entry| !is_reserved(&entry.key));
    }
    let (settings, faults) = decode::<Settings>(&defaults.overlaid(&node));
    report.errors(faults);
    settings.map(|_| (kind, node))
}

/// Takes a key out of a map.
fn apart(node: &Node, key: &str) -> (Option<Node>, Node) {
    let taken = node.entry(key).map(|entry| entry.value.clone());
    let mut rest = node.clone();
    rest.remove(&[Step::Key(key.to_owned())]);
    (taken, rest)
}

/// Whether a group is for this host: by its `when`, or else by the label `group`.
fn joins(
    name: &str,
    when: Option<&Node>,
    sources: &Sources<'_>,
    labels: &Value,
    report: &mut Report,
) -> bool {
    let Some(when) = when else {
        return sources.labels.get("group").is_some_and(|group| group == name);
    };
    let NodeValue::Text(text) = &when.value else {
        let message = "`when` is a condition in CEL, as in \"labels.role == 'web'\"";
        report.error(Fault::new(when.place, message));
        return false;
    };
    match Expression::condition(text, node_environment()) {
        Ok(condition) => holds_for(&condition, sources.host.as_ref(), labels),
        Err(error) => {
            let fault = expression_fault(report, when.place, text, &error);
            report.error(fault);
            false
        }
    }
}

type Schemas = BTreeMap<ModuleName, Arc<InputSchema>>;

/// The schemas of the modules' inputs.
fn schemas(sources: &Sources<'_>, report: &mut Report) -> Schemas {
    let mut schemas = BTreeMap::new();
    for (name, module) in &sources.modules {
        let Some(text) = &module.input_schema else { continue };
        match InputSchema::compile(text) {
            Ok(schema) => drop(schemas.insert(name.clone(), Arc::new(schema))),
            Err(reason) => {
                let input = module.manifest.as_ref().and_then(|manifest| manifest.input.as_ref());
                let file = input.map_or("", |input| input.file.as_str());
                let source = report.add(&format!("modules/{name}/{file}"), text);
                let place = Place { source, line: 0, column: 0 };
                let message = format!(
                    "the schema of the input cannot be used, so no input is checked: {reason}"
                );
                report.warning(Fault::new(place, message));
            }
        }
    }
    schemas
}

/// The names and limits in `agents` and `modules`, which are not known to the settings themselves.
fn check_names(
    sources: &Sources<'_>,
    documents: &Documents<'_>,
    settings: &Settings,
    merged: &Node,
    report: &mut Report,
) {
    let place = |section: &str, name: &str| {
        let entry = merged.at([section]).and_then(|node| node.entry(name));
        entry.map_or(merged.place, |entry| entry.key_place)
    };
    for name in settings.agents.keys().map(AgentName::as_str) {
        if !documents.agents.contains_key(name) {
            let hint = did_you_mean(name, documents.agents.keys().copied());
            let message = format!("there is no agent `{name}` in `config/agents/`{hint}");
            report.error(Fault::new(place("agents", name), message));
        }
    }
    for (name, own) in &settings.modules {
        let Some(module) = sources.modules.get(name) else {
            let hint = did_you_mean(name.as_str(), sources.modules.keys().map(ModuleName::as_str));
            let message = format!("there is no module `{name}` in `modules/`{hint}");
            report.error(Fault::new(place("modules", name.as_str()), message));
            continue;
        };
        let Some(manifest) = &module.manifest else { continue };
        let most = Limits::DEFAULT.filled(&manifest.limits);
        let wanted = most.filled(&own.limits);
        let above = [
            ("timeout", wanted.timeout > most.timeout, most.timeout.to_string()),
            ("memory", wanted.memory > most.memory, most.memory.to_string()),
            ("cpu", wanted.cpu > most.cpu, most.cpu.to_string()),
            ("processes", wanted.processes > most.processes, most.processes.to_string()),
            ("output", wanted.output > most.output, most.output.to_string()),
            ("disk", wanted.disk > most.disk, most.disk.to_string()),
        ];
        for (key, _, most) in above.into_iter().filter(|(_, above, _)| *above) {
            let node = merged.at(["modules", name.as_str(), "limits", key]);
            let place = node.map_or(place("modules", name.as_str()), |node| node.place);
            let message = format!(
                "limits can only be lowered here, and the manifest of `{name}` asks for `{key}: {most}`"
            );
            report.error(Fault::new(place, message));
        }
    }
}

fn did_you_mean<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> String {
    nearest(name, known).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

/// Names what is in force: the settings, and of each agent its file as it is read, so that neither
/// the order of keys nor what is left out because it is the default makes a difference.
fn digest(
    settings: &Settings,
    files: &[AgentFile],
    agents: &BTreeMap<AgentName, crate::Agent>,
    absent: &BTreeMap<AgentName, Presence>,
) -> Digest {
    let inputs: BTreeMap<_, _> = agents.iter().map(|(name, agent)| (name, &agent.with)).collect();
    let canonical = serde_json::to_vec(&(settings, files, inputs, absent))
        .expect("settings and agents have no map with keys that are not text");
    Digest::of(&canonical)
}
