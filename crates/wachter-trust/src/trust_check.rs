//! From the shape of a trust file to a trust file: every name exists, every threshold can be reached.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use jiff::Timestamp;
use wachter_document::Located;
use wachter_model::{Digest, ModuleName};

use crate::names::{Ring, SignerName, parse_time};
use crate::trust_document::{self as document, Document, OneOrMany};
use crate::trust_file::{
    ModulePattern, PathRule, Publisher, Recipient, ReleaseRules, Revocation, TrustFile,
};
use crate::trust_problem::{TrustFileError, TrustFileProblem as Problem};
use crate::{PatternList, PublicKey, RevokedKeys, safe_path};

type Outcome<T> = Result<T, TrustFileError>;

impl TrustFile {
    /// Reads a trust file and checks that it is consistent in itself.
    ///
    /// It says nothing about who signed it; a node uses [`TrustFile::accept`].
    ///
    /// # Errors
    /// The first fault, with its line and column.
    pub fn parse(bytes: &[u8]) -> Result<Self, TrustFileError> {
        let document = Document::parse(bytes)?;
        if let Some(grants) = document.grants.as_ref().filter(|grants| grants.value.0) {
            return Err(TrustFileError::at(grants, Problem::Grants));
        }
        if document.serial.value == 0 {
            return Err(TrustFileError::at(&document.serial, Problem::SerialZero));
        }
        let revocations = revocations(&document.revoked)?;
        let signers = signers(&document.signers)?;
        let mut trust = Self {
            digest: Digest::of(bytes),
            repository: parse(&document.repository)?,
            serial: document.serial.value,
            not_after: time(&document.not_after)?,
            revoked: revocations
                .iter()
                .map(|revocation| revocation.fingerprint)
                .collect::<RevokedKeys>(),
            revocations,
            signers,
            releases: ReleaseRules {
                signers: BTreeSet::new(),
                threshold: 1,
                paths: Vec::new(),
                rings: BTreeSet::new(),
            },
            publishers: Vec::new(),
            approvers: BTreeSet::new(),
            recipients: recipients(&document.recipients)?,
            node_roles: BTreeMap::new(),
        };
        trust.releases = trust.check_releases(&document.releases.value)?;
        trust.publishers = trust.check_publishers(&document.publishers)?;
        trust.approvers = trust.check_names(&document.approvers)?;
        for (role, patterns) in &document.node_roles {
            let role = role.parse().map_err(|error: crate::names::ParseRoleNameError| {
                TrustFileError::at(patterns, error)
            })?;
            trust.node_roles.insert(role, node_patterns(patterns)?);
        }
        Ok(trust)
    }

    fn check_releases(&self, releases: &document::Releases) -> Outcome<ReleaseRules> {
        let signers = self.check_names(&releases.signers)?;
        let threshold = self.check_threshold(&releases.threshold, &signers)?;
        let mut paths: Vec<PathRule> = Vec::new();
        for rule in &releases.paths {
            let path = rule.path.value.strip_suffix('/').unwrap_or(&rule.path.value).to_owned();
            safe_path::check(&path)
                .map_err(|source| TrustFileError::at(&rule.path, Problem::Path(source)))?;
            if paths.iter().any(|other| other.path == path) {
                return Err(TrustFileError::at(&rule.path, Problem::Repeated(path)));
            }
            let signers = match &rule.signers {
                Some(names) => self.check_names(names)?,
                None => signers.clone(),
            };
            let threshold = self.check_threshold(&rule.threshold, &signers)?;
            paths.push(PathRule { path, threshold, signers });
        }
        let rings = match &releases.rings {
            None => BTreeSet::from([Ring::default()]),
            Some(names) if names.is_empty() => {
                return Err(TrustFileError::at(&releases.threshold, Problem::NoRings));
            }
            Some(names) => distinct(names)?,
        };
        Ok(ReleaseRules { signers, threshold, paths, rings })
    }

