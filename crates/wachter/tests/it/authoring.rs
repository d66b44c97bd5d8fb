//! The author's commands, as a person uses them: `init`, `sign`, `release`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::author::{Author, Outcome};

#[test]
fn from_an_empty_home_to_a_release_that_git_and_openssh_agree_with() {
    let author = Author::new();
    let made = author.wachter(&["init", "--yes", "--name", "alice", "fleet"]);
    made.succeeds();
    let key = author.home().join(".config/wachter/keys/alice");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o7777, 0o600);
    assert!(made.stderr.contains("never copy it to a node"), "{}", made.stderr);
    let author = author.within("fleet");
    assert_eq!(author.git(&["status", "--porcelain"]), "");

    assert_eq!(author.plan(&["sign", "--check"])[0]["state"], "current");
    let dry = author.wachter(&["release", "--dry-run"]);
    dry.succeeds();
    assert!(dry.stdout.contains("asks to see host cpu"), "{}", dry.stdout);
    assert_eq!(author.git(&["tag"]), "");
    let released = author.wachter(&["release", "--yes"]);
    released.succeeds();
    assert!(released.stdout.contains("signed: tag wachter/1"), "{}", released.stdout);

    let allowed =
        author.wachter(&["trust", "allowed-signers", "release"]).succeeds().stdout.clone();
    fs::write(author.home().join("allowed"), allowed).unwrap();
    let allowed = format!("gpg.ssh.allowedSignersFile={}", author.home().join("allowed").display());
    author.git(&["-c", &allowed, "verify-tag", "wachter/1"]);

    let modules = author.wachter(&["trust", "allowed-signers", "module"]).succeeds().stdout.clone();
    author.openssh_agrees(
        "alice",
        "wachter-module",
        &modules,
        "modules/system-monitor/module.digests",
        "modules/system-monitor/module.sig",
    );
    let root = format!("alice {}", fs::read_to_string(key.with_extension("pub")).unwrap());
    author.openssh_agrees(
        "alice",
        "wachter-trust",
        &root,
        "trust/trust.yaml",
        "trust/trust.yaml.sig",
    );
}

#[test]
fn a_node_takes_what_was_released() {
    let author = Author::with_repository();
    author.wachter(&["release", "--yes"]).succeeds();
    let accepted = author.node_takes(1);
    assert_eq!(accepted["tree"], author.plan(&["release", "--dry-run"])["tree"]);
}

#[test]
fn init_without_a_launcher_says_what_was_not_found_out() {
    let author = Author::new();
    let made = author.wachter(&["init", "--yes", "--launcher", "/nonexistent", "fleet"]);
    made.succeeds();
    assert!(made.stderr.contains("run `wachter doctor`"), "{}", made.stderr);
    author.wachter(&["release", "--yes", "--repository", "fleet"]).succeeds();
}

#[test]
fn init_overwrites_nothing_and_can_be_repeated() {
    let author = Author::with_repository();
    let before = author.git(&["rev-parse", "HEAD"]);
    let local = fs::read(author.home().join("node.yaml")).unwrap();
    let again = author.wachter(&["init", "--yes", "--name", "alice"]);
    again.succeeds();
    assert!(again.stderr.contains("trust/trust.yaml exists"), "{}", again.stderr);
    assert_eq!(author.git(&["rev-parse", "HEAD"]), before);
    assert_eq!(author.git(&["status", "--porcelain"]), "");
    assert_eq!(fs::read(author.home().join("node.yaml")).unwrap(), local);

    fs::create_dir(author.folder().join("inner")).unwrap();
    author.wachter(&["init", "--yes", "inner"]).fails(3, "lies in the Git repository");
    let fresh = Author::new();
    let key = fresh.new_key("mine");
    fs::create_dir(fresh.home().join("fleet")).unwrap();
    fs::copy(key.private(), fresh.home().join("fleet/mine")).unwrap();
    for (option, place) in [
        ("--generate-key", "fleet/key"),
        ("--generate-key", "fleet/a/b/key"),
        ("--generate-key", "keys/../fleet/key"),
        ("--key", "fleet/mine"),
    ] {
        let place = fresh.home().join(place).display().to_string();
        let outcome = fresh.wachter(&["init", "--yes", option, &place, "fleet"]);
        outcome.fails(3, "must not lie in the repository");
    }
    assert!(!fresh.home().join("fleet/key").exists());
}

