//! What parent and worker say to each other: one JSON document each way, version 1.
//!
//! Both are the same executable, so a version that does not match is a bug, and refused.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::job::{BranchName, Certificates, Credential, FetchLimits, Job, Remote, Source};
use super::{FetchFailure, Fetched, LocationError};
use crate::ObjectId;

pub(crate) const VERSION: u32 = 1;

/// A [`Job`] with its credential laid open: it only ever goes through a pipe.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireJob {
    version: u32,
    parent: i32,
    repository: PathBuf,
    branch: Option<BranchName>,
    limits: FetchLimits,
    accept_unconfined: bool,
    source: WireSource,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum WireSource {
    Remote {
        location: String,
        username: Option<String>,
        token: Option<Zeroizing<String>>,
        certificates: Certificates,
        allow_plain_http: bool,
        ssh_program: Option<PathBuf>,
    },
    Bundle {
        path: PathBuf,
    },
    Own {
        keep: Vec<ObjectId>,
    },
}

/// What a worker answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum WireAnswer {
    Fetched(Fetched),
    Failed(FetchFailure),
}

/// Why a worker cannot use its job.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireJobError {
    #[error("the job is of version {0}")]
    Version(u32),
    #[error("the job's location cannot be used")]
    Location(#[from] LocationError),
}

impl WireJob {
    pub(crate) fn new(job: &Job, parent: i32) -> Self {
        let source = match &job.source {
            Source::Bundle(path) => WireSource::Bundle { path: absolute(path) },
            Source::Own(keep) => WireSource::Own { keep: keep.clone() },
            Source::Remote(remote) => WireSource::Remote {
                location: remote.location.to_string(),
                username: remote.credential.as_ref().map(|credential| credential.username.clone()),
                token: remote
                    .credential
                    .as_ref()
                    .map(|credential| credential.token().to_owned().into()),
                certificates: Certificates {
                    file: remote.certificates.file.as_deref().map(absolute),
                    folders: remote
                        .certificates
                        .folders
                        .iter()
                        .map(|path| absolute(path))
                        .collect(),
                },
                allow_plain_http: remote.allow_plain_http,
                ssh_program: remote.ssh_program.clone(),
            },
        };
        Self {
            version: VERSION,
            parent,
            repository: absolute(&job.repository),
            branch: job.branch.clone(),
            limits: job.limits,
            accept_unconfined: job.accept_unconfined,
            source,
        }
    }

    /// The process that started the worker.
    pub(crate) fn parent(&self) -> i32 {
        self.parent
    }

    pub(crate) fn into_job(self) -> Result<Job, WireJobError> {
        if self.version != VERSION {
            return Err(WireJobError::Version(self.version));
        }
        let source = match self.source {
            WireSource::Bundle { path } => Source::Bundle(path),
            WireSource::Own { keep } => Source::Own(keep),
            WireSource::Remote {
                location,
                username,
                token,
                certificates,
                allow_plain_http,
                ssh_program,
            } => Source::Remote(Remote {
                location: location.parse()?,
                credential: username
                    .zip(token)
                    .map(|(username, token)| Credential::new(username, token)),
                certificates,
                allow_plain_http,
                ssh_program,
            }),
        };
        let Self { repository, branch, limits, accept_unconfined, .. } = self;
        Ok(Job { repository, source, branch, limits, accept_unconfined })
    }
}

/// The worker runs in another folder than its parent.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
