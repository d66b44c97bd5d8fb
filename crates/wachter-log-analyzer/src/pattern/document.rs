use serde::{Deserialize, Serialize};
use wachter_model::{Duration, Severity, Topic};

/// What to look for in records, and what it means when it is found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pattern {
    /// What it is called.
    pub name: String,
    /// Programs that write such records: `sshd`, or `postfix/*`; any where left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<String>,
    /// Texts of which a record must hold one, upper and lower case alike. Only such records are
    /// looked at more closely, which is what makes many patterns cheap.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contains: Vec<String>,
    /// Regular expressions over the message, of which one must match; their named groups can be
    /// used below. Any message where left out.
    #[serde(default, rename = "match", skip_serializing_if = "Vec::is_empty")]
    pub expressions: Vec<String>,
    /// Regular expressions that must not match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unless: Vec<String>,
    /// Look at the whole text with its header, and not at the message alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub whole: bool,
    /// Only lines of access logs, and what must hold of the request; `match` is then held against
    /// the whole line, and `unless` against the target. The groups are then `address`,
    /// `method`, `target`, `path`, `agent`, `user`, `site` and those of `target`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Requests>,
    /// When it is worth a finding.
    pub alarms: Vec<Alarm>,
    /// It ships with this program, names none and takes addresses: it is not held against what is
    /// known to quote clients, who would choose the address.
    #[serde(skip)]
    pub(crate) careful: bool,
}

/// What must hold of a request. Everything that is given must; of a list, one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Requests {
    /// Texts within the target, upper and lower case alike, percent-encoding undone twice.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub target_contains: Vec<String>,
    /// Regular expressions over the target, percent-encoding undone twice.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub target: Vec<String>,
    /// Texts within the user agent, upper and lower case alike.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub agent_contains: Vec<String>,
    /// `POST`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub method: Vec<String>,
    /// `404`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<u16>,
    /// Whether it must be HTTP, or must not be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<bool>,
}

/// When what matched is worth a finding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alarm {
    /// What it is called: the beginning of the finding's fingerprint.
    pub name: String,
    /// The finding's type.
    #[serde(rename = "type")]
    pub kind: Topic,
    /// How bad it is.
    pub severity: Severity,
    /// The finding's sentence, with groups in braces; `{count}` and `{within}` besides.
    pub message: String,
    /// What has the problem, with groups in braces; matches are counted for each apart.
    #[serde(default = "address")]
    pub subject: String,
    /// How many matches it takes.
    #[serde(default = "one")]
    pub count: u32,
    /// In which time.
    #[serde(default = "minute")]
    pub within: Duration,
    /// Count different values of this group, and not matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distinct: Option<String>,
    /// How long nothing more must match until it has ended.
    #[serde(default = "hour")]
    pub quiet: Duration,
    /// How long after it began it does not begin anew for the same subject, ended or not.
    #[serde(default = "none")]
    pub blackout: Duration,
}

fn address() -> String {
    "{address}".to_owned()
}

const fn one() -> u32 {
    1
}

const fn none() -> Duration {
    Duration::from_secs(0)
}

const fn minute() -> Duration {
    Duration::from_secs(60)
}

const fn hour() -> Duration {
    Duration::from_secs(3_600)
}

/// Why patterns cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PatternError {
    /// A regular expression is none.
    #[error("the expression `{expression}` of the pattern `{pattern}` is not right; correct it")]
    Expression {
        /// The pattern's name.
        pattern: String,
        /// The expression.
        expression: String,
        /// What is wrong.
        source: Box<regex::Error>,
    },
    /// A group that no expression has.
    #[error(
        "`{alarm}` of the pattern `{pattern}` uses the group `{group}`, which it does not have; it \
         has {known}"
    )]
    Group {
        /// The pattern's name.
        pattern: String,
        /// The alarm's name.
        alarm: String,
        /// The group.
        group: String,
        /// Those that there are.
        known: String,
    },
    /// Two patterns or two alarms of one name.
    #[error("two patterns or alarms are called `{0}`; rename one")]
    Twice(String),
    /// Numbers that make no sense.
    #[error("`{alarm}` counts to {count}; take 1 to 1000")]
    Count {
        /// The alarm's name.
        alarm: String,
        /// Its count.
        count: u32,
    },
    /// Nothing to look for.
    #[error("the pattern `{0}` says neither `contains`, `match` nor `request`; give one of them")]
    Nothing(String),
    /// No alarm.
    #[error("the pattern `{0}` has no alarm; give it one")]
    NoAlarm(String),
    /// The texts to look for are too many.
    #[error("the texts of `contains` are too many for one search; give fewer")]
    Texts(#[source] Box<aho_corasick::BuildError>),
    /// The shipped patterns cannot be read.
    #[error("the patterns that are part of this program cannot be read; report this")]
    Shipped(#[source] Box<wachter_document::DocumentError>),
}
