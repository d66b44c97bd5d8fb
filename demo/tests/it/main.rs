//! The first command of the README shows what it promises.

use std::process::Command;

#[test]
fn the_demonstration_runs_to_its_end() {
    let demo = wachter_testkit::executable("demo");
    let folder = demo.parent().expect("an executable lies in a folder");
    let output = Command::new(&demo)
        .env("WACHTER_BIN_DIR", folder)
        .output()
        .expect("the demonstration starts");
    let said = String::from_utf8_lossy(&output.stdout);
    let talked = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{talked}");
    for words in [
        "release 1 is in force",
        "system-monitor succeeded",
        "greeting.wanted",
        "Good evening",
        "agent greeter waits",
        "valid",
        "release 2 refused",
        "release 3 refused",
        "module hello may not run",
        "asks for more than this host grants: permissions.network: example.com:443",
        "release 1 is in force again",
        "What to do next",
    ] {
        assert!(said.contains(words), "`{words}` is missing in: {said}");
    }
}
