//! `wachter support-bundle`, `completions` and `man`, and the layout of the data folder.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::site::Site;

const SECRET: &str = "correct-horse-battery";

#[test]
fn a_bundle_of_a_node_that_has_stopped_has_no_secrets() {
    let mut site = Site::new();
    site.ok(&["sync"]);
    site.ok(&["exec", "hello"]);
    fs::create_dir(site.path("data/logs")).unwrap();
    let lines = format!(
        "cannot fetch https://ann:{SECRET}@git.example.com/infra.git\npassword={SECRET} host=db-7\nthe token was {SECRET}x\n"
    );
    fs::write(site.path("data/logs/node.log"), lines).unwrap();
    // A token that looks like nothing: its value alone gives it away.
    let local = fs::read_to_string(site.path("node.yaml")).unwrap();
    let local =
        local.replace("repository:\n", "repository:\n  credential: { environment: GIT_TOKEN }\n");
    fs::write(site.path("node.yaml"), local).unwrap();
    site.set("GIT_TOKEN", format!("{SECRET}x"));

    let listed = site.json(&["support-bundle", "--list"]);
    assert_eq!(listed["file"], Value::Null);
    let file = site.path("bundle.tar.gz");
    let written = site.json(&["support-bundle", "--file", file.to_str().unwrap()]);
    let names = |value: &Value| -> Vec<String> {
        let entries = value["entries"].as_array().unwrap();
        entries.iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&listed), names(&written));
    for name in [
        "configuration.json",
        "doctor.json",
        "files.txt",
        "host.json",
        "local-file.yaml",
        "logs/node.log",
        "missing.txt",
        "runs.json",
        "state.json",
        "status.json",
        "trust.yaml",
        "versions.json",
    ] {
        assert!(names(&written).iter().any(|known| known == name), "no {name}: {written}");
    }
    // A node that does not run is told, and stops nothing.
    assert!(written["missing"].to_string().contains("no node answers"), "{written}");

    let folder = site.path("unpacked");
    fs::create_dir(&folder).unwrap();
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(&file).arg("--strip-components=1").arg("-C").arg(&folder);
    assert!(tar.status().unwrap().success());
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    for name in names(&written) {
        assert!(!read(&name).contains(SECRET), "{name}: {}", read(&name));
    }
    assert_eq!(
        read("logs/node.log"),
        "cannot fetch https://[redacted]@git.example.com/infra.git\npassword=[redacted] host=db-7\nthe token was [redacted]\n"
    );
    let json = |name: &str| serde_json::from_str::<Value>(&read(name)).unwrap();
    assert_eq!(json("runs.json")[0]["outcome"], "succeeded");
    assert_eq!(json("runs.json")[0].get("output"), None);
    assert_eq!(json("status.json")["deployed"]["release"]["sequence"], 1);
    assert_eq!(json("versions.json")["layout"], 1);
    let launcher = json("versions.json")["launcher"].to_string();
    assert!(launcher.contains("wachter-launcher 0."), "{launcher}");
    let values = json("configuration.json")["values"].clone();
    let value = |path: &str| {
        let mut values = values.as_array().unwrap().iter();
        values.find(|value| value["path"] == path).cloned().unwrap_or_default()
    };
    let every = value("agent.hello.on.schedule.every");
    assert_eq!(every["value"], "200ms", "{values}");
    assert_eq!(every["origins"][0]["path"], "config/agents/hello.yaml");
    assert!(!values.to_string().contains("Good day"), "what a module is told stays: {values}");

    let again = site.wachter(&["support-bundle", "--file", file.to_str().unwrap()]);
    assert_eq!(again.code, 1);
    assert!(again.stderr.contains("name another file with --file"), "{}", again.stderr);
}

#[test]
fn a_bundle_is_made_without_a_local_file_too() {
    let site = Site::new();
    fs::write(site.path("node.yaml"), "version: 1\nnonsense: 1\n").unwrap();
    let written = site.json(&["support-bundle", "--list"]);
    assert!(written["missing"].to_string().contains("unknown key `nonsense`"), "{written}");
    assert!(written["entries"].to_string().contains("versions.json"));
}

#[test]
fn completions_and_manual_pages_are_written() {
    let site = Site::new();
    let script = site.ok(&["completions", "bash"]);
    fs::write(site.path("wachter.bash"), script).unwrap();
    let checked = Command::new("bash").arg("-n").arg(site.path("wachter.bash")).output().unwrap();
    assert!(checked.status.success() && checked.stderr.is_empty(), "{checked:?}");
    assert_eq!(site.wachter(&["completions", "csh"]).code, 2);
    let folder = site.path("man");
    let names = site.json(&["man", "--directory", folder.to_str().unwrap()]);
    for name in names.as_array().unwrap() {
        let page = fs::read_to_string(folder.join(name.as_str().unwrap())).unwrap();
        assert!(page.contains(".TH "), "{name}");
    }
    assert!(names.as_array().unwrap().contains(&json!("wachter-support-bundle.1")));
    let said = site.wachter(&["man", "--directory", "/proc/nowhere"]);
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert!(said.stderr.contains("name another folder with --directory"), "{}", said.stderr);
}

#[test]
fn a_data_folder_of_a_newer_version_is_refused_and_an_older_one_taken_on() {
    let site = Site::new();
    fs::create_dir_all(site.path("data/runs/2026-11-20")).unwrap();
    fs::write(site.path("data/schema"), "2\n").unwrap();
    let said = site.wachter(&["run"]);
    assert_eq!(said.code, 1);
    assert!(said.stderr.contains("written by a newer version of Wachter"), "{}", said.stderr);
    assert!(said.stderr.contains("upgrade Wachter, or restore a backup"), "{}", said.stderr);
    fs::remove_file(site.path("data/schema")).unwrap();
    let mut node = site.start();
    node.hear("release 1 is in force");
    assert_eq!(fs::read_to_string(site.path("data/schema")).unwrap(), "1\n");
    assert!(site.path("data/before-journal/runs/2026-11-20").is_dir());
}
