//! Functions of text, of lists and of single values. Places in a text are counted in code points, as
//! the language has it.

use std::rc::Rc;

use crate::evaluate::{Evaluated, Evaluation, mismatch};
use crate::function::Function;
use crate::value::{List, Map, Text};
use crate::{EvaluationError, EvaluationFault, Span, Value};

/// A value in a message: its beginning, when it is long.
pub(crate) fn shown(value: &Value<'_>) -> String {
    const MOST: usize = 40;
    let text = match value {
        Value::Text(text) => text.chars().take(MOST + 1).collect(),
        Value::List(_)
        | Value::Map(_)
        | Value::Json(_)
        | Value::Array(_)
        | Value::Object(_)
        | Value::Record(_) => value.type_name().to_owned(),
        Value::Double(number) => number.to_string(),
        other => other.to_json().map(|json| json.to_string()).unwrap_or_default(),
    };
    if text.chars().count() > MOST {
        return format!("{}…", text.chars().take(MOST).collect::<String>());
    }
    text
}

/// Calls a function that is not about time.
pub(crate) fn call<'v>(
    evaluation: &mut Evaluation<'v>,
    span: Span,
    function: Function,
    arguments: &[Value<'v>],
) -> Evaluated<Value<'v>> {
    // Each looks at its texts a fixed number of times; what can make more than that pays again.
    for argument in arguments {
        if let Value::Text(text) = argument {
            evaluation.pay_bytes(span, text.len())?;
        }
    }
    let fault = |fault| EvaluationError::new(span, fault);
    match (function, arguments) {
        (Function::Contains, [Value::Text(text), Value::Text(part)]) => {
            Ok(Value::Bool(text.contains(&**part)))
        }
        (Function::StartsWith, [Value::Text(text), Value::Text(start)]) => {
            Ok(Value::Bool(text.starts_with(&**start)))
        }
        (Function::EndsWith, [Value::Text(text), Value::Text(end)]) => {
            Ok(Value::Bool(text.ends_with(&**end)))
        }
        (Function::Size, [value]) => match size(value) {
            Some(size) => Ok(Value::Int(size)),
            None => Err(fault(mismatch(function, arguments))),
        },
        (Function::LowerAscii, [Value::Text(text)]) => Ok(Value::made(text.to_ascii_lowercase())),
        (Function::UpperAscii, [Value::Text(text)]) => Ok(Value::made(text.to_ascii_uppercase())),
        (Function::Trim, [Value::Text(text)]) => Ok(part(text, text.trim())),
        (Function::IndexOf, [Value::Text(text), Value::Text(part)]) => {
            index_of(text, part, 0).map_err(fault)
        }
        (Function::IndexOf, [Value::Text(text), Value::Text(part), Value::Int(from)]) => {
            index_of(text, part, *from).map_err(fault)
        }
        (Function::LastIndexOf, [Value::Text(text), Value::Text(part)]) => {
            let found = text.rfind(&**part).map(|place| count(&text[..place]));
            Ok(Value::Int(found.unwrap_or(-1)))
        }
        (Function::CharAt, [Value::Text(text), Value::Int(index)]) => {
            let start = offset(text, *index).map_err(fault)?;
            let length = text[start..].chars().next().map_or(0, char::len_utf8);
            Ok(part(text, &text[start..start + length]))
        }
        (Function::Substring, [Value::Text(text), Value::Int(from)]) => {
            let start = offset(text, *from).map_err(fault)?;
            Ok(part(text, &text[start..]))
        }
        (Function::Substring, [Value::Text(text), Value::Int(from), Value::Int(to)]) => {
            if from > to {
                return Err(fault(EvaluationFault::OutOfRange(*from)));
            }
            let end = offset(text, *to).map_err(fault)?;
            let start = offset(text, *from).map_err(fault)?;
            Ok(part(text, &text[start..end]))
        }
        (Function::Split, [Value::Text(text), Value::Text(separator)]) => {
            split(evaluation, span, text, separator, -1)
        }
        (Function::Split, [Value::Text(text), Value::Text(separator), Value::Int(most)]) => {
            split(evaluation, span, text, separator, *most)
        }
        (Function::Replace, [Value::Text(text), Value::Text(old), Value::Text(new)]) => {
            replace(evaluation, span, [text, old, new], -1)
        }
        (
            Function::Replace,
            [Value::Text(text), Value::Text(old), Value::Text(new), Value::Int(most)],
        ) => replace(evaluation, span, [text, old, new], *most),
        (Function::Join, [list, rest @ ..]) => {
            let separator = match rest {
                [] => "",
                [Value::Text(separator)] => separator,
                _ => return Err(fault(mismatch(function, arguments))),
            };
            let Some(list) = List::of(list) else {
                return Err(fault(mismatch(function, arguments)));
            };
            join(evaluation, span, &list, separator)
        }
        (Function::Dyn, [value]) => Ok(value.clone()),
        (
            Function::ToBool
            | Function::ToInt
            | Function::ToUint
            | Function::ToDouble
            | Function::ToText,
            [value],
        ) => convert(function, value)
            .map_err(|found| fault(found.unwrap_or_else(|| mismatch(function, arguments)))),
        _ => Err(fault(mismatch(function, arguments))),
    }
}

