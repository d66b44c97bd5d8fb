use std::fmt;

use serde::Serialize;
use wachter_document::{DocumentError, Fault, Place};

/// One thing that is wrong with the configuration, with its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
pub struct Problem {
    /// Whether it refuses the configuration.
    pub severity: ProblemSeverity,
    /// What the text is known by: a path in the repository, the local file, `environment`, `flags`.
    pub path: String,
    /// Line, counted from 1; 0 where the problem is not at one place.
    pub line: u64,
    /// Column in characters, counted from 1.
    pub column: u64,
    /// What is wrong and what would be right.
    pub message: String,
    /// The line with a caret below the place; empty where there is none.
    pub snippet: String,
}

/// How much a problem matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProblemSeverity {
    /// The configuration can be used.
    Warning,
    /// The configuration is refused.
    Error,
}

/// The first line: where and what.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { severity, path, line, column, message, .. } = self;
        let warning = if *severity == ProblemSeverity::Warning { "warning: " } else { "" };
        match line {
            0 => write!(f, "{path}: {warning}{message}"),
            _ => write!(f, "{path}:{line}:{column}: {warning}{message}"),
        }
    }
}

/// All that is wrong, by file and line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

/// Each problem with its snippet, for a person.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let blank = if index == 0 { "" } else { "\n" };
            write!(f, "{blank}{problem}")?;
            if !problem.snippet.is_empty() {
                write!(f, "\n{}", problem.snippet)?;
            }
        }
        Ok(())
    }
}

/// A text of which trees were made.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Texts by number, and what is wrong with them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    pub(crate) sources: Vec<Source>,
    problems: Vec<Problem>,
}

impl Report {
    /// Takes a text in and gives its number.
    pub(crate) fn add(&mut self, path: &str, text: &str) -> usize {
        self.sources.push(Source { path: path.to_owned(), text: text.to_owned() });
        self.sources.len() - 1
    }

    pub(crate) fn error(&mut self, fault: Fault) {
        self.push(ProblemSeverity::Error, fault);
    }

    pub(crate) fn errors(&mut self, faults: impl IntoIterator<Item = Fault>) {
        faults.into_iter().for_each(|fault| self.error(fault));
    }

    pub(crate) fn warning(&mut self, fault: Fault) {
        self.push(ProblemSeverity::Warning, fault);
    }

    fn push(&mut self, severity: ProblemSeverity, Fault { place, message }: Fault) {
        let Some(source) = self.sources.get(place.source) else { return };
        let rendered = DocumentError { line: place.line, column: place.column, message }
            .render(&source.path, &source.text);
        // The first line is what Display makes.
        let snippet = rendered.split_once("\n").filter(|_| place.line > 0);
        let message = match &snippet {
            Some((first, _)) => {
                let prefix = format!("{}:{}:{}: ", source.path, place.line, place.column);
                first.strip_prefix(&prefix).unwrap_or(first).to_owned()
            }
            None => {
                rendered.strip_prefix(&format!("{}: ", source.path)).unwrap_or(&rendered).to_owned()
            }
        };
        let snippet = snippet.map(|(_, snippet)| snippet.to_owned()).unwrap_or_default();
        let Place { line, column, .. } = place;
        let path = source.path.clone();
        let problem = Problem { severity, path, line, column, message, snippet };
        // A layer that is in force is read twice: by itself, and under those above it.
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// The problems in the order of their places: `Err` where one refuses the configuration.
    pub(crate) fn finish(mut self) -> Result<Problems, Problems> {
        self.problems.sort_by(|one, other| {
            (&one.path, one.line, one.column).cmp(&(&other.path, other.line, other.column))
        });
        let refused =
            self.problems.iter().any(|problem| problem.severity == ProblemSeverity::Error);
        if refused { Err(Problems(self.problems)) } else { Ok(Problems(self.problems)) }
    }
}
