use std::fmt;
use std::sync::Arc;

use wachter_model::{Event, EventKind, Source, TopicFilter};

/// Which events a subscription wants. An empty list leaves a question open.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Topics, with `*` and `>`; any of them.
    pub topics: Vec<TopicFilter>,
    /// Kinds; any of them.
    pub kinds: Vec<EventKind>,
    /// Sources, to the letter; any of them.
    pub sources: Vec<Source>,
    /// The target: of events that name one, only those that name this. Events without a target are
    /// for everybody.
    pub target: Option<String>,
    /// What else has to hold. An event that it turns down is counted as skipped.
    pub predicate: Option<Predicate>,
}

/// A condition that the filter's own words cannot express. It is asked once an event, by the writer or
/// the reader, so it must be quick, and must not wait.
#[derive(Clone)]
pub struct Predicate(Arc<dyn Fn(&Event) -> bool + Send + Sync>);

impl Predicate {
    /// A condition.
    #[must_use]
    pub fn new(condition: impl Fn(&Event) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(condition))
    }
}

impl fmt::Debug for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Predicate")
    }
}

/// How a filter judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    Wanted,
    /// The words of the filter do not mean it.
    Other,
    /// The words mean it and the predicate turned it down.
    Skipped,
}

impl EventFilter {
    /// Whether events of this type can be meant: what is told without reading the event.
    pub(crate) fn may_want(&self, event_type: &str) -> bool {
        self.topics.is_empty() || self.topics.iter().any(|filter| filter.matches_text(event_type))
    }

    /// Whether the event is wanted.
    #[must_use]
    pub fn wants(&self, event: &Event) -> bool {
        self.judge(event) == Judgement::Wanted
    }

    pub(crate) fn judge(&self, event: &Event) -> Judgement {
        let meant = self.may_want(event.event_type())
            && (self.kinds.is_empty() || self.kinds.contains(&event.kind()))
            && (self.sources.is_empty() || self.sources.contains(event.source()))
            && match (&self.target, event.target()) {
                (Some(own), Some(target)) => own == target,
                _ => true,
            };
        match &self.predicate {
            _ if !meant => Judgement::Other,
            // A panic in it is the caller's fault and must not end the writer.
            Some(Predicate(condition)) => {
                let asked =
                    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| condition(event)));
                if asked.unwrap_or(false) { Judgement::Wanted } else { Judgement::Skipped }
            }
            None => Judgement::Wanted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(filter: &EventFilter, expected: Judgement) {
        let event = Event::builder("/here".parse().unwrap(), &"a.b".parse().unwrap())
            .target("web")
            .kind(EventKind::Command)
            .build()
            .unwrap();
        assert_eq!(filter.judge(&event), expected, "{filter:?}");
    }

    #[test]
    fn every_question_has_to_be_answered_by_yes() {
        let any = EventFilter::default;
        let topics = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        check(&any(), Judgement::Wanted);
        check(&EventFilter { topics: topics(&["x", "a.*"]), ..any() }, Judgement::Wanted);
        check(&EventFilter { topics: topics(&["x", "a"]), ..any() }, Judgement::Other);
        check(&EventFilter { kinds: vec![EventKind::Command], ..any() }, Judgement::Wanted);
        check(&EventFilter { kinds: vec![EventKind::Event], ..any() }, Judgement::Other);
        check(&EventFilter { sources: vec!["/here".parse().unwrap()], ..any() }, Judgement::Wanted);
        check(&EventFilter { sources: vec!["/there".parse().unwrap()], ..any() }, Judgement::Other);
        check(&EventFilter { target: Some("web".into()), ..any() }, Judgement::Wanted);
        check(&EventFilter { target: Some("other".into()), ..any() }, Judgement::Other);
        let no = Some(Predicate::new(|_| false));
        check(&EventFilter { predicate: no.clone(), ..any() }, Judgement::Skipped);
        check(&EventFilter { predicate: no, topics: topics(&["x"]), ..any() }, Judgement::Other);
        let panic = Some(Predicate::new(|_| panic!("on purpose")));
        check(&EventFilter { predicate: panic, ..any() }, Judgement::Skipped);
    }
}
