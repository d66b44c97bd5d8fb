use std::io::Write as _;
use std::sync::Arc;

use serde_json::{Map, json};
use wachter_api::shapes::{AgentState, ConfigurationQuery, Freeze, LogsQuery, Request};
use wachter_api::{
    FreezeEffects, GetConfiguration, GetHealth, GetOpenApi, GetStatus, ListAgents, ListModules,
    Nothing, ProblemKind, ROUTES, ReadLogs, RunAgent, ThawEffects,
};
use wachter_log::Line;
use wachter_model::Level;
use wachter_runtime::ModuleStanding;

use super::site::{Site, deployment, refused, until};
use crate::node::freeze::read_frozen;

const ON_DEMAND: &[(&str, &str)] = &[("worker", "role: monitoring")];

#[tokio::test]
async fn the_status_tells_what_the_node_knows() {
    let site = Site::with(ON_DEMAND).await;
    let status = site.get::<GetStatus>().await;
    assert_eq!((status.node.as_str(), status.process), ("one", std::process::id()));
    let launcher = status.launcher.unwrap();
    assert_eq!(launcher.profile, "unprivileged");
    assert_eq!(launcher.not_enforced, ["cgroup-memory".to_owned(), "seccomp".to_owned()].into());
    assert_eq!(launcher.accepted, ["seccomp".to_owned()].into());
    assert!(status.journal.bytes > 0 && status.journal.trouble.is_none());
    assert!(status.warnings.iter().any(|warning| warning.contains("no release is in force")));
    assert_eq!(status.running, 0);

    site.followed.send_modify(|followed| {
        followed.refused.push("release 2 refused: old".to_owned());
        followed.accepted = vec![1, 2];
        followed.rollback = Some(wachter_gitops::Rollback { to: 1, from: 2 });
        followed.fetch_error = Some("no route".to_owned());
    });
    let body = Request { input: json!({ "do": "hang" }), dry_run: false };
    site.call_at::<RunAgent>("worker", &Nothing {}, &body).await.unwrap();
    until("it runs", async || site.get::<GetStatus>().await.running == 1).await;
    let status = site.get::<GetStatus>().await;
    assert_eq!(status.refused, ["release 2 refused: old"]);
    assert_eq!((status.accepted.clone(), status.rolled_back.unwrap().to), (vec![1, 2], 1));
    assert_eq!((status.journal.first, status.journal.last > 0), (1, true));
    assert!(status.warnings.iter().any(|warning| warning.contains("no route")), "{status:?}");
}

#[tokio::test]
async fn a_node_without_launcher_or_release_is_unwell() {
    let site = Site::with(ON_DEMAND).await;
    assert!(site.get::<GetHealth>().await.healthy);
    site.launcher.send_replace(None);
    let health = site.get::<GetHealth>().await;
    assert_eq!((health.healthy, health.launcher, health.journal), (false, false, true));
    let warnings = site.get::<GetStatus>().await.warnings;
    assert!(warnings.iter().any(|warning| warning.contains("no launcher")), "{warnings:?}");
    site.deployment.send_replace(None);
    assert!(!site.get::<GetHealth>().await.release);
    assert!(site.get::<ListModules>().await.is_empty());
}

