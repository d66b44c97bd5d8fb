use std::fmt;

/// The most patterns of one list, and the longest pattern in bytes: OpenSSH's own limit for one.
const MAX_PATTERNS: usize = 256;
const MAX_PATTERN_BYTES: usize = 1024;

/// A pattern list as in `ssh_config(5)`, PATTERNS: `alice,*@example.com,!mallory@*`.
///
/// `*` stands for any number of characters, `?` for one. A list matches when one pattern does and
/// no negated (`!`) one does. Case matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternList(Vec<Pattern>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    negated: bool,
    text: String,
}

/// Why a text is not a pattern list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Nothing between two commas.
    #[error("an empty pattern; remove the extra comma")]
    Empty,
    /// Beyond the limits.
    #[error("at most {MAX_PATTERNS} patterns of {MAX_PATTERN_BYTES} bytes are allowed")]
    TooLong,
    /// A control character, which an eye cannot see.
    #[error("a pattern holds a control character")]
    Control,
    /// Only exclusions.
    #[error("only negated patterns match nothing; add one without `!`, such as `*`")]
    OnlyNegated,
}

impl PatternList {
    /// Parses a comma-separated list.
    ///
    /// # Errors
    /// Lists that can match nothing, or that are too long. OpenSSH takes those silently.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let mut patterns = Vec::new();
        for part in text.split(',') {
            let (negated, part) = match part.strip_prefix('!') {
                Some(rest) => (true, rest),
                None => (false, part),
            };
            match part {
                "" => return Err(PatternError::Empty),
                part if part.chars().any(char::is_control) => return Err(PatternError::Control),
                part if part.len() > MAX_PATTERN_BYTES || patterns.len() == MAX_PATTERNS => {
                    return Err(PatternError::TooLong);
                }
                part => patterns.push(Pattern { negated, text: part.to_owned() }),
            }
        }
        if patterns.iter().all(|pattern| pattern.negated) {
            return Err(PatternError::OnlyNegated);
        }
        Ok(Self(patterns))
    }

    /// Whether the list matches `text`.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let mut found = false;
        for pattern in self.0.iter().filter(|pattern| matches(&pattern.text, text)) {
            if pattern.negated {
                return false;
            }
            found = true;
        }
        found
    }
}

/// Matches one pattern in time proportional to the product of the lengths, whatever the pattern.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut seen) = (0, 0);
    // Where to go on when the text after the last `*` does not fit: one more byte into the `*`.
    let mut star: Option<(usize, usize)> = None;
    while seen < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[seen] => {
                at += 1;
                seen += 1;
            }
            _ => match star {
                Some((star_at, star_seen)) => {
                    star = Some((star_at, star_seen + 1));
                    (at, seen) = (star_at + 1, star_seen + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

impl fmt::Display for PatternList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, pattern) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let negation = if pattern.negated { "!" } else { "" };
            write!(f, "{comma}{negation}{}", pattern.text)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(list: &str, text: &str, expected: bool) {
        assert_eq!(PatternList::parse(list).unwrap().matches(text), expected, "{list} on {text}");
    }

    #[test]
    fn follows_ssh_config() {
        check("alice", "alice", true);
        check("alice", "Alice", false);
        check("alice,bob", "bob", true);
        check("*@example.com", "a@example.com", true);
        check("*@example.com", "a@example.com.evil", false);
        check("?", "", false);
        check("a?c", "abc", true);
        check("*", "", true);
        check("a*b*c", "axxbyyc", true);
        check("a*b*c", "axxbyy", false);
        check("*,!mallory", "mallory", false);
        check("!mallory,*", "mallory", false);
        check("!mallory,*", "alice", true);
    }

    #[test]
    fn refuses_lists_that_match_nothing() {
        for bad in
            ["", ",", "a,", "!", "!a", "!a,!b", "a\u{7}", &"a".repeat(1025), &"a,".repeat(300)]
        {
            assert!(PatternList::parse(bad).is_err(), "{bad}");
        }
    }

    /// The definition, with no thought for time.
    fn slow(pattern: &[u8], text: &[u8]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len()).any(|skip| slow(rest, &text[skip..])),
            Some((byte, rest)) => text
                .split_first()
                .is_some_and(|(head, tail)| (*byte == b'?' || byte == head) && slow(rest, tail)),
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab*?]{0,7}", text in "[ab]{0,8}") {
            prop_assert_eq!(matches(&pattern, &text), slow(pattern.as_bytes(), text.as_bytes()));
        }

        #[test]
        fn any_text_is_parsed_or_refused(list: String, text: String) {
            if let Ok(parsed) = PatternList::parse(&list) {
                let _ = parsed.matches(&text);
                prop_assert_eq!(PatternList::parse(&parsed.to_string()), Ok(parsed));
            }
        }
    }
}
