use std::path::{Path, PathBuf};

/// A file or folder of third parties, in the folder that `WACHTER_FIXTURES` names. None where it is
/// absent, which is said.
///
/// # Panics
/// It is absent in continuous integration: a test that skips in silence is no test.
#[must_use]
#[expect(clippy::print_stdout, reason = "whoever runs a test is to see that it was skipped")]
pub fn fixture(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("WACHTER_FIXTURES").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures"),
        PathBuf::from,
    );
    let path = folder.join(name);
    if path.exists() {
        return Some(path);
    }
    let strict = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(!strict, "{} is missing; set WACHTER_FIXTURES", path.display());
    println!("skipped: {} is missing; set WACHTER_FIXTURES", path.display());
    None
}
