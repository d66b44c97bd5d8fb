//! `wachter sign`: lists the files of modules with their digests, and signs the lists.

mod module;

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use wachter_model::ModuleName;
use wachter_trust::{KeyOwner, Namespace, Signature, Signer, TrustFile};

pub(crate) use module::{Folder, State, flaws};

use crate::failure::{CommandError, CommandResult};
use crate::keys::{self, KeyOptions};
use crate::output::{self, Format};
use crate::repository::{Repository, RepositoryOptions, replace};

/// Sign modules.
#[derive(Args, Debug)]
pub(crate) struct SignArguments {
    /// The modules [default: the one that the present folder lies in]
    #[arg(value_name = "MODULE")]
    modules: Vec<ModuleName>,
    /// Every module
    #[arg(long, conflicts_with = "modules")]
    all: bool,
    /// Change nothing; say whether the signatures are current, and exit with 3 if not
    #[arg(long)]
    check: bool,
    /// Sign again what is current
    #[arg(long)]
    force: bool,
    /// Add a signature to those of other publishers
    #[arg(long, conflicts_with = "force")]
    add: bool,
    #[command(flatten)]
    key: KeyOptions,
    #[command(flatten)]
    repository: RepositoryOptions,
}

/// What is said of one module.
#[derive(Serialize)]
struct Report {
    module: String,
    version: String,
    digest: String,
    state: &'static str,
    detail: String,
    changes: Vec<String>,
}

pub(crate) fn carry_out(arguments: &SignArguments, format: Format) -> CommandResult {
    let repository = Repository::open(&arguments.repository)?;
    let trust = repository.trust()?;
    let names = choose(&repository, arguments)?;
    let mut signer = None;
    let mut reports = Vec::new();
    for name in &names {
        let folder = Folder::read(&repository, name)?;
        let state = folder.state(&trust);
        if arguments.check {
            reports.push(report(&folder, &state, state.word()));
            continue;
        }
        if matches!(state, State::Current { .. }) && !arguments.force && !arguments.add {
            reports.push(report(&folder, &state, "unchanged"));
            continue;
        }
        if arguments.add && matches!(state, State::Changed) {
            return Err(CommandError::refused(format!(
                "`{name}` changed, so the other signatures no longer hold; sign it without --add, and have it co-signed after"
            )));
        }
        let signer = match &mut signer {
            Some(signer) => signer,
            none => none.insert(keys::signer(&arguments.key, Some(repository.git()))?),
        };
        if matches!(state, State::Changed) && folder.has_signed_version() {
            output::talk(format_args!(
                "note: `{name}` changed and is still version {}; raise `version` in its module.yaml if that is not meant",
                folder.digests.version()
            ));
        }
        sign(&folder, &trust, signer.as_mut())?;
        reports.push(report(&folder, &state, "signed"));
    }
    show(&reports, format)?;
    let stale =
        reports.iter().filter(|report| arguments.check && report.state != "current").count();
    if stale > 0 {
        return Err(CommandError::refused(format!(
            "{stale} of {} modules must be signed: `wachter sign MODULE...`, or `--all`",
            reports.len()
        )));
    }
    if reports.iter().any(|report| report.state == "signed") {
        output::talk("next: commit the modules with their signatures, then `wachter release`");
    }
    Ok(())
}

/// Signs one module. Signatures of others over the same bytes that count are kept.
pub(crate) fn sign(folder: &Folder, trust: &TrustFile, signer: &mut dyn Signer) -> CommandResult {
    may_publish(trust, signer, &folder.name)?;
    let text = folder.digests.render();
    let own = signer.sign(Namespace::MODULE, text.as_bytes())?;
    let counts = |signature: &Signature| {
        signature.key() != own.key()
            && signature.verify(Namespace::MODULE, text.as_bytes()).is_ok()
            && matches!(trust.owner(signature.key()), KeyOwner::Signer(name) if trust.may_publish(name, &folder.name))
    };
    let old = folder.signatures.as_deref().and_then(|text| Signature::parse_all(text).ok());
    let mut armored = own.to_armor();
    for signature in old.iter().flatten().filter(|signature| counts(signature)) {
        armored.push_str(&signature.to_armor());
    }
    replace(&folder.path.join("module.digests"), text.as_bytes())?;
    replace(&folder.path.join("module.sig"), armored.as_bytes())
}

fn may_publish(trust: &TrustFile, signer: &dyn Signer, module: &ModuleName) -> CommandResult {
    let key = signer.public_key();
    let fingerprint = key.fingerprint();
    match trust.owner(key) {
        KeyOwner::Signer(name) if trust.may_publish(name, module) => Ok(()),
        KeyOwner::Signer(name) => Err(CommandError::refused(format!(
            "`{name}` may not publish module `{module}`; a root adds it under `publishers` in the trust file and runs `wachter trust sign`"
        ))),
        KeyOwner::Revoked => Err(CommandError::refused(format!(
            "the key {fingerprint} is revoked; sign with another"
        ))),
        KeyOwner::Unknown => Err(CommandError::refused(format!(
            "the key {fingerprint} is not in the trust file; a root adds it with `wachter trust add-signer NAME KEY.pub --publish {module}`"
        ))),
    }
}

fn choose(
    repository: &Repository,
    arguments: &SignArguments,
) -> Result<Vec<ModuleName>, CommandError> {
    let known = repository.modules()?;
    if let Some(name) = arguments.modules.iter().find(|name| !known.contains(name)) {
        let names: Vec<&str> = known.iter().map(ModuleName::as_str).collect();
        return Err(CommandError::usage(format!(
            "there is no modules/{name}; there are: {}",
            names.join(", ")
        )));
    }
    if !arguments.modules.is_empty() {
        return Ok(arguments.modules.clone());
    }
    if arguments.all || arguments.check {
        return Ok(known);
    }
    let here = present_module(&repository.path("modules"));
    here.filter(|name| known.contains(name)).map(|name| vec![name]).ok_or_else(|| {
        CommandError::usage(
            "name the modules to sign, or give --all; `wachter sign --check` says which changed",
        )
    })
}

/// The module that the present folder lies in.
fn present_module(modules: &Path) -> Option<ModuleName> {
    let modules: PathBuf = modules.canonicalize().ok()?;
    let here = std::env::current_dir().ok()?.canonicalize().ok()?;
    here.strip_prefix(modules).ok()?.components().next()?.as_os_str().to_str()?.parse().ok()
}

fn report(folder: &Folder, state: &State, word: &'static str) -> Report {
    Report {
        module: folder.name.to_string(),
        version: folder.digests.version().to_string(),
        digest: folder.digests.digest().to_string(),
        state: word,
        detail: state.detail(),
        changes: folder.changes(),
    }
}

fn show(reports: &[Report], format: Format) -> CommandResult {
    if format == Format::Json {
        return output::json(&reports);
    }
    let rows: Vec<Vec<String>> = reports
        .iter()
        .map(|report| {
            let digest = report.digest.chars().take(12).collect();
            vec![
                report.module.clone(),
                report.version.clone(),
                digest,
                report.state.to_owned(),
                report.detail.clone(),
            ]
        })
        .collect();
    output::table(&["MODULE", "VERSION", "DIGEST", "STATE", ""], &rows)?;
    for report in reports {
        for change in &report.changes {
            output::data(format_args!("  {}: {change}", report.module))?;
        }
    }
    Ok(())
}
