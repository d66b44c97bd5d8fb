use jiff::Timestamp;
use wachter_model::Severity;

use crate::anomaly::{Direction, OddRate, Reason, bare, number_and_unit};

use super::facts::{Facts, Odd};
use super::origins::Origin;

/// How much of a template is shown in a sentence.
const LONGEST_TEXT: usize = 160;

/// Parts of words by which people tell bad news.
const ALARMING: [&str; 22] = [
    "abort",
    "alert",
    "attack",
    "corrupt",
    "crash",
    "critical",
    "denied",
    "died",
    "emerg",
    "error",
    "exploit",
    "fail",
    "fatal",
    "illegal",
    "invalid",
    "killed",
    "oom",
    "overflow",
    "panic",
    "refused",
    "segfault",
    "violation",
];

/// Whether a template's words tell bad news.
pub(crate) fn is_alarming(text: &str) -> bool {
    let text = text.to_lowercase();
    ALARMING.iter().any(|word| text.contains(word))
}

/// How bad something may be: more where words or people said so.
pub(crate) fn severity(least: Severity, score: f32, alarming: bool, confirmed: bool) -> Severity {
    let steps =
        u8::from(alarming) + u8::from(score >= 0.9 && least > Severity::Low) + u8::from(confirmed);
    (0..steps).fold(least, |severity, _| match severity {
        Severity::Info => Severity::Low,
        Severity::Low => Severity::Medium,
        _ => Severity::High,
    })
}

pub(crate) fn new_program(origin: &Origin, text: &str, records: u64) -> String {
    format!(
        "{} wrote for the first time; none of {records} lines before was its own: {}",
        origin.actor(),
        quoted(text)
    )
}

pub(crate) fn new_template(origin: &Origin, text: &str, lines: u64, others: usize) -> String {
    let more = match others {
        0 => String::new(),
        1 => "; one more message of it is new".to_owned(),
        others => format!("; {others} more messages of it are new"),
    };
    format!(
        "{} wrote a message never seen in {lines} lines: {}{more}",
        origin.actor(),
        quoted(text)
    )
}

pub(crate) fn rare_template(origin: &Origin, text: &str, facts: &Facts, days: f64) -> String {
    let before = facts.count - facts.recent.count;
    format!(
        "{} wrote a message that had not been seen for {days:.0} days, and {before} {} in all: {}",
        origin.actor(),
        if before == 1 { "time" } else { "times" },
        quoted(text)
    )
}

pub(crate) fn rate(actor: &str, text: &str, odd: &OddRate, last: i64) -> String {
    let what = if text.is_empty() { "anything".to_owned() } else { quoted(text) };
    let from = hour(odd.hour);
    match odd.direction {
        Direction::Burst => format!(
            "{actor} wrote {what} {} times in the hour from {from}, where about {} would be usual",
            odd.seen,
            round(odd.expected)
        ),
        Direction::Silence => format!(
            "{actor} has not written {what} for {} from {from}, where about {} lines would be usual; the last was at {}",
            if odd.hours == 1 { "one hour".to_owned() } else { format!("{} hours", odd.hours) },
            round(odd.expected),
            minute(last)
        ),
    }
}

pub(crate) fn value(origin: &Origin, text: &str, odd: &Odd) -> String {
    let place = usize::from(odd.place);
    let token = text.split(' ').nth(place).unwrap_or_default();
    let name = match token.strip_suffix("=<*>") {
        Some(key) => format!("{key}="),
        None => format!("word {}", place + 1),
    };
    let reason = match &odd.odd.reason {
        Reason::Unseen { known, seen } => {
            let known: Vec<String> = known.iter().map(|known| format!("{known:?}")).collect();
            format!("never seen there in {seen} lines; known are {}", known.join(", "))
        }
        Reason::Beyond { usual: (low, high), seen } => {
            // In the unit that the value has.
            let (factor, unit) = number_and_unit(bare(odd.value.as_bytes()))
                .map_or((1.0, ""), |(_, factor, unit)| {
                    (factor, std::str::from_utf8(unit).unwrap_or_default())
                });
            let [low, high] = [low, high].map(|usual| format!("{}{unit}", round(usual / factor)));
            format!("where nine of ten lie between {low} and {high} in {seen} lines")
        }
    };
    format!("{} wrote {:?} as {name} of {}, {reason}", origin.actor(), odd.value, quoted(text))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", super::printable::printable(text.as_bytes(), LONGEST_TEXT))
}

/// Few digits, as people would say it.
fn round(number: f32) -> String {
    match number.abs() {
        size if !(0.000_5..9.95).contains(&size) => format!("{number:.0}"),
        size if size >= 0.995 => format!("{number:.1}"),
        _ => format!("{number:.3}"),
    }
}

fn hour(hour: i32) -> String {
    minute(i64::from(hour) * 3600)
}

fn minute(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(
        |_| "an unknown time".to_owned(),
        |time| time.strftime("%Y-%m-%d %H:%M UTC").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severities_rise_with_words_and_verdicts() {
        for (least, score, alarming, confirmed, expected) in [
            (Severity::Low, 0.99, false, false, Severity::Low),
            (Severity::Low, 0.5, true, false, Severity::Medium),
            (Severity::Low, 0.5, true, true, Severity::High),
            (Severity::Medium, 0.95, true, true, Severity::High),
        ] {
            assert_eq!(severity(least, score, alarming, confirmed), expected);
        }
        assert!(is_alarming("Kernel Panic at <*>") && !is_alarming("session opened"));
    }

    #[test]
    fn numbers_are_said_as_people_say_them() {
        for (number, expected) in
            [(0.0, "0"), (0.25, "0.250"), (3.12, "3.1"), (99.6, "100"), (-12.3, "-12")]
        {
            assert_eq!(round(number), expected);
        }
    }
}