#[test]
fn the_local_file_pins_the_root_and_the_repository() {
    let author = Author::with_repository();
    let text = fs::read_to_string(author.home().join("node.yaml")).unwrap();
    let trust = fs::read_to_string(author.folder().join("trust/trust.yaml")).unwrap();
    let id = trust.lines().find_map(|line| line.strip_prefix("repository: ")).unwrap();
    let key = fs::read_to_string(author.home().join(".config/wachter/keys/alice.pub")).unwrap();
    for expected in [id, key.trim_end(), "host: [cpu, ", &author.folder().display().to_string()] {
        assert!(text.contains(expected), "{expected} is not in {text}");
    }
    let shown = author.plan(&["trust", "show"]);
    assert_eq!(
        (&shown["holds"], &shown["serial"]),
        (&Value::Bool(true), &Value::from(1)),
        "{shown}"
    );
}

#[test]
fn another_host_joins_by_what_a_first_one_prints() {
    let author = Author::with_repository();
    author.wachter(&["release", "--yes"]).succeeds();
    let printed = author.wachter(&["join", "--print"]).succeeds().stdout.clone();
    let words = printed.trim().trim_end_matches('\'').replace(" --root '", " --root ");
    let (command, root) = words.split_once(" --root ").unwrap();
    let words: Vec<&str> = command.split(' ').skip(1).chain(["--root", root]).collect();
    let file = author.home().join("second.yaml");
    let second = ["--local-file", file.to_str().unwrap()];
    let labelled = ["--label", "role=web", "--ring", "stable"];
    author.wachter(&[&words[..], &labelled, &second].concat()).succeeds();
    let written = fs::read_to_string(&file).unwrap();
    assert!(written.contains("\n  \"role\": \"web\"\n"), "{written}");
    let verified = author.wachter(&[&["verify"][..], &second].concat());
    assert!(
        verified.succeeds().stdout.starts_with("release 1 would be accepted, signed by alice\n")
    );
    let again = author.wachter(&[&words[..], &second].concat());
    again.fails(3, "this host belongs to somebody already");
    assert_eq!(fs::read_to_string(&file).unwrap(), written);
    fs::remove_file(&file).unwrap();
    let mut wrong = words;
    *wrong.last_mut().unwrap() = "ssh-ed25519 AAAA x";
    author.wachter(&[&wrong[..], &second].concat()).fails(2, "ssh-ed25519 AAAA x");
    assert!(!file.exists());
}

#[test]
fn a_changed_module_is_not_released_before_it_is_signed() {
    let author = Author::with_repository();
    author.wachter(&["release", "--yes"]).succeeds();
    let manifest = author.read("modules/system-monitor/module.yaml");
    author.write(
        "modules/system-monitor/module.yaml",
        &manifest
            .replace("version: 0.1.0", "version: 0.2.0")
            .replace("permissions:", "permissions:\n  network: [\"example.com:443\"]"),
    );
    let check = author.wachter(&["sign", "--check"]);
    check.fails(3, "1 of 1 modules must be signed");
    assert!(check.stdout.contains("changed module.yaml"), "{}", check.stdout);
    author
        .wachter(&["release", "--yes"])
        .fails(3, "not committed: modules/system-monitor/module.yaml");
    author.commit();
    author.wachter(&["release", "--yes"]).fails(3, "`module.yaml` is not what was signed");
    author.wachter(&["sign", "system-monitor"]).succeeds();
    author.wachter(&["sign", "--check"]).succeeds();
    author.commit();
    let plan = author.plan(&["release", "--yes"]);
    assert_eq!((&plan["sequence"], &plan["previous"]), (&Value::from(2), &Value::from(1)));
    let module = &plan["modules"][0];
    assert_eq!(
        (&module["before"], &module["after"]),
        (&Value::from("0.1.0"), &Value::from("0.2.0"))
    );
    assert_eq!(module["asks_more"], serde_json::json!(["connect to example.com:443"]));
    assert_eq!((&plan["complete"], &plan["tag"]), (&Value::Bool(true), &Value::from("wachter/2")));
    // Signing what is signed changes nothing.
    author.wachter(&["sign", "--all"]).succeeds();
    assert_eq!(author.git(&["status", "--porcelain"]), "");
}

