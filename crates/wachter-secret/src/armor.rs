//! ASCII armor: the strict PEM of RFC 7468, with the label of age.

use std::borrow::Cow;

use base64ct::{Base64, Encoding as _};

const BEGIN: &str = "-----BEGIN AGE ENCRYPTED FILE-----";
const END: &str = "-----END AGE ENCRYPTED FILE-----";

/// Takes the armor off, where there is one; none where there is one that is not right.
pub(crate) fn remove(file: &[u8]) -> Option<Cow<'_, [u8]>> {
    // A binary file begins with its version.
    if file.starts_with(b"age-") {
        return Some(Cow::Borrowed(file));
    }
    let text = std::str::from_utf8(file).ok()?.trim_matches(|c: char| c.is_ascii_whitespace());
    let mut lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    if lines.next()? != BEGIN {
        return None;
    }
    let lines: Vec<&str> = lines.collect();
    let (end, lines) = lines.split_last()?;
    let (last, full) = lines.split_last()?;
    // Every line is full but the last, which is not empty.
    let right =
        *end == END && full.iter().all(|line| line.len() == 64) && (1..=64).contains(&last.len());
    right.then(|| Base64::decode_vec(&lines.concat()).ok()).flatten().map(Cow::Owned)
}

/// Puts armor on.
#[cfg(feature = "seal")]
pub(crate) fn add(file: &[u8]) -> String {
    let body = Base64::encode_string(file);
    let mut text = format!("{BEGIN}\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(END);
    text.push('\n');
    text
}
