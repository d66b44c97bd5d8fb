use std::cell::OnceCell;
use std::collections::{BTreeSet, HashSet};

use aho_corasick::AhoCorasick;
use regex::bytes::{Captures, Regex, RegexBuilder};

use super::candidates::{ByProgram, Candidates, Group};
use super::document::{Alarm, Pattern, PatternError, Requests};
use super::{address, template};
use crate::record::{Entry, Request};

/// Patterns that are ready to look for.
pub struct PatternSet {
    patterns: Vec<Prepared>,
    by_program: ByProgram,
    requests: OnceCell<RequestGroup>,
}

/// One pattern that a record matched.
pub struct Match<'e> {
    pattern: usize,
    groups: Groups<'e>,
}

/// A pattern and its expressions, each compiled when it is first needed: a run that reads nothing of
/// a program pays nothing for it.
struct Prepared {
    pattern: Pattern,
    expressions: Lazy,
    unless: Lazy,
    target: Lazy,
}

#[derive(Default)]
struct Lazy(OnceCell<Vec<Regex>>);

struct RequestGroup {
    targets: Group,
    agents: Group,
    /// Patterns that ask for neither.
    plain: Vec<usize>,
}

/// The size of one compiled expression in bytes.
const MAX_COMPILED: usize = 4 << 20;

impl PatternSet {
    /// Takes patterns that were not tried out yet, such as a user's.
    ///
    /// # Errors
    /// Expressions that are none, groups that are not there, names that stand twice, patterns that
    /// would match everything or tell nobody.
    pub fn new(patterns: Vec<Pattern>) -> Result<Self, PatternError> {
        let set = Self::trusted(patterns);
        let mut names = HashSet::new();
        for prepared in &set.patterns {
            prepared.check()?;
            let Pattern { name, alarms, .. } = &prepared.pattern;
            // A pattern may be called as one of its own alarms.
            let others = alarms.iter().map(|alarm| &alarm.name).filter(|other| *other != name);
            for name in std::iter::once(name).chain(others) {
                if !names.insert(name) {
                    return Err(PatternError::Twice(name.clone()));
                }
            }
        }
        Ok(set)
    }

    /// Takes patterns of which a test knows that they are right: nothing is compiled before it is
    /// needed.
    pub(crate) fn trusted(patterns: Vec<Pattern>) -> Self {
        let patterns = patterns
            .into_iter()
            .map(|pattern| Prepared {
                pattern,
                expressions: Lazy::default(),
                unless: Lazy::default(),
                target: Lazy::default(),
            })
            .collect();
        Self { patterns, by_program: ByProgram::default(), requests: OnceCell::new() }
    }

    /// Adds patterns; those that have the name of one that is here take its place.
    ///
    /// # Errors
    /// As [`PatternSet::new`].
    pub fn with(self, more: Vec<Pattern>) -> Result<Self, PatternError> {
        Self::new(more.clone())?;
        let replaced: HashSet<&str> = more.iter().map(|pattern| pattern.name.as_str()).collect();
        let kept = self.patterns.into_iter().map(|prepared| prepared.pattern);
        let mut patterns: Vec<_> =
            kept.filter(|pattern| !replaced.contains(pattern.name.as_str())).collect();
        patterns.extend(more);
        let set = Self::trusted(patterns);
        let mut alarms = HashSet::new();
        let twice = set.alarms().find(|alarm| !alarms.insert(&alarm.name)).map(|alarm| &alarm.name);
        if let Some(twice) = twice {
            return Err(PatternError::Twice(twice.clone()));
        }
        Ok(set)
    }

    /// Every alarm of every pattern.
    pub fn alarms(&self) -> impl Iterator<Item = &Alarm> {
        self.patterns.iter().flat_map(|prepared| &prepared.pattern.alarms)
    }

    /// The pattern that matched.
    #[must_use]
    pub fn pattern(&self, found: &Match<'_>) -> &Pattern {
        &self.patterns[found.pattern].pattern
    }

