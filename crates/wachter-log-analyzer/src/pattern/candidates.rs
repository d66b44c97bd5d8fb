//! Which patterns a record may match: those for its program, narrowed down by the texts that they contain.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use aho_corasick::AhoCorasick;

use super::document::Pattern;

/// The patterns for each program, gathered when it first writes.
#[derive(Default)]
pub(super) struct ByProgram {
    names: RefCell<HashMap<String, Rc<Group>>>,
    /// The group of records that name no program.
    nameless: OnceCell<Rc<Group>>,
    /// The groups by the patterns in them: programs that no pattern names share one.
    groups: RefCell<HashMap<Vec<usize>, Rc<Group>>>,
}

/// Patterns that share a search for their texts.
pub(super) struct Group {
    search: Option<AhoCorasick>,
    /// The pattern that each text of the search belongs to.
    owners: Vec<usize>,
    /// Patterns without texts, which every record is held against.
    always: Vec<usize>,
}

/// The patterns that a record may match, each once and in their order.
#[derive(Default)]
pub(super) struct Candidates(Vec<usize>);

/// Names of programs whose group is kept at hand, and bytes of such a name. The group of any other is
/// found anew for each record.
const MAX_NAMES: usize = 1_000;
const MAX_NAME: usize = 128;
/// Groups of patterns, which take up to 0.5 MiB each. The programs beyond share one of all patterns.
const MAX_GROUPS: usize = 64;

/// Programs that write down what anybody sends them, and that have patterns of their own: names of users,
/// requests, greetings.
const QUOTING: [&str; 24] = [
    "CRON",
    "apache2",
    "cron",
    "dovecot",
    "dropbear",
    "exim",
    "exim4",
    "haproxy",
    "httpd",
    "kernel",
    "login",
    "named",
    "nginx",
    "postfix/*",
    "proftpd",
    "pure-ftpd",
    "sshd",
    "sshd-session",
    "su",
    "sudo",
    "systemd",
    "systemd-logind",
    "vsftpd",
    "xrdp-sesman",
];

impl ByProgram {
    /// The group of a program's patterns. It may hold others too.
    pub(super) fn group<'p>(
        &self,
        program: Option<&str>,
        patterns: impl Iterator<Item = &'p Pattern> + Clone,
    ) -> Rc<Group> {
        let Some(program) = program else {
            return Rc::clone(self.nameless.get_or_init(|| self.gather(None, patterns)));
        };
        if let Some(group) = self.names.borrow().get(program) {
            return Rc::clone(group);
        }
        let group = self.gather(Some(program), patterns);
        let mut names = self.names.borrow_mut();
        if names.len() < MAX_NAMES && program.len() <= MAX_NAME {
            names.insert(program.to_owned(), Rc::clone(&group));
        }
        group
    }

    fn gather<'p>(
        &self,
        program: Option<&str>,
        patterns: impl Iterator<Item = &'p Pattern> + Clone,
    ) -> Rc<Group> {
        let chosen = |is_one: &dyn Fn(&Pattern) -> bool| -> Vec<usize> {
            let chosen = patterns.clone().enumerate().filter(|(_, pattern)| is_one(pattern));
            chosen.map(|(place, _)| place).collect()
        };
        let mut groups = self.groups.borrow_mut();
        let mut places = chosen(&|pattern| pattern.request.is_none() && pattern.is_for(program));
        if groups.len() >= MAX_GROUPS && !groups.contains_key(&places) {
            places = chosen(&|pattern| pattern.request.is_none());
        }
        Rc::clone(groups.entry(places).or_insert_with_key(|places| {
            let is_chosen = |(place, _): &(usize, _)| places.binary_search(place).is_ok();
            let chosen = patterns.enumerate().filter(is_chosen);
            Rc::new(Group::new(chosen.map(|(place, pattern)| (place, &pattern.contains[..]))))
        }))
    }
}

