use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use gix_error::Error;
use gix_hash::ObjectId as GitId;
use gix_object::Exists as _;
use gix_protocol::fetch::{Context, Options, Shallow, Tags};
use gix_protocol::handshake::Ref;
use gix_protocol::ls_refs::RefPrefixes;
use gix_protocol::{Handshake, LsRefsCommand};
use gix_transport::client::blocking_io::Transport;
use gix_transport::client::blocking_io::http::Transport as HttpTransport;
use gix_transport::{Protocol, Service};
use gix_utils::progress::Discard;
use rustix::fs::FlockOperation;
use wachter_model::chain;

use super::bundle::BundleHeader;
use super::failure::{FetchFailure, LimitKind, printable};
use super::fetched::Fetched;
use super::http::HttpClient;
use super::job::{BranchName, FetchLimits, Job, Remote, Source};
use super::location::Location;
use super::meter::Meter;
use super::negotiation::Negotiation;
use super::wire::{WireAnswer, WireJob};
use super::{USER_AGENT, confine, pack, process, tidy};
use crate::references::{References, TagName};
use crate::{ObjectId, layout};

/// The most bytes of a job.
const MAX_JOB_BYTES: u64 = 1 << 20;

/// What the listing of one reference may take: an id, a name, a peeled id.
const REFERENCE_BYTES: u64 = 512;

/// The whole life of a worker: reads one job from `input`, confines this process for good, does the
/// job, and writes one answer to `output`.
///
/// Call it from `main` of the executable, before a thread is started and before anything else is
/// read, when the first argument is the one that [`Fetcher`](super::Fetcher) was given. The answer
/// says what went wrong; the exit code is 0 whenever there is an answer.
pub fn worker_main(input: impl Read, output: impl Write) -> ExitCode {
    let answer = match run(input) {
        Ok(fetched) => WireAnswer::Fetched(fetched),
        Err(failure) => WireAnswer::Failed(failure),
    };
    match serde_json::to_writer(output, &answer) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn run(input: impl Read) -> Result<Fetched, FetchFailure> {
    let bad_job = |reason: String| FetchFailure::Job { reason };
    let wire: WireJob = serde_json::from_reader(input.take(MAX_JOB_BYTES))
        .map_err(|error| bad_job(error.to_string()))?;
    let parent = wire.parent();
    let job = wire.into_job().map_err(|error| bad_job(error.to_string()))?;
    let own = |reason: String| FetchFailure::Repository { reason };
    layout::create(&job.repository).map_err(|error| own(chain(&error)))?;
    let confinement = confine::confine(&job, parent)
        .map_err(|error| FetchFailure::Confinement { reason: error.to_string() })?;
    let _lock = lock(&job.repository)?;
    let before = layout::inspect(&job.repository).map_err(|error| own(chain(&error)))?;
    pack::clean(&job.repository)?;
    let store = open_store(&job.repository).map_err(|error| own(error.to_string()))?;
    let mut worker = Worker { job: &job, store, meter: Meter::new(job.limits.bytes), objects: 0 };
    let after = match &job.source {
        Source::Remote(remote) => worker.fetch(remote, &before)?,
        Source::Bundle(path) => worker.unbundle(path, &before)?,
        Source::Own(keep) => {
            let named = before.tags.values().chain(before.branches.values()).chain(keep);
            tidy::tidy(&job.repository, &worker.store, named.copied(), &job.limits)?;
            before.clone()
        }
    };
    let changed = after != before;
    if changed {
        after.save(&job.repository).map_err(|error| own(error.to_string()))?;
    }
    Ok(Fetched {
        changed,
        tags: after.tags.len(),
        received_bytes: worker.meter.received(),
        objects: worker.objects,
        requests: worker.meter.requests(),
        confinement,
    })
}

/// One worker at a time; the kernel lets go when the process ends, however it ends.
fn lock(repository: &Path) -> Result<File, FetchFailure> {
    let own = |error: std::io::Error| FetchFailure::Repository { reason: error.to_string() };
    let file = File::create(repository.join("wachter.lock")).map_err(own)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(FetchFailure::Busy),
        Err(error) => Err(own(error.into())),
    }
}

fn open_store(repository: &Path) -> std::io::Result<Arc<gix_odb::Store>> {
    let options =
        gix_odb::store::init::Options { use_multi_pack_index: false, ..Default::default() };
    let objects = repository.join("objects");
    gix_odb::Store::at_opts(objects, gix_hash::Kind::Sha1, &mut std::iter::empty(), options)
        .map(Arc::new)
}