#[tokio::test]
async fn effects_are_stopped_and_let_go_with_or_without_anybody_at_work() {
    let site = Site::with(&[("fixer", "role: remediation"), ("looker", "role: scanner")]).await;
    let freeze = async |reason: &str| {
        let body = Freeze { reason: reason.to_owned() };
        site.call::<FreezeEffects>(&Nothing {}, &body).await
    };
    refused(freeze(" ").await, ProblemKind::Invalid, "say why");
    let frozen = freeze("an incident").await.unwrap();
    assert_eq!(frozen.reason, "an incident");
    let kept = read_frozen(&site.node.data).unwrap();
    assert_eq!(kept.as_ref().map(|kept| &kept.by), Some(&frozen.by));
    assert_eq!(site.get::<GetStatus>().await.frozen, kept);
    let body = Request::default();
    site.call_at::<RunAgent>("fixer", &Nothing {}, &body).await.unwrap();
    site.call_at::<RunAgent>("looker", &Nothing {}, &body).await.unwrap();
    let finished = site.until_events("run.finished", 1).await;
    assert_eq!(finished[0].event["subject"], "looker", "the other has effects");
    let agents = site.get::<ListAgents>().await;
    assert!(agents[0].reason.as_ref().unwrap().contains("frozen"), "{agents:?}");
    site.get::<ThawEffects>().await;
    site.until_events("run.finished", 2).await;
    assert_eq!(read_frozen(&site.node.data).unwrap(), None);
    let told = site.until_events("effects.*", 2).await;
    assert_eq!(told[0].event["type"], "effects.frozen");
    assert_eq!(told[0].event["data"]["reason"], "an incident");
    assert_eq!(told[1].event["type"], "effects.thawed");

    site.agents.send_replace(None);
    freeze("again").await.unwrap();
    assert!(read_frozen(&site.node.data).unwrap().is_some());
    site.get::<ThawEffects>().await;
    assert!(read_frozen(&site.node.data).unwrap().is_none());
}

#[tokio::test]
async fn values_are_shown_with_where_they_come_from() {
    let site = Site::with(ON_DEMAND).await;
    let get = async |path: Option<&str>| {
        let query = ConfigurationQuery { path: path.map(str::to_owned) };
        site.call::<GetConfiguration>(&query, &Nothing {}).await
    };
    let all = get(None).await.unwrap();
    let catalogue = site.node.deployment.borrow().clone().unwrap();
    assert_eq!(all.digest, catalogue.catalogue.digest());
    assert_eq!(all.values.len(), catalogue.catalogue.values().len());
    let some = get(Some("log")).await.unwrap();
    assert!(some.values.keys().all(|path| path.starts_with("log.")));
    let level = &some.values["log.level"];
    assert_eq!((&level.value, level.origins[0].layer.as_str()), (&json!("info"), "defaults"));
    let role = &get(Some("agent.worker.role")).await.unwrap().values["agent.worker.role"];
    assert_eq!(role.origins[0].place, "config/agents/worker.yaml");
    assert_eq!(role.origins[0].line, Some(3));
    refused(get(Some("log.levle")).await, ProblemKind::NotFound, "did you mean `log.level`?");
    site.deployment.send_replace(None);
    refused(get(None).await, ProblemKind::Conflict, "wachter sync");
}

#[tokio::test]
async fn modules_are_listed_with_what_they_may() {
    let site = Site::with(ON_DEMAND).await;
    let modules = site.get::<ListModules>().await;
    let names: Vec<&str> = modules.iter().map(|module| module.name.as_str()).collect();
    assert_eq!(names, ["greedy", "probe"]);
    assert_eq!(modules[0].refused.as_deref(), Some("it asks for too much"));
    assert!(modules[0].digest.is_none() && modules[0].grant.is_none());
    assert!(modules[1].digest.is_some() && modules[1].grant.is_some());
    assert_eq!(modules[1].version, "1.0.0");
}

#[tokio::test]
async fn a_module_that_waits_says_for_what_and_its_agents_wait_with_it() {
    let site = Site::with(ON_DEMAND).await;
    for failing in [false, true] {
        let mut waiting = deployment(ON_DEMAND);
        let module = Arc::make_mut(&mut waiting).modules.get_mut("probe").unwrap();
        if let ModuleStanding::Ready { digest, manifest, grant } = module.standing.clone() {
            let reason = "no room".to_owned();
            module.standing = ModuleStanding::Waiting { digest, manifest, grant, reason, failing };
        }
        site.deployment.send_replace(Some(waiting));
        let held = async || {
            let reason = site.get::<ListAgents>().await[0].reason.clone();
            reason.as_deref() == Some("its module cannot run yet: no room")
        };
        until("it waits", held).await;
        let modules = site.get::<ListModules>().await;
        assert_eq!(modules[1].waits_for.as_deref(), Some("no room"));
        assert!(modules[1].refused.is_none() && modules[1].digest.is_some());
        let warnings = site.get::<GetStatus>().await.warnings;
        let told = warnings.iter().any(|warning| warning == "module probe waits: no room");
        assert_eq!(told, failing, "{warnings:?}");
    }
    site.call_at::<RunAgent>("worker", &Nothing {}, &Request::default()).await.unwrap();
    assert!(site.events("run.finished").await.is_empty());
    site.deployment.send_replace(Some(deployment(ON_DEMAND)));
    site.until_events("run.finished", 1).await;
}

