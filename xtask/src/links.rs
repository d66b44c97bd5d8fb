//! Links between pages lead somewhere, and the book's summary lists every page.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use crate::markdown::Page;
use crate::say;
use crate::verify::Outcome;
use crate::workspace::{Workspace, read_text};

const BOOK: &str = "docs/src";
const SUMMARY: &str = "docs/src/SUMMARY.md";

/// The step of `verify`.
pub(crate) fn step(workspace: &Workspace) -> anyhow::Result<Outcome> {
    let pages = workspace.files(".md")?;
    let mut problems = Vec::new();
    for page in &pages {
        problems.extend(broken(&workspace.root, page)?);
    }
    problems.extend(unlisted(&workspace.root, &pages)?);
    for problem in &problems {
        say::line(&format!("  {problem}"));
    }
    anyhow::ensure!(problems.is_empty(), "{} links are broken or missing", problems.len());
    say::line(&format!("  {} pages", pages.len()));
    Ok(Outcome::Passed)
}

/// The links of one page that lead nowhere.
fn broken(root: &Path, page: &Path) -> anyhow::Result<Vec<String>> {
    let text = read_text(&root.join(page))?;
    let parsed = Page::parse(&text);
    let mut problems = Vec::new();
    for link in &parsed.links {
        if let Some(reason) = problem(root, page, &parsed, link.target)? {
            problems.push(format!("{}:{}: {} {reason}", page.display(), link.line, link.target));
        }
    }
    Ok(problems)
}

fn problem(
    root: &Path,
    page: &Path,
    parsed: &Page<'_>,
    target: &str,
) -> anyhow::Result<Option<&'static str>> {
    let scheme = target.split(['/', '#']).next().is_some_and(|start| start.contains(':'));
    if scheme {
        return Ok(None);
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    if path.is_empty() {
        let known = parsed.anchors.iter().any(|known| known == anchor);
        return Ok((!known).then_some("names a heading that this page has not"));
    }
    let Some(reached) = resolve(page, path) else {
        return Ok(Some("leaves the repository"));
    };
    if page.starts_with(BOOK) && !reached.starts_with(BOOK) {
        return Ok(Some("leaves the book, where the rendered page cannot follow"));
    }
    let full = root.join(&reached);
    if !full.exists() {
        return Ok(Some("does not exist"));
    }
    if anchor.is_empty() || reached.extension().is_none_or(|ending| ending != "md") {
        return Ok(None);
    }
    let text = read_text(&full)?;
    let known = Page::parse(&text).anchors.iter().any(|known| known == anchor);
    Ok((!known).then_some("names a heading that the page has not"))
}

/// Pages of the book that its summary does not list.
fn unlisted(root: &Path, pages: &[PathBuf]) -> anyhow::Result<Vec<String>> {
    let text = read_text(&root.join(SUMMARY))?;
    let summary = Page::parse(&text);
    let listed: BTreeSet<PathBuf> =
        summary.links.iter().filter_map(|link| resolve(Path::new(SUMMARY), link.target)).collect();
    let of_book = pages.iter().filter(|page| page.starts_with(BOOK) && *page != Path::new(SUMMARY));
    Ok(of_book
        .filter(|page| !listed.contains(*page))
        .map(|page| format!("{}: {SUMMARY} does not list it", page.display()))
        .collect())
}

/// Where a link of `page` leads, from the root; nothing when it climbs out of it.
fn resolve(page: &Path, target: &str) -> Option<PathBuf> {
    let mut reached = match target.strip_prefix('/') {
        Some(_) => return None,
        None => page.parent()?.to_owned(),
    };
    for part in Path::new(target).components() {
        match part {
            Component::Normal(name) => reached.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                if !reached.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(reached)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    fn check(page: &str, text: &str, expected: Option<&str>) {
        let folder = folder(&[
            ("README.md", "# Read me\n## More\n"),
            ("docs/src/a.md", "# A page\n"),
            (page, text),
        ]);
        let found = broken(folder.path(), Path::new(page)).unwrap();
        match expected {
            None => assert_eq!(found, Vec::<String>::new(), "{text}"),
            Some(part) => {
                assert_eq!(found.len(), 1, "{text}: {found:?}");
                assert!(found[0].contains(part), "{text}: {found:?}");
            }
        }
    }

    #[test]
    fn links_lead_somewhere() {
        check("x.md", "[a](README.md)", None);
        check("x.md", "[a](./docs/src/a.md#a-page)", None);
        check("x.md", "[a](docs)", None);
        check("x.md", "[a](https://example.org/none) [b](mailto:a@example.org)", None);
        check("x.md", "# Here\n[a](#here)", None);
        check("x.md", "\n[a](none.md)", Some("x.md:2: none.md does not exist"));
        check("x.md", "[a](README.md#less)", Some("names a heading that the page has not"));
        check("x.md", "[a](#less)", Some("names a heading that this page has not"));
        check("x.md", "[a](../x.md)", Some("leaves the repository"));
        check("x.md", "[a](/etc/passwd)", Some("leaves the repository"));
        check("docs/src/b.md", "[a](a.md)", None);
        check("docs/src/b.md", "[a](../../README.md)", Some("leaves the book"));
    }

    #[test]
    fn every_page_of_the_book_is_listed() {
        let folder = folder(&[
            ("docs/src/SUMMARY.md", "- [A](a.md)\n- [B](./deep/b.md)\n"),
            ("docs/src/a.md", ""),
        ]);
        let pages = ["README.md", "docs/src/SUMMARY.md", "docs/src/a.md", "docs/src/deep/b.md"];
        let listed = pages.map(PathBuf::from).to_vec();
        assert_eq!(unlisted(folder.path(), &listed).unwrap(), Vec::<String>::new());
        let with_other = [listed, vec![PathBuf::from("docs/src/c.md")]].concat();
        assert_eq!(
            unlisted(folder.path(), &with_other).unwrap(),
            ["docs/src/c.md: docs/src/SUMMARY.md does not list it"]
        );
    }
}
