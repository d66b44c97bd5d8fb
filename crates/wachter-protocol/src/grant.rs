//! Who may touch what: the manifest asks, the owner of the host allows, the grant is what both say.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use wachter_model::{Confidence, Digest, SecretName};

use crate::ip_range::IpRange;
use crate::{
    AbsolutePath, Endpoint, FilesystemAsked, HostView, IndexError, Limits, LimitsAsked, Manifest,
    Permissions, Python,
};

/// What the owner of a host allows one module, in the local file under `grants`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Allowance {
    /// Folders and files, with all below them.
    pub filesystem: FilesystemAsked,
    /// Endpoints.
    pub network: BTreeSet<Endpoint>,
    /// Private, link-local or loopback ranges in which the endpoints may lie.
    pub network_ranges: BTreeSet<IpRange>,
    /// Programs, or folders of programs.
    pub exec: BTreeSet<AbsolutePath>,
    /// Snapshots of the host.
    pub host: BTreeSet<HostView>,
    /// Supplementary groups.
    pub groups: BTreeSet<String>,
    /// Secrets of the managed repository, by name.
    pub secrets: BTreeSet<SecretName>,
    /// The user that the module may run as, `root` included.
    pub user: Option<String>,
    /// With `user: root`, the capabilities that the module keeps (capabilities(7), lower case and
    /// without `CAP_`): `dac_read_search`.
    pub capabilities: BTreeSet<String>,
    /// The most that the module may ask for.
    pub limits: LimitsAsked,
    /// The most that its findings may claim; 1 where left out.
    pub confidence: Option<Confidence>,
}

/// Names a grant: the SHA-256 of its canonical form, so that a node and its launcher can tell
/// whether they mean the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GrantId(Digest);

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What one module, named by its digest, may touch and use on this host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    module: Digest,
    permissions: Permissions,
    network_ranges: BTreeSet<IpRange>,
    capabilities: BTreeSet<String>,
    limits: Limits,
    confidence: Confidence,
}

/// One thing that a manifest asks for and the owner of the host does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excess {
    /// The key of the manifest.
    pub key: &'static str,
    /// What was asked.
    pub asked: String,
    /// What is allowed, where that is a number.
    pub most: Option<String>,
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, asked, most } = self;
        match most {
            Some(most) => write!(f, "{key}: {asked} (allowed: {most})"),
            None => write!(f, "{key}: {asked}"),
        }
    }
}

impl Excess {
    /// Several, for one sentence.
    #[must_use]
    pub fn list(excess: &[Self]) -> String {
        excess.iter().map(Self::to_string).collect::<Vec<_>>().join(", ")
    }
}

impl Grant {
    /// Intersects what `manifest` asks with what the owner allows; nothing is allowed to a module
    /// for which there is no allowance.
    ///
    /// # Errors
    /// All that is asked beyond the allowance: the module does not run until it is granted.
    pub fn decide(
        module: Digest,
        manifest: &Manifest,
        allowance: Option<&Allowance>,
    ) -> Result<Self, Vec<Excess>> {
        let nothing = Allowance::default();
        let allowance = allowance.unwrap_or(&nothing);
        let asked = &manifest.permissions;
        let mut excess = Vec::new();
        let mut beyond = |key, asked: &dyn ToString| {
            excess.push(Excess { key, asked: asked.to_string(), most: None });
        };
        let covered = |path: &AbsolutePath, allowed: &BTreeSet<AbsolutePath>| {
            allowed.iter().any(|allowed| allowed.contains(path))
        };
        let (read, write) = (&allowance.filesystem.read, &allowance.filesystem.write);
        for path in &asked.filesystem.read {
            if !covered(path, read) && !covered(path, write) {
                beyond("permissions.filesystem.read", path);
            }
        }
        for path in asked.filesystem.write.iter().filter(|path| !covered(path, write)) {
            beyond("permissions.filesystem.write", path);
        }
        for path in asked.exec.iter().filter(|path| !covered(path, &allowance.exec)) {
            beyond("permissions.exec", path);
        }
        for endpoint in asked.network.difference(&allowance.network) {
            beyond("permissions.network", endpoint);
        }
        for view in asked.host.difference(&allowance.host) {
            beyond("permissions.host", view);
        }
        for group in asked.groups.difference(&allowance.groups) {
            beyond("permissions.groups", group);
        }
        for secret in asked.secrets.difference(&allowance.secrets) {
            beyond("permissions.secrets", secret);
        }
        if let Some(user) = asked.user.as_ref().filter(|user| allowance.user.as_ref() != Some(user))
        {
            beyond("permissions.user", user);
        }
        let limits = Limits::DEFAULT.filled(&manifest.limits);
        let most = Limits::DEFAULT_MOST.filled(&allowance.limits);
        excess.extend(limits.beyond(&most).into_iter().map(|(name, asked, most)| Excess {
            key: "limits",
            asked: format!("{name} {asked}"),
            most: Some(most),
        }));
        if !excess.is_empty() {
            return Err(excess);
        }
        Ok(Self {
            module,
            permissions: asked.clone(),
            network_ranges: allowance.network_ranges.clone(),
            capabilities: allowance.capabilities.clone(),
            limits,
            confidence: allowance.confidence.unwrap_or(Confidence::CERTAIN),
        })
    }

