use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use wachter_api::shapes::ReportedFinding;
use wachter_api::{
    Call, DropFinding, GetFinding, JudgeFinding, ListFindings, Nothing, Problem, Server,
};
use wachter_bus::{Bus, Expect, KeyChange, KeyEntry};
use wachter_model::{Event, Judgement, OpenFinding, Severity, Verdict};
use wachter_runtime::dispatch::{
    FINDINGS_BUCKET, JUDGEMENTS_BUCKET, findings_prefix, key_of_finding,
};

use super::problems::{reason, unpublished, unreadable};
use super::with;
use crate::node::context::Node;

/// A person said whether a finding is one. Whoever found it may learn from that.
const FINDING_JUDGED: &str = "finding.judged";

/// How few digits of an identifier are taken for it.
const FEWEST_DIGITS: usize = 4;

/// How many digits an identifier has.
const WHOLE: usize = 16;

pub(super) fn handlers(server: Server, node: &Arc<Node>) -> Server {
    server
        .answer::<ListFindings, _, _>(with(node, list))
        .answer::<GetFinding, _, _>(with(node, get))
        .answer::<JudgeFinding, _, _>(with(node, judge))
        .answer::<DropFinding, _, _>(with(node, forget))
}

async fn list(node: Arc<Node>, call: Call<ListFindings>) -> Result<Vec<ReportedFinding>, Problem> {
    let query = call.query;
    let prefix = query.agent.as_ref().map(findings_prefix).unwrap_or_default();
    let mut found = open(&node.bus, &prefix).await?;
    found.retain(|open| {
        let severe = query.severity.is_none_or(|least| open.finding.severity >= least);
        severe && (query.all || !open.is_false())
    });
    found.sort_by_key(|open| (Reverse(open.finding.severity), Reverse(open.since)));
    Ok(found.into_iter().map(|open| shown(&node, open)).collect())
}

async fn get(node: Arc<Node>, call: Call<GetFinding>) -> Result<ReportedFinding, Problem> {
    let found = find(&node, &call.parameter::<String>()?).await?;
    Ok(shown(&node, found))
}

async fn judge(node: Arc<Node>, call: Call<JudgeFinding>) -> Result<ReportedFinding, Problem> {
    let mut found = find(&node, &call.parameter::<String>()?).await?;
    let reason = call.body.reason.as_deref().map(reason).transpose()?;
    let judgement = Judgement {
        verdict: call.body.verdict,
        by: call.caller.name,
        reason,
        time: Timestamp::now(),
    };
    let data = json!({
        "id": found.id,
        "agent": found.agent,
        "module": found.module,
        "type": found.finding.kind,
        "fingerprint": found.finding.fingerprint,
        "verdict": judgement.verdict,
        "by": judgement.by,
        "reason": judgement.reason,
    });
    let topic = FINDING_JUDGED.parse().expect("a word of two parts is a topic");
    let event = Event::builder(node.sources.interface(), &topic)
        .time(judgement.time)
        .subject(found.agent.as_str())
        .json(&data)
        .build()
        .map_err(|error| Problem::invalid(error.to_string()))?;
    let change = KeyChange {
        bucket: JUDGEMENTS_BUCKET.to_owned(),
        key: key_of_finding(&found.agent, &found.id),
        value: Some(json!(judgement).to_string().into_bytes()),
        expect: Expect::Anything,
        lasts: None,
    };
    let written = node.bus.try_publish_with(vec![event], vec![change]);
    written.map_err(|error| unpublished(&error))?.await.map_err(|error| unpublished(&error))?;
    found.judgement = Some(judgement);
    Ok(shown(&node, found))
}

async fn forget(node: Arc<Node>, call: Call<DropFinding>) -> Result<Nothing, Problem> {
    let found = find(&node, &call.parameter::<String>()?).await?;
    let changes = [FINDINGS_BUCKET, JUDGEMENTS_BUCKET].map(|bucket| KeyChange {
        bucket: bucket.to_owned(),
        key: key_of_finding(&found.agent, &found.id),
        value: None,
        expect: Expect::Anything,
        lasts: None,
    });
    match node.bus.change_keys(changes.into()).await {
        Ok(_) => Ok(Nothing {}),
        Err(error) => Err(Problem::internal(error.to_string())),
    }
}