#[tokio::test]
async fn the_last_lines_of_the_log_are_handed_out_and_then_what_comes() {
    let site = Site::with(ON_DEMAND).await;
    let query = LogsQuery::default();
    let mut none = site.client.stream::<ReadLogs>(&query).await.unwrap();
    assert!(none.next().await.unwrap().is_none(), "there is no log yet");

    let folder = site.node.data.join("logs");
    std::fs::create_dir(&folder).unwrap();
    let write = |number: i64, level: Level| {
        let line = Line {
            time: jiff::Timestamp::from_second(1_800_000_000 + number).unwrap(),
            level,
            target: "wachter".to_owned(),
            message: number.to_string(),
            fields: Map::from_iter([("n".to_owned(), json!(number))]),
        };
        let mut file = std::fs::File::options();
        let mut file = file.create(true).append(true).open(folder.join("node.log")).unwrap();
        file.write_all(format!("{}\n", serde_json::to_string(&line).unwrap()).as_bytes()).unwrap();
    };
    for number in 0..200 {
        write(number, if number % 10 == 0 { Level::Error } else { Level::Info });
    }
    let check = async |query: LogsQuery, expected: &[&str]| {
        let mut lines = site.client.stream::<ReadLogs>(&query).await.unwrap();
        let mut said = Vec::new();
        while said.len() < expected.len() || !query.follow {
            let Some(line) = lines.next().await.unwrap() else { break };
            assert_eq!(line.fields["n"].to_string(), line.message);
            said.push(line.message);
        }
        assert_eq!(said, expected);
        lines
    };
    check(LogsQuery { limit: Some(3), ..LogsQuery::default() }, &["197", "198", "199"]).await;
    let level = LogsQuery { limit: Some(2), level: Some(Level::Warn), ..LogsQuery::default() };
    check(level.clone(), &["180", "190"]).await;
    let since = jiff::Timestamp::from_second(1_800_000_198).unwrap();
    check(LogsQuery { since: Some(since), ..LogsQuery::default() }, &["198", "199"]).await;
    let mut following = check(LogsQuery { follow: true, ..level }, &["180", "190"]).await;
    write(200, Level::Info);
    write(201, Level::Critical);
    assert_eq!(following.next().await.unwrap().unwrap().message, "201");
    // The file is closed, and the next one begun.
    std::fs::rename(folder.join("node.log"), folder.join("node-20270115T080000.000000Z.log"))
        .unwrap();
    write(202, Level::Error);
    assert_eq!(following.next().await.unwrap().unwrap().message, "202");
    check(LogsQuery { limit: Some(2), ..LogsQuery::default() }, &["201", "202"]).await;
    check(LogsQuery { limit: Some(0), ..LogsQuery::default() }, &[]).await;
    let level = LogsQuery { limit: Some(4), level: Some(Level::Warn), ..LogsQuery::default() };
    check(level, &["180", "190", "201", "202"]).await;
}

#[tokio::test]
async fn the_interface_describes_itself() {
    let site = Site::with(&[]).await;
    let document = site.get::<GetOpenApi>().await;
    let described: usize = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .map(|path| path.as_object().unwrap().len())
        .sum();
    assert_eq!(described, ROUTES.len());
}

#[tokio::test]
async fn a_node_without_agents_at_work_lists_them_as_stopped() {
    let site = Site::with(ON_DEMAND).await;
    site.agents.send_replace(None);
    let agents = site.get::<ListAgents>().await;
    assert_eq!((agents[0].name.as_str(), agents[0].state), ("worker", AgentState::Stopped));
    assert!(agents[0].reason.as_ref().unwrap().contains("no launcher"));
}
