use jiff::Timestamp;

/// A moment in a table: UTC, to the second.
pub(crate) fn time(time: Timestamp) -> String {
    time.strftime("%F %T").to_string()
}

/// The same of what may not have been yet.
pub(super) fn time_if_any(moment: Option<Timestamp>) -> String {
    moment.map(time).unwrap_or_default()
}

/// A span, as exact as it matters to people.
pub(super) fn took(milliseconds: u64) -> String {
    match milliseconds {
        0..1_000 => format!("{milliseconds} ms"),
        1_000..60_000 => format!("{}.{} s", milliseconds / 1_000, milliseconds % 1_000 / 100),
        60_000..3_600_000 => {
            format!("{} min {} s", milliseconds / 60_000, milliseconds % 60_000 / 1_000)
        }
        3_600_000..86_400_000 => {
            format!("{} h {} min", milliseconds / 3_600_000, milliseconds % 3_600_000 / 60_000)
        }
        _ => format!("{} d {} h", milliseconds / 86_400_000, milliseconds % 86_400_000 / 3_600_000),
    }
}

/// One of a thing, or several.
pub(crate) fn count(number: u64, one: &str, several: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { several })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        let check = |milliseconds: u64, expected: &str| assert_eq!(took(milliseconds), expected);
        check(0, "0 ms");
        check(999, "999 ms");
        check(1_000, "1.0 s");
        check(59_999, "59.9 s");
        check(61_000, "1 min 1 s");
        check(3_600_000 * 5 + 60_000 * 7, "5 h 7 min");
        check(86_400_000 * 3 + 3_600_000, "3 d 1 h");
    }
}