fn size(value: &Value<'_>) -> Option<i64> {
    if let Value::Text(text) = value {
        return Some(count(text));
    }
    let size = match List::of(value) {
        Some(list) => list.len(),
        None => Map::of(value)?.len()?,
    };
    i64::try_from(size).ok()
}

fn count(text: &str) -> i64 {
    i64::try_from(text.chars().count()).unwrap_or(i64::MAX)
}

/// A part of a text, borrowed from where the text is borrowed from.
fn part<'v>(whole: &Text<'v>, part: &str) -> Value<'v> {
    match whole {
        Text::Borrowed(text) => {
            let start = part.as_ptr().addr().wrapping_sub(text.as_ptr().addr());
            let end = start.saturating_add(part.len());
            text.get(start..end).map_or_else(|| Value::made(part), Value::text)
        }
        Text::Made(_) => Value::made(part),
    }
}

/// Where the code point with this number begins; the end is one too.
fn offset(text: &str, index: i64) -> Result<usize, EvaluationFault> {
    let outside = || EvaluationFault::OutOfRange(index);
    let index = usize::try_from(index).map_err(|_| outside())?;
    let mut starts = text.char_indices().map(|(start, _)| start).chain([text.len()]);
    starts.nth(index).ok_or_else(outside)
}

fn index_of<'v>(text: &str, part: &str, from: i64) -> Result<Value<'v>, EvaluationFault> {
    let start = offset(text, from)?;
    let found = text[start..].find(part).map(|place| count(&text[..start + place]));
    Ok(Value::Int(found.unwrap_or(-1)))
}

/// `most` pieces at most; all where it is negative. An empty separator splits into characters.
fn split<'v>(
    evaluation: &mut Evaluation<'v>,
    span: Span,
    text: &Text<'v>,
    separator: &str,
    most: i64,
) -> Evaluated<Value<'v>> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let pieces: Vec<&str> = if most == 0 {
        Vec::new()
    } else if separator.is_empty() {
        characters(text, most)
    } else {
        evaluation.pay(span, text.matches(separator).count() as u64)?;
        text.splitn(most, separator).collect()
    };
    evaluation.pay(span, pieces.len() as u64)?;
    Ok(Value::List(pieces.into_iter().map(|piece| part(text, piece)).collect()))
}

fn characters(text: &str, most: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if pieces.len() + 1 == most {
            pieces.push(rest);
            break;
        }
        let (piece, after) = rest.split_at(first.len_utf8());
        pieces.push(piece);
        rest = after;
    }
    pieces
}

fn replace<'v>(
    evaluation: &mut Evaluation<'v>,
    span: Span,
    [text, old, new]: [&str; 3],
    most: i64,
) -> Evaluated<Value<'v>> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    // The result can be as long as the product of two texts, so it is paid for before it is made.
    let places = text.matches(old).count().min(most);
    evaluation.pay(span, places as u64)?;
    evaluation.pay_bytes(span, places.saturating_mul(new.len()))?;
    Ok(Value::made(text.replacen(old, new, places)))
}