    /// All that `manifest` asks for: what someone who runs code of their own, as themselves, grants
    /// it by doing so. Limits above the default most are refused all the same.
    ///
    /// # Errors
    /// The limits that are too high.
    pub fn for_development(module: Digest, manifest: &Manifest) -> Result<Self, Vec<Excess>> {
        let asked = manifest.permissions.clone();
        let allowance = Allowance {
            filesystem: asked.filesystem,
            network: asked.network,
            exec: asked.exec,
            host: asked.host,
            groups: asked.groups,
            secrets: asked.secrets,
            user: asked.user,
            ..Allowance::default()
        };
        Self::decide(module, manifest, Some(&allowance))
    }

    /// What the build of a Python module's environment may touch: the package index, and nothing of
    /// what the module itself was granted.
    ///
    /// # Errors
    /// The index that the owner names is none.
    pub fn for_environment(module: Digest, python: &Python) -> Result<Self, IndexError> {
        let network = python.endpoints()?;
        let nothing = Self::of_nothing(module, python.limits());
        Ok(Self {
            permissions: Permissions { network, ..Permissions::default() },
            network_ranges: python.network_ranges.clone(),
            ..nothing
        })
    }

    /// Nothing but `limits`: for what is done with a module's files before it runs.
    #[must_use]
    pub fn of_nothing(module: Digest, limits: Limits) -> Self {
        Self {
            module,
            permissions: Permissions::default(),
            network_ranges: BTreeSet::new(),
            capabilities: BTreeSet::new(),
            limits,
            confidence: Confidence::CERTAIN,
        }
    }

    /// The same for a dry run: nothing can be written, reached or learnt.
    #[must_use]
    pub fn for_dry_run(&self) -> Self {
        let mut dry = self.clone();
        let written = std::mem::take(&mut dry.permissions.filesystem.write);
        dry.permissions.filesystem.read.extend(written);
        dry.permissions.network.clear();
        dry.permissions.secrets.clear();
        dry
    }

    /// The grant's name.
    #[must_use]
    pub fn id(&self) -> GrantId {
        // Sets are ordered and structs keep their order, so the JSON is canonical.
        let canonical =
            serde_json::to_vec(self).expect("a grant has no map with keys that are not text");
        GrantId(Digest::of(&canonical))
    }

    /// The module that it is for.
    #[must_use]
    pub const fn module(&self) -> Digest {
        self.module
    }

    /// What the module may touch.
    #[must_use]
    pub const fn permissions(&self) -> &Permissions {
        &self.permissions
    }

    /// Ranges that endpoints may lie in although they are not public.
    #[must_use]
    pub const fn network_ranges(&self) -> &BTreeSet<IpRange> {
        &self.network_ranges
    }

