//! A node's way from the Git server to a deployment: fetch, judge, prepare.

use std::collections::BTreeSet;
use std::path::PathBuf;

use jiff::Timestamp;
use wachter_config::Settings;
use wachter_file::{Readers, read_limited, replace_durably};
use wachter_gitops::{
    AcceptedRelease, Certificates, FetchLimits, Fetched, Fetcher, Job, Policy, Remote, Repository,
    Source, Verdict, Verify,
};
use wachter_model::Digest;
use wachter_protocol::{LocalFile, Mechanism, VerifyMode};
use wachter_runtime::{Deployment, DeploymentError, HostLayers, ReleaseFile};
use wachter_trust::{Ring, Roots, TrustFile};

use crate::credential::CredentialReader;
use crate::data_lock::make_private;
use crate::failure::{CommandError, chain};
use crate::node::Deployed;
use crate::place::Host;

/// No clock is right that is before this day.
const BUILD_DATE: &str = "2026-11-21T00:00:00Z";

/// The most bytes of the local file.
pub(crate) const MAX_LOCAL_FILE_BYTES: u64 = 1 << 20;

/// The branch that `verify: commits` follows.
const BRANCH: &str = "main";

/// Follows one repository.
pub(crate) struct Follower {
    repository: Repository,
    fetcher: Fetcher,
    policy: Policy,
    credential: CredentialReader,
    host: Host,
    local_digest: Digest,
    /// What messages call the local file.
    local_name: String,
    /// The local file as it was when this was opened.
    at_start: LocalFile,
    /// What the last deployment came from: release, serial of trust, local file.
    deployed_from: Option<(u64, u64, Digest)>,
    /// Releases that were accepted and are wrong in themselves, as of the last deployment.
    passed_over: Vec<String>,
}

impl Follower {
    /// Opens what the node keeps of the repository.
    pub(crate) fn open(host: Host) -> Result<Self, CommandError> {
        let policy = policy(&host.local).map_err(|reason| {
            CommandError::failed(format!("{}: {reason}", host.local_file.display()))
        })?;
        for folder in ["modules", "trust"] {
            make_private(&host.data.join(folder))?;
        }
        let repository = Repository::open(&host.data)?;
        let fetcher =
            Fetcher { worker: std::env::current_exe()?, arguments: vec!["fetch-worker".into()] };
        let credential = CredentialReader::new(&host.local.repository);
        // Zero, so that the first look reads it: what stands there now may be newer than `host`.
        let local_digest = Digest::from_bytes([0; 32]);
        let (at_start, deployed_from) = (host.local.clone(), None);
        let local_name = host.local_file.display().to_string();
        Ok(Self {
            repository,
            fetcher,
            policy,
            credential,
            host,
            local_digest,
            local_name,
            at_start,
            deployed_from,
            passed_over: Vec::new(),
        })
    }

    /// Where the repository is, as the local file says.
    pub(crate) fn fetch(&mut self) -> Result<Fetched, CommandError> {
        let repository = &self.host.local.repository;
        let location = repository.url.parse().map_err(|error: wachter_gitops::LocationError| {
            CommandError::failed(format!("`repository.url`: {}", chain(&error)))
        })?;
        let remote = Remote {
            credential: self.credential.read(Timestamp::now())?,
            certificates: Certificates::from_environment(),
            allow_plain_http: repository.allow_plain_http,
            ..Remote::new(location)
        };
        self.bring(Source::Remote(remote))
    }

    /// Takes what a bundle holds.
    pub(crate) fn take_bundle(&mut self, path: PathBuf) -> Result<Fetched, CommandError> {
        self.bring(Source::Bundle(path))
    }

    /// Puts the node's own repository in order when it is time to. It costs as much as what came since
    /// the last time.
    ///
    /// # Errors
    /// The disk, or an object that is damaged. What was there is still there.
    pub(crate) fn tidy(&mut self) -> Result<(), CommandError> {
        if self.repository.is_untidy()? {
            self.bring(Source::Own(self.repository.kept()))?;
            self.repository.refresh()?;
        }
        Ok(())
    }

