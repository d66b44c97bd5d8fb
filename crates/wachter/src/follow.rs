//! A node's way from the Git server to a deployment: fetch, judge, prepare.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use wachter_gitops::{
    AcceptedRelease, FetchLimits, Fetched, Fetcher, Job, Policy, Remote, Repository, Source,
    TreeLimits, Verdict, Verify,
};
use wachter_model::Digest;
use wachter_protocol::{LocalFile, Mechanism, VerifyMode};
use wachter_runtime::{Deployment, DeploymentError, ReleaseFile, replace_file};
use wachter_trust::{PublicKey, Roots, TrustFile};

use crate::credential::CredentialReader;
use crate::failure::{CommandError, chain};
use crate::node::Deployed;
use crate::place::Host;

/// No clock is right that is before this day.
const BUILD_DATE: &str = "2026-11-21T00:00:00Z";

/// The branch that `verify: commits` follows.
const BRANCH: &str = "main";

/// Commits that are read to find out where one comes from.
const HISTORY: usize = 100_000;

/// Keeps two processes from writing to one data folder.
pub(crate) struct DataLock {
    _file: File,
}

/// Why a data folder is not ours: the process that has it.
pub(crate) enum Locked {
    By(Option<i32>),
    Failed(CommandError),
}

impl DataLock {
    /// Takes the data folder, and makes it where it is missing.
    pub(crate) fn take(data: &Path) -> Result<Self, Locked> {
        let failed = |error: std::io::Error| {
            Locked::Failed(CommandError::failed(format!("cannot use {}: {error}", data.display())))
        };
        make_private(data).map_err(failed)?;
        let path = data.join("lock");
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        if file.try_lock().is_err() {
            let process = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
            return Err(Locked::By(process));
        }
        file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// Nobody else reads what a node knows.
fn make_private(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Follows one repository.
pub(crate) struct Follower {
    repository: Repository,
    fetcher: Fetcher,
    policy: Policy,
    credential: CredentialReader,
    host: Host,
    local_digest: Digest,
    /// What the last deployment came from: release, serial of trust, local file.
    deployed_from: Option<(u64, u64, Digest)>,
}

impl Follower {
    /// Opens what the node keeps of the repository.
    pub(crate) fn open(host: Host) -> Result<Self, CommandError> {
        let policy = policy(&host)?;
        for folder in ["modules", "trust"] {
            make_private(&host.data.join(folder))?;
        }
        let repository = Repository::open(&host.data)?;
        let fetcher =
            Fetcher { worker: std::env::current_exe()?, arguments: vec!["fetch-worker".into()] };
        let credential = CredentialReader::new(host.local.repository.credential.clone());
        // Zero, so that the first look reads it: what stands there now may be newer than `host`.
        let local_digest = Digest::from_bytes([0; 32]);
        let deployed_from = None;
        Ok(Self { repository, fetcher, policy, credential, host, local_digest, deployed_from })
    }

    /// Where the repository is, as the local file says.
    pub(crate) fn fetch(&mut self) -> Result<Fetched, CommandError> {
        let repository = &self.host.local.repository;
        let location = repository.url.parse().map_err(|error: wachter_gitops::LocationError| {
            CommandError::failed(format!("`repository.url`: {}", chain(&error)))
        })?;
        let remote = Remote {
            credential: self.credential.read(Timestamp::now())?,
            allow_plain_http: repository.allow_plain_http,
            ..Remote::new(location)
        };
        self.bring(Source::Remote(remote))
    }

    /// Takes what a bundle holds.
    pub(crate) fn take_bundle(&mut self, path: PathBuf) -> Result<Fetched, CommandError> {
        self.bring(Source::Bundle(path))
    }

    fn bring(&mut self, source: Source) -> Result<Fetched, CommandError> {
        let limits = &self.host.local.repository.limits;
        let branch = match &self.policy.verify {
            Verify::Commits(branch) => Some(branch.clone()),
            Verify::Releases => None,
        };
        let job = Job {
            repository: Repository::git_folder(&self.host.data),
            source,
            branch,
            limits: FetchLimits {
                bytes: limits.bytes.as_bytes(),
                objects: limits.objects,
                time: limits.time.to_std(),
                ..FetchLimits::default()
            },
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

    /// Reads the local file again, if it changed. A wrong one changes nothing.
    pub(crate) fn reread(&mut self) -> Result<(), CommandError> {
        let text = fs::read_to_string(&self.host.local_file)?;
        let digest = Digest::of(text.as_bytes());
        if digest != self.local_digest {
            let local = LocalFile::read(&text).map_err(|error| {
                CommandError::failed(format!(
                    "{}: {}; the one from before stays in force",
                    self.host.local_file.display(),
                    chain(&error)
                ))
            })?;
            self.host.local = local;
            self.policy = policy(&self.host)?;
            self.credential = CredentialReader::new(self.host.local.repository.credential.clone());
            self.local_digest = digest;
        }
        Ok(())
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
        Ok(Some(deploying))
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
        replace_file(&folder.join("trust.yaml.sig"), &trust.signatures)?;
        replace_file(&folder.join("trust.yaml"), &trust.file)?;
        let trust = TrustFile::parse(&trust.file)?;
        for release in releases {
            let files = self.files(&release)?;
            let (grants, data) = (&self.host.local.grants, &self.host.data);
            match Deployment::prepare(release.sequence, &files, &trust, grants, data) {
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

/// What working a release out came to.
#[derive(Default)]
pub(crate) struct Deploying {
    /// None before the first release is accepted, or where none was right.
    pub(crate) deployment: Option<Deployment>,
    /// Releases that are wrong in themselves, newest first, and why.
    pub(crate) passed_over: Vec<String>,
}

fn policy(host: &Host) -> Result<Policy, CommandError> {
    let local = &host.local;
    let keys: Result<Vec<PublicKey>, _> = local.roots.keys.iter().map(|key| key.parse()).collect();
    let keys = keys.map_err(|error: wachter_trust::KeyError| {
        CommandError::failed(format!(
            "{}: `roots.keys`: {}",
            host.local_file.display(),
            chain(&error)
        ))
    })?;
    let repository: wachter_trust::RepositoryId = local.repository.id.to_string().parse()?;
    let threshold = usize::try_from(local.roots.threshold)?;
    Ok(Policy {
        roots: Roots::new(threshold, keys)?.for_repository(repository),
        repository,
        rings: None,
        verify: match local.repository.verify {
            VerifyMode::Releases => Verify::Releases,
            VerifyMode::Commits => Verify::Commits(BRANCH.parse()?),
        },
        limits: TreeLimits::default(),
        history: HISTORY,
        build_date: BUILD_DATE.parse()?,
    })
}
