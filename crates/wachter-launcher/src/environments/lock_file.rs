//! What is installed, as the lock file of a module says it, and the name that follows from it.

use wachter_model::Digest;

use crate::interpreter::Interpreter;

/// Names an environment: the lock file, the interpreter, the architecture.
pub(crate) fn key(lock: &[u8], interpreter: &Interpreter) -> Digest {
    let text = format!(
        "wachter-environment v1\n{}\n{}\n{}\n",
        std::env::consts::ARCH,
        interpreter.identity(),
        Digest::of(lock)
    );
    Digest::of(text.as_bytes())
}

/// What makes a lock file depend on something that it does not hold.
const LEADS_ELSEWHERE: [&str; 6] =
    ["-r", "-c", "-e", "--requirement", "--constraint", "--editable"];

/// Whether a lock file says by itself what is installed.
///
/// # Errors
/// It names other files; one sentence.
pub(crate) fn stands_alone(lock: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(lock).map_err(|_| "it is not UTF-8".to_owned())?;
    let line = text.lines().map(str::trim_start).find(|line| {
        LEADS_ELSEWHERE.iter().any(|option| {
            let rest = line.strip_prefix(option);
            rest.is_some_and(|rest| rest.starts_with([' ', '\t', '=']) || option.len() == 2)
        })
    });
    line.map_or(Ok(()), |line| {
        let line: String = line.chars().filter(|character| !character.is_control()).take(80).collect();
        Err(format!(
            "it leads to another file, by `{line}`; put all into one: `uv pip compile --generate-hashes`"
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_lock_file_stands_alone() {
        for (lock, expected) in [
            ("six==1.0 --hash=sha256:00\n# -r more.txt\n--index-url https://a\n", true),
            ("./six-1.0.whl --hash=sha256:00\nr==1 \\\n    --hash=sha256:00\n", true),
            ("six==1.0\n  -r more.txt\n", false),
            ("-rmore.txt", false),
            ("--requirement=more.txt", false),
            ("-e .", false),
            ("-c constraints.txt", false),
        ] {
            assert_eq!(stands_alone(lock.as_bytes()).is_ok(), expected, "{lock}");
        }
        assert!(stands_alone(b"\xff").is_err());
    }

    #[test]
    fn the_key_is_of_lock_and_interpreter() {
        let one = Interpreter::find(Path::new("/usr/bin/env")).unwrap();
        let other = Interpreter::find(Path::new("/usr/bin/tail")).unwrap();
        assert_eq!(key(b"a", &one), key(b"a", &one));
        assert_ne!(key(b"a", &one), key(b"b", &one));
        assert_ne!(key(b"a", &one), key(b"a", &other));
    }
}