    /// The capabilities that a module which runs as root keeps.
    #[must_use]
    pub const fn capabilities(&self) -> &BTreeSet<String> {
        &self.capabilities
    }

    /// What the run may use.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The most that findings may claim.
    #[must_use]
    pub const fn confidence(&self) -> Confidence {
        self.confidence
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(permissions: &str, limits: &str) -> Manifest {
        Manifest::read(&format!(
            "name: a\nversion: '1'\nruntime: {{ kind: process, entrypoint: a }}\n\
             permissions: {permissions}\nlimits: {limits}\n"
        ))
        .unwrap()
    }

    fn decide(permissions: &str, limits: &str, allowance: &str) -> Result<Grant, Vec<String>> {
        let allowance: Allowance = wachter_document::read(allowance).unwrap();
        Grant::decide(Digest::of(b"a"), &manifest(permissions, limits), Some(&allowance))
            .map_err(|excess| excess.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn more_than_allowed_is_refused_by_name() {
        for (asked, allowed, expected) in [
            ("{ filesystem: { read: [/etc/ssl] } }", "{ filesystem: { read: [/etc] } }", None),
            ("{ filesystem: { read: [/etc] } }", "{ filesystem: { write: [/etc] } }", None),
            (
                "{ filesystem: { read: [/etc] } }",
                "{ filesystem: { read: [/etc/ssl] } }",
                Some("permissions.filesystem.read: /etc"),
            ),
            (
                "{ filesystem: { write: [/etc] } }",
                "{ filesystem: { read: [/etc] } }",
                Some("permissions.filesystem.write: /etc"),
            ),
            ("{ network: ['a:1'] }", "{ network: ['a:2'] }", Some("permissions.network: a:1")),
            ("{ exec: [/usr/bin/id] }", "{ exec: [/usr/bin] }", None),
            ("{ exec: [/usr/bin] }", "{ exec: [/usr/bin/id] }", Some("permissions.exec: /usr/bin")),
            ("{ host: [cpu] }", "{}", Some("permissions.host: cpu")),
            ("{ groups: [adm] }", "{}", Some("permissions.groups: adm")),
            ("{ secrets: [a] }", "{}", Some("permissions.secrets: a")),
            ("{ user: root }", "{ user: nobody }", Some("permissions.user: root")),
        ] {
            let decided = decide(asked, "{}", allowed).err();
            assert_eq!(decided, expected.map(|text| vec![text.to_owned()]), "{asked} {allowed}");
        }
    }

    #[test]
    fn limits_have_a_most() {
        assert_eq!(
            decide("{}", "{ memory: 2GiB }", "{}").unwrap_err(),
            ["limits: memory 2GiB (allowed: 1GiB)"]
        );
        assert!(decide("{}", "{ memory: 2GiB }", "{ limits: { memory: 4GiB } }").is_ok());
    }

    #[test]
    fn the_name_changes_with_anything_that_is_granted() {
        let one = decide("{ host: [cpu] }", "{}", "{ host: [cpu] }").unwrap();
        let same = decide("{ host: [cpu] }", "{}", "{ host: [memory, cpu] }").unwrap();
        let other = decide("{ host: [cpu] }", "{ cpu: 0.5 }", "{ host: [cpu] }").unwrap();
        assert_eq!(one.id(), same.id());
        assert_ne!(one.id(), other.id());
    }

    #[test]
    fn a_dry_run_withholds_effects() {
        let asked =
            "{ filesystem: { write: [/srv] }, network: ['a:1'], secrets: [s], host: [cpu] }";
        let dry = decide(asked, "{}", asked).unwrap().for_dry_run();
        let permissions = dry.permissions();
        assert!(permissions.filesystem.write.is_empty());
        assert_eq!(permissions.filesystem.read.len(), 1);
        assert!(permissions.network.is_empty() && permissions.secrets.is_empty());
        assert_eq!(permissions.host.len(), 1);
    }
}
