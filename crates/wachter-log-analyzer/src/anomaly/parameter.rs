use super::numbers::{Numbers, Stray, number};

/// How many different values are kept; one more, and every value is possible.
const MOST_KNOWN: usize = 8;

/// A longer value is one of many.
const LONGEST_KNOWN: usize = 40;

/// How many values it takes before a new one is judged.
const LEAST: u32 = 100;

/// What is known of the values at one place of a template.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parameter {
    /// The place of its token.
    pub(crate) place: u8,
    /// How many values were seen.
    pub(crate) seen: u32,
    pub(crate) range: Range,
}

/// Of which kind the values are.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Range {
    /// A few, each with how often it was seen.
    Few(Vec<(Box<str>, u32)>),
    /// Many numbers.
    Numbers(Box<Numbers>),
    /// Many values that nothing is to be learned from.
    Anything,
}

/// A value out of the ordinary.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OddValue {
    /// How surprising it is, in bans.
    pub(crate) surprise: f32,
    pub(crate) reason: Reason,
}

/// Why a value is out of the ordinary.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reason {
    /// It was never seen among the few that are known.
    Unseen { known: Vec<Box<str>>, seen: u32 },
    /// It lies far beyond the usual numbers.
    Beyond { usual: (f32, f32), seen: u32 },
}

impl Parameter {
    pub(crate) const fn new(place: u8) -> Self {
        Self { place, seen: 0, range: Range::Few(Vec::new()) }
    }

    /// Learns a value after judging it. The second is whether what has to be stored has grown or shrunk.
    #[inline]
    pub(crate) fn observe(&mut self, value: &[u8]) -> (Option<OddValue>, bool) {
        self.seen = self.seen.saturating_add(1);
        match &mut self.range {
            Range::Anything => (None, false),
            Range::Numbers(numbers) => match number(bare(value)) {
                Some(number) => {
                    let odd = |stray: Stray| OddValue {
                        surprise: stray.surprise,
                        reason: Reason::Beyond { usual: stray.usual, seen: self.seen },
                    };
                    (numbers.observe(number).map(odd), false)
                }
                None => {
                    self.range = Range::Anything;
                    (None, true)
                }
            },
            Range::Few(known) => {
                let value = bare(value);
                if let Some(place) = known.iter().position(|(known, _)| known.as_bytes() == value) {
                    known[place].1 = known[place].1.saturating_add(1);
                    // What is most frequent comes first.
                    if place > 0 && known[place].1 > known[place - 1].1 {
                        known.swap(place, place - 1);
                    }
                    return (None, false);
                }
                (self.learn(value), true)
            }
        }
    }

    #[cold]
    fn learn(&mut self, value: &[u8]) -> Option<OddValue> {
        let Range::Few(known) = &mut self.range else { return None };
        let odd = (self.seen > LEAST).then(|| OddValue {
            surprise: unseen(known, self.seen - 1),
            reason: Reason::Unseen {
                known: known.iter().map(|(known, _)| known.clone()).collect(),
                seen: self.seen - 1,
            },
        });
        let text = std::str::from_utf8(value).ok().filter(|text| text.len() <= LONGEST_KNOWN);
        match text {
            Some(text) if known.len() < MOST_KNOWN => known.push((text.into(), 1)),
            _ => self.range = many(known, value),
        }
        odd
    }

    /// Knows a value that was seen so often, from a template that went into this one.
    pub(crate) fn know(&mut self, value: &str, count: u32) {
        let value = String::from_utf8_lossy(bare(value.as_bytes())).into_owned();
        self.seen = self.seen.saturating_add(count);
        let Range::Few(known) = &mut self.range else { return };
        if let Some((_, seen)) = known.iter_mut().find(|(known, _)| **known == *value) {
            *seen = seen.saturating_add(count);
        } else if known.len() < MOST_KNOWN && value.len() <= LONGEST_KNOWN {
            known.push((value.into(), count));
        } else {
            self.range = many(known, value.as_bytes());
        }
    }

