use regex::{Regex, RegexBuilder};

/// The longest pattern, in bytes.
pub(crate) const MAX_PATTERN_BYTES: usize = 256;

/// A regular expression that takes time linear in the text, and how much for each byte.
#[derive(Debug)]
pub(crate) struct Pattern {
    regex: Regex,
    /// Steps for each byte of text, by the size of the compiled program: matching may have to follow
    /// every state of it at once.
    steps: u64,
}

/// Sizes of compiled programs in bytes, and what a byte of text costs with them.
const TIERS: [(usize, u64); 4] = [(1 << 10, 1), (1 << 12, 3), (1 << 14, 10), (1 << 16, 40)];

impl Pattern {
    pub(crate) fn compile(pattern: &str) -> Result<Self, String> {
        if pattern.len() > MAX_PATTERN_BYTES {
            return Err(format!(
                "it has {} bytes, {MAX_PATTERN_BYTES} are the most",
                pattern.len()
            ));
        }
        let mut refused = String::new();
        for (size, steps) in TIERS {
            match RegexBuilder::new(pattern).size_limit(size).nest_limit(16).build() {
                Ok(regex) => return Ok(Self { regex, steps }),
                Err(regex::Error::CompiledTooBig(_)) => {
                    refused = "it grows too large when it is compiled; repeat less".to_owned();
                }
                Err(error) => {
                    // The first lines repeat the pattern.
                    let message = error.to_string();
                    let last = message.lines().last().unwrap_or_default();
                    return Err(last.trim_start_matches("error: ").to_owned());
                }
            }
        }
        Err(refused)
    }

    /// The steps that matching a text of `length` bytes takes.
    pub(crate) const fn cost(&self, length: usize) -> u64 {
        (length as u64).saturating_mul(self.steps)
    }

    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}