impl Candidates {
    pub(super) fn add(&mut self, pattern: usize) {
        if !self.0.contains(&pattern) {
            self.0.push(pattern);
        }
    }

    pub(super) fn into_iter(mut self) -> impl Iterator<Item = usize> {
        self.0.sort_unstable();
        self.0.into_iter()
    }
}

impl Group {
    /// Patterns by their place, and the texts that they contain.
    pub(super) fn new<'p>(patterns: impl Iterator<Item = (usize, &'p [String])>) -> Self {
        let (mut texts, mut owners, mut always) = (Vec::new(), Vec::new(), Vec::new());
        for (place, contains) in patterns {
            if contains.is_empty() {
                always.push(place);
            }
            for text in contains {
                texts.push(text);
                owners.push(place);
            }
        }
        let search = AhoCorasick::builder().ascii_case_insensitive(true).build(texts);
        // Checking the patterns has built one of all texts.
        let search = search.ok().filter(|_| !owners.is_empty());
        Self { search, owners, always }
    }

    pub(super) fn candidates(&self, text: &[u8], candidates: &mut Candidates) {
        self.always.iter().for_each(|pattern| candidates.add(*pattern));
        if let Some(search) = &self.search {
            for found in search.find_overlapping_iter(text) {
                candidates.add(self.owners[found.pattern().as_usize()]);
            }
        }
    }
}

impl Pattern {
    /// Whether it is looked for in what a program writes.
    pub(super) fn is_for(&self, program: Option<&str>) -> bool {
        let is_one = |program: &str, wanted: &str| match wanted.strip_suffix('*') {
            Some(beginning) => program.starts_with(beginning),
            None => program == wanted,
        };
        if self.programs.is_empty() {
            let quotes = |program| QUOTING.iter().any(|quoting| is_one(program, quoting));
            return !self.careful || !program.is_some_and(quotes);
        }
        program.is_some_and(|program| self.programs.iter().any(|wanted| is_one(program, wanted)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::shipped;

    #[test]
    fn programs_that_no_pattern_names_share_one_group() {
        let patterns = shipped().unwrap();
        let by_program = ByProgram::default();
        let group = |program: Option<&str>| by_program.group(program, patterns.iter());
        let unknown = group(Some("one"));
        for other in [Some("another"), Some("postfi"), None] {
            assert!(Rc::ptr_eq(&unknown, &group(other)), "{other:?}");
        }
        let postfix = group(Some("postfix/smtpd"));
        assert!(!Rc::ptr_eq(&unknown, &postfix));
        assert!(Rc::ptr_eq(&postfix, &group(Some("postfix/qmgr"))));
    }

    #[test]
    fn however_many_programs_write_few_groups_and_names_are_kept() {
        let mut patterns = shipped().unwrap();
        let of_all = patterns.len();
        for number in 0..200 {
            let programs = vec![format!("named{number}")];
            patterns.push(Pattern { programs, ..patterns[0].clone() });
            patterns.last_mut().unwrap().request = None;
        }
        let by_program = ByProgram::default();
        for number in 0..5_000 {
            let name = format!("p{number}");
            by_program.group(Some(&name), patterns.iter());
        }
        assert_eq!(by_program.groups.borrow().len(), 1);
        by_program.group(Some(&"long".repeat(100)), patterns.iter());
        let kept: usize = by_program.names.borrow().keys().map(String::len).sum();
        assert!(by_program.names.borrow().len() <= MAX_NAMES && kept < 64 << 10, "{kept}");
        for number in 0..200 {
            let name = format!("named{number}");
            let group = by_program.group(Some(&name), patterns.iter());
            let mut candidates = Candidates::default();
            group.candidates(b"", &mut candidates);
            assert!(candidates.into_iter().any(|place| place == of_all + number), "{number}");
        }
        assert!(by_program.groups.borrow().len() <= MAX_GROUPS + 1);
    }
}
