use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::time::Instant;

/// Measures the steps of a run, for who wants to know where its time goes.
#[derive(Debug)]
pub(crate) struct Times {
    last: Instant,
    said: Option<String>,
}

impl Times {
    /// Begins now; `wanted` or not.
    pub(crate) fn begin(wanted: bool) -> Self {
        Self { last: Instant::now(), said: wanted.then(String::new) }
    }

    /// Ends a step.
    pub(crate) fn step(&mut self, name: &str) {
        let Some(said) = &mut self.said else { return };
        let now = Instant::now();
        let _ = write!(said, "{name} {} us; ", (now - self.last).as_micros());
        self.last = now;
    }

    /// Says all steps on stderr.
    pub(crate) fn say(&self) {
        if let Some(said) = &self.said {
            let _ = writeln!(io::stderr(), "{}", said.trim_end_matches("; "));
        }
    }
}