    fn bring(&mut self, source: Source) -> Result<Fetched, CommandError> {
        let limits = &self.host.local.repository.limits;
        let branch = match &self.policy.verify {
            Verify::Commits(branch) => Some(branch.clone()),
            Verify::Releases => None,
        };
        let job = Job {
            repository: Repository::git_folder(&self.host.data),
            branch,
            limits: FetchLimits {
                bytes: match source {
                    // What is here was within the limits when it came.
                    Source::Own(_) => u64::MAX,
                    _ => limits.bytes.as_bytes(),
                },
                objects: limits.objects,
                time: limits.time.to_std(),
                ..FetchLimits::default()
            },
            source,
            accept_unconfined: {
                let accepted = &self.host.local.confinement.accept_absent;
                accepted.contains(&Mechanism::LandlockFilesystem)
                    || accepted.contains(&Mechanism::Seccomp)
            },
        };
        let fetched = self.fetcher.fetch(&job).inspect_err(|error| self.credential.learn(error))?;
        if fetched.changed {
            self.repository.refresh()?;
        }
        Ok(fetched)
    }

    /// Judges what was fetched.
    pub(crate) fn judge(&mut self, now: Timestamp) -> Result<Verdict, CommandError> {
        Ok(self.repository.accept(&self.policy, now)?)
    }

    pub(crate) fn repository(&mut self) -> &mut Repository {
        &mut self.repository
    }

    /// Reads the local file again, if it changed. A wrong one changes nothing; a right one counts from
    /// now on, but for what [`restart_needed`](Self::restart_needed) names.
    ///
    /// # Errors
    /// The file is gone or wrong.
    pub(crate) fn reread(&mut self) -> Result<(), CommandError> {
        let path = &self.host.local_file;
        let stays = |reason: String| {
            let path = path.display();
            CommandError::failed(format!("{path}: {reason}; the one from before stays in force"))
        };
        let text =
            read_limited(path, MAX_LOCAL_FILE_BYTES).map_err(|error| stays(error.to_string()))?;
        let digest = Digest::of(&text);
        if digest != self.local_digest {
            let text = String::from_utf8(text).map_err(|_| stays("it is not UTF-8".to_owned()))?;
            let local = LocalFile::read(&text).map_err(|error| stays(chain(&error)))?;
            // All of it or nothing: keys and rings are looked at here.
            self.policy = policy(&local).map_err(stays)?;
            self.credential = CredentialReader::new(&local.repository);
            self.host.local = local;
            self.host.text = text;
            self.local_digest = digest;
        }
        Ok(())
    }

    /// The local file that counts.
    pub(crate) fn local(&self) -> &LocalFile {
        &self.host.local
    }