    fn check_publishers(&self, publishers: &[document::Publisher]) -> Outcome<Vec<Publisher>> {
        let mut seen = BTreeSet::new();
        let mut checked = Vec::new();
        for publisher in publishers {
            let signer = self.check_name(&publisher.signer)?;
            if !seen.insert(signer.clone()) {
                let problem = Problem::Repeated(signer.to_string());
                return Err(TrustFileError::at(&publisher.signer, problem));
            }
            self.check_publisher_keys(&signer)
                .map_err(|problem| TrustFileError::at(&publisher.signer, problem))?;
            if publisher.modules.value.is_empty() {
                return Err(TrustFileError::at(&publisher.modules, Problem::NoModules));
            }
            let modules =
                publisher.modules.value.iter().map(module_pattern).collect::<Outcome<_>>()?;
            checked.push(Publisher { signer, modules });
        }
        Ok(checked)
    }

    /// What the launcher could not verify is refused here by everybody, so that a node never takes a
    /// module that its launcher does not start. A revoked key counts for nothing, and may stay.
    fn check_publisher_keys(&self, signer: &SignerName) -> Result<(), Problem> {
        let keys = self.signers[signer].iter().filter(|key| !self.revoked.contains(key));
        match keys.into_iter().find(|key| !key.is_for_modules()) {
            None => Ok(()),
            Some(key) => Err(Problem::PublisherKey {
                signer: signer.clone(),
                fingerprint: key.fingerprint(),
                algorithm: key.algorithm(),
            }),
        }
    }

    fn check_names(&self, names: &[Located<String>]) -> Outcome<BTreeSet<SignerName>> {
        for name in names {
            self.check_name(name)?;
        }
        distinct(names)
    }

    fn check_name(&self, name: &Located<String>) -> Outcome<SignerName> {
        let signer: SignerName = parse(name)?;
        if self.signers.contains_key(&signer) {
            Ok(signer)
        } else {
            Err(TrustFileError::at(name, Problem::UnknownSigner(signer)))
        }
    }

    fn check_threshold(
        &self,
        threshold: &Located<usize>,
        signers: &BTreeSet<SignerName>,
    ) -> Outcome<usize> {
        let reachable = signers.iter().filter(|signer| self.live_keys(signer) > 0).count();
        match threshold.value {
            0 => Err(TrustFileError::at(threshold, Problem::Threshold { threshold: 0, reachable })),
            threshold_value if threshold_value > reachable => {
                let problem = Problem::Threshold { threshold: threshold_value, reachable };
                Err(TrustFileError::at(threshold, problem))
            }
            threshold => Ok(threshold),
        }
    }
}

fn signers(
    named: &Located<BTreeMap<String, Located<OneOrMany>>>,
) -> Outcome<BTreeMap<SignerName, Vec<PublicKey>>> {
    let mut owners: BTreeMap<PublicKey, SignerName> = BTreeMap::new();
    let mut signers = BTreeMap::new();
    for (name, keys) in &named.value {
        let name: SignerName = name
            .parse()
            .map_err(|error: crate::names::ParseSignerNameError| TrustFileError::at(keys, error))?;
        let mut parsed: Vec<PublicKey> = Vec::new();
        let mut add = |text: &str, at: &dyn Fn(Problem) -> TrustFileError| {
            let key: PublicKey =
                text.parse().map_err(|source| at(Problem::Key { signer: name.clone(), source }))?;
            let fingerprint = key.fingerprint();
            match owners.insert(key.clone(), name.clone()) {
                Some(first) if first == name => Err(at(Problem::Repeated(fingerprint.to_string()))),
                Some(first) => {
                    Err(at(Problem::SharedKey { fingerprint, first, second: name.clone() }))
                }
                None => {
                    parsed.push(key);
                    Ok(())
                }
            }
        };
        match &keys.value {
            OneOrMany::One(text) => add(text, &|problem| TrustFileError::at(keys, problem))?,
            OneOrMany::Many(texts) => {
                for text in texts {
                    add(&text.value, &|problem| TrustFileError::at(text, problem))?;
                }
            }
        }
        if parsed.is_empty() {
            return Err(TrustFileError::at(keys, Problem::NoKey(name)));
        }
        signers.insert(name, parsed);
    }
    Ok(signers)
}

