use std::path::Path;

use jiff::Timestamp;
use serde_json::json;
use wachter_trust::{
    Fingerprint, ModulePattern, PublicKey, Publisher, Revocation, SignerName, TrustDraft, TrustFile,
};

use super::roots::{self, RootOptions};
use super::write::store;
use super::{AddArguments, Place, RevokeArguments, RotateArguments, SignTrustArguments};
use crate::failure::{CommandError, CommandResult, chain};
use crate::keys::{self, KeyOptions};
use crate::output::{self, Format};
use crate::place::HostOptions;
use crate::repository::{Repository, TRUST};
use crate::sign::{Folder, State};

pub(super) fn sign(
    arguments: &SignTrustArguments,
    host: &HostOptions,
    format: Format,
) -> CommandResult {
    let Place { roots: options, repository } = &arguments.place;
    let repository = &Repository::open(repository)?;
    let trust = repository.trust()?;
    if let Some(not_after) = arguments.not_after {
        let mut draft = trust.next_draft();
        draft.not_after = not_after.from(Timestamp::now()).map_err(CommandError::usage)?;
        write(repository, &draft, &arguments.key, options, host)?;
        return signed(draft.serial, format);
    }
    let known = roots::find(options, host, trust.repository())?;
    let (text, _) = repository.trust_texts()?;
    let mut signer = keys::signer(&arguments.key, Some(repository.git()))?;
    store(repository, &text, signer.as_mut(), known.as_ref())?;
    output::talk("next: commit trust/, then `wachter release`");
    signed(trust.serial(), format)
}

/// People were told when it was written.
fn signed(serial: u64, format: Format) -> CommandResult {
    match format {
        Format::Json => output::json(&json!({ "signed": TRUST, "serial": serial })),
        Format::Human => Ok(()),
    }
}

pub(super) fn add(arguments: &AddArguments, host: &HostOptions, format: Format) -> CommandResult {
    let Place { roots: options, repository } = &arguments.place;
    let repository = &Repository::open(repository)?;
    let trust = repository.trust()?;
    let key = keys::public_key(&arguments.public_key)?;
    let mut draft = trust.next_draft();
    let name = &arguments.name;
    let own = draft.signers.entry(name.clone()).or_default();
    if !own.contains(&key) {
        own.push(key.clone());
    }
    if arguments.release {
        draft.releases.signers.insert(name.clone());
    }
    if arguments.approve {
        draft.approvers.insert(name.clone());
    }
    publish(&mut draft, name, &arguments.publish)?;
    write(repository, &draft, &arguments.key, options, host)?;
    let added = key.fingerprint();
    output::result(
        format,
        &json!({ "signer": name.to_string(), "added": added.to_string() }),
        format_args!("added {added} to `{name}`"),
    )
}

pub(super) fn rotate(
    arguments: &RotateArguments,
    host: &HostOptions,
    format: Format,
) -> CommandResult {
    let Place { roots: options, repository } = &arguments.place;
    let repository = &Repository::open(repository)?;
    let trust = repository.trust()?;
    let new = keys::public_key(&arguments.new_key)?;
    let (name, old) = only_key(&trust, &arguments.old)?;
    let mut draft = trust.next_draft();
    let own = draft.signers.get_mut(&name).expect("the key was found under this name");
    for key in own.iter_mut().filter(|key| **key == old) {
        key.clone_from(&new);
    }
    write(repository, &draft, &arguments.key, options, host)?;
    let (now, before) = (new.fingerprint(), old.fingerprint());
    output::result(
        format,
        &json!({ "signer": name.to_string(), "new": now.to_string(), "old": before.to_string() }),
        format_args!("`{name}` signs with {now} instead of {before}"),
    )?;
    let known = roots::find(options, host, trust.repository())?;
    if known.is_some_and(|known| known.roots.keys().any(|root| *root == old)) {
        output::talk(format_args!(
            "note: {} is also a root of this host; roots are replaced in each host's local file, under `roots`",
            old.fingerprint()
        ));
    }
    let configured = keys::configured(repository.git());
    if configured.is_some_and(|path| keys::public_key(Path::new(&path)).is_ok_and(|key| key == old))
    {
        output::talk(
            "note: Git still signs with the old key here; name the new one with `git config user.signingkey FILE`",
        );
    }
    output::talk(format_args!(
        "the old key counts no more at nodes that have the new file; if it may be in other hands, also run `wachter trust revoke {} --reason ...`, so that it can never come back",
        old.fingerprint()
    ));
    stale_modules(repository)
}

pub(super) fn revoke(
    arguments: &RevokeArguments,
    host: &HostOptions,
    format: Format,
) -> CommandResult {
    let Place { roots: options, repository } = &arguments.place;
    let repository = &Repository::open(repository)?;
    let trust = repository.trust()?;
    let mut draft = trust.next_draft();
    let since = Timestamp::now();
    let found = targets(&trust, &arguments.target)?;
    let new: Vec<Fingerprint> = found
        .into_iter()
        .filter(|fingerprint| !trust.revoked().contains_fingerprint(fingerprint))
        .collect();
    if new.is_empty() {
        output::talk("already revoked; nothing was changed");
        return if format == Format::Json {
            output::json(&json!({ "revoked": [] }))
        } else {
            Ok(())
        };
    }
    draft.revocations.extend(new.iter().map(|fingerprint| Revocation {
        fingerprint: *fingerprint,
        reason: arguments.reason.trim().to_owned(),
        since,
    }));
    write(repository, &draft, &arguments.key, options, host)?;
    let new: Vec<String> = new.iter().map(ToString::to_string).collect();
    let sentence = format!("revoked {}", new.join("\nrevoked "));
    output::result(format, &json!({ "revoked": new }), sentence)?;
    stale_modules(repository)
}

