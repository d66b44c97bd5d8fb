//! `wachter release`: shows what a release would change, checks it as a node would, and signs it.

mod checks;
mod history;
mod make;
mod plan;
mod signers;
mod validity;

use clap::Args;
use jiff::Timestamp;
use wachter_trust::{Ring, Sequence};

pub(crate) use validity::Validity;

use crate::failure::{CommandError, CommandResult};
use crate::init::confirm;
use crate::keys::{self, KeyOptions};
use crate::output::{self, Format};
use crate::place::HostOptions;
use crate::repository::{Repository, RepositoryOptions};
use crate::trust::RootOptions;
use make::Draft;

/// Make a signed release of the present commit.
#[derive(Args, Debug)]
pub(crate) struct ReleaseArguments {
    /// Show what would be released, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// The last day on which a node takes it: 90d, 2027-01-31 or a time
    #[arg(long, value_name = "DATE", default_value = "90d", conflicts_with = "cosign")]
    not_after: Validity,
    /// Which nodes it is for
    #[arg(long, value_name = "RING", default_value = "stable", conflicts_with = "cosign")]
    ring: Ring,
    /// Push the branch and the tag afterwards [default remote: origin]
    #[arg(long, value_name = "REMOTE", num_args = 0..=1, default_missing_value = "origin")]
    push: Option<String>,
    /// Add a signature to the release of this number
    #[arg(long, value_name = "N")]
    cosign: Option<Sequence>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    key: KeyOptions,
    #[command(flatten)]
    roots: RootOptions,
    #[command(flatten)]
    repository: RepositoryOptions,
}

/// What decides about a release, for those who make one without the command line.
pub(crate) struct Request<'a> {
    pub(crate) key: &'a KeyOptions,
    pub(crate) roots: &'a RootOptions,
    pub(crate) not_after: Validity,
    pub(crate) ring: Ring,
    pub(crate) cosign: Option<Sequence>,
    pub(crate) dry_run: bool,
    pub(crate) yes: bool,
    pub(crate) push: Option<&'a str>,
}

pub(crate) fn carry_out(
    arguments: &ReleaseArguments,
    host: &HostOptions,
    format: Format,
) -> CommandResult {
    let repository = Repository::open(&arguments.repository)?;
    let request = Request {
        key: &arguments.key,
        roots: &arguments.roots,
        not_after: arguments.not_after,
        ring: arguments.ring.clone(),
        cosign: arguments.cosign,
        dry_run: arguments.dry_run,
        yes: arguments.yes,
        push: arguments.push.as_deref(),
    };
    release(&repository, &request, host, format)
}

/// Makes a release, or adds a signature to one.
pub(crate) fn release(
    repository: &Repository,
    request: &Request<'_>,
    host: &HostOptions,
    format: Format,
) -> CommandResult {
    let now = Timestamp::now();
    let mut signer = match keys::signer(request.key, Some(repository.git())) {
        Ok(signer) => Some(signer),
        // What would change can be seen without a key.
        Err(error) if request.dry_run => {
            output::talk(format_args!("note: {error}"));
            None
        }
        Err(error) => return Err(error),
    };
    let key = signer.as_ref().map(|signer| signer.public_key().clone());
    let mut draft = Draft::prepare(repository, request, host, key.as_ref(), now)?;
    if format == Format::Human {
        draft.plan.show()?;
    }
    let problems = draft.plan.problems.len();
    if problems > 0 || request.dry_run {
        if format == Format::Json {
            output::json(&draft.plan)?;
        }
        if problems == 0 {
            output::talk("nothing was changed: this was a dry run");
            return Ok(());
        }
        return Err(CommandError::refused(format!(
            "no release was made, as nodes would refuse it: {problems} to put right, see above"
        )));
    }
    let Some(signer) = &mut signer else { return Ok(()) };
    if !request.yes
        && !confirm(&format!(
            "Sign release {} with key {}?",
            draft.plan.sequence,
            signer.public_key().fingerprint()
        ))?
    {
        return Err(CommandError::failed("no release was made"));
    }
    draft.sign(repository, signer.as_mut(), now)?;
    let tag = draft.plan.tag.clone().unwrap_or_default();
    match format {
        Format::Json => output::json(&draft.plan)?,
        Format::Human => output::data(format_args!("signed: tag {tag}"))?,
    }
    push(repository, request, &tag)?;
    if !draft.plan.complete {
        let sequence = draft.plan.sequence;
        output::talk(format_args!(
            "release {sequence} needs more signers before nodes take it: push the tag, then each of them fetches it and runs `wachter release --cosign {sequence} --push`"
        ));
    }
    Ok(())
}

fn push(repository: &Repository, request: &Request<'_>, tag: &str) -> CommandResult {
    let branch = repository.git().text(&["symbolic-ref", "--quiet", "HEAD"]).ok();
    let tag = format!("refs/tags/{tag}");
    // A co-signer adds a tag to what is there already.
    let branch =
        branch.filter(|_| request.cosign.is_none()).map(|branch| format!("{branch}:{branch}"));
    let Some(remote) = request.push else {
        let branch =
            branch.as_deref().and_then(|branch| branch.split(':').next()).unwrap_or_default();
        let branch = branch.trim_start_matches("refs/heads/");
        let tag = tag.trim_start_matches("refs/tags/");
        output::talk(format_args!(
            "next: `git push REMOTE {branch}{}{tag}`, and nodes take it within their interval",
            if branch.is_empty() { "" } else { " " }
        ));
        return Ok(());
    };
    let mut arguments = vec!["push", remote];
    arguments.extend(branch.as_deref());
    arguments.push(&tag);
    repository.git().interactive(&arguments).map_err(|error| {
        CommandError::failed(format!(
            "{error}; the release is made and lies here, push it with `git push {remote} {tag}`"
        ))
    })
}