fn revocations(revoked: &[Located<document::Revocation>]) -> Outcome<Vec<Revocation>> {
    let mut revocations: Vec<Revocation> = Vec::new();
    for entry in revoked {
        let fingerprint = match (&entry.value.key, &entry.value.fingerprint) {
            (Some(key), None) => {
                let parsed: Result<PublicKey, _> = key.value.parse();
                parsed
                    .map_err(|source| TrustFileError::at(key, Problem::RevokedKeyText(source)))?
                    .fingerprint()
            }
            (None, Some(fingerprint)) => parse(fingerprint)?,
            _ => return Err(TrustFileError::at(entry, Problem::RevokedKey)),
        };
        if revocations.iter().any(|other| other.fingerprint == fingerprint) {
            return Err(TrustFileError::at(entry, Problem::Repeated(fingerprint.to_string())));
        }
        let reason = entry.value.reason.value.trim().to_owned();
        if reason.is_empty() {
            return Err(TrustFileError::at(&entry.value.reason, Problem::NoReason));
        }
        revocations.push(Revocation { fingerprint, reason, since: time(&entry.value.since)? });
    }
    Ok(revocations)
}

fn recipients(recipients: &[document::Recipient]) -> Outcome<Vec<Recipient>> {
    let mut names = BTreeSet::new();
    let mut checked = Vec::new();
    for recipient in recipients {
        let name: SignerName = parse(&recipient.name)?;
        if !names.insert(name.clone()) {
            return Err(TrustFileError::at(&recipient.name, Problem::Repeated(name.to_string())));
        }
        let key = &recipient.key.value;
        let is_bech32 = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if !key.starts_with("age1")
            || key.len() < 10
            || key.len() > 4096
            || !key.bytes().all(is_bech32)
        {
            let problem = Problem::Recipient(key.chars().take(80).collect());
            return Err(TrustFileError::at(&recipient.key, problem));
        }
        checked.push(Recipient { name, key: key.clone() });
    }
    Ok(checked)
}

fn module_pattern(text: &Located<String>) -> Outcome<ModulePattern> {
    let refused =
        || TrustFileError::at(text, Problem::ModulePattern(text.value.chars().take(80).collect()));
    match text.value.strip_suffix('*') {
        Some("") => Ok(ModulePattern::All),
        // `web*` would also mean a module called `website`; the hyphen keeps families apart.
        Some(prefix) => match prefix.strip_suffix('-').map(str::parse::<ModuleName>) {
            Some(Ok(_)) => Ok(ModulePattern::Prefix(prefix.to_owned())),
            _ => Err(refused()),
        },
        None => text.value.parse().map(ModulePattern::Exact).map_err(|_| refused()),
    }
}

fn node_patterns(patterns: &Located<Vec<Located<String>>>) -> Outcome<PatternList> {
    for pattern in &patterns.value {
        let allowed = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'*' | b'?')
        };
        if pattern.value.is_empty() || !pattern.value.bytes().all(allowed) {
            let text = pattern.value.chars().take(80).collect();
            return Err(TrustFileError::at(pattern, Problem::NodePatternCharacter(text)));
        }
    }
    let texts: Vec<&str> = patterns.value.iter().map(|pattern| pattern.value.as_str()).collect();
    PatternList::parse(&texts.join(","))
        .map_err(|source| TrustFileError::at(patterns, Problem::NodePattern(source)))
}

/// Parses every text, and refuses one that stands twice.
fn distinct<T>(texts: &[Located<String>]) -> Outcome<BTreeSet<T>>
where
    T: FromStr<Err: Into<Problem>> + Ord,
{
    let mut set = BTreeSet::new();
    for text in texts {
        if !set.insert(parse(text)?) {
            return Err(TrustFileError::at(text, Problem::Repeated(text.value.clone())));
        }
    }
    Ok(set)
}

fn parse<T: FromStr<Err: Into<Problem>>>(text: &Located<String>) -> Outcome<T> {
    text.value.parse().map_err(|error| TrustFileError::at(text, error))
}

