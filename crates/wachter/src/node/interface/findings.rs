use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;
use wachter_api::shapes::ReportedFinding;
use wachter_api::{
    Call, DropFinding, GetFinding, JudgeFinding, ListFindings, Nothing, Problem, Server,
};
use wachter_bus::{Bus, Expect, KeyChange};
use wachter_model::{Event, Judgement, OpenFinding, Severity};
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
    let found = find(&node.bus, &call.parameter::<String>()?).await?;
    Ok(shown(&node, found))
}

async fn judge(node: Arc<Node>, call: Call<JudgeFinding>) -> Result<ReportedFinding, Problem> {
    let mut found = find(&node.bus, &call.parameter::<String>()?).await?;
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
    let found = find(&node.bus, &call.parameter::<String>()?).await?;
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
    let mut counts = BTreeMap::new();
    for open in open(bus, "").await?.iter().filter(|open| !open.is_false()) {
        *counts.entry(open.finding.severity).or_default() += 1;
    }
    Ok(counts)
}

/// Those that are open, with what people made of them.
async fn open(bus: &Bus, prefix: &str) -> Result<Vec<OpenFinding>, Problem> {
    let kept = bus.keys(FINDINGS_BUCKET, prefix).await.map_err(|error| unreadable(&error))?;
    let judged = bus.keys(JUDGEMENTS_BUCKET, prefix).await.map_err(|error| unreadable(&error))?;
    let judged: BTreeMap<_, Judgement> = judged
        .into_iter()
        .filter_map(|entry| Some((entry.key, serde_json::from_slice(&entry.value).ok()?)))
        .collect();
    let found = kept.iter().filter_map(|entry| {
        let open: OpenFinding = serde_json::from_slice(&entry.value).ok()?;
        Some(OpenFinding { judgement: judged.get(&entry.key).cloned(), ..open })
    });
    Ok(found.collect())
}

/// One by its identifier, or by as many of its first digits as tell it from others.
async fn find(bus: &Bus, id: &str) -> Result<OpenFinding, Problem> {
    let digits = id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !digits || id.len() < FEWEST_DIGITS {
        return Err(Problem::invalid(format!(
            "`{id}` is no finding: name one by {FEWEST_DIGITS} or more of the digits before it in `wachter findings`"
        )));
    }
    let mut found = open(bus, "").await?;
    found.retain(|open| open.id.starts_with(id));
    match (found.pop(), found.len()) {
        (Some(one), 0) => Ok(one),
        (None, _) => Err(Problem::not_found(format!(
            "there is no finding {id} now; `wachter findings --all` lists those that there are"
        ))),
        (Some(_), more) => Err(Problem::invalid(format!(
            "{} findings begin with {id}; give more digits",
            more + 1
        ))),
    }
}

fn shown(node: &Node, open: OpenFinding) -> ReportedFinding {
    let deployment = node.deployment.borrow();
    let watched = deployment
        .as_ref()
        .is_none_or(|deployment| deployment.catalogue.agent(&open.agent).is_some());
    ReportedFinding { open, watched }
}
