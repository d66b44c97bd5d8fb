//! The cases of CrowdSec's hub: real lines of many services, and what they are expected to alert of.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::json;

use wachter_testkit::fixture;

use crate::support::Host;

/// Which of our alarms a scenario of theirs is, without its author's name.
const SCENARIOS: &[(&str, &[&str])] = &[
    ("CVE-2017-9841", &["web-phpunit-2017-9841"]),
    ("fortinet-cve-2022-40684", &["web-fortinet-2022-40684"]),
    ("CVE-2022-41697", &["web-ghost-2022-41697"]),
    ("CVE-2022-42889", &["web-text4shell"]),
    ("CVE-2022-44877", &["web-cwp-2022-44877"]),
    ("CVE-2022-46169-bf", &["web-cacti-guessing"]),
    ("CVE-2022-46169-cmd", &["web-cacti-2022-46169"]),
    ("CVE-2023-22518", &["web-confluence-2023-22518"]),
    ("CVE-2023-4911", &["setuid-loader-crash"]),
    ("CVE-2024-9474", &["web-panos-2024-9474"]),
    ("apache-guacamole_user_enum", &["guacamole-user-enumeration"]),
    ("apereo-cas-bf", &["cas-brute-force"]),
    ("apereo-cas-bf_user-enum", &["cas-user-enumeration"]),
    ("http-apiscp-bf", &["web-apiscp-brute-force"]),
    ("asterisk_user_enum", &["asterisk-user-enumeration"]),
    ("auditd-postexploit-rm", &["removal-burst"]),
    ("auditd-suid-crash", &["setuid-crash"]),
    ("auditd-base64-exec-behavior", &["encoded-command"]),
    ("authelia-bf", &["authelia-brute-force"]),
    ("authelia-bf_user-enum", &["authelia-user-enumeration"]),
    ("authentik-bf", &["authentik-brute-force"]),
    ("authentik-bf_user-enum", &["authentik-user-enumeration"]),
    ("aws-cloudtrail-bf-console-login", &["aws-console-brute-force"]),
    ("baikal-bf", &["baikal-brute-force"]),
    ("baikal-bf_user-enum", &["baikal-user-enumeration"]),
    ("http-bad-user-agent", &["web-bad-user-agent"]),
    ("http-path-traversal-probing", &["web-path-traversal-probing"]),
    ("http-sensitive-files", &["web-sensitive-files"]),
    ("http-generic-bf", &["web-login-brute-force", "web-unauthorized-brute-force"]),
    ("http-generic-401-bf", &["web-unauthorized-brute-force"]),
    ("configserver-lfd-bf", &["lfd-blocked"]),
    ("http-cve-2021-42013", &["web-apache-2021-41773"]),
    ("http-cve-2021-41773", &["web-apache-2021-41773"]),
    ("CVE-2023-49103", &["web-owncloud-2023-49103"]),
    ("CVE-2022-37042", &["web-zimbra-2022-37042"]),
    ("dovecot-spam", &["mail-login-brute-force"]),
    ("dovecot-slow-bf", &["mail-login-brute-force-slow"]),
    ("dovecot-time-based-bf", &["mail-login-brute-force-slow"]),
    ("dovecot-time-based-bf_user-enum", &["mail-user-enumeration"]),
    ("endlessh-bf", &["ssh-tarpit"]),
    ("http-crawl-non_statics", &["web-crawling"]),
    ("exchange-bf", &["exchange-brute-force"]),
    ("exim-spam", &["exim-spam"]),
    ("f5-big-ip-cve-2020-5902", &["web-f5-2020-5902"]),
    ("fortinet-cve-2018-13379", &["web-fortinet-2018-13379"]),
    ("fortinet-vpn-bruteforce", &["fortinet-brute-force"]),
    ("freeswitch-user-enumeration", &["freeswitch-brute-force"]),
    ("grafana-bf", &["grafana-brute-force"]),
    ("home-assistant-bf", &["home-assistant-brute-force"]),
    ("http-admin-interface-probing", &["web-admin-probing"]),
    ("http-dos-invalid-http-versions", &["web-invalid-http-version"]),
    ("http-dos-random-uri", &["web-random-paths"]),
    ("http-technology-probing", &["web-technology-probing"]),
    ("iptables-scan-multi_ports", &["port-scan"]),
    ("jellyfin-bf", &["jellyfin-brute-force"]),
    ("jira_cve-2021-26086", &["web-jira-2021-26086"]),
    ("joplin-server-bf", &["joplin-brute-force"]),
    ("lemonldap-ng-bf", &["lemonldap-brute-force"]),
    ("lemonldap-ng-user-enum", &["lemonldap-user-enumeration"]),
    ("http-magento-ccs", &["magento-brute-force"]),
    ("mealie-bf", &["mealie-brute-force"]),
    ("meshcentral-bf", &["meshcentral-brute-force"]),
    ("mikrotik-scan-multi_ports", &["router-port-scan"]),
    ("miniflux-bf", &["miniflux-brute-force"]),
    ("miniflux-bf_user-enum", &["miniflux-user-enumeration"]),
    ("modsecurity", &["modsecurity-attack"]),
    ("mysql-bf", &["mysql-brute-force"]),
    ("navidrome-bf", &["navidrome-brute-force"]),
    ("http-backdoors-attempts", &["web-backdoor-probing"]),
    ("http-probing", &["web-probing"]),
    ("http-sqli-probbing-detection", &["web-sql-injection-probing"]),
    ("nginx-req-limit-exceeded", &["web-rate-limited"]),
    ("ntfy-bf", &["ntfy-brute-force"]),
    ("ombi-bf", &["ombi-brute-force"]),
    ("opensearch-dashboard-bf", &["opensearch-brute-force"]),
    ("ssh-bf", &["ssh-brute-force"]),
    ("pf-scan-multi_ports", &["filter-port-scan"]),
    ("pfsense-gui-bf", &["pfsense-brute-force"]),
    ("pgsql-bf", &["postgres-brute-force"]),
    ("pgsql-user-enum", &["postgres-user-enumeration"]),
    ("postfix-helo-rejected", &["mail-helo-rejected"]),
    ("postfix-relay-denied", &["mail-relay-denied"]),
    ("postfix-sasl-bf", &["mail-sasl-brute-force"]),
    ("postfix-spam", &["mail-spam"]),
    ("proxmox-bf", &["proxmox-brute-force"]),
    ("proxmox-bf-user-enum", &["proxmox-user-enumeration"]),
    ("pulse-secure-sslvpn-cve-2019-11510", &["web-pulse-2019-11510"]),
    ("pureftpd-bf", &["pureftpd-brute-force"]),
    ("qbittorrent-bf", &["qbittorrent-brute-force"]),
    ("radarr-bf", &["servarr-brute-force"]),
    ("sonarr-bf", &["servarr-brute-force"]),
    ("redmine-bf", &["redmine-brute-force"]),
    ("sftpgo-bf", &["sftpgo-brute-force"]),
    ("ssh-generic-test", &["ssh-probe-test"]),
    ("ssh-time-based-bf_user-enum", &["ssh-user-enumeration"]),
    ("ssh-bad-keyexchange-bf", &["ssh-bad-key-exchange"]),
    ("stirling-pdf-bf", &["stirling-brute-force"]),
    ("teamspeak3-bf", &["teamspeak-brute-force"]),
    ("teleport-bf", &["teleport-brute-force"]),
    ("thehive-bf", &["thehive-brute-force"]),
    ("uptime-kuma-bf", &["uptime-kuma-brute-force"]),
    ("vaultwarden-bf", &["vaultwarden-brute-force"]),
    ("webmin-bf", &["webmin-brute-force"]),
    ("webmin-bf_user-enum", &["webmin-user-enumeration"]),
    ("wireguard-auth", &["wireguard-invalid"]),
    ("zoneminder-bf", &["zoneminder-brute-force"]),
    ("zoneminder_cve-2022-39291", &["web-zoneminder-2022-39291"]),
    ("sshesame-bf", &["sshesame-brute-force"]),
];