#[test]
fn what_nodes_would_refuse_is_not_released() {
    let check = |prepare: fn(&Author), arguments: &[&str], code: i32, expected: &str| {
        let author = Author::with_repository();
        prepare(&author);
        let outcome = author.wachter(&[&["release", "--yes"], arguments].concat());
        outcome.fails(code, expected);
        assert_eq!(author.git(&["tag"]), "", "{expected}");
    };
    check(|author| author.write("new", "x"), &[], 3, "not committed: new");
    check(
        |author| {
            author.write(
                "modules/other/module.yaml",
                "name: other\nversion: 1.0.0\nruntime: { kind: builtin, entrypoint: other }\n",
            );
            author.commit();
        },
        &[],
        3,
        "modules/other: it is not signed; run `wachter sign other`",
    );
    check(
        |author| {
            author.write(
                "config/agents/a.yaml",
                "name: a\nmodule: system-monitr\non: { every: 30s }\n",
            );
            author.commit();
        },
        &[],
        3,
        "did you mean `system-monitor`?",
    );
    check(
        |author| {
            std::os::unix::fs::symlink(
                "/etc/passwd",
                author.folder().join("config/agents/link.yaml"),
            )
            .unwrap();
            author.commit();
        },
        &[],
        3,
        "`config/agents/link.yaml` is a symbolic link in a folder that may have none",
    );
    check(
        |author| {
            author.write("a/FILE", "");
            author.write("a/file", "");
            author.commit();
        },
        &[],
        3,
        "the folder `a` holds `FILE` and `file`, which differ by case alone",
    );
    check(
        |author| {
            let trust = author.read("trust/trust.yaml");
            author.write("trust/trust.yaml", &trust.replace("serial: 1", "serial: 2"));
            author.commit();
        },
        &[],
        3,
        "of 1 required root keys signed the trust file",
    );
    check(|_| {}, &["--ring", "early"], 3, "has no ring `early`; it has stable");
    check(|_| {}, &["--not-after", "2020-01-01"], 2, "is past");
    check(|_| {}, &["--not-after", "soon"], 2, "is no date");
    check(|_| {}, &["--cosign", "7"], 1, "git fetch --tags");
}

#[test]
fn a_release_descends_from_the_one_before() {
    let author = Author::with_repository();
    author.write("note", "1");
    author.commit();
    author.wachter(&["release", "--yes"]).succeeds();
    author.git(&["reset", "-q", "--hard", "HEAD~1"]);
    author.write("note", "2");
    author.commit();
    author.wachter(&["release", "--yes"]).fails(3, "does not descend from release 1");
}

#[test]
fn a_forged_tag_does_not_choose_what_is_shown() {
    let author = Author::with_repository();
    author.wachter(&["release", "--yes"]).succeeds();
    author.write("config/agents/README.md", "slipped in\n");
    author.commit();
    // Someone who can push tags hides that change behind a release of their own.
    let real = author.git(&["cat-file", "tag", "wachter/1"]);
    let statement = real.split_once("\n\n").unwrap().1.split("-----BEGIN").next().unwrap();
    let commit = author.git(&["rev-parse", "HEAD"]);
    let old = author.git(&["rev-parse", "wachter/1^{commit}"]);
    let forged = statement
        .replace(&old, &commit)
        .replace("sequence 1\n", "sequence 2\n")
        .replace("previous none", "previous 1");
    let mallory = author.new_key("mallory");
    author.tag("wachter/2", &commit, &forged, &mallory);
    author.write("later", "");
    author.commit();
    let outcome = author.wachter(&["release", "--yes"]);
    outcome.succeeds();
    assert!(
        outcome
            .stderr
            .contains("release 2 is not compared with: nobody signed it whose key is good now"),
        "{}",
        outcome.stderr
    );
    assert!(outcome.stdout.contains("changed  config/agents/README.md"), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("signed: tag wachter/3"), "{}", outcome.stdout);
}

#[test]
fn a_release_made_with_git_alone_counts() {
    let author = Author::with_repository();
    author.wachter(&["release", "--yes"]).succeeds();
    let real = author.git(&["cat-file", "tag", "wachter/1"]);
    let statement = real.split_once("\n\n").unwrap().1.split("-----BEGIN").next().unwrap();
    let second =
        statement.replace("sequence 1\n", "sequence 2\n").replace("previous none", "previous 1");
    let private = author.home().join(".config/wachter/keys/alice").display().to_string();
    author.tag_with(&private, "wachter/2", "HEAD", &second);
    let plan = author.plan(&["release", "--dry-run"]);
    assert_eq!(
        (&plan["sequence"], &plan["previous"]),
        (&Value::from(3), &Value::from(2)),
        "{plan}"
    );
}