    /// The keys of the local file that have changed since the start and count from the next one.
    pub(crate) fn restart_needed(&self) -> Vec<&'static str> {
        let (then, now) = (&self.at_start, &self.host.local);
        let data = then.data != now.data && self.host.data_is_local;
        let profile = then.confinement.profile != now.confinement.profile;
        [("data", data), ("confinement.profile", profile), ("node", then.node != now.node)]
            .into_iter()
            .filter_map(|(key, changed)| changed.then_some(key))
            .collect()
    }

    /// As [`deploy`](Self::deploy), and nothing where what it would come from is as the last time.
    pub(crate) fn deploy_changes(
        &mut self,
        now: Timestamp,
    ) -> Result<Option<Deploying>, CommandError> {
        let state = self.repository.state();
        let source = state
            .in_force(now)
            .zip(state.trust)
            .map(|(release, trust)| (release.sequence, trust.serial, self.local_digest));
        if self.deployed_from == source {
            return Ok(None);
        }
        let deploying = self.deploy(now)?;
        self.deployed_from = source;
        self.passed_over.clone_from(&deploying.passed_over);
        Ok(Some(deploying))
    }

    /// Releases that were accepted and are wrong in themselves, newest first, and why.
    pub(crate) fn passed_over(&self) -> &[String] {
        &self.passed_over
    }

    /// The settings of this host: those of the release in force, or, before the first, of the host
    /// alone. Changes nothing.
    ///
    /// # Errors
    /// There is no release that counts, and the local file or a variable has a wrong setting.
    pub(crate) fn settings(&mut self) -> Result<Settings, CommandError> {
        let environment = environment();
        let state = self.repository.state();
        let releases = match state.in_force(Timestamp::now()) {
            Some(in_force) => {
                let history = state.history.iter().rev();
                history.filter(|release| release.sequence <= in_force.sequence).cloned().collect()
            }
            None => Vec::new(),
        };
        for release in releases {
            let files = self.files(&release)?;
            if let Ok(settings) = Deployment::settings(&files, &self.layers(&environment)) {
                return Ok(settings);
            }
        }
        Ok(Deployment::settings(&[], &self.layers(&environment))?)
    }

    fn layers<'a>(&'a self, environment: &'a [(String, String)]) -> HostLayers<'a> {
        HostLayers {
            node: self.host.node(),
            labels: &self.host.local.labels,
            grants: &self.host.local.grants,
            local: (&self.local_name, &self.host.text),
            environment,
            flags: &self.host.flags,
        }
    }

    /// Works out what the release in force comes to here, and puts it where the launcher and the
    /// commands look. Where its configuration is wrong, the newest release before it that is right
    /// stays, so that a node that starts has something to do.
    pub(crate) fn deploy(&mut self, now: Timestamp) -> Result<Deploying, CommandError> {
        let mut deploying = Deploying::default();
        let state = self.repository.state();
        let Some(in_force) = state.in_force(now).cloned() else { return Ok(deploying) };
        let earlier = state.history.iter().rev().filter(|other| other.sequence < in_force.sequence);
        let releases: Vec<AcceptedRelease> =
            std::iter::once(in_force.clone()).chain(earlier.cloned()).collect();
        // Not the release's own, which may be an earlier one: going back never brings trust back.
        let Some(trust) = self.repository.trust()? else { return Ok(deploying) };
        let folder = self.host.data.join("trust");
        replace_durably(&folder.join("trust.yaml.sig"), &trust.signatures, Readers::Mask)?;
        replace_durably(&folder.join("trust.yaml"), &trust.file, Readers::Mask)?;
        let trust = TrustFile::parse(&trust.file)?;
        let environment = environment();
        for release in releases {
            let files = self.files(&release)?;
            let host = self.layers(&environment);
            match Deployment::prepare(release.sequence, &files, &trust, &host, &self.host.data) {
                Ok(deployment) => {
                    Deployed::of(&release, &deployment).write(&self.host.data)?;
                    deploying.deployment = Some(deployment);
                    break;
                }
                Err(error @ DeploymentError::Write { .. }) => return Err(error.into()),
                Err(error) => deploying.passed_over.push(format!(
                    "release {} was accepted and is passed over: {}",
                    release.sequence,
                    chain(&error)
                )),
            }
        }
        Ok(deploying)
    }

    /// The modules of all releases that were accepted, by the SHA-256 of their `module.digests`.
    ///
    /// # Errors
    /// A release cannot be read any more.
    pub(crate) fn modules(&mut self) -> Result<BTreeSet<Digest>, CommandError> {
        let mut modules = BTreeSet::new();
        for release in self.repository.state().history.clone() {
            let snapshot = self.repository.snapshot_of(&release)?;
            for file in snapshot.list("modules/") {
                if let [_, _, "module.digests"] = *file.path.split('/').collect::<Vec<_>>() {
                    modules.insert(Digest::of(&snapshot.read(file.path)?));
                }
            }
        }
        Ok(modules)
    }

    fn files(&mut self, release: &AcceptedRelease) -> Result<Vec<ReleaseFile>, CommandError> {
        let snapshot = self.repository.snapshot_of(release)?;
        let mut files = Vec::new();
        for prefix in ["config/", "modules/"] {
            for file in snapshot.list(prefix) {
                let content = snapshot.read(file.path)?;
                files.push(ReleaseFile { path: file.path.to_owned(), content });
            }
        }
        Ok(files)
    }
}

/// The variables that may be settings.
fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with("WACHTER_"))
        .collect()
}

/// What working a release out came to.
#[derive(Default)]
pub(crate) struct Deploying {
    /// None before the first release is accepted, or where none was right.
    pub(crate) deployment: Option<Deployment>,
    /// Releases that are wrong in themselves, newest first, and why.
    pub(crate) passed_over: Vec<String>,
}

/// What the local file insists on, or what is wrong with it.
fn policy(local: &LocalFile) -> Result<Policy, String> {
    let (roots, repository) = (&local.roots, local.repository.id);
    let roots = Roots::of_local_file(roots.threshold, &roots.keys, repository)
        .map_err(|error| format!("`roots`: {}", chain(&error)))?;
    let rings: Option<Result<BTreeSet<Ring>, _>> = local.repository.rings.as_ref().map(|rings| {
        let ring = |name: &String| {
            name.parse().map_err(|error| format!("`repository.rings`: `{name}`: {}", chain(&error)))
        };
        rings.iter().map(ring).collect()
    });
    let verify = match local.repository.verify {
        VerifyMode::Releases => Verify::Releases,
        VerifyMode::Commits => Verify::Commits(BRANCH.parse().expect("it is a branch's name")),
    };
    let build_date = BUILD_DATE.parse().expect("it is a time");
    Ok(Policy { rings: rings.transpose()?, verify, ..Policy::new(roots, repository, build_date) })
}
