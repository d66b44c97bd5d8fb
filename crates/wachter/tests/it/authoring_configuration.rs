//! `wachter check`, `config show` and `diff`.

use std::path::Path;

use crate::author::Author;

#[test]
fn a_mistake_is_told_with_its_place_before_it_is_committed() {
    let author = Author::with_repository();
    author.wachter(&["check"]).succeeds();
    author.write(
        "config/agents/watch.yaml",
        "name: watch\nmodule: system-monitor\non: { evry: 1m }\n",
    );
    author.write("config/hosts/web-1.yaml", "log: { level: loud }\n");
    let outcome = author.wachter(&["check"]);
    outcome.fails(3, "the configuration is invalid: 2 to put right");
    for expected in [
        "config/agents/watch.yaml:3:7: unknown key `evry`: did you mean `every`?",
        "config/hosts/web-1.yaml:1:15:",
        "^",
    ] {
        assert!(outcome.stdout.contains(expected), "{expected}: {}", outcome.stdout);
    }
}

#[test]
fn each_value_says_who_set_it() {
    let author = Author::with_repository();
    author.write("config/wachter.yaml", "log: { level: warn }\n");
    author.write("config/hosts/web-1.yaml", "log: { level: debug }\n");
    let row = |arguments: &[&str]| {
        let outcome = author.wachter(&[&["config", "show", "log.level"], arguments].concat());
        outcome.succeeds();
        outcome.stdout.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(row(&[]), "log.level \"warn\"");
    let expected =
        "log.level \"debug\" config/hosts/web-1.yaml:1, over config/wachter.yaml:1, over defaults";
    assert!(row(&["--host", "web-1", "--origin"]).starts_with(expected));
    author.wachter(&["config", "show", "log.levle"]).fails(1, "there is no value at or below");
}

#[test]
fn a_difference_is_that_of_a_host_and_not_of_files() {
    let author = Author::with_repository();
    author.write("config/hosts/web-1.yaml", "log: { level: debug }\n");
    author.commit();
    let of = |host: &str| {
        let outcome = author.wachter(&["diff", "HEAD~1..", "--host", host]);
        outcome.succeeds();
        format!("{}{}", outcome.stdout, outcome.stderr)
    };
    assert!(of("web-2").contains("nothing would change"), "{}", of("web-2"));
    let text = of("web-1").split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("log.level \"info\" \"debug\""), "{text}");
    author.wachter(&["diff", "nothing..HEAD"]).fails(1, "`nothing` is no commit");
}

#[test]
fn scaffolded_files_name_the_schema_that_an_editor_completes_by() {
    let author = Author::with_repository();
    author.wachter(&["module", "new", "other", "--language", "python"]).succeeds();
    let schema = |name: &str| author.wachter(&["schema", name]).succeeds().stdout.clone();
    let check = |path: &str, name: &str| {
        let text = author.read(path);
        let named = text.lines().next().unwrap().split_once("$schema=").unwrap().1;
        let folder = Path::new(path).parent().unwrap().join(named);
        assert_eq!(author.read(folder.to_str().unwrap()), schema(name), "{path}");
    };
    check("config/agents/system-monitor.yaml", "agent");
    check("modules/other/module.yaml", "manifest");
    author.write(".schemas/agent.v1.schema.json", "{}");
    author.wachter(&["schema", "--write"]).succeeds();
    check("config/agents/system-monitor.yaml", "agent");
    // Elsewhere there is none to name.
    author.wachter(&["module", "new", "lone", "--folder", "elsewhere/lone"]).succeeds();
    assert!(author.read("elsewhere/lone/module.yaml").starts_with("name: lone"));
}
