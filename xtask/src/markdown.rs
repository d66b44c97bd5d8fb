//! As much of Markdown as the checks need: fenced blocks, links, headings.
//!
//! Follows CommonMark 0.31 for fences (section 4.5), code spans (6.1) and inline links (6.3), as far
//! as these pages use them; a link that spans two lines is not seen.

/// A fenced block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fence<'a> {
    /// What stands behind the opening fence: `console,test`.
    pub(crate) info: &'a str,
    /// The number of the first line inside, from one.
    pub(crate) line: usize,
    pub(crate) lines: Vec<&'a str>,
}

/// Where a link stands and where it leads.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Link<'a> {
    pub(crate) line: usize,
    pub(crate) target: &'a str,
}

/// A page, taken apart.
pub(crate) struct Page<'a> {
    pub(crate) fences: Vec<Fence<'a>>,
    pub(crate) links: Vec<Link<'a>>,
    /// The anchors that headings make, as GitHub and mdBook make them.
    pub(crate) anchors: Vec<String>,
}

impl<'a> Page<'a> {
    /// Takes a page apart. Any text is a page; a fence that is never closed runs to the end.
    pub(crate) fn parse(text: &'a str) -> Self {
        let mut page = Self { fences: Vec::new(), links: Vec::new(), anchors: Vec::new() };
        let mut open: Option<(&str, Fence<'a>)> = None;
        for (number, line) in (1..).zip(text.lines()) {
            match open.take() {
                Some((fence, block)) if closes(line, fence) => page.fences.push(block),
                Some((fence, mut block)) => {
                    block.lines.push(line);
                    open = Some((fence, block));
                }
                None => match opens(line) {
                    Some((fence, info)) => {
                        open = Some((fence, Fence { info, line: number + 1, lines: Vec::new() }));
                    }
                    None => page.prose(number, line),
                },
            }
        }
        page.fences.extend(open.map(|(_, block)| block));
        page
    }

    fn prose(&mut self, number: usize, line: &'a str) {
        if let Some(title) = line.strip_prefix('#').map(|rest| rest.trim_start_matches('#'))
            && title.starts_with(' ')
        {
            let anchor = anchor(title.trim());
            let before = self.anchors.iter().filter(|known| **known == anchor).count();
            self.anchors.push(if before == 0 { anchor } else { format!("{anchor}-{before}") });
        }
        self.links.extend(links(line).map(|target| Link { line: number, target }));
    }
}

/// The fence and the info string of a line that opens a block.
fn opens(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start();
    ['`', '~'].into_iter().find_map(|sign| {
        let info = line.trim_start_matches(sign);
        let fence = &line[..line.len() - info.len()];
        (fence.len() >= 3 && !info.contains(sign)).then_some((fence, info.trim()))
    })
}

fn closes(line: &str, fence: &str) -> bool {
    let line = line.trim();
    line.len() >= fence.len() && line.chars().all(|sign| fence.starts_with(sign))
}

/// The targets of the links of a line: `[text](target)` and `[label]: target`.
fn links(line: &str) -> impl Iterator<Item = &str> {
    let reference = line
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("]: "))
        .filter(|(label, _)| !label.starts_with('^'))
        .and_then(|(_, target)| target.split_whitespace().next());
    // Text between backticks is code: every second part of a line split at them.
    let prose = line.split('`').step_by(2);
    let inline = prose.flat_map(|part| {
        part.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
    });
    // `[`code`](target)`: the label ends behind the code, so its part begins with `](`.
    inline.filter_map(|target| target.split_whitespace().next()).chain(reference)
}

/// The anchor of a heading: lower case, hyphens for spaces, other punctuation gone.
fn anchor(title: &str) -> String {
    let kept = title.chars().filter(|sign| sign.is_alphanumeric() || " -_".contains(*sign));
    kept.flat_map(char::to_lowercase).map(|sign| if sign == ' ' { '-' } else { sign }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check_links(text: &str, expected: &[&str]) {
        let found: Vec<_> = Page::parse(text).links.iter().map(|link| link.target).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn links_are_found_outside_code() {
        check_links("see [a](b.md) and [c](d.md#e \"title\")", &["b.md", "d.md#e"]);
        check_links("[`code`](a.md)", &["a.md"]);
        check_links("`[a](b.md)`", &[]);
        check_links("```\n[a](b.md)\n```\n[c](d.md)", &["d.md"]);
        check_links("[label]: target.md", &["target.md"]);
        check_links("![picture](p.svg)", &["p.svg"]);
        check_links("a [broken](link", &[]);
        check_links("`a` then [b](c.md) then `d`", &["c.md"]);
    }

    #[test]
    fn fences_know_their_lines() {
        let page = Page::parse("text\n```console,test\n$ true\n```\n~~~~\n```\n~~~~\n```open");
        let infos: Vec<_> =
            page.fences.iter().map(|fence| (fence.info, fence.line, fence.lines.clone())).collect();
        assert_eq!(
            infos,
            [("console,test", 3, vec!["$ true"]), ("", 6, vec!["```"]), ("open", 9, Vec::new())]
        );
    }

    #[test]
    fn headings_make_anchors() {
        let page = Page::parse("# A title, with `code`\n## Again\n## Again\n#no\n```\n# not\n```");
        assert_eq!(page.anchors, ["a-title-with-code", "again", "again-1"]);
    }

    proptest! {
        #[test]
        fn any_text_is_a_page(text in "[`~#\\[\\]() a\n:$]{0,80}") {
            let page = Page::parse(&text);
            let lines = text.lines().count();
            prop_assert!(page.links.iter().all(|link| link.line <= lines));
            prop_assert!(page.fences.iter().all(|fence| fence.line <= lines + 1));
        }
    }
}