fn time(text: &Located<String>) -> Outcome<Timestamp> {
    parse_time(&text.value).ok_or_else(|| {
        TrustFileError::at(text, Problem::Time(text.value.chars().take(40).collect()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KeyOwner;
    use proptest::prelude::*;

    const ALICE: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIlizSIN3DQV78VPNjVvvwjgf+P5HqbPYCYu3BOMdjAE";
    const BOB: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

    const FILE: &str = "\
version: 1
repository: 6f6b1a0e-2c8f-4b1d-9d4e-0c7d4f3a2b19
serial: 3
not_after: 2027-01-31T00:00:00Z
signers:
  alice: ALICE
  bob: [BOB]
releases:
  signers: [alice, bob]
  threshold: 1
  paths:
    - { path: modules/, threshold: 2 }
publishers:
  - { signer: alice, modules: [\"*\"] }
  - { signer: bob, modules: [backup, web-*] }
approvers: [alice]
recipients:
  - { name: web-1, key: age1qqqqqqqqq }
node_roles:
  web: [\"web-*\", edge]
grants: []
revoked:
  - { fingerprint: \"SHA256:Xw2mGLUVL6zO2WuMHcb4TVcUkXYqTpgVEUvmbJAdeYg\", reason: lost, since: 2026-05-01T00:00:00Z }
";

    fn parse_with(from: &str, to: &str) -> Result<TrustFile, TrustFileError> {
        assert!(FILE.contains(from), "{from} is not in the file");
        let text = FILE.replacen(from, to, 1).replace("ALICE", ALICE).replace("BOB", BOB);
        TrustFile::parse(text.as_bytes())
    }

    /// Replaces once, and expects a refusal at `LINE:COLUMN` whose problem starts with `expected`.
    fn check(from: &str, to: &str, place: &str, expected: &str) {
        match parse_with(from, to) {
            Ok(_) => panic!("{to} was taken"),
            Err(error) => {
                assert_eq!(
                    format!("{}:{}", error.line, error.column),
                    place,
                    "{to}: {:?}",
                    error.problem
                );
                let problem = error.problem.to_string();
                assert!(problem.starts_with(expected), "{to}: {problem}");
            }
        }
    }

    #[test]
    fn reads_everything() {
        let trust = parse_with("", "").unwrap();
        let name = |text: &str| text.parse::<SignerName>().unwrap();
        let module = |text: &str| text.parse::<ModuleName>().unwrap();
        assert_eq!(trust.serial(), 3);
        assert_eq!(trust.owner(&BOB.parse().unwrap()), KeyOwner::Signer(&name("bob")));
        assert!(trust.may_publish(&name("alice"), &module("anything")));
        assert!(trust.may_publish(&name("bob"), &module("web-server")));
        assert!(!trust.may_publish(&name("bob"), &module("web")));
        assert!(!trust.may_publish(&name("bob"), &module("backups")));
        let roles: Vec<_> =
            trust.roles_of(&"edge".parse().unwrap()).map(ToString::to_string).collect();
        assert_eq!(roles, ["web"]);
        assert_eq!(trust.roles_of(&"db-1".parse().unwrap()).count(), 0);
        let rule = &trust.releases().paths[0];
        assert!(rule.covers("modules/a/b") && rule.covers("modules") && !rule.covers("modules2/a"));
        assert_eq!(trust.releases().rings.iter().map(Ring::as_str).collect::<Vec<_>>(), ["stable"]);
    }

    #[test]
    fn says_where_and_what() {
        check("version: 1", "version: 2", "1:10", "format version 2 is not known");
        check("version: 1\n", "", "1:1", "the key `version` is missing");
        check("serial: 3", "serial: 0", "3:9", "serials start at 1");
        check("serial: 3", "serial: -1", "3:9", "found the number -1, but expected a whole number");
        check("serial: 3", "seriall: 3", "3:1", "unknown key `seriall`: did you mean `serial`?");
        check(
            "threshold: 2",
            "treshold: 2",
            "12:25",
            "unknown key `treshold`: did you mean `threshold`?",
        );
        check(
            "serial: 3",
            "serial: 3\nserial: 4",
            "4:1",
            "the key `serial` stands here a second time",
        );
        check("2027-01-31T00:00:00Z", "2027-01-31", "4:12", "`2027-01-31` is not a time");
        check("6f6b", "6F6B", "2:13", "a repository id is a UUID");
        check("approvers: [alice]", "approvers: [carol]", "16:13", "no signer is called `carol`");
        check("signers: [alice, bob]", "signers: [alice, alice]", "9:20", "`alice` stands twice");
        check("threshold: 1", "threshold: 0", "10:14", "a threshold of 0 cannot be");
        check("threshold: 1", "threshold: 3", "10:14", "a threshold of 3 cannot be: 2 of these");
        check(
            "threshold: 2 }",
            "threshold: 2, signers: [bob] }",
            "12:36",
            "a threshold of 2 cannot be: 1 of these",
        );
        check("path: modules/", "path: ../", "12:15", "the path cannot be used");
        check("[BOB]", "[ALICE]", "7:9", "the key SHA256:");
        check("[BOB]", "[BOB, BOB]", "7:91", "`SHA256:");
        check("[BOB]", "[]", "7:8", "`bob` has no key");
        check("[BOB]", "[nonsense]", "7:9", "the key of `bob` cannot be used");
        check("bob: [BOB]", "\"a,b\": [BOB]", "7:10", "`a,b` is not a signer's name");
        check("web-*]", "web*]", "15:38", "`web*` is not a module");
        check("[backup, web-*]", "[]", "15:29", "a publisher without modules");
        check("age1qqqqqqqqq", "ssh-ed25519", "18:25", "`ssh-ed25519` is not an age recipient");
        check(
            "grants: []",
            "grants: [{ module: x }]",
            "21:9",
            "grants in the trust file are not yet supported",
        );
        check(
            "grants: []",
            "grants: { a: b }",
            "21:9",
            "grants in the trust file are not yet supported",
        );
        check("reason: lost", "reason: \"\"", "23:82", "say why");
        check("fingerprint: ", "key: BOB, fingerprint: ", "23:5", "name the revoked key by either");
        check("serial: 3", "serial: &a 3", "3:12", "budget breached");
        check("bob: [BOB]", "bob: *a", "7:8", "alias");
        check("serial: 3", "serial: 3\n---\nserial: 4", "4:1", "");
    }

    #[test]
    fn revoked_keys_do_not_make_a_threshold() {
        let fingerprint = BOB.parse::<PublicKey>().unwrap().fingerprint().to_string();
        check(
            "SHA256:Xw2mGLUVL6zO2WuMHcb4TVcUkXYqTpgVEUvmbJAdeYg",
            &fingerprint,
            "12:36",
            "a threshold of 2 cannot be: 1 of these",
        );
        check(
            "fingerprint: \"SHA256:Xw2mGLUVL6zO2WuMHcb4TVcUkXYqTpgVEUvmbJAdeYg\"",
            "key: BOB",
            "12:36",
            "a threshold of 2 cannot be: 1 of these",
        );
    }

    #[test]
    fn allowed_signers_leave_out_what_does_not_count() {
        let trust = parse_with("threshold: 2 }", "threshold: 1 }").unwrap();
        let expected = format!("alice namespaces=\"git\" {ALICE}\nbob namespaces=\"git\" {BOB}\n");
        assert_eq!(trust.allowed_signers(crate::Purpose::Release), expected);
        let mut revoked = trust;
        revoked.revoked = [BOB.parse::<PublicKey>().unwrap().fingerprint()].into_iter().collect();
        let expected = format!("alice namespaces=\"wachter-module\" {ALICE}\n");
        assert_eq!(revoked.allowed_signers(crate::Purpose::Module), expected);
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>) {
            let _ = TrustFile::parse(&bytes);
        }

        #[test]
        fn any_damage_is_parsed_or_refused(at in 0..FILE.len(), with: u8) {
            let mut bytes = FILE.as_bytes().to_vec();
            bytes[at] = with;
            let _ = TrustFile::parse(&bytes);
        }
    }
}