/// Renders a draft and stores it.
///
/// # Errors
/// A draft that makes no sense, or a signer that refuses.
pub(super) fn write(
    repository: &Repository,
    draft: &TrustDraft,
    key: &KeyOptions,
    options: &RootOptions,
    host: &HostOptions,
) -> CommandResult {
    let text = draft.render().map_err(|error| {
        CommandError::refused(format!(
            "nothing was changed, as the trust file would make no sense: {}; where a key is missing, add or rotate one first",
            chain(&error.problem)
        ))
    })?;
    let (old, _) = repository.trust_texts()?;
    let comments =
        String::from_utf8_lossy(&old).lines().any(|line| line.trim_start().starts_with('#'));
    let known = roots::find(options, host, draft.repository)?;
    let mut signer = keys::signer(key, Some(repository.git()))?;
    store(repository, text.as_bytes(), signer.as_mut(), known.as_ref())?;
    if comments {
        output::talk(format_args!(
            "note: {TRUST} is written anew, without the comments that it had; `git diff` shows them"
        ));
    }
    Ok(())
}

fn publish(draft: &mut TrustDraft, name: &SignerName, patterns: &[String]) -> CommandResult {
    for pattern in patterns {
        let pattern = match pattern.strip_suffix('*') {
            Some("") => ModulePattern::All,
            Some(prefix) => ModulePattern::Prefix(prefix.to_owned()),
            None => ModulePattern::Exact(pattern.parse()?),
        };
        match draft.publishers.iter_mut().find(|publisher| publisher.signer == *name) {
            Some(publisher) if publisher.modules.contains(&pattern) => {}
            Some(publisher) => publisher.modules.push(pattern),
            None => {
                draft.publishers.push(Publisher { signer: name.clone(), modules: vec![pattern] });
            }
        }
    }
    Ok(())
}

/// The one key that a name or fingerprint means.
fn only_key(trust: &TrustFile, text: &str) -> Result<(SignerName, PublicKey), CommandError> {
    if let Ok(fingerprint) = text.parse::<Fingerprint>() {
        let owned =
            trust.signers().iter().flat_map(|(name, keys)| keys.iter().map(move |key| (name, key)));
        let found = owned.into_iter().find(|(_, key)| key.fingerprint() == fingerprint);
        let (name, key) = found.ok_or_else(|| {
            CommandError::usage(format!(
                "no signer has the key {fingerprint}; `wachter trust show` lists them"
            ))
        })?;
        return Ok((name.clone(), key.clone()));
    }
    let name: SignerName = text.parse()?;
    match trust.signers().get(&name).map(Vec::as_slice) {
        Some([key]) => Ok((name, key.clone())),
        Some(keys) => {
            let keys: Vec<String> = keys.iter().map(|key| key.fingerprint().to_string()).collect();
            Err(CommandError::usage(format!(
                "`{name}` has several keys; name one with --old: {}",
                keys.join(", ")
            )))
        }
        None => Err(CommandError::usage(format!(
            "no signer is called `{name}`; `wachter trust show` lists them"
        ))),
    }
}

/// The keys that are to be revoked.
fn targets(trust: &TrustFile, text: &str) -> Result<Vec<Fingerprint>, CommandError> {
    if let Ok(fingerprint) = text.parse() {
        return Ok(vec![fingerprint]);
    }
    if let Some(keys) = text.parse().ok().and_then(|name: SignerName| trust.signers().get(&name)) {
        return Ok(keys.iter().map(PublicKey::fingerprint).collect());
    }
    let path = Path::new(text);
    if path.is_file() {
        return Ok(vec![keys::public_key(path)?.fingerprint()]);
    }
    Err(CommandError::usage(format!(
        "`{text}` is neither a signer, a fingerprint (SHA256:...) nor a key file; `wachter trust show` lists the signers"
    )))
}

/// Names the modules that nobody's signature vouches for any more.
fn stale_modules(repository: &Repository) -> CommandResult {
    let trust = repository.trust()?;
    let mut stale = Vec::new();
    for name in repository.modules()? {
        // A module that is broken in itself is another matter, and `wachter sign` says so.
        if let Ok(folder) = Folder::read(repository, &name)
            && !matches!(folder.state(&trust), State::Current { .. })
        {
            stale.push(name.to_string());
        }
    }
    if stale.is_empty() {
        output::talk("next: commit trust/, then `wachter release`");
        return Ok(());
    }
    output::data(format_args!("to be signed again: {}", stale.join(" ")))?;
    output::talk(format_args!(
        "next: `wachter sign {}`, commit trust/ and modules/, then `wachter release`",
        stale.join(" ")
    ));
    Ok(())
}