/// What is not covered, and why.
const NOT_COVERED: &[(&str, &str)] = &[
    ("CVE-2023-23397", "events of Windows"),
    ("aws-cloudtrail-nwo-nwd-console-login", "asks whether it was a working day"),
    ("aws-cloudtrail-postexploit", "joins several kinds of events"),
    ("charon-ipsec-bf", "the address stands in other lines than the failure"),
    ("http-magento-ccs-by-country", "needs a table of countries"),
    ("impossible-travel", "needs a table of places"),
    ("impossible-travel-user", "needs a table of places"),
    ("ssh-time-based-bf", "asks for even intervals"),
    ("sshesame-cmd", "commands typed into a honeypot"),
];

/// Cases in a format that is not read.
const OTHER_FORMATS: &[(&str, &str)] = &[
    ("aws-alb-http-bad-user-agent", "requests as AWS writes them"),
    ("zoraxy-http-bad-user-agent", "requests as Zoraxy writes them"),
];

/// Alerts that are right and not among theirs.
const OURS: &[(&str, &str, &str)] = &[
    // Six failed logins within four seconds, with a date that their parser does not know.
    ("zoneminder-bf", "zoneminder-bf", "10.0.1.5"),
];

/// What an alert is expected of: scenario and address.
type Alerts = BTreeSet<(String, String)>;

fn alarms(scenario: &str) -> Option<&'static [&'static str]> {
    SCENARIOS.iter().find(|(name, _)| *name == scenario).map(|(_, alarms)| *alarms)
}

