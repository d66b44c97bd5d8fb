use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use wachter_protocol::module::host::{Moment, Unit, Units};

use super::program::output;
use super::root::{HostRoot, Missing};

const SYSTEMCTL: &str = "usr/bin/systemctl";

/// How long systemd may take to answer each of two questions.
const TIME: Duration = Duration::from_secs(3);

/// The most bytes of an answer.
const MAX_OUTPUT: usize = 4 << 20;

/// The most units that are reported.
const MAX_UNITS: usize = 1_024;

/// The most services that are asked how often they were started again: systemd gathers all that it knows
/// of each for that.
const MAX_SERVICES: usize = 64;

/// Units of systemd, as `systemctl` tells them to anybody.
///
/// The socket of the message bus would tell the same, to who speaks its protocol; this program is on
/// every host with systemd, and confines what can go wrong to a process that can be killed.
pub(super) fn sample(root: &HostRoot, taken: &Moment, missing: &mut Missing<'_>) -> Option<Units> {
    // sd_booted(3): so does every program that has to know.
    if !root.path("run/systemd/system").is_dir() {
        missing.say("systemd does not run this host");
        return None;
    }
    let program = root.path(SYSTEMCTL);
    // Before version 246 the table comes all the same, as text.
    let arguments =
        ["list-units", "--all", "--full", "--plain", "--no-legend", "--no-pager", "--output=json"];
    let list = match output(&program, &arguments, TIME, MAX_OUTPUT) {
        Ok(list) => list,
        Err(error) => {
            missing.say(format_args!("`systemctl list-units` told nothing: {error}"));
            return None;
        }
    };
    let mut units = parse_list(&list);
    let total = u32::try_from(units.len()).unwrap_or(u32::MAX);
    if units.len() > MAX_UNITS {
        missing.say(format_args!(
            "{} units are left out, {MAX_UNITS} are the most",
            units.len() - MAX_UNITS
        ));
        units.sort_by_key(rank);
        units.truncate(MAX_UNITS);
    }
    units.sort_by(|one, other| one.name.cmp(&other.name));

    let mut services: Vec<&Unit> =
        units.iter().filter(|unit| unit.name.ends_with(".service") && rank(unit) < REST).collect();
    services.sort_by_key(|unit| rank(unit));
    if services.len() > MAX_SERVICES {
        missing.say(format_args!(
            "how often {} services were started again is not asked, {MAX_SERVICES} are the most",
            services.len() - MAX_SERVICES
        ));
        services.truncate(MAX_SERVICES);
    }
    if !services.is_empty() {
        let mut arguments = vec!["show", "--no-pager", "--property=Id,NRestarts,Result", "--"];
        arguments.extend(services.iter().map(|unit| unit.name.as_str()));
        match output(&program, &arguments, TIME, MAX_OUTPUT) {
            Ok(properties) => complete(&mut units, &properties),
            Err(error) => missing.say(format_args!("`systemctl show` told nothing: {error}")),
        }
    }
    Some(Units { taken: taken.clone(), total, units })
}

/// What is of least interest.
const REST: u8 = 3;

/// The lower, the more interesting.
fn rank(unit: &Unit) -> u8 {
    match (unit.active.as_str(), unit.sub.as_str()) {
        ("failed", _) => 0,
        ("activating" | "deactivating" | "reloading", _) => 1,
        ("active", "running") => 2,
        _ => REST,
    }
}

#[derive(Deserialize)]
struct Listed {
    unit: String,
    load: String,
    active: String,
    sub: String,
    #[serde(default)]
    description: String,
}

/// JSON, or the lines of earlier versions: four words and a description, after a dot where a unit is
/// not well.
fn parse_list(text: &str) -> Vec<Unit> {
    let short = |text: &str, most: usize| text.chars().take(most).collect();
    let unit = |name: &str, load: &str, active: &str, sub: &str, description: &str| Unit {
        name: short(name, 256),
        description: short(description, 256),
        load: short(load, 32),
        active: short(active, 32),
        sub: short(sub, 32),
        restarts: None,
        result: None,
    };
    if let Ok(listed) = serde_json::from_str::<Vec<Listed>>(text) {
        return listed
            .iter()
            .map(|one| unit(&one.unit, &one.load, &one.active, &one.sub, &one.description))
            .collect();
    }
    text.lines()
        .filter_map(|line| {
            let line = line.trim_start_matches(|letter: char| {
                !letter.is_ascii_alphanumeric() && letter != '-'
            });
            let mut rest = line;
            let mut word = || {
                let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
                rest = after.trim_start();
                Some(word).filter(|word| !word.is_empty())
            };
            let (name, load, active, sub) = (word()?, word()?, word()?, word()?);
            name.contains('.').then(|| unit(name, load, active, sub, rest.trim_end()))
        })
        .collect()
}

