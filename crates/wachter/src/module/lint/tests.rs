use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::module::{PACKAGES, PYTHON, SHELL, new};

const GOOD: &str = "name: probe
version: 1.2.0
description: Looks.
capabilities: [probe.look]
runtime: { kind: process, entrypoint: ./main.sh }
permissions: {}
limits: { timeout: 30s, memory: 32MiB }
input: { $ref: input.schema.json }
emits: [probe.seen]
";
const SCHEMA: &str = r#"{ "type": "object", "additionalProperties": false,
    "properties": { "path": { "type": "string", "description": "Where." } } }"#;
const SCRIPT: &str = "#!/bin/sh\nfinding probe.seen low 1 a b c\n";

/// A module in a folder of its own, with some files otherwise, or gone.
fn module(changes: &[(&str, Option<&str>)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let good = [("module.yaml", GOOD), ("input.schema.json", SCHEMA), ("main.sh", SCRIPT)];
    let files = good.iter().map(|(path, text)| (*path, Some(*text)));
    for (path, text) in files.chain(changes.iter().copied()) {
        let file = folder.path().join(path);
        match text {
            Some(text) => {
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(&file, text).unwrap();
                let mode = if path == "main.sh" { 0o755 } else { 0o644 };
                fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            }
            None => fs::remove_file(&file).unwrap(),
        }
    }
    folder
}

fn said(changes: &[(&str, Option<&str>)]) -> Vec<String> {
    let folder = module(changes);
    let prefix = format!("{}/", folder.path().display());
    problems_of(folder.path()).iter().map(|one| one.to_string().replace(&prefix, "")).collect()
}

#[test]
fn a_good_module_has_no_problem() {
    assert_eq!(said(&[]), Vec::<String>::new());
}

#[test]
fn each_problem_is_told_at_its_place() {
    let manifest = |from: &str, to: &str| {
        assert!(GOOD.contains(from), "{from}");
        vec![("module.yaml".to_owned(), Some(GOOD.replacen(from, to, 1)))]
    };
    let permissions = |asked: &str| manifest("permissions: {}", &format!("permissions: {asked}"));
    let file = |path: &str, text: &str| vec![(path.to_owned(), Some(text.to_owned()))];
    let cases = [
        (manifest("name: probe", "nam: probe"), "module.yaml: "),
        (manifest("main.sh", "other.sh"), "the entrypoint `other.sh` is not among the files"),
        (
            manifest("description: Looks.\n", ""),
            "module.yaml:1:1: warning: it has no `description`",
        ),
        (manifest("capabilities: [probe.look]\n", ""), "it names no `capabilities`"),
        (manifest("1.2.0", "\"12\""), "module.yaml:2:1: warning: version `12` is not like 1.2.3"),
        (manifest(", memory: 32MiB", ""), "`limits` leaves out memory"),
        (
            permissions("{ filesystem: { read: [/etc] } }"),
            "module.yaml:6:37: warning: it asks to read the whole of `/etc`",
        ),
        (permissions("{ filesystem: { write: [/usr] } }"), "to write the whole of `/usr`"),
        (permissions("{ exec: [/bin/bash] }"), "`/bin/bash` runs whatever it is told"),
        (permissions("{ exec: [/usr/bin] }"), "all programs in `/usr/bin`"),
        (permissions("{ user: root }"), "it asks to run as root"),
        (permissions("{ groups: [docker] }"), "whoever is in the group `docker`"),
        (permissions("{ network: [\"a.example:80\"] }"), "spoken to in the clear"),
        (
            manifest("[probe.seen]", "[probe.seen, run.done]"),
            "`run.done` looks like word of the node",
        ),
        (
            manifest("[probe.seen]", "[probe.seen, probe.gone]"),
            "module.yaml:9:21: warning: `emits` names `probe.gone`",
        ),
        (manifest("input: { $ref: input.schema.json }\n", ""), "it has no schema of its input"),
        (file("input.schema.json", "{"), "input.schema.json: it is no JSON Schema"),
        (file("input.schema.json", r#"{ "type": 1 }"#), "input.schema.json: it is no JSON Schema"),
        (file("input.schema.json", r#"{ "properties": {} }"#), "it takes any other key too"),
        (
            file(
                "input.schema.json",
                r#"{ "additionalProperties": false, "properties": { "a": {} } }"#,
            ),
            "nothing describes `a`",
        ),
        (file("main.sh~", ""), "main.sh~: warning: it was left behind by a tool"),
        (file("__pycache__/a.pyc", ""), "__pycache__/a.pyc: warning: it was left behind"),
        (file("key", "-----BEGIN OPENSSH PRIVATE KEY-----\n"), "key: it holds a private key"),
        (file("key", "# ann\nAGE-SECRET-KEY-1AAA\n"), "key: it holds a private key"),
        (file("main.sh", "echo probe.seen\n"), "main.sh: it is a text without `#!`"),
        (file("main.sh", "#!/bin/sh\r\n# probe.seen\n"), "its lines end as on Windows"),
        (file("main.sh", "#!/opt/none/ruby\n# probe.seen\n"), "its interpreter, `/opt/none/ruby`"),
        (file("main.sh", "#!/usr/bin/env -S nonesuch\n# probe.seen\n"), "is not on this machine"),
        (
            file("module.digests", "wachter-module v1 probe 1.1.0\n"),
            "it was changed after it was signed",
        ),
    ];
    for (changes, expected) in cases {
        let changes: Vec<_> =
            changes.iter().map(|(path, text)| (path.as_str(), text.as_deref())).collect();
        let said = said(&changes);
        assert_eq!(said.len(), 1, "{expected}: {said:?}");
        assert!(said[0].contains(expected), "{expected}: {}", said[0]);
    }
}

#[test]
fn what_we_make_ourselves_is_good() {
    let folder = tempfile::tempdir().unwrap();
    for (number, template) in [SHELL, PYTHON, PACKAGES].into_iter().enumerate() {
        let path = folder.path().join(number.to_string());
        new(&"probe".parse().unwrap(), template, Some(path.clone()), Format::Human).unwrap();
        assert_eq!(problems_of(&path), []);
    }
}

#[test]
fn requirements_have_digests() {
    let python = GOOD.replace(
        "kind: process, entrypoint: ./main.sh",
        "kind: python, entrypoint: ./main.sh, requirements: a.lock",
    );
    let lock = "# made by uv\n--index-url https://pypi.org/simple\nrequests==2.32.3 \\\n    --hash=sha256:aa\nidna==3.10\n";
    let said = said(&[("module.yaml", Some(&python)), ("a.lock", Some(lock))]);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("a.lock: `idna==3.10` without a digest"), "{said:?}");
    let lock = "-r more.txt\n";
    let said = self::said(&[("module.yaml", Some(&python)), ("a.lock", Some(lock))]);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("`-r more.txt` leads to another file"), "{said:?}");
}

#[test]
fn what_is_no_module_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let found = problems_of(folder.path());
    assert_eq!((found.len(), found[0].severity), (1, ProblemSeverity::Error));
    std::os::unix::fs::symlink("/etc/passwd", folder.path().join("a")).unwrap();
    fs::write(folder.path().join("module.yaml"), GOOD).unwrap();
    let found = problems_of(folder.path());
    assert!(found[0].message.contains("neither a file nor a folder"), "{}", found[0].message);
}

#[test]
fn places_are_counted_in_characters() {
    assert_eq!(place_of("ä: b\nc: d", "d"), (2, 4));
    assert_eq!(place_of("ä: b", "b"), (1, 4));
    assert_eq!(place_of("a", "b"), (0, 0));
    assert_eq!(place_of("a", ""), (0, 0));
}