struct Worker<'a> {
    job: &'a Job,
    store: Arc<gix_odb::Store>,
    meter: Arc<Meter>,
    objects: u32,
}

impl Worker<'_> {
    fn fetch(&mut self, remote: &Remote, before: &References) -> Result<References, FetchFailure> {
        match &remote.location {
            Location::Http(location) => {
                let meter = Arc::clone(&self.meter);
                let client = HttpClient::new(remote, location, self.job.limits.time, meter)?;
                let url = gix_url::parse(location.url.as_str())
                    .map_err(|error| FetchFailure::Protocol { reason: error.to_string() })?;
                let mut transport = HttpTransport::new_http(client, url, Protocol::V2, false);
                self.converse(&mut transport, before)
            }
            Location::Ssh(location) => self.run_program(process::ssh(remote, location), before),
            Location::Local(path) => self.run_program(process::upload_pack(path), before),
        }
    }

    fn run_program(
        &mut self,
        command: std::process::Command,
        before: &References,
    ) -> Result<References, FetchFailure> {
        let (program, mut connection) = process::Program::start(command, &self.meter)?;
        let result = self.converse(&mut connection, before);
        process::close(connection);
        let limited =
            matches!(result, Err(FetchFailure::Limit { .. } | FetchFailure::NoBranch { .. }));
        match program.finish(result.is_err()) {
            Some(failure) if !limited => Err(failure),
            _ => result,
        }
    }

    fn converse<T: Transport>(
        &mut self,
        transport: &mut T,
        before: &References,
    ) -> Result<References, FetchFailure> {
        let listed = (|| {
            let mut handshake = gix_protocol::handshake(
                &mut *transport,
                Service::UploadPack,
                |_| Ok(None),
                Vec::new(),
                &mut Discard,
            )?;
            let references = self.list(transport, &mut handshake)?;
            Ok((handshake, references))
        })();
        let (mut handshake, listed) = listed.map_err(|error| self.explain(&error))?;
        check_format(&handshake)?;
        let after = wanted(&listed, self.job.branch.as_ref(), &self.job.limits)?;
        let known = self.store.to_handle_arc();
        let ids = || after.branches.values().chain(after.tags.values());
        let mut wants: Vec<GitId> = ids().map(|id| id.0).filter(|id| !known.exists(id)).collect();
        wants.sort();
        wants.dedup();
        if !wants.is_empty() {
            let haves = before.branches.values().chain(before.tags.values().rev()).map(|id| id.0);
            let haves = haves.filter(|id| known.exists(id)).collect();
            self.receive(transport, &mut handshake, Negotiation { wants, haves })?;
        }
        Ok(after)
    }

    fn list<T: Transport>(
        &self,
        transport: &mut T,
        handshake: &mut Handshake,
    ) -> Result<Vec<Ref>, Error> {
        // Protocol versions 0 and 1 list everything at once, unasked.
        if let Some(references) = handshake.refs.take() {
            return Ok(references);
        }
        let allowed = self.job.limits.references as u64 * REFERENCE_BYTES + (64 << 10);
        self.meter.limit_to(self.job.limits.bytes.min(allowed));
        let mut prefixes = RefPrefixes::new();
        let branch = self.job.branch.iter().map(|branch| format!("refs/heads/{branch}").into());
        prefixes.extend(branch.chain(["refs/tags/wachter/".into()]));
        let command = LsRefsCommand::new(Some(prefixes), &handshake.capabilities, agent());
        let references = command.invoke_blocking(transport, &mut Discard, false);
        self.meter.limit_to(self.job.limits.bytes);
        references
    }

    fn receive<T: Transport>(
        &mut self,
        transport: &mut T,
        handshake: &mut Handshake,
        mut negotiation: Negotiation,
    ) -> Result<(), FetchFailure> {
        let mut received = Ok(0);
        let result = gix_protocol::fetch(
            &mut negotiation,
            |input, _progress, _interrupt| {
                received =
                    pack::receive(input, &self.job.repository, &self.store, &self.job.limits);
                // On failure the rest of the stream is of no interest.
                match &received {
                    Ok(_) => Ok(true),
                    Err(failure) => Err(Error::from_error(failure.clone())),
                }
            },
            Discard,
            &std::sync::atomic::AtomicBool::new(false),
            Context { handshake, transport, user_agent: agent(), trace_packetlines: false },
            Options {
                shallow_file: self.job.repository.join("shallow"),
                shallow: &Shallow::NoChange,
                tags: Tags::None,
                reject_shallow_remote: true,
            },
        );
        // A broken connection makes a broken pack: the connection's reason comes first.
        let first = self.meter.take_failure();
        match (first, received, result) {
            (Some(failure), _, _) | (None, Err(failure), _) => Err(failure),
            (None, Ok(objects), Ok(_)) => {
                self.objects = objects;
                Ok(())
            }
            (None, Ok(_), Err(error)) => Err(self.explain(&error)),
        }
    }

    fn explain(&self, error: &Error) -> FetchFailure {
        if let Some(failure) = self.meter.take_failure() {
            return failure;
        }
        let reason = printable(&format!("{error:#}"), 400);
        if reason.contains("from shallow remotes is prohibited") {
            FetchFailure::Shallow
        } else {
            FetchFailure::Protocol { reason }
        }
    }

    fn unbundle(&mut self, path: &Path, before: &References) -> Result<References, FetchFailure> {
        let bad = |reason: String| FetchFailure::Bundle { reason };
        let file = File::open(path).map_err(|error| bad(format!("{}: {error}", path.display())))?;
        let mut input =
            BufReader::new(super::meter::Metered { inner: file, meter: Arc::clone(&self.meter) });
        let header = BundleHeader::read(&mut input).map_err(|error| bad(chain(&error)))?;
        if header.references.len() > self.job.limits.references {
            let limit = self.job.limits.references as u64;
            return Err(FetchFailure::Limit { what: LimitKind::References, limit });
        }
        let known = self.store.to_handle_arc();
        if let Some(missing) = header.prerequisites.iter().find(|id| !known.exists(&id.0)) {
            return Err(bad(format!(
                "it builds on commit {missing}, which is not here; make one with more history"
            )));
        }
        let mut after = before.clone();
        for (name, id) in header.references {
            add(&mut after, &name, id, self.job.branch.as_ref());
        }
        let received =
            pack::receive(&mut input, &self.job.repository, &self.store, &self.job.limits);
        self.objects = received.map_err(|failure| self.meter.take_failure().unwrap_or(failure))?;
        let known = self.store.to_handle_arc();
        let named = after.tags.values().chain(after.branches.values());
        if let Some(missing) = named.into_iter().find(|id| !known.exists(&id.0)) {
            return Err(bad(format!("it names object {missing} and does not hold it")));
        }
        Ok(after)
    }
}

