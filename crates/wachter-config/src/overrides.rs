//! Settings of the environment and of the command line, as trees.

use wachter_document::{Entry, Fault, Node, NodeValue, Place, nearest};

use crate::problem::Report;

/// What variables of ours begin with.
const PREFIX: &str = "WACHTER_";

/// Settings of the environment: `WACHTER_LOG_LEVEL` is `log.level`. Variables that name no section
/// are other programs' or commands' own.
pub(crate) fn of_environment(
    variables: &[(&str, &str)],
    defaults: &Node,
    report: &mut Report,
) -> Node {
    let mut tree = Node::empty(Place::default());
    for (name, value) in variables {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        let section = defaults.entries().iter().find_map(|entry| {
            let rest = rest.strip_prefix(&variable(&entry.key))?.strip_prefix('_')?;
            Some((entry, rest))
        });
        let Some((section, rest)) = section else { continue };
        let source = report.add(&format!("environment variable {name}"), value);
        let place = Place { source, line: 0, column: 0 };
        let mut path = vec![section.key.clone()];
        if !resolve(&section.value, rest, &mut path) {
            let known = defaults.leaves();
            let known: Vec<_> =
                known.iter().map(|(path, _)| format!("{PREFIX}{}", variable(path))).collect();
            let hint = match nearest(name, known.iter().map(String::as_str)) {
                Some(known) => format!("did you mean `{known}`?"),
                None => "the page on configuration lists them".to_owned(),
            };
            report.error(Fault::new(place, format!("there is no such setting: {hint}")));
            continue;
        }
        tree = tree.overlaid(&single(&path, scalar(value, source, place), place));
    }
    tree
}

/// Settings of the command line.
pub(crate) fn of_flags(flags: &[(&str, &str)], report: &mut Report) -> Node {
    let mut tree = Node::empty(Place::default());
    for (path, value) in flags {
        let source = report.add(&format!("--set {path}={value}"), value);
        let place = Place { source, line: 0, column: 0 };
        let path: Vec<_> = path.split('.').map(str::to_owned).collect();
        tree = tree.overlaid(&single(&path, scalar(value, source, place), place));
    }
    tree
}

fn variable(path: &str) -> String {
    path.replace(['.', '-'], "_").to_uppercase()
}

/// Finds the keys that a variable's name stands for: both join words with `_`.
fn resolve(node: &Node, rest: &str, path: &mut Vec<String>) -> bool {
    for entry in node.entries() {
        let Some(after) = rest.strip_prefix(&variable(&entry.key)) else { continue };
        path.push(entry.key.clone());
        let deeper = after.strip_prefix('_');
        if after.is_empty() || deeper.is_some_and(|rest| resolve(&entry.value, rest, path)) {
            return true;
        }
        path.pop();
    }
    false
}

/// A value as YAML has it; text that is no YAML is text.
fn scalar(value: &str, source: usize, place: Place) -> Node {
    let read = Node::read(value, source).map(|node| node.value);
    Node { value: read.unwrap_or_else(|_| NodeValue::Text(value.to_owned())), place }
}

fn single(path: &[String], value: Node, place: Place) -> Node {
    path.iter().rev().fold(value, |value, key| Node {
        value: NodeValue::Map(vec![Entry { key: key.clone(), key_place: place, value }]),
        place,
    })
}