fn join<'v>(
    evaluation: &mut Evaluation<'v>,
    span: Span,
    list: &List<'v>,
    separator: &str,
) -> Evaluated<Value<'v>> {
    let mut joined = String::new();
    for (index, element) in list.iter().enumerate() {
        evaluation.pay(span, 1)?;
        let Value::Text(text) = element else {
            let found = mismatch(Function::Join, &[element]);
            return Err(EvaluationError::new(span, found));
        };
        evaluation.pay_bytes(span, separator.len() + text.len())?;
        if index > 0 {
            joined.push_str(separator);
        }
        joined.push_str(&text);
    }
    Ok(Value::made(joined))
}

/// Conversions; `Err(None)` for a type that is never converted.
fn convert<'v>(
    function: Function,
    value: &Value<'v>,
) -> Result<Value<'v>, Option<EvaluationFault>> {
    use Value::{Bool, Double, Duration, Int, Timestamp, Uint};
    let wanted = function.name();
    let refused = || Some(EvaluationFault::Conversion { value: shown(value), wanted });
    let converted = match (function, value) {
        (Function::ToBool, Bool(value)) => Some(Bool(*value)),
        (Function::ToBool, Value::Text(text)) => match &**text {
            "true" | "True" | "TRUE" | "t" | "1" => Some(Bool(true)),
            "false" | "False" | "FALSE" | "f" | "0" => Some(Bool(false)),
            _ => None,
        },
        (Function::ToInt, Int(number)) => Some(Int(*number)),
        (Function::ToInt, Uint(number)) => i64::try_from(*number).ok().map(Int),
        (Function::ToInt, Double(number)) => truncated(*number).map(Int),
        (Function::ToInt, Value::Text(text)) => text.parse().ok().map(Int),
        (Function::ToInt, Timestamp(time)) => Some(Int(time.as_second())),
        (Function::ToUint, Uint(number)) => Some(Uint(*number)),
        (Function::ToUint, Int(number)) => u64::try_from(*number).ok().map(Uint),
        (Function::ToUint, Double(number)) => truncated_without_sign(*number).map(Uint),
        (Function::ToUint, Value::Text(text)) => text.parse().ok().map(Uint),
        (Function::ToDouble, Double(number)) => Some(Double(*number)),
        #[expect(clippy::cast_precision_loss, reason = "the language rounds here")]
        (Function::ToDouble, Int(number)) => Some(Double(*number as f64)),
        #[expect(clippy::cast_precision_loss, reason = "the language rounds here")]
        (Function::ToDouble, Uint(number)) => Some(Double(*number as f64)),
        (Function::ToDouble, Value::Text(text)) => text.parse().ok().map(Double),
        (Function::ToText, Value::Text(text)) => Some(Value::Text(text.clone())),
        (Function::ToText, Bool(value)) => Some(made(value)),
        (Function::ToText, Int(number)) => Some(made(number)),
        (Function::ToText, Uint(number)) => Some(made(number)),
        (Function::ToText, Double(number)) => Some(made(number)),
        (Function::ToText, Timestamp(time)) => Some(made(time)),
        (Function::ToText, Duration(span)) => Some(Value::made(seconds(*span))),
        _ => return Err(None),
    };
    converted.ok_or_else(refused)
}

fn made<'v>(value: &dyn std::fmt::Display) -> Value<'v> {
    Value::made(Rc::from(value.to_string()))
}

/// A span in seconds, as JSON has it for protocol buffers: `1.5s`.
fn seconds(span: jiff::SignedDuration) -> String {
    let sign = if span.is_negative() { "-" } else { "" };
    let fraction = format!("{:09}", span.subsec_nanos().unsigned_abs());
    let fraction = fraction.trim_end_matches('0');
    let dot = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{}{dot}{fraction}s", span.as_secs().unsigned_abs())
}

#[expect(clippy::cast_possible_truncation, reason = "within the range, as was just checked")]
fn truncated(number: f64) -> Option<i64> {
    (number > -9_223_372_036_854_775_808.0 && number < 9_223_372_036_854_775_808.0)
        .then_some(number as i64)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "within the range, as was just checked"
)]
fn truncated_without_sign(number: f64) -> Option<u64> {
    (0.0..18_446_744_073_709_551_616.0).contains(&number).then_some(number as u64)
}
