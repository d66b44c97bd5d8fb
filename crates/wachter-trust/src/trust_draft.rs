use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use jiff::Timestamp;

use crate::RepositoryId;
use crate::names::{Ring, RoleName, SignerName};
use crate::trust_file::{ModulePattern, Publisher, Recipient, ReleaseRules, Revocation, TrustFile};
use crate::{PatternList, PublicKey, TrustFileError};

/// A trust file that is being written: for setting a repository up, and for adding, replacing and
/// revoking keys.
///
/// Everything may be changed freely; [`TrustDraft::render`] says whether the whole makes sense. What
/// people wrote as comments in the file that a draft was made from is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustDraft {
    /// The repository that the file is about.
    pub repository: RepositoryId,
    /// The number of this version of the file.
    pub serial: u64,
    /// The last moment at which a node that has not seen the file accepts it. Whole seconds.
    pub not_after: Timestamp,
    /// The signers and their keys.
    pub signers: BTreeMap<SignerName, Vec<PublicKey>>,
    /// Who may sign releases.
    pub releases: ReleaseRules,
    /// Who may publish modules.
    pub publishers: Vec<Publisher>,
    /// Who may approve actions.
    pub approvers: BTreeSet<SignerName>,
    /// Who can read the repository's secrets.
    pub recipients: Vec<Recipient>,
    /// The roles of nodes.
    pub node_roles: BTreeMap<RoleName, PatternList>,
    /// The keys that never count again.
    pub revocations: Vec<Revocation>,
}

impl TrustDraft {
    /// The first trust file of a repository with one person, who may do everything.
    #[must_use]
    pub fn of_one(
        repository: RepositoryId,
        signer: SignerName,
        key: PublicKey,
        not_after: Timestamp,
    ) -> Self {
        let everyone = BTreeSet::from([signer.clone()]);
        Self {
            repository,
            serial: 1,
            not_after,
            signers: BTreeMap::from([(signer.clone(), vec![key])]),
            releases: ReleaseRules {
                signers: everyone.clone(),
                threshold: 1,
                paths: Vec::new(),
                rings: BTreeSet::from([Ring::default()]),
            },
            publishers: vec![Publisher { signer, modules: vec![ModulePattern::All] }],
            approvers: everyone,
            recipients: Vec::new(),
            node_roles: BTreeMap::new(),
            revocations: Vec::new(),
        }
    }

    /// Writes the file, ready to be signed in namespace `wachter-trust`.
    ///
    /// # Errors
    /// What [`TrustFile::parse`] would say of it, with the line in the text that would have been
    /// written.
    pub fn render(&self) -> Result<String, TrustFileError> {
        let text = self.write();
        TrustFile::parse(text.as_bytes())?;
        Ok(text)
    }

    fn write(&self) -> String {
        let mut yaml = Yaml(String::new());
        yaml.line("version: 1");
        yaml.line(format_args!("repository: {}", self.repository));
        yaml.line(format_args!("serial: {}", self.serial));
        yaml.line(format_args!("not_after: {}", whole_seconds(self.not_after)));
        yaml.line("signers:");
        for (name, keys) in &self.signers {
            yaml.line(format_args!("  {}: {}", quote(name), list(keys)));
        }
        let ReleaseRules { signers, threshold, paths, rings } = &self.releases;
        yaml.line("releases:");
        yaml.line(format_args!("  signers: {}", list(signers)));
        yaml.line(format_args!("  threshold: {threshold}"));
        if !paths.is_empty() {
            yaml.line("  paths:");
        }
        for rule in paths {
            let (path, threshold, signers) =
                (quote(&rule.path), rule.threshold, list(&rule.signers));
            yaml.line(format_args!(
                "    - {{ path: {path}, threshold: {threshold}, signers: {signers} }}"
            ));
        }
        yaml.line(format_args!("  rings: {}", list(rings)));
        yaml.section("publishers", &self.publishers, |publisher| {
            let (signer, modules) = (quote(&publisher.signer), list(&publisher.modules));
            format!("{{ signer: {signer}, modules: {modules} }}")
        });
        yaml.line(format_args!("approvers: {}", list(&self.approvers)));
        yaml.section("recipients", &self.recipients, |recipient| {
            format!("{{ name: {}, key: {} }}", quote(&recipient.name), quote(&recipient.key))
        });
        if !self.node_roles.is_empty() {
            yaml.line("node_roles:");
        }
        for (role, nodes) in &self.node_roles {
            let nodes = nodes.to_string();
            yaml.line(format_args!("  {}: {}", quote(role), list(nodes.split(','))));
        }
        yaml.section("revoked", &self.revocations, |revocation| {
            let (fingerprint, reason) = (quote(&revocation.fingerprint), quote(&revocation.reason));
            let since = whole_seconds(revocation.since);
            format!("{{ fingerprint: {fingerprint}, reason: {reason}, since: {since} }}")
        });
        yaml.0
    }
}

