//! What fails at present, and when it does not any more.

use std::collections::BTreeMap;

use crate::WriteError;

/// Who could not do what it has to do with the journal, and why.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    write: Option<WriteError>,
    /// Subscriptions that cannot be fed, by number. Each asks again after a while.
    feeds: BTreeMap<i64, WriteError>,
    /// The scrub looks again at its next pass only, which may be in days.
    scrub: Option<WriteError>,
}

/// What was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// A transaction.
    Write,
    /// Feeding the subscription of this number.
    Feed(i64),
    /// Reading a page of all.
    Scrub,
}

impl Failures {
    /// The reason to tell a person, if there is one.
    pub(crate) fn first(&self) -> Option<&WriteError> {
        self.write.as_ref().or_else(|| self.feeds.values().next()).or(self.scrub.as_ref())
    }

    pub(crate) fn failed(&mut self, attempt: Attempt, error: WriteError) {
        match attempt {
            Attempt::Write => self.write = Some(error),
            Attempt::Feed(subscription) => drop(self.feeds.insert(subscription, error)),
            Attempt::Scrub => self.scrub = Some(error),
        }
    }

    /// It went well. Says whether by that nothing fails any more.
    pub(crate) fn succeeded(&mut self, attempt: Attempt) -> bool {
        let failed = self.first().is_some();
        match attempt {
            Attempt::Write => self.write = None,
            Attempt::Feed(subscription) => drop(self.feeds.remove(&subscription)),
            Attempt::Scrub => self.scrub = None,
        }
        // What else was met on the way is over when the disk works again, but for damage.
        self.scrub.take_if(|error| error.passes());
        failed && self.first().is_none()
    }

    /// Nobody is to be fed there any more. Says whether by that nothing fails any more.
    pub(crate) fn gone(&mut self, subscription: i64) -> bool {
        self.feeds.remove(&subscription).is_some() && self.first().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_ends_with_its_own_success() {
        use Attempt::{Feed, Scrub, Write};
        let disk = || WriteError::Disk("I/O error".to_owned());
        let mut failures = Failures::default();
        assert!(!failures.succeeded(Write), "nothing failed");
        failures.failed(Feed(1), disk());
        failures.failed(Write, WriteError::DiskFull);
        assert_eq!(failures.first(), Some(&WriteError::DiskFull));
        assert!(!failures.succeeded(Feed(2)) && !failures.succeeded(Write));
        assert_eq!(failures.first(), Some(&disk()), "writing says nothing of what is read");
        assert!(failures.succeeded(Feed(1)) && !failures.succeeded(Feed(1)));
        failures.failed(Feed(1), disk());
        assert!(failures.gone(1) && !failures.gone(1));
        for next in [Write, Feed(1), Scrub] {
            failures.failed(Scrub, disk());
            assert!(failures.succeeded(next), "{next:?}");
        }
        failures.failed(Scrub, WriteError::Damaged("malformed".to_owned()));
        assert!(!failures.succeeded(Write) && !failures.succeeded(Feed(1)));
        assert!(failures.succeeded(Scrub));
    }
}