/// What their test asserts: each alert's scenario and the values of its sources.
fn expected(case: &Path) -> Alerts {
    let text = std::fs::read_to_string(case.join("scenario.assert")).unwrap_or_default();
    let (mut scenarios, mut sources) = (BTreeMap::new(), Vec::new());
    for line in text.lines() {
        let number = |line: &str| {
            let after = line.split_once("results[")?.1;
            after.split_once(']')?.0.parse::<usize>().ok()
        };
        let Some(number) = number(line) else { continue };
        let value = || line.rsplit_once("== \"").map(|(_, value)| value.trim_end_matches('"'));
        if line.contains(".GetScenario()") {
            let name = value().unwrap().rsplit('/').next().unwrap().to_owned();
            scenarios.insert(number, name);
        } else if line.contains(".GetValue()") {
            sources.push((number, value().unwrap().to_owned()));
        }
    }
    let named = |(number, source)| Some((scenarios.get(&number)?.clone(), source));
    sources.into_iter().filter_map(named).collect()
}

/// Ours, by the scenario that they are, of those scenarios that the case expects.
fn found(case: &Path, wanted: &BTreeSet<String>) -> Alerts {
    let config = std::fs::read_to_string(case.join("config.yaml")).unwrap();
    let field = |name: &str| {
        let line = config.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().trim_matches('"').to_owned()
    };
    let mut host = Host::new(&json!({}));
    std::fs::copy(case.join(field("log_file:")), host.path("app.log")).unwrap();
    let path = host.path("app.log");
    host.input()["sources"] = json!([{ "path": path, "program": field("log_type:") }]);
    host.input()["limits"] = json!({ "findings": 1_000 });
    let finished = host.run();
    let mut found = Alerts::new();
    for finding in finished.findings().filter(|finding| !finding.resolved) {
        let (alarm, subject) = finding.fingerprint.split_once(':').unwrap();
        for scenario in wanted {
            if alarms(scenario).is_some_and(|alarms| alarms.contains(&alarm)) {
                let subject = subject.strip_prefix("process ").unwrap_or(subject);
                found.insert((scenario.clone(), subject.to_owned()));
            }
        }
    }
    found
}

/// Their subject as ours: an address of IPv6 by its /64.
fn normalized(subject: &str) -> String {
    let unescaped = subject.replace("\\\\", "\\");
    match unescaped.parse::<std::net::IpAddr>().map(|address| address.to_canonical()) {
        Ok(std::net::IpAddr::V6(address)) if !address.is_loopback() => {
            let [a, b, c, d, ..] = address.segments();
            format!("{}/64", std::net::Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        Ok(address) => address.to_string(),
        Err(_) => unescaped,
    }
}

#[test]
fn covered_cases_alert_of_the_same_addresses() {
    let Some(cases) = fixture("logs/crowdsec") else { return };
    let mut cases: Vec<_> = cases.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    let (mut with_alerts, mut covered, mut uncovered, mut differ) = (0, 0, Vec::new(), Vec::new());
    for case in cases {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        let expected = expected(&case);
        if expected.is_empty() {
            continue;
        }
        with_alerts += 1;
        let wanted: BTreeSet<String> =
            expected.iter().map(|(scenario, _)| scenario.clone()).collect();
        let format = OTHER_FORMATS.iter().find(|(other, _)| *other == name);
        let reason = |scenario: &String| {
            let one_of_many =
                scenario.starts_with("openappsec-").then_some("one alarm for all attacks");
            let listed = NOT_COVERED.iter().find(|(other, _)| other == scenario);
            listed.map(|(_, reason)| *reason).or(one_of_many)
        };
        let reason = format.map(|(_, reason)| *reason).or_else(|| wanted.iter().find_map(reason));
        if let Some(reason) = reason {
            uncovered.push(format!("{name}: {reason}"));
            continue;
        }
        let unknown = wanted.iter().find(|scenario| alarms(scenario).is_none());
        assert_eq!(unknown, None, "{name}");
        let expected: Alerts = expected
            .into_iter()
            .map(|(scenario, source)| (scenario, normalized(&source)))
            .collect();
        let mut found = found(&case, &wanted);
        for (_, scenario, subject) in OURS.iter().filter(|(other, ..)| *other == name) {
            assert!(found.remove(&((*scenario).to_owned(), (*subject).to_owned())), "{name}");
        }
        if found == expected {
            covered += 1;
        } else {
            let missing: Vec<_> = expected.difference(&found).collect();
            let extra: Vec<_> = found.difference(&expected).collect();
            differ.push(format!("{name}: missing {missing:?}, extra {extra:?}"));
        }
    }
    println!(
        "{covered} of {with_alerts} cases with alerts; not covered:\n{}",
        uncovered.join("\n")
    );
    assert!(differ.is_empty(), "{} differ:\n{}", differ.len(), differ.join("\n"));
}