/// How many there are of each severity, without those that are none.
pub(super) async fn count(bus: &Bus) -> Result<BTreeMap<Severity, u64>, Problem> {
    /// As much of a finding as is counted; its evidence is passed over unread.
    #[derive(Deserialize)]
    struct Open {
        finding: Severe,
    }
    #[derive(Deserialize)]
    struct Severe {
        severity: Severity,
    }
    let judged = judgements(bus, "").await?;
    let is_false = |key: &str| {
        judged.get(key).is_some_and(|judgement| judgement.verdict == Verdict::FalsePositive)
    };
    let mut counts = BTreeMap::new();
    for entry in bus.keys(FINDINGS_BUCKET, "").await.map_err(|error| unreadable(&error))? {
        if let Ok(open) = serde_json::from_slice::<Open>(&entry.value)
            && !is_false(&entry.key)
        {
            *counts.entry(open.finding.severity).or_default() += 1;
        }
    }
    Ok(counts)
}

/// Those that are open, with what people made of them.
async fn open(bus: &Bus, prefix: &str) -> Result<Vec<OpenFinding>, Problem> {
    let kept = bus.keys(FINDINGS_BUCKET, prefix).await.map_err(|error| unreadable(&error))?;
    let judged = judgements(bus, prefix).await?;
    let found = kept.iter().filter_map(|entry| {
        let open: OpenFinding = serde_json::from_slice(&entry.value).ok()?;
        Some(OpenFinding { judgement: judged.get(&entry.key).cloned(), ..open })
    });
    Ok(found.collect())
}

/// What people made of findings, by their keys.
async fn judgements(bus: &Bus, prefix: &str) -> Result<BTreeMap<String, Judgement>, Problem> {
    let judged = bus.keys(JUDGEMENTS_BUCKET, prefix).await.map_err(|error| unreadable(&error))?;
    let judged = judged.into_iter();
    Ok(judged
        .filter_map(|entry| Some((entry.key, serde_json::from_slice(&entry.value).ok()?)))
        .collect())
}

/// One by its identifier, or by as many of its first digits as tell it from others.
async fn find(node: &Node, id: &str) -> Result<OpenFinding, Problem> {
    let digits = id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !digits || id.len() < FEWEST_DIGITS {
        return Err(Problem::invalid(format!(
            "`{id}` is no finding: name one by {FEWEST_DIGITS} or more of the digits before it in `wachter findings`"
        )));
    }
    let mut found = named(node, id).await?;
    match (found.pop(), found.len()) {
        (Some(one), 0) => {
            let key = key_of_finding(&one.agent, &one.id);
            let judged = node.bus.key(JUDGEMENTS_BUCKET, &key).await;
            let judged = judged.map_err(|error| unreadable(&error))?;
            let judgement = judged.and_then(|entry| serde_json::from_slice(&entry.value).ok());
            Ok(OpenFinding { judgement, ..one })
        }
        (None, _) => Err(Problem::not_found(format!(
            "there is no finding {id} now; `wachter findings --all` lists those that there are"
        ))),
        (Some(_), more) => Err(Problem::invalid(format!(
            "{} findings begin with {id}; give more digits",
            more + 1
        ))),
    }
}

/// Those whose identifiers begin so. A whole one is looked up; the list is read only for a part of one,
/// and for agents that are there no more, and parsed only where the key is right.
async fn named(node: &Node, id: &str) -> Result<Vec<OpenFinding>, Problem> {
    let read = |entry: &KeyEntry| serde_json::from_slice::<OpenFinding>(&entry.value).ok();
    let deployment = node.deployment.borrow().clone();
    if id.len() == WHOLE {
        for agent in deployment.iter().flat_map(|deployment| deployment.catalogue.agents()) {
            let key = key_of_finding(&agent.name, id);
            let entry = node.bus.key(FINDINGS_BUCKET, &key).await;
            let entry = entry.map_err(|error| unreadable(&error))?;
            if let Some(open) = entry.as_ref().and_then(read) {
                return Ok(vec![open]);
            }
        }
    }
    let entries = node.bus.keys(FINDINGS_BUCKET, "").await.map_err(|error| unreadable(&error))?;
    let is_meant = |entry: &&KeyEntry| {
        entry.key.rsplit_once('/').is_some_and(|(_, digits)| digits.starts_with(id))
    };
    Ok(entries.iter().filter(is_meant).filter_map(read).collect())
}

fn shown(node: &Node, open: OpenFinding) -> ReportedFinding {
    let deployment = node.deployment.borrow();
    let watched = deployment
        .as_ref()
        .is_none_or(|deployment| deployment.catalogue.agent(&open.agent).is_some());
    ReportedFinding { open, watched }
}
