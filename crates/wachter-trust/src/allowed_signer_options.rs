//! The options of a line of an `allowed_signers` file.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

use crate::{LineError, PatternList};

/// What stands between the principals and the key of a line.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) cert_authority: bool,
    pub(crate) namespaces: Option<PatternList>,
    pub(crate) valid_after: Option<Timestamp>,
    pub(crate) valid_before: Option<Timestamp>,
    pub(crate) verify_required: bool,
}

impl Options {
    /// Reads comma-separated options, with no space outside quotation marks.
    pub(crate) fn parse(&mut self, mut text: &str) -> Result<(), LineError> {
        loop {
            let end = text.find(['=', ',']).unwrap_or(text.len());
            let (keyword, rest) = text.split_at(end);
            let keyword = keyword.to_ascii_lowercase();
            text = match keyword.as_str() {
                "cert-authority" => {
                    set_flag(&mut self.cert_authority, "cert-authority")?;
                    rest
                }
                "verify-required" => {
                    set_flag(&mut self.verify_required, "verify-required")?;
                    rest
                }
                "namespaces" => {
                    let (value, rest) = quoted(rest, "namespaces")?;
                    let list = PatternList::parse(&value).map_err(LineError::Namespaces)?;
                    set(&mut self.namespaces, list, "namespaces")?;
                    rest
                }
                "valid-after" => {
                    let (value, rest) = quoted(rest, "valid-after")?;
                    set(&mut self.valid_after, parse_time(&value)?, "valid-after")?;
                    rest
                }
                "valid-before" => {
                    let (value, rest) = quoted(rest, "valid-before")?;
                    set(&mut self.valid_before, parse_time(&value)?, "valid-before")?;
                    rest
                }
                _ => return Err(unknown_option(text)),
            };
            text = match text.strip_prefix(',') {
                Some(next) => next,
                None if text.is_empty() => return Ok(()),
                None => return Err(unknown_option(text)),
            };
        }
    }
}

fn unknown_option(text: &str) -> LineError {
    LineError::UnknownOption(text.split(',').next().unwrap_or_default().chars().take(80).collect())
}

fn set_flag(flag: &mut bool, name: &'static str) -> Result<(), LineError> {
    if std::mem::replace(flag, true) { Err(LineError::RepeatedOption(name)) } else { Ok(()) }
}

fn set<T>(place: &mut Option<T>, value: T, name: &'static str) -> Result<(), LineError> {
    if place.replace(value).is_some() { Err(LineError::RepeatedOption(name)) } else { Ok(()) }
}

/// Reads `="..."` with `\"` for a quotation mark, and gives what follows it.
fn quoted<'a>(text: &'a str, name: &'static str) -> Result<(String, &'a str), LineError> {
    let text = text.strip_prefix("=\"").ok_or(LineError::Unquoted(name))?;
    let mut value = String::new();
    let mut characters = text.char_indices().peekable();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return Ok((value, &text[index + 1..])),
            '\\' if characters.next_if(|(_, next)| *next == '"').is_some() => value.push('"'),
            other => value.push(other),
        }
    }
    Err(LineError::Quote)
}

/// Where the first space or tab outside quotation marks stands.
pub(crate) fn end(text: &str) -> Result<usize, LineError> {
    let mut quoted = false;
    let mut escaped = false;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'"' if !escaped => quoted = !quoted,
            b' ' | b'\t' if !quoted => return Ok(index),
            _ => {}
        }
        escaped = byte == b'\\' && !escaped;
    }
    if quoted { Err(LineError::Quote) } else { Ok(text.len()) }
}

fn parse_time(text: &str) -> Result<Timestamp, LineError> {
    let refused = || LineError::Time(text.chars().take(40).collect());
    let digits = text.strip_suffix(['Z', 'z']).unwrap_or(text);
    if !matches!(digits.len(), 8 | 12 | 14) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(refused());
    }
    let padded = format!("{digits:0<14}");
    let field = |from: usize, to: usize| padded[from..to].parse::<i8>().map_err(|_| refused());
    let year = padded[..4].parse::<i16>().map_err(|_| refused())?;
    let (month, day, hour) = (field(4, 6)?, field(6, 8)?, field(8, 10)?);
    let (minute, second) = (field(10, 12)?, field(12, 14)?);
    let civil = DateTime::new(year, month, day, hour, minute, second, 0).map_err(|_| refused())?;
    Offset::UTC.to_timestamp(civil).map_err(|_| refused())
}
