//! Which problems are there now: kept beside the events, so that nobody has to look through the journal
//! for them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};
use wachter_bus::{Bus, Expect, KeyChange, KeyEntry, ReadError};
use wachter_model::{AgentName, Finding, OpenFinding};

use crate::RunRecord;

/// The bucket of findings that were reported and have not gone.
pub const FINDINGS_BUCKET: &str = "open-findings";

/// The bucket of what people made of them, under the same keys. Apart, so that a run that reports a
/// finding again cannot undo what was said of it meanwhile.
pub const JUDGEMENTS_BUCKET: &str = "finding-judgements";

/// How many an agent can have open. Beyond that the one that was reported longest ago leaves the list:
/// what makes a new problem of everything must not fill the disk.
const MOST: usize = 1_000;

/// Evidence above this stays in the event alone.
const LARGEST_EVIDENCE: usize = 64 << 10;

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
    let mut open: BTreeMap<String, OpenFinding> =
        kept.iter().filter_map(read).map(|open| (open.id.clone(), open)).collect();
    let mut changed: BTreeMap<String, Option<OpenFinding>> = BTreeMap::new();
    for finding in &record.findings {
        let id = OpenFinding::id_of(agent, &finding.fingerprint);
        let before = open.remove(&id);
        if finding.resolved {
            changed.insert(id, None);
            continue;
        }
        let now = reported(before, id.clone(), agent, record, finding, now);
        open.insert(id.clone(), now.clone());
        changed.insert(id, Some(now));
    }
    for id in beyond(&open, MOST) {
        changed.insert(id, None);
    }
    let mut keys = Vec::new();
    for (id, open) in changed {
        let key = key_of_finding(agent, &id);
        if open.is_none() {
            keys.push(change(JUDGEMENTS_BUCKET, &key, None));
        }
        keys.push(change(FINDINGS_BUCKET, &key, open.as_ref()));
    }
    Ok(keys)
}

/// What stands under a key, where it is a finding.
fn read(entry: &KeyEntry) -> Option<OpenFinding> {
    serde_json::from_slice(&entry.value).ok()
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

/// Those that were reported longest ago of what is too much.
fn beyond(open: &BTreeMap<String, OpenFinding>, most: usize) -> Vec<String> {
    let mut by_age: Vec<_> = open.values().map(|open| (open.seen, &open.id)).collect();
    by_age.sort_unstable();
    by_age.truncate(open.len().saturating_sub(most));
    by_age.into_iter().map(|(_, id)| id.clone()).collect()
}

fn change(bucket: &str, key: &str, open: Option<&OpenFinding>) -> KeyChange {
    KeyChange {
        bucket: bucket.to_owned(),
        key: key.to_owned(),
        value: open.map(|open| json!(open).to_string().into_bytes()),
        expect: Expect::Anything,
        lasts: None,
    }
}
