use std::collections::HashMap;

use crate::anomaly::{Discovery, Weights, json_length};

use super::printable::printable;

/// How many programs are told apart; what is written by more is of [`Origins::OTHERS`].
const MOST: usize = 128;

/// How long names are kept, in bytes.
const LONGEST_PROGRAM: usize = 48;
const LONGEST_SOURCE: usize = 96;

/// What writes templates: a program, or a file where no program is named.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Origin {
    pub(crate) name: String,
    /// What it was read from last.
    pub(crate) source: String,
    pub(crate) discovery: Discovery,
    /// What verdicts did to its new templates.
    pub(crate) weights: Weights,
    /// Whether it began since the last conclusion, which is not stored.
    pub(crate) born: bool,
}

/// All origins, by numbers that stay theirs.
#[derive(Clone, Debug)]
pub(crate) struct Origins {
    list: Vec<Origin>,
    numbers: HashMap<String, u16>,
    /// The number of the last one asked for: lines of one program follow each other.
    last: u16,
}

impl Default for Origins {
    fn default() -> Self {
        Self::from_list(vec![Origin::new(String::new(), String::new())])
    }
}

impl Origin {
    fn new(name: String, source: String) -> Self {
        let (discovery, weights) = (Discovery::default(), Weights::default());
        Self { name, source, discovery, weights, born: true }
    }

    /// Program and source, as a finding's subject.
    pub(crate) fn subject(&self) -> String {
        match (self.name.as_str(), self.source.as_str()) {
            ("", source) => format!("other programs ({source})"),
            (name, source) if source == name || source.is_empty() => name.to_owned(),
            (name, source) => format!("{name} ({source})"),
        }
    }

    /// What a sentence begins with.
    pub(crate) fn actor(&self) -> &str {
        if self.name.is_empty() { "one of many programs" } else { &self.name }
    }

    fn stored(&self) -> usize {
        json_length(&self.name) + json_length(&self.source) + 300
    }
}

impl Origins {
    /// The number of what is one too many.
    pub(crate) const OTHERS: u16 = 0;

    /// The number for a program, or for a source without one. The second is whether it is met for the first time.
    #[inline]
    pub(crate) fn number(&mut self, program: Option<&str>, source: &str) -> (u16, bool) {
        let key = program.filter(|program| !program.is_empty()).unwrap_or(source);
        if self.list[usize::from(self.last)].name == key {
            return (self.last, false);
        }
        self.other_number(program, source)
    }

    fn other_number(&mut self, program: Option<&str>, source: &str) -> (u16, bool) {
        let name = match program.filter(|program| !program.is_empty()) {
            Some(program) => printable(program.as_bytes(), LONGEST_PROGRAM),
            None => printable(without_rotation(source).as_bytes(), LONGEST_SOURCE),
        };
        if let Some(number) = self.numbers.get(&name) {
            self.last = *number;
            return (*number, false);
        }
        if self.list.len() == MOST {
            return (Self::OTHERS, false);
        }
        let number = u16::try_from(self.list.len()).expect("there are fewer than MOST");
        let source = printable(source.as_bytes(), LONGEST_SOURCE);
        self.list.push(Origin::new(name.clone(), source));
        self.numbers.insert(name, number);
        self.last = number;
        (number, true)
    }

    pub(crate) fn get(&self, number: u16) -> &Origin {
        self.list.get(usize::from(number)).unwrap_or(&self.list[0])
    }

    pub(crate) fn get_mut(&mut self, number: u16) -> &mut Origin {
        let number = if usize::from(number) < self.list.len() { usize::from(number) } else { 0 };
        &mut self.list[number]
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Origin> {
        self.list.iter_mut()
    }

    /// Takes up what a source is called now.
    pub(crate) fn seen_in(&mut self, number: u16, source: &str) {
        let origin = self.get_mut(number);
        if origin.source != source {
            origin.source = printable(source.as_bytes(), LONGEST_SOURCE);
        }
    }

    /// Not more than this many bytes of JSON.
    pub(crate) fn stored(&self) -> usize {
        self.list.iter().map(Origin::stored).sum()
    }

    pub(crate) fn list(&self) -> &[Origin] {
        &self.list
    }

    pub(crate) fn from_list(list: Vec<Origin>) -> Self {
        let number = |place| u16::try_from(place).unwrap_or(Self::OTHERS);
        let numbers =
            list.iter().enumerate().map(|(place, origin)| (origin.name.clone(), number(place)));
        Self { numbers: numbers.collect(), list, last: 0 }
    }
}

/// A path without what rotation adds to it: `.1`, `-20261122`, `.gz`.
fn without_rotation(path: &str) -> &str {
    let path = [".gz", ".zst", ".xz", ".bz2"]
        .iter()
        .find_map(|ending| path.strip_suffix(ending))
        .unwrap_or(path);
    let bare = path.trim_end_matches(|letter: char| letter.is_ascii_digit());
    match bare.strip_suffix(['.', '-']) {
        Some(name) if bare.len() < path.len() && !name.ends_with('/') => name,
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotation_does_not_make_another_origin() {
        for (path, expected) in [
            ("/var/log/app.log", "/var/log/app.log"),
            ("/var/log/app.log.1", "/var/log/app.log"),
            ("/var/log/app.log.12.gz", "/var/log/app.log"),
            ("/var/log/app.log-20261122.zst", "/var/log/app.log"),
            ("/var/log/2026", "/var/log/2026"),
            ("/var/log/.1", "/var/log/.1"),
            ("journal", "journal"),
        ] {
            assert_eq!(without_rotation(path), expected);
            let mut origins = Origins::default();
            let (first, _) = origins.number(None, expected);
            assert_eq!(origins.number(None, path), (first, false));
        }
    }

    #[test]
    fn programs_beyond_the_limit_are_one() {
        let mut origins = Origins::default();
        let numbers: std::collections::BTreeSet<u16> =
            (0..1000).map(|number| origins.number(Some(&format!("p{number}")), "a").0).collect();
        assert_eq!(numbers.len(), MOST);
        assert_eq!(origins.number(Some("p0"), "a"), (1, false));
        assert_eq!(origins.number(Some("new"), "a"), (Origins::OTHERS, false));
        assert!(origins.stored() < 45_000);
    }
}
