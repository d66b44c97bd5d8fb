//! `name=value` pairs: values with spaces, quotes or control characters stand in quotes, with the
//! escapes of JSON.

use serde_json::Value;

/// A pair, and whether its value stood in quotes.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) name: String,
    pub(crate) text: String,
    quoted: bool,
}

impl Pair {
    /// A value without quotes that is a number or a truth value is one.
    pub(crate) fn into_field(self) -> (String, Value) {
        let plain = (!self.quoted)
            .then(|| serde_json::from_str::<Value>(&self.text).ok())
            .flatten()
            .filter(|value| !value.is_string());
        (self.name, plain.unwrap_or(Value::String(self.text)))
    }
}

/// Escapes as JSON does, and also what a terminal would obey.
pub(crate) fn escape_into(text: &mut String, raw: &str) {
    for character in raw.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            character if unsafe_to_show(character) => {
                let mut units = [0; 2];
                for unit in character.encode_utf16(&mut units) {
                    text.push_str(&format!("\\u{unit:04x}"));
                }
            }
            character => text.push(character),
        }
    }
}

/// Control characters, and those that change the direction of what follows.
fn unsafe_to_show(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

pub(crate) fn unescape(text: &str) -> Option<String> {
    serde_json::from_str(&format!("\"{text}\"")).ok()
}

/// A value, in quotes where it must be.
pub(crate) fn value(raw: &str) -> String {
    let plain = !raw.is_empty()
        && raw.chars().all(|character| {
            !character.is_whitespace()
                && !unsafe_to_show(character)
                && !matches!(character, '"' | '\\' | '=')
        });
    if plain { raw.to_owned() } else { quoted(raw) }
}

/// A text that must not be taken for a number or a truth value.
pub(crate) fn text_value(raw: &str) -> String {
    if serde_json::from_str::<Value>(raw).is_ok() { quoted(raw) } else { value(raw) }
}

fn quoted(raw: &str) -> String {
    let mut text = String::from("\"");
    escape_into(&mut text, raw);
    text.push('"');
    text
}

pub(crate) fn unquote(text: &str) -> Option<String> {
    match text.strip_prefix('"') {
        Some(rest) => unescape(rest.strip_suffix('"')?),
        None => Some(text.to_owned()),
    }
}

/// All of a text as pairs; none where it is not only pairs.
pub(crate) fn pairs(mut text: &str) -> Option<Vec<Pair>> {
    let mut pairs = Vec::new();
    loop {
        let (pair, rest) = pair(text)?;
        pairs.push(pair);
        match rest.strip_prefix(' ') {
            Some(rest) => text = rest,
            None if rest.is_empty() => return Some(pairs),
            None => return None,
        }
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(
            |byte| matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b'-'),
        )
}

fn pair(text: &str) -> Option<(Pair, &str)> {
    let (name, rest) = text.split_once('=')?;
    if !is_name(name) {
        return None;
    }
    let name = name.to_owned();
    let Some(inner) = rest.strip_prefix('"') else {
        let end = rest.find(' ').unwrap_or(rest.len());
        let (value, rest) = rest.split_at(end);
        return Some((Pair { name, text: value.to_owned(), quoted: false }, rest));
    };
    let mut escaped = false;
    let end = inner.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })?;
    let text = unescape(&inner[..end])?;
    Some((Pair { name, text, quoted: true }, &inner[end + 1..]))
}

/// Takes the longest run of pairs off the end.
pub(crate) fn split_fields(text: &str) -> (&str, Vec<Pair>) {
    let starts = text.match_indices(' ').map(|(index, _)| index);
    for start in starts {
        if let Some(pairs) = pairs(&text[start + 1..]) {
            return (&text[..start], pairs);
        }
    }
    (text, Vec::new())
}