    /// Not more than this many bytes of JSON.
    pub(crate) fn stored(&self) -> usize {
        30 + match &self.range {
            // A byte takes six at most, as an escape.
            Range::Few(known) => {
                known.iter().map(|(value, _)| json_length(value) + 14).sum::<usize>()
            }
            Range::Numbers(_) => Numbers::STORED,
            Range::Anything => 0,
        }
    }
}

/// How surprising a value is that was never seen, by the Good-Turing estimate: what was seen once says how much
/// there is that was not seen yet.
#[allow(clippy::cast_precision_loss, reason = "six digits are enough")]
fn unseen(known: &[(Box<str>, u32)], seen: u32) -> f32 {
    let once = known.iter().filter(|(_, count)| *count == 1).count();
    -((once as f32 + 1.0) / (seen as f32 + 2.0)).log10()
}

fn many(known: &[(Box<str>, u32)], value: &[u8]) -> Range {
    let known: Option<Vec<f32>> =
        known.iter().map(|(known, _)| number(known.as_bytes())).chain([number(value)]).collect();
    known.map_or(Range::Anything, |known| {
        let mut numbers = Numbers::default();
        for number in known {
            numbers.observe(number);
        }
        Range::Numbers(Box::new(numbers))
    })
}

/// How long a text is in JSON, without quotes.
pub(crate) fn json_length(text: &str) -> usize {
    text.bytes()
        .map(|byte| match byte {
            b'"' | b'\\' => 2,
            0..=0x1F => 6,
            _ => 1,
        })
        .sum()
}

/// A value without what stands around it.
#[inline]
pub(crate) fn bare(value: &[u8]) -> &[u8] {
    let around = |byte: &u8| {
        matches!(byte, b'(' | b')' | b'[' | b']' | b'<' | b'>' | b'\'' | b'"' | b',' | b':' | b';')
    };
    let Some(first) = value.iter().position(|byte| !around(byte)) else { return value };
    let last = value.iter().rposition(|byte| !around(byte)).unwrap_or(first);
    &value[first..=last]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after<'a>(values: impl IntoIterator<Item = &'a str>) -> Parameter {
        let mut parameter = Parameter::new(3);
        for value in values {
            parameter.observe(value.as_bytes());
        }
        parameter
    }

    #[test]
    fn a_value_never_seen_among_few_is_odd() {
        let usual = ["(ann)", "bob,", "ann"].into_iter().cycle().take(1000);
        let mut parameter = after(usual);
        let (odd, grew) = parameter.observe(b"eve");
        let odd = odd.unwrap();
        assert!(grew && odd.surprise > 2.9, "{odd:?}");
        assert_eq!(
            odd.reason,
            Reason::Unseen { known: vec!["ann".into(), "bob".into()], seen: 1000 }
        );
        assert_eq!(parameter.observe(b"eve").0, None);
        // One was seen once only lately: another is less of a surprise.
        parameter.range = Range::Few(vec![("ann".into(), 500), ("eve".into(), 1)]);
        assert!(parameter.observe(b"mallory").0.unwrap().surprise < odd.surprise);
    }

    #[test]
    fn few_values_or_many_different_ones_say_nothing() {
        let few = after(["ann"; 99]).observe(b"eve").0;
        assert_eq!(few, None);
        let names: Vec<String> = (0..200).map(|number| format!("name-{number}")).collect();
        let mut many = after(names.iter().map(String::as_str));
        assert_eq!(many.range, Range::Anything);
        assert_eq!(many.observe(b"eve"), (None, false));
        let long = "x".repeat(LONGEST_KNOWN + 1);
        assert_eq!(after([long.as_str()]).range, Range::Anything);
    }

    #[test]
    fn many_numbers_are_judged_as_numbers() {
        let numbers: Vec<String> =
            (0..500).map(|number| format!("{}ms", 20 + number % 37)).collect();
        let mut parameter = after(numbers.iter().map(String::as_str));
        assert!(matches!(parameter.range, Range::Numbers(_)));
        assert_eq!(parameter.observe(b"30ms").0, None);
        let odd = parameter.observe(b"30s,").0.unwrap();
        assert!(odd.surprise > 6.0 && matches!(odd.reason, Reason::Beyond { seen: 502, .. }));
        parameter.observe(b"none");
        assert_eq!(parameter.range, Range::Anything);
    }
}
