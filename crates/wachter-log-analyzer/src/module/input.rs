use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use wachter_model::{ByteSize, Duration};
use wachter_module::ModuleError;

use crate::pattern::Pattern;

/// What is asked of the module. The defaults stand in `input.schema.json` too; a test compares them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Input {
    /// What to read; the host's usual logs where left out.
    pub sources: Option<Vec<Source>>,
    /// The folders that files may lie in, links resolved.
    pub folders: Vec<PathBuf>,
    /// Where logs that are there at the first run are begun.
    pub start: Start,
    /// Patterns besides those that ship. One with the name of one that ships takes its place.
    pub patterns: Vec<Pattern>,
    /// Names of patterns that are not looked for.
    pub without: BTreeSet<String>,
    /// How far behind the end of a log is a problem.
    pub behind: Behind,
    /// How long after the last change of a file its last record is taken to be complete.
    pub hold: Duration,
    /// How much is read and kept.
    pub limits: InputLimits,
}

/// A log, or several.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Source {
    /// A file; `*` and `?` stand for characters of one name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// What wrote it, for records that do not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// The journal of systemd, and not a file.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub journal: bool,
}

/// Where to begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// With what is written from now on.
    #[default]
    End,
    /// With what is there.
    Beginning,
}

/// A problem begins at `raise` and ends below `resolve`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Behind {
    /// So much was not read yet.
    pub raise: ByteSize,
    /// So little.
    pub resolve: ByteSize,
}

/// How much is read and kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InputLimits {
    /// Bytes that one run reads.
    pub read: ByteSize,
    /// Bytes of a line that are kept.
    pub line: ByteSize,
    /// Lines of a record.
    pub lines: u32,
    /// Files that are followed.
    pub files: u32,
    /// Bytes that one compressed file is decompressed to.
    pub decompressed: ByteSize,
    /// Subjects of alarms that are counted at a time.
    pub subjects: u32,
    /// Findings that are open at a time.
    pub open: u32,
    /// Findings that one run begins.
    pub findings: u32,
}

impl Default for Input {
    fn default() -> Self {
        Self {
            sources: None,
            folders: vec!["/var/log".into()],
            start: Start::End,
            patterns: Vec::new(),
            without: BTreeSet::new(),
            behind: Behind { raise: ByteSize::from_mib(64), resolve: ByteSize::from_mib(1) },
            hold: Duration::from_secs(2),
            limits: InputLimits::default(),
        }
    }
}

impl Default for InputLimits {
    fn default() -> Self {
        Self {
            read: ByteSize::from_mib(64),
            line: ByteSize::from_bytes(64 << 10),
            lines: 500,
            files: 500,
            decompressed: ByteSize::from_mib(1_024),
            subjects: 2_000,
            open: 500,
            findings: 200,
        }
    }
}

/// The logs of a host that is left as it was installed. Debian's `syslog` holds what `kern.log`
/// holds, and the journal what all of them hold: each record is read once.
const USUAL: [&[&str]; 7] = [
    &["/var/log/auth.log", "/var/log/secure"],
    &["/var/log/syslog", "/var/log/messages", "/var/log/kern.log"],
    &["/var/log/nginx/*.log"],
    &["/var/log/apache2/*.log"],
    &["/var/log/httpd/*log"],
    &["/var/log/mail.log", "/var/log/maillog"],
    &["/var/log/mdadm.log"],
];

impl Input {
    /// Whether the numbers make sense together.
    ///
    /// # Errors
    /// The first that does not, and what would.
    pub(crate) fn check(&self) -> Result<(), ModuleError> {
        let fail = |message: String| Err(ModuleError::failed(message));
        for source in self.sources.iter().flatten() {
            match &source.path {
                Some(path) if source.journal => {
                    return fail(format!(
                        "{} is no journal: give `path` or `journal`",
                        path.display()
                    ));
                }
                Some(path) if !path.is_absolute() => {
                    return fail(format!(
                        "`{}` is no full path: begin it with `/`",
                        path.display()
                    ));
                }
                None if !source.journal => {
                    return fail("a source has neither `path` nor `journal`: give one".to_owned());
                }
                _ => {}
            }
        }
        if self.behind.resolve.as_bytes() >= self.behind.raise.as_bytes() {
            return fail("`behind.resolve` must be less than `behind.raise`".to_owned());
        }
        let InputLimits { read, line, lines, files, subjects, open, findings, .. } = self.limits;
        let within = [
            ("read", read.as_bytes(), 64 << 10, 1 << 40),
            ("line", line.as_bytes(), 1 << 10, 1 << 20),
            ("lines", lines.into(), 1, 10_000),
            ("files", files.into(), 1, 1_000),
            ("subjects", subjects.into(), 16, 5_000),
            ("open", open.into(), 1, 1_000),
            ("findings", findings.into(), 1, 1_000),
        ];
        for (name, value, least, most) in within {
            if !(least..=most).contains(&value) {
                return fail(format!("`limits.{name}` is {value}; take {least} to {most}"));
            }
        }
        Ok(())
    }

    /// What to read: as it was asked, or what is usual. The journal is usual where no log of the
    /// system is there as a file.
    pub(crate) fn sources(&self, journalctl: bool) -> Vec<Source> {
        if let Some(sources) = &self.sources {
            return sources.clone();
        }
        let file = |path: &str| Source { path: Some(path.into()), ..Source::default() };
        let mut sources = Vec::new();
        let mut system = false;
        for (place, alternatives) in USUAL.iter().enumerate() {
            let there =
                alternatives.iter().find(|path| path.contains('*') || PathBuf::from(path).exists());
            if let Some(path) = there {
                system |= place < 2;
                sources.push(file(path));
            }
        }
        if !system && journalctl {
            sources.push(Source { journal: true, ..Source::default() });
        }
        sources
    }
}
