use std::io::{self, Read as _};
use std::path::Path;

use serde_json::Value;
use wachter_file::read_limited;

use crate::failure::CommandError;

/// The most that is read: more than the node takes, so that the node says what is too much.
const LARGEST: u64 = 8 << 20;

/// Reads the value of an option: JSON itself, `@FILE`, or `-` for stdin.
///
/// # Errors
/// The file cannot be read, or what was given is no JSON; says where.
pub(crate) fn json_argument(word: &str) -> Result<Value, CommandError> {
    match word.strip_prefix('@') {
        Some(path) => json_file(path),
        None if word == "-" => json_file("-"),
        None => serde_json::from_str(word).map_err(|error| {
            CommandError::usage(format!(
                "`{}` is no JSON: {error}; a text is written with quotes, as in '\"text\"', a file as @FILE",
                shortened(word)
            ))
        }),
    }
}

/// Reads a file of JSON, or stdin where it is called `-`.
///
/// # Errors
/// It cannot be read, or is no JSON; says where.
pub(crate) fn json_file(path: &str) -> Result<Value, CommandError> {
    let (name, read) = if path == "-" {
        ("stdin", read_stdin())
    } else {
        (path, read_limited(Path::new(path), LARGEST))
    };
    let bytes =
        read.map_err(|error| CommandError::failed(format!("cannot read {name}: {error}")))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| CommandError::usage(format!("{name} is no JSON: {error}")))
}

fn read_stdin() -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::stdin().lock().take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::other(format!("it is larger than {LARGEST} bytes")));
    }
    Ok(bytes)
}

fn shortened(word: &str) -> String {
    let short: String = word.chars().take(40).collect();
    if short.len() < word.len() { format!("{short}...") } else { short }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn arguments() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.json");
        std::fs::write(&path, "{\n  \"a\": }\n").unwrap();
        let wrong = format!("@{}", path.display());
        let error = json_argument(&wrong).unwrap_err().message;
        assert!(
            error.contains("data.json is no JSON") && error.contains("line 2 column 8"),
            "{error}"
        );
        std::fs::write(&path, "[1]").unwrap();
        assert_eq!(json_argument(&wrong).unwrap(), json!([1]));
        assert_eq!(json_argument("{\"a\": \"b\"}").unwrap(), json!({ "a": "b" }));
        for (word, words) in
            [("text", "with quotes"), ("", "no JSON"), ("@/nowhere", "cannot read")]
        {
            let error = json_argument(word).unwrap_err().message;
            assert!(error.contains(words), "{error}");
        }
    }

    proptest! {
        #[test]
        fn every_word_is_json_or_an_error(word in "[^@-].*") {
            let read = json_argument(&word).ok();
            prop_assert_eq!(read, serde_json::from_str::<Value>(&word).ok());
        }
    }
}
