//! What a node would check of a commit: trust, modules, configuration.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use wachter_gitops::{Snapshot, SnapshotFile};
use wachter_model::{Digest, ModuleName};
use wachter_protocol::{Manifest, Permissions};
use wachter_trust::{FileMode, PreviousTrust, TrustFile, verify_module};

use crate::configuration::Tree;
use crate::failure::{CommandError, chain};
use crate::repository::{TRUST, TRUST_SIGNATURES};
use crate::sign::flaws;
use crate::trust::KnownRoots;

/// What signing adds to a module.
const SIGNATURES: [&str; 2] = ["module.digests", "module.sig"];

/// What a module is, as far as an author wants to see it before releasing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ModuleSummary {
    pub(crate) version: String,
    pub(crate) publisher: String,
    /// What it asks to touch, one thing each.
    pub(crate) permissions: BTreeSet<String>,
}

/// The trust file of a commit, if the nodes would take it after `previous`.
pub(crate) fn trust(
    snapshot: &Snapshot,
    roots: &KnownRoots,
    previous: Option<&TrustFile>,
    now: Timestamp,
) -> Result<TrustFile, CommandError> {
    let (bytes, signatures) = texts(snapshot)?;
    let previous = previous.map_or(PreviousTrust::None, PreviousTrust::File);
    TrustFile::accept(&roots.roots, previous, &bytes, &signatures, now)
        .map_err(|error| CommandError::refused(format!("{TRUST}: {}", chain(&error))))
}

/// The trust file of a commit and its signatures.
pub(crate) fn texts(snapshot: &Snapshot) -> Result<(Vec<u8>, Vec<u8>), CommandError> {
    let read = |path: &str| match snapshot.get(path) {
        Some(_) => Ok(snapshot.read(path)?),
        None => Err(CommandError::refused(format!(
            "{path} is not committed; commit it, or make it with `wachter trust sign`"
        ))),
    };
    Ok((read(TRUST)?, read(TRUST_SIGNATURES)?))
}

/// The modules of a commit; what is wrong with them goes to `problems`.
pub(crate) fn modules(
    snapshot: &Snapshot,
    trust: &TrustFile,
    problems: &mut Vec<String>,
) -> Result<BTreeMap<ModuleName, ModuleSummary>, CommandError> {
    let folders: BTreeSet<&str> =
        below(snapshot, "modules/").filter_map(|(path, _)| Some(path.split_once('/')?.0)).collect();
    let mut modules = BTreeMap::new();
    for folder in folders {
        let name: ModuleName = match folder.parse() {
            Ok(name) => name,
            Err(error) => {
                problems.push(format!("modules/{}: {}", folder.escape_debug(), chain(&error)));
                continue;
            }
        };
        match module(snapshot, trust, &name)? {
            Ok(summary) => drop(modules.insert(name, summary)),
            Err(reason) => {
                problems.push(format!("modules/{name}: {reason}"));
                modules.insert(name, ModuleSummary::default());
            }
        }
    }
    Ok(modules)
}

