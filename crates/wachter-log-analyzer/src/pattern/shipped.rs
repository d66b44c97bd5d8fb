use serde::Deserialize;

use super::document::{Pattern, PatternError};

/// The files that are part of this program.
const FILES: &[&str] = &[
    include_str!("shipped/access.yaml"),
    include_str!("shipped/applications.yaml"),
    include_str!("shipped/host.yaml"),
    include_str!("shipped/login.yaml"),
    include_str!("shipped/mail.yaml"),
    include_str!("shipped/network.yaml"),
    include_str!("shipped/requests.yaml"),
];

/// Patterns in a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    patterns: Vec<Pattern>,
}

/// The patterns that are part of this program.
///
/// # Errors
/// None that a test would not have found first.
pub fn shipped() -> Result<Vec<Pattern>, PatternError> {
    let mut patterns = Vec::new();
    for text in FILES {
        let file: File =
            wachter_document::read(text).map_err(|error| PatternError::Shipped(Box::new(error)))?;
        patterns.extend(file.patterns);
    }
    for pattern in &mut patterns {
        let mut subjects = pattern.alarms.iter().map(|alarm| &alarm.subject);
        pattern.careful = pattern.programs.is_empty()
            && pattern.request.is_none()
            && subjects.any(|subject| subject.contains("{address}"));
    }
    Ok(patterns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::PatternSet;

    #[test]
    fn the_shipped_patterns_are_right() {
        let patterns = shipped().unwrap();
        assert!(patterns.len() > 100, "{}", patterns.len());
        for pattern in &patterns {
            let request = pattern.request.as_ref();
            let texts = request.map_or(pattern.contains.len(), |request| {
                request.target_contains.len() + request.agent_contains.len() + request.status.len()
            });
            assert!(
                texts + request.map_or(0, |request| request.method.len()) > 0,
                "{}",
                pattern.name
            );
        }
        PatternSet::new(patterns).unwrap();
    }
}