impl TrustFile {
    /// The next version of this file, to be changed and signed: all as it is, the serial one higher.
    #[must_use]
    pub fn next_draft(&self) -> TrustDraft {
        TrustDraft {
            repository: self.repository,
            serial: self.serial.saturating_add(1),
            not_after: self.not_after,
            signers: self.signers.clone(),
            releases: self.releases.clone(),
            publishers: self.publishers.clone(),
            approvers: self.approvers.clone(),
            recipients: self.recipients.clone(),
            node_roles: self.node_roles.clone(),
            revocations: self.revocations.clone(),
        }
    }
}

struct Yaml(String);

impl Yaml {
    fn line(&mut self, text: impl std::fmt::Display) {
        writeln!(self.0, "{text}").expect("writing to a string does not fail");
    }

    fn section<T>(&mut self, name: &str, items: &[T], item: impl Fn(&T) -> String) {
        if items.is_empty() {
            self.line(format_args!("{name}: []"));
            return;
        }
        self.line(format_args!("{name}:"));
        for entry in items {
            self.line(format_args!("  - {}", item(entry)));
        }
    }
}

fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| quote(&item)).collect();
    format!("[{}]", items.join(", "))
}

/// A double-quoted scalar (YAML 1.2.2 section 7.3.1), so that a signer called `null` stays a name.
fn quote(text: &impl ToString) -> String {
    let mut quoted = String::from("\"");
    for character in text.to_string().chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            ' '..='~' => quoted.push(character),
            other => write!(quoted, "\\U{:08x}", u32::from(other))
                .expect("writing to a string does not fail"),
        }
    }
    quoted.push('"');
    quoted
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).expect("dropping the fraction stays within range")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FileKey, Signer as _};
    use proptest::prelude::*;

    fn key(seed: u8) -> PublicKey {
        FileKey::from_seed(&[seed; 32], "").unwrap().public_key().clone()
    }

    fn of_one() -> TrustDraft {
        let repository = RepositoryId::from_random([1; 16]);
        let not_after = "2027-01-01T00:00:00Z".parse().unwrap();
        TrustDraft::of_one(repository, "null".parse().unwrap(), key(1), not_after)
    }

    fn check(draft: &TrustDraft) {
        let text = draft.render().unwrap();
        let mut read = TrustFile::parse(text.as_bytes()).unwrap().next_draft();
        read.serial -= 1;
        assert_eq!(&read, draft, "{text}");
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut draft = of_one();
        check(&draft);
        let bob: SignerName = "bob@example.com".parse().unwrap();
        draft.signers.insert(bob.clone(), vec![key(2), key(3)]);
        draft.releases.signers.insert(bob.clone());
        let everyone = draft.releases.signers.clone();
        let rule = crate::PathRule { path: "a \"b\"/é".into(), threshold: 2, signers: everyone };
        draft.releases.paths.push(rule);
        draft.releases.rings.insert("early".parse().unwrap());
        let modules = vec![
            ModulePattern::Prefix("web-".into()),
            ModulePattern::Exact("backup".parse().unwrap()),
        ];
        draft.publishers.push(Publisher { signer: bob.clone(), modules });
        draft.recipients.push(Recipient { name: bob, key: "age1qqqqqqqqqq".into() });
        let nodes = PatternList::parse("web-*,edge").unwrap();
        draft.node_roles.insert("web".parse().unwrap(), nodes);
        check(&draft);
    }

    #[test]
    fn what_makes_no_sense_is_not_written() {
        let mut draft = of_one();
        draft.releases.threshold = 2;
        assert!(draft.render().is_err());
    }

    proptest! {
        #[test]
        fn any_reason_can_be_given(reason in "\\PC.{0,40}") {
            let mut draft = of_one();
            let since = draft.not_after;
            let reason = reason.trim().to_owned();
            prop_assume!(!reason.is_empty());
            draft.revocations.push(Revocation { fingerprint: key(9).fingerprint(), reason, since });
            check(&draft);
        }
    }
}
