use jiff::Timestamp;
use serde::Serialize;
use wachter_trust::{PreviousTrust, PublicKey, SignerName, TrustFile};

use super::roots::{self, KnownRoots, RootOptions};
use crate::failure::{CommandError, CommandResult, chain};
use crate::output::{self, Format};
use crate::place::HostOptions;
use crate::repository::{Repository, TRUST};

/// What is said of a trust file.
#[derive(Serialize)]
struct Report {
    repository: String,
    serial: u64,
    not_after: String,
    days_left: i64,
    /// Whether the roots signed it, and nodes that see it for the first time would take it.
    holds: bool,
    /// Why not, or by whose word.
    signatures: String,
    roots: Vec<Root>,
    release_threshold: usize,
    paths: Vec<Rule>,
    rings: Vec<String>,
    keys: Vec<Key>,
    recipients: Vec<Reader>,
    revoked: Vec<Revoked>,
}

#[derive(Serialize)]
struct Root {
    fingerprint: String,
    signed: bool,
}

#[derive(Serialize)]
struct Rule {
    path: String,
    threshold: usize,
    signers: Vec<String>,
}

#[derive(Serialize)]
struct Key {
    signer: String,
    fingerprint: String,
    algorithm: &'static str,
    releases: bool,
    publishes: Vec<String>,
    approves: bool,
    revoked: bool,
}

/// Who can read secrets.
#[derive(Serialize)]
struct Reader {
    name: String,
    key: String,
}

#[derive(Serialize)]
struct Revoked {
    fingerprint: String,
    reason: String,
    since: String,
}

pub(super) fn carry_out(
    repository: &Repository,
    options: &RootOptions,
    host: &HostOptions,
    format: Format,
) -> CommandResult {
    let (bytes, signatures) = repository.trust_texts()?;
    let trust = TrustFile::parse(&bytes)
        .map_err(|error| CommandError::refused(format!("{TRUST}: {}", chain(&error))))?;
    let now = Timestamp::now();
    let known = roots::find(options, host, trust.repository())?;
    let signed = roots::signers(&bytes, &signatures);
    let (holds, words) = verdict(known.as_ref(), &signed, &bytes, &signatures, now);
    let root = |key: &PublicKey| Root {
        fingerprint: key.fingerprint().to_string(),
        signed: signed.contains(key),
    };
    let roots: Vec<Root> = match &known {
        Some(known) => known.roots.keys().map(root).collect(),
        None => signed.iter().map(root).collect(),
    };
    let report = report(&trust, holds, words, roots, now);
    match format {
        Format::Json => output::json(&report),
        Format::Human => print(&report),
    }
}

/// Whether the file counts, and by whose word.
fn verdict(
    known: Option<&KnownRoots>,
    signed: &[PublicKey],
    bytes: &[u8],
    signatures: &[u8],
    now: Timestamp,
) -> (bool, String) {
    let Some(known) = known else {
        let who: Vec<String> = signed.iter().map(|key| key.fingerprint().to_string()).collect();
        let words = match who.as_slice() {
            [] => "nobody signed the file as it is; run `wachter trust sign`".to_owned(),
            who => format!(
                "signed by {}; whether these are the nodes' roots is not known here, name the roots with --root",
                who.join(", ")
            ),
        };
        return (false, words);
    };
    match TrustFile::accept(&known.roots, PreviousTrust::None, bytes, signatures, now) {
        Ok(_) => (true, format!("hold, by the roots of {}", known.origin)),
        Err(error) => (false, chain(&error)),
    }
}

fn report(
    trust: &TrustFile,
    holds: bool,
    signatures: String,
    roots: Vec<Root>,
    now: Timestamp,
) -> Report {
    let rules = trust.releases();
    let names = |names: &std::collections::BTreeSet<SignerName>| {
        names.iter().map(ToString::to_string).collect()
    };
    let key = |signer: &SignerName, key: &PublicKey| Key {
        signer: signer.to_string(),
        fingerprint: key.fingerprint().to_string(),
        algorithm: key.algorithm(),
        releases: rules.signers.contains(signer)
            || rules.paths.iter().any(|rule| rule.signers.contains(signer)),
        publishes: trust
            .publishers()
            .iter()
            .filter(|publisher| publisher.signer == *signer)
            .flat_map(|publisher| publisher.modules.iter().map(ToString::to_string))
            .collect(),
        approves: trust.approvers().contains(signer),
        revoked: trust.revoked().contains(key),
    };
    Report {
        repository: trust.repository().to_string(),
        serial: trust.serial(),
        not_after: trust.not_after().to_string(),
        days_left: (trust.not_after().as_second() - now.as_second()).div_euclid(86_400),
        holds,
        signatures,
        roots,
        release_threshold: rules.threshold,
        paths: rules
            .paths
            .iter()
            .map(|rule| Rule {
                path: rule.path.clone(),
                threshold: rule.threshold,
                signers: names(&rule.signers),
            })
            .collect(),
        rings: rules.rings.iter().map(ToString::to_string).collect(),
        keys: trust
            .signers()
            .iter()
            .flat_map(|(signer, keys)| keys.iter().map(|own| key(signer, own)))
            .collect(),
        recipients: trust
            .recipients()
            .iter()
            .map(|recipient| Reader {
                name: recipient.name.to_string(),
                key: recipient.key.clone(),
            })
            .collect(),
        revoked: trust
            .revocations()
            .iter()
            .map(|revocation| Revoked {
                fingerprint: revocation.fingerprint.to_string(),
                reason: revocation.reason.clone(),
                since: revocation.since.to_string(),
            })
            .collect(),
    }
}

fn print(report: &Report) -> CommandResult {
    output::data(format_args!("repository  {}", report.repository))?;
    output::data(format_args!("serial      {}", report.serial))?;
    let left = match report.days_left {
        days @ ..0 => format!(
            "expired {} days ago; set a later one with `wachter trust sign --not-after 365d`",
            -days
        ),
        days => format!("{days} days left"),
    };
    output::data(format_args!("not after   {} ({left})", report.not_after))?;
    output::data(format_args!("signatures  {}", report.signatures))?;
    for root in &report.roots {
        let signed = if root.signed { "signed" } else { "has not signed" };
        output::data(format_args!("root        {} {signed}", root.fingerprint))?;
    }
    output::data(format_args!(
        "releases    {} signers, for rings {}",
        report.release_threshold,
        report.rings.join(", ")
    ))?;
    for rule in &report.paths {
        output::data(format_args!(
            "            {} signers of {} for {}",
            rule.threshold,
            rule.signers.join(", "),
            rule.path
        ))?;
    }
    output::data("")?;
    let yes = |yes: bool| if yes { "yes" } else { "" }.to_owned();
    let rows: Vec<Vec<String>> = report
        .keys
        .iter()
        .map(|key| {
            vec![
                key.signer.clone(),
                key.fingerprint.clone(),
                key.algorithm.to_owned(),
                if key.revoked { "revoked".to_owned() } else { yes(key.releases) },
                key.publishes.join(" "),
                yes(key.approves),
            ]
        })
        .collect();
    output::table(&["SIGNER", "KEY", "ALGORITHM", "RELEASES", "PUBLISHES", "APPROVES"], &rows)?;
    for reader in &report.recipients {
        output::data(format_args!("recipient   {} {}", reader.name, reader.key))?;
    }
    for revoked in &report.revoked {
        output::data(format_args!(
            "revoked     {} since {}: {}",
            revoked.fingerprint,
            revoked.since,
            revoked.reason.escape_debug()
        ))?;
    }
    Ok(())
}
