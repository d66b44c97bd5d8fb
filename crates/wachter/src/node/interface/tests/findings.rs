use serde_json::{Value, json};
use wachter_api::shapes::{FindingsQuery, JudgeFinding as Judged, ReportedFinding, Request};
use wachter_api::{
    DropFinding, GetFinding, GetStatus, JudgeFinding, ListFindings, Nothing, ProblemKind, RunAgent,
};
use wachter_bus::KeyEntry;
use wachter_model::{OpenFinding, Severity, Verdict};
use wachter_runtime::dispatch::{FINDINGS_BUCKET, JUDGEMENTS_BUCKET};

use super::site::{Site, refused};

const FINDER: (&str, &str) = ("finder", "role: scanner\non: { events: [a.b] }\nwith: { do: find }");

async fn site() -> Site {
    Site::with(&[
        FINDER,
        ("learner", "role: monitoring\non: { events: [finding.judged], where: \"event.subject == 'finder'\" }"),
    ])
    .await
}

/// Has the agent report what is asked for, and waits for the end of it.
async fn report(site: &Site, findings: Value, dry_run: bool) {
    let before = site.events("run.finished").await.len();
    let request = Request { input: json!({ "findings": findings }), dry_run };
    site.call_at::<RunAgent>("finder", &Nothing {}, &request).await.unwrap();
    site.until_events("run.finished", before + 1).await;
}

async fn list(site: &Site, query: FindingsQuery) -> Vec<ReportedFinding> {
    site.call::<ListFindings>(&query, &Nothing {}).await.unwrap()
}

fn subjects(found: &[ReportedFinding]) -> Vec<&str> {
    found.iter().map(|found| found.open.finding.subject.as_str()).collect()
}

#[tokio::test]
async fn what_was_reported_is_listed_until_it_has_gone() {
    let site = site().await;
    let any = FindingsQuery::default;
    assert!(list(&site, any()).await.is_empty());
    let low = json!({ "severity": "low", "subject": "/", "fingerprint": "root" });
    report(&site, json!([{}, low]), false).await;
    let found = list(&site, any()).await;
    assert_eq!(subjects(&found), ["/var", "/"], "the worst first");
    let (first, since) = (found[0].open.clone(), found[0].open.since);
    assert_eq!((first.reports, first.agent.as_str(), found[0].watched), (1, "finder", true));
    assert_eq!(first.id, OpenFinding::id_of(&first.agent, "f"));
    let severe = FindingsQuery { severity: Some(Severity::Medium), ..any() };
    assert_eq!(subjects(&list(&site, severe).await), ["/var"]);
    let of = |agent: &str| FindingsQuery { agent: Some(agent.parse().unwrap()), ..any() };
    assert_eq!(list(&site, of("finder")).await.len(), 2);
    assert!(list(&site, of("find")).await.is_empty(), "another agent, whose name begins alike");
    let counts = site.get::<GetStatus>().await.findings;
    assert_eq!(counts, [(Severity::Low, 1), (Severity::High, 1)].into());

    // It got worse; and what a dry run finds is not there.
    report(&site, json!([{ "severity": "critical" }]), false).await;
    report(&site, json!([{ "subject": "/dry", "fingerprint": "dry" }]), true).await;
    let found = list(&site, any()).await;
    assert_eq!(subjects(&found), ["/var", "/"]);
    let worse = &found[0].open;
    assert_eq!(
        (worse.reports, worse.since, worse.finding.severity),
        (2, since, Severity::Critical)
    );
    assert!(worse.seen > since && worse.run != first.run);
    report(&site, json!([{ "resolved": true }]), false).await;
    assert_eq!(subjects(&list(&site, any()).await), ["/"]);
    let one = list(&site, any()).await.remove(0);
    assert_eq!(site.at::<GetFinding>(&one.open.id[..6]).await.unwrap(), one);
    site.at::<DropFinding>(&one.open.id).await.unwrap();
    assert!(list(&site, any()).await.is_empty());
    refused(site.at::<DropFinding>(&one.open.id).await, ProblemKind::NotFound, "no finding");
    for wrong in ["0f1", "xyzxyz", "0F1E"] {
        refused(site.at::<GetFinding>(wrong).await, ProblemKind::Invalid, "wachter findings");
    }
}