#[test]
fn without_a_local_file_the_roots_are_said_to_be_unknown() {
    let author = Author::new();
    author.wachter(&["init", "--yes", "--no-local-file", "--release", "fleet"]).succeeds();
    assert!(!author.home().join("node.yaml").exists());
    let author = author.within("fleet");
    assert_eq!(author.git(&["tag"]), "wachter/1");
    let outcome = author.wachter(&["release", "--dry-run"]);
    outcome.succeeds();
    assert!(outcome.stderr.contains("name them with --root"), "{}", outcome.stderr);
    let root = author.home().join(".config/wachter/keys/alice.pub").display().to_string();
    let outcome = author.wachter(&["release", "--dry-run", "--root", &root]);
    assert!(!outcome.succeeds().stderr.contains("--root"), "{}", outcome.stderr);
    let stranger = format!("{}.pub", author.new_key("stranger").private().display());
    author
        .wachter(&["release", "--dry-run", "--root", &stranger])
        .fails(3, "0 of 1 required root keys");
    assert_eq!(author.plan(&["trust", "show"])["holds"], false);
    assert_eq!(author.plan(&["trust", "show", "--root", &root])["holds"], true);
}

#[test]
fn the_release_is_pushed_with_its_branch() {
    let author = Author::with_repository();
    let server = author.home().join("server.git").display().to_string();
    author.git(&["init", "-q", "--bare", &server]);
    author.git(&["remote", "add", "origin", &server]);
    author.wachter(&["release", "--yes", "--push"]).succeeds();
    let listed = author.git(&["ls-remote", &server]);
    assert!(
        listed.contains("refs/heads/main") && listed.contains("refs/tags/wachter/1"),
        "{listed}"
    );
    author
        .wachter(&["release", "--yes", "--push", "nowhere"])
        .fails(1, "the release is made and lies here");
}

#[test]
fn a_module_that_no_node_could_run_is_not_signed() {
    const MANIFEST: &str =
        "name: tool\nversion: 1.0.0\nruntime: { kind: process, entrypoint: ./main.sh }\n";
    let check = |prepare: fn(&Author), expected: &str| {
        let author = Author::with_repository();
        author.write("modules/tool/module.yaml", MANIFEST);
        author.write("modules/tool/main.sh", "#!/bin/sh\n");
        author.executable("modules/tool/main.sh");
        prepare(&author);
        let outcome = author.wachter(&["sign", "tool"]);
        if expected.is_empty() {
            outcome.succeeds();
            author.wachter(&["sign", "--check"]).succeeds();
        } else {
            outcome.fails(3, expected);
            assert!(!author.folder().join("modules/tool/module.sig").exists(), "{expected}");
        }
    };
    check(|_| {}, "");
    check(
        |author| author.remove("modules/tool/main.sh"),
        "the entrypoint `main.sh` is not among the files",
    );
    check(
        |author| {
            let path = author.folder().join("modules/tool/main.sh");
            fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
        },
        "`chmod +x` it",
    );
    check(
        |author| author.write("modules/tool/module.yaml", &MANIFEST.replace("tool", "other")),
        "must agree",
    );
    check(
        |author| author.write("modules/tool/module.yaml", &MANIFEST.replace("kind:", "knd:")),
        "did you mean `kind`?",
    );
    check(
        |author| {
            author.write(
                "modules/tool/module.yaml",
                &format!("{MANIFEST}input: {{ $ref: in.json }}\n"),
            );
        },
        "names `in.json`",
    );
    check(
        |author| {
            std::os::unix::fs::symlink("main.sh", author.folder().join("modules/tool/link"))
                .unwrap();
        },
        "link is neither a file nor a folder",
    );
    check(
        |author| {
            author.write(".gitignore", "*.pyc\n");
            author.write("modules/tool/a.pyc", "");
        },
        "Git ignores modules/tool/a.pyc",
    );
}

#[test]
fn outside_of_a_repository_it_says_what_to_do() {
    let author = Author::new();
    for arguments in [&["sign", "--all"][..], &["release", "--yes"], &["trust", "show"]] {
        author.wachter(arguments).fails(1, "set one up with `wachter init`");
    }
    author.wachter(&["init"]).fails(2, "give --yes");
    let author = Author::with_repository();
    author.wachter(&["sign"]).fails(2, "name the modules to sign");
    author.wachter(&["sign", "nothing"]).fails(2, "there are: system-monitor");
    author.wachter(&["release"]).fails(2, "no terminal to ask on");
    let inside: Outcome = author.within("modules/system-monitor").wachter(&["sign"]);
    inside.succeeds();
    assert!(inside.stdout.contains("unchanged"), "{}", inside.stdout);
}
