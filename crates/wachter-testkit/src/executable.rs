use std::path::PathBuf;

/// Where an executable of the workspace is: in the folder that `WACHTER_BIN_DIR` names, or where
/// cargo puts it beside the tests.
///
/// # Panics
/// It was not built; the message says how to.
#[must_use]
pub fn executable(name: &str) -> PathBuf {
    let folder = std::env::var_os("WACHTER_BIN_DIR").map_or_else(beside_tests, PathBuf::from);
    let path = folder.join(name);
    assert!(path.exists(), "{} is missing; run `cargo build --workspace`", path.display());
    path
}

fn beside_tests() -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path is known");
    // target/debug/deps/test-<hash>
    test.ancestors().nth(2).expect("tests lie two folders deep").to_owned()
}
