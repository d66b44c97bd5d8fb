//! Which programs a module's own file needs to be executed: those that its first line names.

use std::path::{Path, PathBuf};

/// The folders that `env` looks in, inside.
const PATH: [&str; 2] = ["/usr/bin", "/bin"];

/// The interpreters of a script (execve(2)), none for a binary. `#!/usr/bin/env NAME` and
/// `#!/usr/bin/env -S NAME …` need both.
pub(crate) fn interpreters(begin: &[u8]) -> Vec<PathBuf> {
    let Some(line) = begin.strip_prefix(b"#!") else { return Vec::new() };
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Ok(line) = std::str::from_utf8(line) else { return Vec::new() };
    let mut words = line.split_ascii_whitespace();
    let Some(first) = words.next().map(PathBuf::from) else { return Vec::new() };
    let mut found = vec![first.clone()];
    if first.file_name().is_some_and(|name| name == "env")
        && let Some(name) = words.find(|word| !word.starts_with('-') && !word.contains('='))
    {
        if name.starts_with('/') {
            found.push(name.into());
        } else if !name.contains('/') {
            found.extend(PATH.map(|folder| Path::new(folder).join(name)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_lines() {
        for (begin, expected) in [
            (&b"\x7fELF"[..], &[][..]),
            (b"#!/bin/sh\nexit", &["/bin/sh"]),
            (b"#! /bin/sh -e\n", &["/bin/sh"]),
            (b"#!/usr/bin/env python3\n", &["/usr/bin/env", "/usr/bin/python3", "/bin/python3"]),
            (
                b"#!/usr/bin/env -S python3 -I\n",
                &["/usr/bin/env", "/usr/bin/python3", "/bin/python3"],
            ),
            (b"#!/usr/bin/env ../../root/x\n", &["/usr/bin/env"]),
            (b"#!\n", &[]),
            (b"#!\xff\n", &[]),
        ] {
            let expected: Vec<PathBuf> = expected.iter().map(PathBuf::from).collect();
            assert_eq!(interpreters(begin), expected, "{}", begin.escape_ascii());
        }
    }
}