/// Blocks of `Name=value` lines, an empty line between them.
fn complete(units: &mut [Unit], properties: &str) {
    for block in properties.split("\n\n") {
        let values: BTreeMap<&str, &str> =
            block.lines().filter_map(|line| line.split_once('=')).collect();
        let Some(id) = values.get("Id") else { continue };
        // By the order of names, which they are in.
        if let Ok(index) = units.binary_search_by(|unit| unit.name.as_str().cmp(id)) {
            units[index].restarts = values.get("NRestarts").and_then(|value| value.parse().ok());
            units[index].result = values
                .get("Result")
                .filter(|result| !result.is_empty())
                .map(|result| result.chars().take(32).collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::program::write_program;
    use super::*;
    use proptest::prelude::*;
    use wachter_protocol::HostView;

    const LIST: &str = r#"[{"unit":"ssh.service","load":"loaded","active":"active","sub":"running","description":"OpenBSD Secure Shell server"},
        {"unit":"backup.service","load":"loaded","active":"failed","sub":"failed","description":"Backup"},
        {"unit":"a.mount","load":"loaded","active":"active","sub":"mounted","description":"/a"}]"#;

    const PROPERTIES: &str = "Id=backup.service\nNRestarts=5\nResult=exit-code\n\nResult=success\nNRestarts=0\nId=ssh.service\n";

    /// A host whose `systemctl` is a script.
    fn host(script: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("run/systemd/system")).unwrap();
        write_program(&folder.path().join(SYSTEMCTL), script);
        folder
    }

    fn look(folder: &tempfile::TempDir) -> (Option<Units>, Vec<String>) {
        let mut missing = Vec::new();
        let root = HostRoot::at(folder.path());
        let mut sentences = Missing::of(HostView::Units, &mut missing);
        (sample(&root, &Moment::default(), &mut sentences), missing)
    }

    #[test]
    fn units_their_failures_and_restarts() {
        let script = format!(
            "case $1 in list-units) cat <<'END'\n{LIST}\nEND\n;; show) [ \"$*\" = 'show --no-pager --property=Id,NRestarts,Result -- backup.service ssh.service' ] && printf '{}' ;; esac",
            PROPERTIES.replace('\n', "\\n")
        );
        let (units, missing) = look(&host(&script));
        let units = units.unwrap();
        assert!(missing.is_empty(), "{missing:?}");
        assert_eq!(units.total, 3);
        let [mount, backup, ssh] = &units.units[..] else { panic!("{units:?}") };
        assert_eq!((mount.name.as_str(), mount.restarts), ("a.mount", None));
        assert_eq!((backup.active.as_str(), backup.restarts), ("failed", Some(5)));
        assert_eq!(backup.result.as_deref(), Some("exit-code"));
        assert_eq!(
            (ssh.restarts, ssh.description.as_str()),
            (Some(0), "OpenBSD Secure Shell server")
        );
    }

    #[test]
    fn the_table_of_earlier_versions() {
        let text = "\u{25cf} backup.service loaded failed failed Backup of all\n  ssh.service    loaded active running Shell\n-.mount loaded active mounted\n\nlegend\n";
        let told: Vec<_> = parse_list(text)
            .into_iter()
            .map(|unit| format!("{} {} {} {}", unit.name, unit.active, unit.sub, unit.description))
            .collect();
        assert_eq!(
            told,
            [
                "backup.service failed failed Backup of all",
                "ssh.service active running Shell",
                "-.mount active mounted "
            ]
        );
    }

    #[test]
    fn a_host_without_systemd_or_with_one_that_is_not_well() {
        let empty = tempfile::tempdir().unwrap();
        for (folder, expected) in [
            (empty, "systemd does not run this host"),
            (host("exit 1"), "`systemctl list-units` told nothing: exit status: 1"),
        ] {
            let (units, missing) = look(&folder);
            assert_eq!(units, None);
            assert!(missing[0].contains(expected), "{missing:?}");
        }
        let script =
            format!("case $1 in list-units) cat <<'END'\n{LIST}\nEND\n;; *) exit 2 ;; esac");
        let (units, missing) = look(&host(&script));
        assert_eq!(units.unwrap().units[1].restarts, None);
        assert!(
            missing[0].contains("`systemctl show` told nothing: exit status: 2"),
            "{missing:?}"
        );
    }

    #[test]
    fn those_that_failed_come_before_others() {
        let script = "case $1 in list-units) i=0; while [ $i -lt 1100 ]; do echo a$i.service loaded active running x; i=$((i+1)); done; echo z.service loaded failed failed x ;; esac";
        let (units, missing) = look(&host(script));
        let units = units.unwrap();
        assert_eq!((units.total, units.units.len()), (1_101, MAX_UNITS));
        assert_eq!(units.units.last().unwrap().name, "z.service");
        assert!(missing[0].contains("77 units are left out"), "{missing:?}");
        assert!(missing[1].contains("960 services"), "{missing:?}");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_not(text: String, line in "[-●. a-z]{0,40}") {
            let mut units = parse_list(&text);
            units.extend(parse_list(&line));
            complete(&mut units, &text);
        }
    }
}
