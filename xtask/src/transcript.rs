//! Comparing what a command printed with what a page says it prints.
//!
//! `...` inside a line stands for any text within that line; a line of only `...` stands for any
//! number of lines, none included. White space at the ends of lines does not count.

const ANYTHING: &str = "...";

/// Whether the whole output is as expected.
pub(crate) fn matches(expected: &[&str], actual: &[&str]) -> bool {
    // reach[n]: the patterns so far can account for exactly the first n lines.
    let mut reach = vec![false; actual.len() + 1];
    reach[0] = true;
    for pattern in expected {
        reach = advance(&reach, pattern.trim() == ANYTHING, |at| line_matches(pattern, actual[at]));
    }
    reach[actual.len()]
}

/// Whether one line is as expected.
fn line_matches(pattern: &str, line: &str) -> bool {
    let (pattern, line) = (pattern.trim_end(), line.trim_end());
    let mut parts = pattern.split(ANYTHING);
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        // The earliest place leaves the most for the parts that follow.
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

fn advance(reach: &[bool], any_lines: bool, fits: impl Fn(usize) -> bool) -> Vec<bool> {
    let mut next = vec![false; reach.len()];
    for at in 0..reach.len() {
        next[at] = if any_lines {
            reach[at] || at > 0 && next[at - 1]
        } else {
            at > 0 && reach[at - 1] && fits(at - 1)
        };
    }
    next
}

/// Both sides line by line: what fits at the start and the end is shown once, the rest as `-`
/// (expected) and `+` (printed).
pub(crate) fn difference(expected: &[&str], actual: &[&str]) -> String {
    let fits = |(pattern, line): &(&&str, &&str)| {
        pattern.trim() != ANYTHING && line_matches(pattern, line)
    };
    let start = expected.iter().zip(actual).take_while(fits).count();
    let (expected_rest, actual_rest) = (&expected[start..], &actual[start..]);
    let end = expected_rest.iter().rev().zip(actual_rest.iter().rev()).take_while(fits).count();
    let mut shown = Vec::new();
    let mut push = |sign: char, lines: &[&str]| {
        shown.extend(lines.iter().map(|line| format!("{sign} {line}")));
    };
    push(' ', &actual[..start]);
    push('-', &expected_rest[..expected_rest.len() - end]);
    push('+', &actual_rest[..actual_rest.len() - end]);
    push(' ', &actual_rest[actual_rest.len() - end..]);
    shown.join("\n")
}

/// The number, from one, of the first line in which two texts differ, with both lines.
pub(crate) fn first_difference<'a>(
    left: &'a str,
    right: &'a str,
) -> Option<(usize, &'a str, &'a str)> {
    let (mut left, mut right) = (left.split('\n'), right.split('\n'));
    for number in 1.. {
        match (left.next(), right.next()) {
            (None, None) => break,
            (one, other) if one == other => {}
            (one, other) => {
                return Some((number, one.unwrap_or_default(), other.unwrap_or_default()));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(expected: &str, actual: &str, fits: bool) {
        let (expected, actual): (Vec<_>, Vec<_>) =
            (expected.lines().collect(), actual.lines().collect());
        assert_eq!(matches(&expected, &actual), fits, "{expected:?} against {actual:?}");
    }

    #[test]
    fn lines() {
        check("", "", true);
        check("", "a", false);
        check("a", "", false);
        check("a\nb", "a\nb", true);
        check("a\nb", "b\na", false);
        check("a  ", "a", true);
        check("  a", "a", false);
    }

    #[test]
    fn anything_within_a_line() {
        check("ran in ... ms", "ran in 12 ms", true);
        check("ran in ... ms", "ran in 12 s", false);
        check("a...", "a", true);
        check("...b", "aab", true);
        check("a...a", "a", false);
        check("x...y...x", "x1y2x", true);
        check("x...y...x", "x1x2y", false);
        check("a...", "b\na", false);
    }

    #[test]
    fn anything_over_lines() {
        check("...", "", true);
        check("...", "a\nb", true);
        check("a\n...\nb", "a\nb", true);
        check("a\n...\nb", "a\nx\nb\ny\nb", true);
        check("a\n...\nb", "a\nx\nb\ny", false);
        check("...\nb\n...", "a\nb\nc", true);
        check("...\nb\n...", "a\nc", false);
        check("  ...", "a\nb", true);
    }

    #[test]
    fn a_difference_shows_both_sides() {
        assert_eq!(
            difference(&["same", "old ...", "end"], &["same", "new 1", "new 2", "end"]),
            "  same\n- old ...\n+ new 1\n+ new 2\n  end"
        );
        assert_eq!(difference(&["a", "a"], &["a"]), "  a\n- a");
    }

    #[test]
    fn the_first_differing_line_is_numbered() {
        assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
        assert_eq!(first_difference("a\nb\n", "a\nc\n"), Some((2, "b", "c")));
        assert_eq!(first_difference("a\n", "a"), Some((2, "", "")));
    }

    proptest! {
        #[test]
        fn text_matches_itself(lines in prop::collection::vec("[a-z ]{0,6}", 0..6)) {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            prop_assert!(matches(&lines, &lines));
        }

        #[test]
        fn hiding_any_run_of_lines_still_matches(
            lines in prop::collection::vec("[ab.]{0,4}", 1..8), from in 0_usize..8, to in 0_usize..8,
        ) {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let (from, to) = (from.min(lines.len()), to.min(lines.len()));
            prop_assume!(from <= to);
            let mut hidden = lines[..from].to_vec();
            hidden.push(ANYTHING);
            hidden.extend(&lines[to..]);
            prop_assert!(matches(&hidden, &lines));
        }

        #[test]
        fn a_difference_never_panics(
            one in prop::collection::vec("[ab.]{0,4}", 0..6), other in prop::collection::vec("[ab.]{0,4}", 0..6),
        ) {
            let one: Vec<&str> = one.iter().map(String::as_str).collect();
            let other: Vec<&str> = other.iter().map(String::as_str).collect();
            difference(&one, &other);
            matches(&one, &other);
        }
    }
}