fn module(
    snapshot: &Snapshot,
    trust: &TrustFile,
    name: &ModuleName,
) -> Result<Result<ModuleSummary, String>, CommandError> {
    let folder = format!("modules/{name}/");
    let read = |file: &str| {
        let path = format!("{folder}{file}");
        snapshot.get(&path).map(|file| snapshot.read(file.path)).transpose()
    };
    let (Some(listed), Some(signatures)) = (read("module.digests")?, read("module.sig")?) else {
        return Ok(Err(format!("it is not signed; run `wachter sign {name}`")));
    };
    let verified = match verify_module(trust, &listed, &signatures, name) {
        Ok(verified) => verified,
        Err(error) => return Ok(Err(chain(&error))),
    };
    for (path, file) in below(snapshot, &folder).filter(|(path, _)| !SIGNATURES.contains(path)) {
        let signed = verified.digests().file(path);
        let content = snapshot.read(file.path)?;
        let same = signed.is_some_and(|signed| {
            Digest::of(&content) == signed.digest
                && file.mode
                    == if signed.executable { FileMode::Executable } else { FileMode::Regular }
        });
        if !same {
            return Ok(Err(format!(
                "`{path}` is not what was signed; run `wachter sign {name}` and commit"
            )));
        }
    }
    if let Some((gone, _)) = verified
        .digests()
        .files()
        .find(|(path, _)| snapshot.get(&format!("{folder}{path}")).is_none())
    {
        return Ok(Err(format!(
            "`{gone}` was signed and is not committed; commit it, or run `wachter sign {name}`"
        )));
    }
    let manifest = String::from_utf8(read("module.yaml")?.unwrap_or_default()).unwrap_or_default();
    let manifest = match Manifest::read(&manifest) {
        Ok(manifest) => manifest,
        Err(error) => return Ok(Err(format!("module.yaml: {}", chain(&error)))),
    };
    if let Some(flaw) = flaws(name, &manifest, verified.digests()).into_iter().next() {
        return Ok(Err(flaw));
    }
    if manifest.version != verified.digests().version().to_string() {
        return Ok(Err(format!(
            "module.yaml says version {}, signed was {}",
            manifest.version,
            verified.digests().version()
        )));
    }
    let publisher = verified.publisher().to_string();
    Ok(Ok(ModuleSummary {
        version: manifest.version,
        publisher,
        permissions: permissions(&manifest.permissions),
    }))
}

/// What is wrong with the configuration of a commit, for no host in particular: every file is checked,
/// and none is left out by a label.
pub(crate) fn configuration(
    snapshot: &Snapshot,
    problems: &mut Vec<String>,
) -> Result<(), CommandError> {
    let tree = Tree::of_snapshot(snapshot, problems)?;
    if let Err(errors) = tree.catalogue(None, BTreeMap::new()) {
        problems.extend(errors.0.iter().map(ToString::to_string));
    }
    problems.extend(tree.missing_secrets().iter().map(ToString::to_string));
    Ok(())
}

/// The files below a folder, which is written with its slash; their paths from there.
fn below<'s>(
    snapshot: &'s Snapshot,
    folder: &'s str,
) -> impl Iterator<Item = (&'s str, SnapshotFile<'s>)> {
    snapshot.list(folder).map(move |file| (&file.path[folder.len()..], file))
}

/// The modules of an older release, without asking whether they were right.
pub(crate) fn summaries(
    snapshot: &Snapshot,
) -> Result<BTreeMap<ModuleName, ModuleSummary>, CommandError> {
    let mut modules = BTreeMap::new();
    for (path, file) in below(snapshot, "modules/") {
        let Some(Ok(name)) = path.strip_suffix("/module.yaml").map(str::parse::<ModuleName>) else {
            continue;
        };
        let text = String::from_utf8(snapshot.read(file.path)?).unwrap_or_default();
        if let Ok(manifest) = Manifest::read(&text) {
            let permissions = permissions(&manifest.permissions);
            modules.insert(
                name,
                ModuleSummary { version: manifest.version, publisher: String::new(), permissions },
            );
        }
    }
    Ok(modules)
}

/// What is asked, one thing each, as people say it.
fn permissions(asked: &Permissions) -> BTreeSet<String> {
    let Permissions { filesystem, network, exec, host, groups, secrets, user } = asked;
    let mut list = BTreeSet::new();
    let mut add = |what: &str, things: &mut dyn Iterator<Item = String>| {
        list.extend(things.map(|thing| format!("{what} {thing}")));
    };
    add("read", &mut filesystem.read.iter().map(ToString::to_string));
    add("write", &mut filesystem.write.iter().map(ToString::to_string));
    add("connect to", &mut network.iter().map(ToString::to_string));
    add("execute", &mut exec.iter().map(ToString::to_string));
    add("see host", &mut host.iter().map(ToString::to_string));
    add("group", &mut groups.iter().cloned());
    add("secret", &mut secrets.iter().map(ToString::to_string));
    add("user", &mut user.iter().cloned());
    list
}