#[tokio::test]
async fn what_a_person_says_of_a_finding_is_kept_and_told() {
    let site = site().await;
    report(&site, json!([{}]), false).await;
    let id = list(&site, FindingsQuery::default()).await.remove(0).open.id;
    let judge = async |verdict| {
        let body = Judged { verdict, reason: Some("a test".to_owned()) };
        site.call_at::<JudgeFinding>(&id, &Nothing {}, &body).await.unwrap()
    };
    let finished = site.events("run.finished").await.len();
    let judged = judge(Verdict::FalsePositive).await;
    let judgement = judged.open.judgement.clone().unwrap();
    assert_eq!(judgement.reason.as_deref(), Some("a test"));
    let told = &site.events("finding.judged").await[0].event;
    assert_eq!(
        (&told["subject"], &told["source"]),
        (&json!("finder"), &json!("/nodes/one/interface"))
    );
    assert_eq!(
        (&told["data"]["fingerprint"], &told["data"]["verdict"], &told["data"]["by"]),
        (&json!("f"), &json!("false-positive"), &json!(judgement.by))
    );
    // Whoever learns from it is woken.
    let runs = site.until_events("run.finished", finished + 1).await;
    assert_eq!(runs.last().unwrap().event["subject"], "learner");
    assert!(list(&site, FindingsQuery::default()).await.is_empty());
    assert!(site.get::<GetStatus>().await.findings.is_empty());

    // That it is reported again does not undo it; that it goes does.
    report(&site, json!([{ "message": "it is still full" }]), false).await;
    let all = || FindingsQuery { all: true, ..FindingsQuery::default() };
    let again = list(&site, all()).await.remove(0).open;
    assert_eq!((again.judgement, again.reports), (Some(judgement), 2));
    judge(Verdict::Confirmed).await;
    assert_eq!(list(&site, FindingsQuery::default()).await.len(), 1);
    report(&site, json!([{ "resolved": true }]), false).await;
    assert!(list(&site, all()).await.is_empty());
    let left = site.node.bus.keys(JUDGEMENTS_BUCKET, "").await.unwrap();
    assert_eq!(left, Vec::<KeyEntry>::new());
}

#[tokio::test]
async fn what_makes_a_problem_of_everything_fills_no_disk() {
    let site = site().await;
    let some = |from: u32| -> Value {
        let findings = (from..from + 600).map(|number| {
            let name = format!("f{number}");
            let evidence = "x".repeat(if number == 1_199 { 100_000 } else { 10 });
            json!({ "fingerprint": name, "subject": name, "evidence": evidence })
        });
        findings.collect()
    };
    report(&site, some(0), false).await;
    report(&site, some(600), false).await;
    let kept = site.node.bus.keys(FINDINGS_BUCKET, "").await.unwrap();
    assert_eq!(kept.len(), 1_000);
    let found = list(&site, FindingsQuery::default()).await;
    let has = |name: &str| found.iter().find(|found| found.open.finding.subject == name);
    assert!(has("f600").is_some(), "those that were reported last stay");
    let large = &has("f1199").unwrap().open.finding.evidence;
    assert_eq!(large, "left out: too large for a list; the event has it");
    let digits = &found[0].open.id[..4];
    let alike = found.iter().filter(|one| one.open.id.starts_with(digits)).count();
    let by_few = site.at::<GetFinding>(digits).await;
    if alike > 1 {
        refused(by_few, ProblemKind::Invalid, "more digits");
    } else {
        assert_eq!(by_few.unwrap(), found[0]);
    }
}

#[tokio::test]
async fn what_nobody_looks_after_any_more_says_so() {
    let site = site().await;
    report(&site, json!([{}]), false).await;
    site.deployment.send(Some(super::site::deployment(&[]))).unwrap();
    let found = list(&site, FindingsQuery::default()).await;
    assert_eq!((found.len(), found[0].watched), (1, false));
    // Whether by all of its identifier or by some of it, it is found all the same.
    for digits in [16, 4] {
        let one = site.at::<GetFinding>(&found[0].open.id[..digits]).await.unwrap();
        assert_eq!(one, found[0]);
    }
}