    /// Calls `found` for every pattern that a record matches.
    pub fn find<'e>(&self, entry: &'e Entry<'e>, mut found: impl FnMut(&Match<'e>)) {
        if let Some(request) = entry.request {
            self.find_in_request(entry, request, &mut found);
        }
        let program = entry.record.program;
        let patterns = self.patterns.iter().map(|prepared| &prepared.pattern);
        let group = self.by_program.group(program, patterns);
        let mut candidates = Candidates::default();
        group.candidates(entry.text, &mut candidates);
        for pattern in candidates.into_iter() {
            let prepared = &self.patterns[pattern];
            let quoted = entry.request.is_some() && prepared.pattern.careful;
            if quoted || !prepared.pattern.is_for(program) {
                continue;
            }
            let text = if prepared.pattern.whole { entry.text } else { entry.record.message };
            if let Some(captures) = prepared.matches(text) {
                let groups = Groups { entry, request: None, captures };
                found(&Match { pattern, groups });
            }
        }
    }

    fn find_in_request<'e>(
        &self,
        entry: &'e Entry<'e>,
        request: Request<'e>,
        found: &mut impl FnMut(&Match<'e>),
    ) {
        let group = self.requests.get_or_init(|| self.request_group());
        let decoded = entry.decoded_target().unwrap_or_default();
        let mut candidates = Candidates::default();
        group.targets.candidates(&decoded, &mut candidates);
        group.agents.candidates(request.agent, &mut candidates);
        group.plain.iter().for_each(|pattern| candidates.add(*pattern));
        for pattern in candidates.into_iter() {
            let prepared = &self.patterns[pattern];
            let Some(wanted) = &prepared.pattern.request else { continue };
            let line = &prepared.pattern.expressions;
            let says =
                || prepared.expressions.get(line).iter().any(|line| line.is_match(entry.text));
            if let Some(values) = prepared.requested(wanted, &request, &decoded)
                && (line.is_empty() || says())
            {
                let groups =
                    Groups { entry, request: Some(request), captures: Found::Owned(values) };
                found(&Match { pattern, groups });
            }
        }
    }

    fn request_group(&self) -> RequestGroup {
        let requests = || {
            self.patterns
                .iter()
                .enumerate()
                .filter_map(|(place, prepared)| Some((place, prepared.pattern.request.as_ref()?)))
        };
        let texts = |text: fn(&Requests) -> &Vec<String>| {
            requests()
                .map(move |(place, request)| (place, &text(request)[..]))
                .filter(|(_, texts)| !texts.is_empty())
        };
        RequestGroup {
            targets: Group::new(texts(|request| &request.target_contains)),
            agents: Group::new(texts(|request| &request.agent_contains)),
            plain: requests()
                .filter(|(_, request)| {
                    request.target_contains.is_empty() && request.agent_contains.is_empty()
                })
                .map(|(place, _)| place)
                .collect(),
        }
    }
}

impl Lazy {
    fn get(&self, expressions: &[String]) -> &[Regex] {
        // An expression that is none was refused by `check`, or is known by a test to be one.
        self.0.get_or_init(|| expressions.iter().filter_map(|text| compile(text).ok()).collect())
    }
}

fn compile(expression: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(expression).unicode(false).size_limit(MAX_COMPILED).build()
}

impl Prepared {
    fn check(&self) -> Result<(), PatternError> {
        let Pattern { name, contains, expressions, unless, request, alarms, .. } = &self.pattern;
        let targets = request.as_ref().map_or(&[][..], |request| &request.target);
        let all = || expressions.iter().chain(unless).chain(targets);
        let mut known: BTreeSet<String> =
            ["count", "within", "program", "host"].map(str::to_owned).into();
        for expression in all() {
            let compiled = compile(expression).map_err(|source| PatternError::Expression {
                pattern: name.clone(),
                expression: expression.clone(),
                source: Box::new(source),
            })?;
            known.extend(compiled.capture_names().flatten().map(str::to_owned));
        }
        if request.is_some() {
            known.extend(REQUEST_GROUPS.map(str::to_owned));
        }
        if contains.is_empty() && all().next().is_none() && request.is_none() {
            return Err(PatternError::Nothing(name.clone()));
        }
        if alarms.is_empty() {
            return Err(PatternError::NoAlarm(name.clone()));
        }
        AhoCorasick::new(contains).map_err(|source| PatternError::Texts(Box::new(source)))?;
        for alarm in alarms {
            if !(1..=1_000).contains(&alarm.count) {
                return Err(PatternError::Count { alarm: alarm.name.clone(), count: alarm.count });
            }
            let places = [&alarm.message, &alarm.subject].into_iter();
            let used =
                places.flat_map(|text| template::places(text)).chain(alarm.distinct.as_deref());
            for group in used {
                if !known.contains(group) {
                    return Err(PatternError::Group {
                        pattern: name.clone(),
                        alarm: alarm.name.clone(),
                        group: group.to_owned(),
                        known: known.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
                    });
                }
            }
        }
        Ok(())
    }