fn agent() -> gix_protocol::command::Feature {
    ("agent", Some(USER_AGENT.to_owned()))
}

fn check_format(handshake: &Handshake) -> Result<(), FetchFailure> {
    let format = handshake.capabilities.capability("object-format").and_then(|capability| {
        capability.value().map(|value| String::from_utf8_lossy(value).into_owned())
    });
    match format.as_deref() {
        None | Some("sha1") => Ok(()),
        Some(other) => {
            let reason = format!(
                "its objects are named by {}; only sha1 is supported",
                printable(other, 20)
            );
            Err(FetchFailure::Protocol { reason })
        }
    }
}

/// Those of the server's references that are followed here.
fn wanted(
    listed: &[Ref],
    branch: Option<&BranchName>,
    limits: &FetchLimits,
) -> Result<References, FetchFailure> {
    let mut references = References::default();
    for reference in listed {
        let (name, id) = match reference {
            Ref::Peeled { full_ref_name, tag, .. } => (full_ref_name, tag),
            Ref::Direct { full_ref_name, object } => (full_ref_name, object),
            // A symbolic reference is a second name for one that is listed as well.
            Ref::Symbolic { .. } | Ref::Unborn { .. } => continue,
        };
        let Ok(name) = std::str::from_utf8(name) else { continue };
        add(&mut references, name, ObjectId(*id), branch);
        if references.tags.len() > limits.references {
            let limit = limits.references as u64;
            return Err(FetchFailure::Limit { what: LimitKind::References, limit });
        }
    }
    match branch {
        Some(branch) if references.branches.is_empty() => {
            Err(FetchFailure::NoBranch { branch: branch.to_string() })
        }
        _ => Ok(references),
    }
}

/// Takes a reference over if it is one of those that are followed.
fn add(references: &mut References, name: &str, id: ObjectId, branch: Option<&BranchName>) {
    if let Some(tag) = name.strip_prefix("refs/tags/") {
        if let Ok(tag) = tag.parse::<TagName>() {
            references.tags.insert(tag, id);
        }
    } else if let (Some(head), Some(branch)) = (name.strip_prefix("refs/heads/"), branch)
        && head == branch.to_string()
    {
        references.branches.insert(head.to_owned(), id);
    }
}
