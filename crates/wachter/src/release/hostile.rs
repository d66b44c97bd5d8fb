//! What no node takes into its hands, told to the author before it is released.

use std::collections::BTreeMap;

use wachter_gitops::TreeLimits;
use wachter_trust::FileMode;

use crate::failure::CommandError;
use crate::git::{Git, TreeLine};

/// Folders whose files are signed one by one, or read by nodes: no links.
const WITHOUT_LINKS: [&str; 3] = ["config", "modules", "trust"];

/// What is wrong with the files of a commit, one sentence each.
///
/// # Errors
/// A link that cannot be read.
pub(crate) fn problems(git: &Git, lines: &[TreeLine]) -> Result<Vec<String>, CommandError> {
    let mut problems = sizes(lines, &TreeLimits::default());
    let mut seen = BTreeMap::new();
    for line in lines {
        let path = line.path.escape_debug();
        match mode(&line.mode) {
            None if line.mode == "160000" => {
                problems.push(format!("{path} is a submodule; put the files themselves there"));
            }
            None => problems.push(format!(
                "{path} has mode {}, which no release may hold; `git add` it again",
                line.mode
            )),
            Some(FileMode::Symlink) => {
                let target = git.run(&["cat-file", "blob", &line.id], b"")?;
                if let Some(reason) = bad_link(&line.path, &String::from_utf8_lossy(&target)) {
                    problems.push(format!("{path} is a link {reason}"));
                }
            }
            Some(_) => {}
        }
        if let Some(other) = case_clash(&mut seen, &line.path) {
            problems.push(format!(
                "{path} differs from {} only in case; rename one",
                other.escape_debug()
            ));
        }
    }
    Ok(problems)
}

/// What kind of file Git's digits mean, if a release may hold it.
pub(crate) fn mode(digits: &str) -> Option<FileMode> {
    [FileMode::Regular, FileMode::Executable, FileMode::Symlink]
        .into_iter()
        .find(|mode| mode.as_str() == digits)
}

fn sizes(lines: &[TreeLine], limits: &TreeLimits) -> Vec<String> {
    let mut problems = Vec::new();
    if lines.len() > limits.entries {
        problems.push(format!("there are {} files; {} is the most", lines.len(), limits.entries));
    }
    let total: u64 = lines.iter().map(|line| line.size).sum();
    if total > limits.total_bytes {
        problems.push(format!(
            "all files together have {total} bytes; {} is the most",
            limits.total_bytes
        ));
    }
    for line in lines {
        let path = line.path.escape_debug();
        if line.size > limits.file_bytes {
            problems
                .push(format!("{path} has {} bytes; {} is the most", line.size, limits.file_bytes));
        }
        if line.path.len() > limits.path_bytes || line.path.matches('/').count() > limits.depth {
            problems.push(format!(
                "{path} lies too deep or is too long; {} folders and {} bytes are the most",
                limits.depth, limits.path_bytes
            ));
        }
    }
    problems
}

/// Why a link is refused.
fn bad_link(path: &str, target: &str) -> Option<&'static str> {
    let (top, _) = path.split_once('/').unwrap_or((path, ""));
    if WITHOUT_LINKS.contains(&top) {
        return Some("in a folder that may have none; put the file itself there");
    }
    if target.starts_with('/') || target.is_empty() {
        return Some("to an absolute path; make it relative");
    }
    let mut depth = path.matches('/').count();
    for part in target.split('/') {
        match part {
            "." => {}
            ".." if depth == 0 => return Some("out of the repository; put the file itself there"),
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    None
}

/// The file or folder seen before that some file systems take for the same as one on this path.
fn case_clash<'a>(seen: &mut BTreeMap<String, &'a str>, path: &'a str) -> Option<&'a str> {
    let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
    let mut clash = None;
    for part in ends.map(|end| &path[..end]) {
        let first = *seen.entry(part.to_lowercase()).or_insert(part);
        clash = clash.or(Some(first).filter(|first| *first != part));
    }
    clash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_inside() {
        let check = |path: &str, target: &str, expected: &str| {
            let reason = bad_link(path, target).unwrap_or_default();
            assert!(
                reason.contains(expected) && reason.is_empty() == expected.is_empty(),
                "{path} -> {target}: {reason}"
            );
        };
        check("docs/a", "../README.md", "");
        check("a", "./b", "");
        check("a", "../b", "out of the repository");
        check("docs/a", "b/../../../c", "out of the repository");
        check("docs/a", "/etc/passwd", "absolute");
        check("docs/a", "", "absolute");
        check("config/a", "b", "may have none");
        check("modules", "b", "may have none");
    }

    #[test]
    fn case_counts_for_folders_too() {
        let check = |paths: &[&str], expected: Option<&str>| {
            let mut seen = BTreeMap::new();
            let clashes: Vec<_> =
                paths.iter().filter_map(|path| case_clash(&mut seen, path)).collect();
            assert_eq!(clashes.first().copied(), expected, "{paths:?}");
        };
        check(&["a/x", "a/y", "b"], None);
        check(&["A", "a"], Some("A"));
        check(&["A/x", "a/y"], Some("A"));
        check(&["a/X", "a/x"], Some("a/X"));
    }

    #[test]
    fn limits_are_those_of_a_node() {
        let line = |path: &str, size| TreeLine {
            mode: "100644".into(),
            id: String::new(),
            size,
            path: path.into(),
        };
        let limits = TreeLimits::default();
        assert!(sizes(&[line("a", limits.file_bytes)], &limits).is_empty());
        assert_eq!(sizes(&[line("a", limits.file_bytes + 1)], &limits).len(), 1);
        assert_eq!(sizes(&vec![line("a", limits.file_bytes); 9], &limits).len(), 1);
        assert_eq!(sizes(&[line(&"a/".repeat(limits.depth + 1), 0)], &limits).len(), 1);
    }
}