    fn matches<'t>(&self, text: &'t [u8]) -> Option<Found<'t>> {
        let Pattern { expressions, unless, .. } = &self.pattern;
        let found = match &expressions[..] {
            [] => Found::Nothing,
            _ => Found::Borrowed(
                self.expressions
                    .get(expressions)
                    .iter()
                    .find_map(|wanted| wanted.captures(text))?,
            ),
        };
        let but = self.unless.get(unless).iter().any(|unwanted| unwanted.is_match(text));
        (!but).then_some(found)
    }

    /// The groups of the target's expression, where the request is one that is wanted.
    fn requested(
        &self,
        wanted: &Requests,
        request: &Request<'_>,
        decoded: &[u8],
    ) -> Option<Vec<(String, Vec<u8>)>> {
        let one_of = |list: &[String], text: &[u8]| {
            list.is_empty() || list.iter().any(|wanted| contains(text, wanted.as_bytes()))
        };
        let method = &wanted.method;
        let fits = (wanted.status.is_empty() || wanted.status.contains(&request.status))
            && (method.is_empty()
                || method.iter().any(|method| method.as_bytes() == request.method))
            && wanted.http.is_none_or(|http| http != request.method.is_empty())
            && one_of(&wanted.target_contains, decoded)
            && one_of(&wanted.agent_contains, request.agent);
        if !fits || self.unless.get(&self.pattern.unless).iter().any(|but| but.is_match(decoded)) {
            return None;
        }
        if wanted.target.is_empty() {
            return Some(Vec::new());
        }
        self.target.get(&wanted.target).iter().find_map(|expression| {
            let captures = expression.captures(decoded)?;
            let named = expression.capture_names().flatten();
            let value = |name: &str| {
                captures.name(name).map(|value| (name.to_owned(), value.as_bytes().to_vec()))
            };
            Some(named.filter_map(value).collect())
        })
    }
}

/// Whether a text holds another, upper and lower case alike.
fn contains(text: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || text.windows(wanted.len()).any(|part| part.eq_ignore_ascii_case(wanted))
}

/// The groups of every request.
const REQUEST_GROUPS: [&str; 7] = ["address", "method", "target", "path", "agent", "user", "site"];

struct Groups<'e> {
    entry: &'e Entry<'e>,
    request: Option<Request<'e>>,
    captures: Found<'e>,
}

enum Found<'t> {
    Nothing,
    Borrowed(Captures<'t>),
    Owned(Vec<(String, Vec<u8>)>),
}

impl<'e> Match<'e> {
    /// The record.
    #[must_use]
    pub const fn entry(&self) -> &'e Entry<'e> {
        self.groups.entry
    }

    /// The value of a group; the address is normalized.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<std::borrow::Cow<'_, [u8]>> {
        let Groups { entry, request, captures } = &self.groups;
        let captured = match captures {
            Found::Nothing => None,
            Found::Borrowed(captures) => captures.name(name).map(|value| value.as_bytes()),
            Found::Owned(values) => {
                values.iter().find(|(known, _)| known == name).map(|(_, value)| &value[..])
            }
        };
        let value =
            captured.or_else(|| request.as_ref().and_then(|request| of_request(request, name)));
        let value = value.or_else(|| match name {
            "program" => entry.record.program.map(str::as_bytes),
            "host" => entry.record.host.map(str::as_bytes),
            _ => None,
        })?;
        Some(match std::str::from_utf8(value) {
            Ok(text) if name == "address" => address::subject(text).into_bytes().into(),
            _ => value.into(),
        })
    }
}

fn of_request<'e>(request: &Request<'e>, name: &str) -> Option<&'e [u8]> {
    Some(match name {
        "address" => request.client,
        "method" => request.method,
        "target" => request.target,
        "path" => request.target.split(|byte| *byte == b'?').next().unwrap_or_default(),
        "agent" => request.agent,
        "user" => return request.user,
        "site" => return request.host,
        _ => return None,
    })
}
