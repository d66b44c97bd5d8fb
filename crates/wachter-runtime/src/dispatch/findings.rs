//! Which problems are there now: kept beside the events, so that nobody has to look through the journal
//! for them.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};
use wachter_bus::{Bus, Expect, KeyChange, KeyEntry, ReadError};
use wachter_model::{AgentName, Digest, Finding, OpenFinding};

use crate::RunRecord;
use crate::shorten::shorten;

/// The bucket of findings that were reported and have not gone.
pub const FINDINGS_BUCKET: &str = "open-findings";

/// The bucket of what people made of them, under the same keys. Apart, so that a run that reports a
/// finding again cannot undo what was said of it meanwhile.
pub const JUDGEMENTS_BUCKET: &str = "finding-judgements";

/// How many an agent can have open. Beyond that the one that was reported longest ago leaves the list:
/// what makes a new problem of everything must not fill the disk.
const MOST: usize = 1_000;

/// What an agent's list may come to, in bytes as it is kept: every run of the agent that finds something
/// reads all of it, and so does whoever asks for the list. Beyond that, they leave it in the same way.
const MOST_BYTES: usize = 4 << 20;

/// Evidence above this stays in the event alone.
const LARGEST_EVIDENCE: usize = 64 << 10;

/// What the list keeps of a message, in bytes.
const LONGEST_MESSAGE: usize = 4 << 10;

/// What the list keeps of a subject, in bytes, and how long a fingerprint may be to stand there itself.
/// Both may be made of names that somebody else gave, so that a long one must not be the run's failure.
const LONGEST_NAME: usize = 1 << 10;

/// Where a finding is kept.
#[must_use]
pub fn key_of_finding(agent: &AgentName, id: &str) -> String {
    format!("{}{id}", findings_prefix(agent))
}

/// What the keys of an agent's findings begin with.
#[must_use]
pub fn findings_prefix(agent: &AgentName) -> String {
    format!("{agent}/")
}

/// What the findings of an accepted run change in the list.
///
/// # Errors
/// The journal cannot be read.
pub(super) async fn changes(
    bus: &Bus,
    agent: &AgentName,
    record: &RunRecord,
    now: Timestamp,
) -> Result<Vec<KeyChange>, ReadError> {
    if record.findings.is_empty() {
        return Ok(Vec::new());
    }
    let kept = bus.keys(FINDINGS_BUCKET, &findings_prefix(agent)).await?;
    let mut open: BTreeMap<String, Listed> =
        kept.iter().filter_map(read).map(|open| (open.finding.id.clone(), open)).collect();
    let mut changed: BTreeMap<String, Option<Vec<u8>>> = BTreeMap::new();
    for finding in &record.findings {
        let id = OpenFinding::id_of(agent, &finding.fingerprint);
        let before = open.remove(&id);
        if finding.resolved {
            changed.insert(id, None);
            continue;
        }
        let before = before.map(|before| before.finding);
        let finding = reported(before, id.clone(), agent, record, finding, now);
        let value = json!(finding).to_string().into_bytes();
        open.insert(id.clone(), Listed { finding, bytes: value.len() });
        changed.insert(id, Some(value));
    }
    for id in beyond(&open, MOST, MOST_BYTES) {
        changed.insert(id, None);
    }
    let mut keys = Vec::new();
    for (id, value) in changed {
        let key = key_of_finding(agent, &id);
        if value.is_none() {
            keys.push(change(JUDGEMENTS_BUCKET, &key, None));
        }
        keys.push(change(FINDINGS_BUCKET, &key, value));
    }
    Ok(keys)
}

/// One of the list, and what it takes there.
struct Listed {
    finding: OpenFinding,
    bytes: usize,
}

/// What stands under a key, where it is a finding.
fn read(entry: &KeyEntry) -> Option<Listed> {
    let finding = serde_json::from_slice(&entry.value).ok()?;
    Some(Listed { finding, bytes: entry.value.len() })
}

fn reported(
    before: Option<OpenFinding>,
    id: String,
    agent: &AgentName,
    record: &RunRecord,
    finding: &Finding,
    now: Timestamp,
) -> OpenFinding {
    let mut finding = finding.clone();
    shorten(&mut finding.message, LONGEST_MESSAGE);
    shorten(&mut finding.subject, LONGEST_NAME);
    if finding.fingerprint.len() > LONGEST_NAME {
        finding.fingerprint = format!("sha256:{}", Digest::of(finding.fingerprint.as_bytes()));
    }
    if finding.evidence.to_string().len() > LARGEST_EVIDENCE {
        finding.evidence = Value::from("left out: too large for a list; the event has it");
    }
    let (since, reports) = before.map_or((now, 0), |before| (before.since, before.reports));
    OpenFinding {
        id,
        agent: agent.clone(),
        module: record.module.clone(),
        finding,
        since,
        seen: now,
        reports: reports.saturating_add(1),
        run: record.run,
        judgement: None,
    }
}

/// Those that were reported longest ago of what is too much; of those of one time, the least severe.
fn beyond(open: &BTreeMap<String, Listed>, most: usize, most_bytes: usize) -> Vec<String> {
    let rank = |open: &Listed| (open.finding.seen, open.finding.finding.severity);
    let mut by_rank: Vec<&Listed> = open.values().collect();
    by_rank.sort_by_key(|open| Reverse(rank(open)));
    let (mut kept, mut bytes) = (0, 0_usize);
    let stays = |open: &&Listed| {
        bytes = bytes.saturating_add(open.bytes);
        kept += 1;
        kept <= most && bytes <= most_bytes
    };
    by_rank.into_iter().skip_while(stays).map(|open| open.finding.id.clone()).collect()
}

fn change(bucket: &str, key: &str, value: Option<Vec<u8>>) -> KeyChange {
    KeyChange {
        bucket: bucket.to_owned(),
        key: key.to_owned(),
        value,
        expect: Expect::Anything,
        lasts: None,
    }
}
