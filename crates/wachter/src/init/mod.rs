//! `wachter init`: a managed repository, a key and a local file, ready for a first release.

mod choices;
mod files;
mod interview;
mod join;
mod local_file;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use wachter_trust::{RepositoryId, Ring, Signer, SignerName, TrustDraft};

use choices::{Choices, choose, make_key};
pub(crate) use interview::confirm;
pub(crate) use join::{JoinArguments, join};

use crate::failure::{CommandError, CommandResult};
use crate::git::Git;
use crate::keys::{self, KeyOptions};
use crate::output::{self, Format};
use crate::place::HostOptions;
use crate::release::{self, Validity};
use crate::repository::{Repository, RepositoryOptions, TRUST, TRUST_SIGNATURES};
use crate::sign::{Folder, State};
use crate::trust::RootOptions;

/// Set up a managed repository.
#[derive(Args, Debug)]
pub(crate) struct InitArguments {
    /// Where the repository is to be [default: the present folder]
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Do not ask; take what the options and the defaults say
    #[arg(long, short)]
    yes: bool,
    /// Your name in the trust file [default: your user name]
    #[arg(long)]
    name: Option<SignerName>,
    #[command(flatten)]
    key: KeyOptions,
    /// Make a new key here [default, where no key is given: ~/.config/wachter/keys/NAME]
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    generate_key: Option<PathBuf>,
    /// Where nodes fetch the repository [default: the address of origin, or its own path]
    #[arg(long, value_name = "URL|PATH")]
    url: Option<String>,
    /// Do not write a local file for this host
    #[arg(long)]
    no_local_file: bool,
    /// The last day on which a node that is new takes the trust file: 365d, 2027-01-31 or a time
    #[arg(long, value_name = "DATE", default_value = "365d")]
    not_after: Validity,
    /// Make the first release too
    #[arg(long)]
    release: bool,
}

pub(crate) fn carry_out(arguments: &InitArguments, host: &HostOptions) -> CommandResult {
    if !arguments.yes && !interview::possible() {
        return Err(CommandError::usage(
            "there is no terminal to ask on; give --yes, and options for what differs from the defaults",
        ));
    }
    let folder = std::path::absolute(arguments.folder.as_deref().unwrap_or(Path::new(".")))?;
    let git = open_or_create(&folder)?;
    let choices = choose(arguments, &git)?;
    // Before anything is written: without a key that signs there is nothing to set up.
    let key = KeyOptions { key: Some(make_key(&choices)?) };
    let mut signer = keys::signer(&key, Some(&git))?;
    let mut made = files::write(&folder)?;
    configure(&git, key.key.as_deref().unwrap_or(&choices.key))?;
    write_trust(&folder, &choices.name, arguments, signer.as_mut())?;
    let repository = Repository::open(&RepositoryOptions { repository: Some(folder.clone()) })?;
    sign_module(&repository, signer.as_mut())?;
    made.extend(files::signatures());
    commit(&git, &made, &choices.name)?;
    let local_file = host.local_file();
    if !arguments.no_local_file && local_file.symlink_metadata().is_ok() {
        output::talk(format_args!("{} exists and was left as it is", local_file.display()));
    } else if !arguments.no_local_file {
        let decisions = local_file::Decisions {
            id: repository.trust()?.repository(),
            url: address(arguments, &git)?,
            roots: vec![format!("{} {}", signer.public_key(), choices.name)],
            threshold: 1,
            labels: Vec::new(),
            rings: Vec::new(),
        };
        local_file::write(host, &decisions)?;
    }
    if arguments.release {
        let request = release::Request {
            key: &key,
            roots: &RootOptions::default(),
            not_after: Validity::Days(90),
            ring: Ring::default(),
            cosign: None,
            dry_run: false,
            yes: true,
            push: None,
        };
        release::release(&repository, &request, host, Format::Human)?;
    }
    farewell(&choices, &folder, arguments);
    Ok(())
}

/// The repository at `folder`, made where there is none.
fn open_or_create(folder: &Path) -> Result<Git, CommandError> {
    fs::create_dir_all(folder)
        .map_err(|error| CommandError::failed(format!("{}: {error}", folder.display())))?;
    let canonical = folder.canonicalize()?;
    match Git::discover(folder)? {
        Some(git) if git.folder() == canonical => {
            output::talk(format_args!("using the Git repository in {}", folder.display()));
        }
        Some(git) => {
            return Err(CommandError::refused(format!(
                "{} lies in the Git repository {}; a managed repository is one of its own, so name another folder",
                folder.display(),
                git.folder().display()
            )));
        }
        None => {
            Git::new(folder).run(&["init", "--quiet", "--initial-branch=main"], b"")?;
            output::talk(format_args!("made a Git repository in {}", folder.display()));
        }
    }
    Ok(Git::new(folder))
}

/// Lets `wachter` and `git verify-tag` find the key in this repository, where nothing is set yet.
fn configure(git: &Git, key: &Path) -> CommandResult {
    if keys::configured(git).is_some() {
        return Ok(());
    }
    if git.config("user.signingkey").is_some() || git.config("gpg.format").is_some() {
        output::talk(format_args!(
            "note: Git signs with something else here; give --key {} to `wachter sign` and `wachter release`",
            key.display()
        ));
        return Ok(());
    }
    git.run(&["config", "gpg.format", "ssh"], b"")?;
    git.run(&["config", "user.signingkey", &key.display().to_string()], b"")?;
    Ok(())
}

fn write_trust(
    folder: &Path,
    name: &SignerName,
    arguments: &InitArguments,
    signer: &mut dyn Signer,
) -> CommandResult {
    if folder.join(TRUST).exists() {
        output::talk(format_args!("{TRUST} exists and was left as it is"));
        return Ok(());
    }
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| {
        CommandError::failed(format!("the system has no random numbers: {error}"))
    })?;
    let not_after = arguments.not_after.from(Timestamp::now()).map_err(CommandError::usage)?;
    let id = RepositoryId::from_random(random);
    let text =
        TrustDraft::of_one(id, name.clone(), signer.public_key().clone(), not_after).render()?;
    let signature = signer.sign(wachter_trust::Namespace::TRUST, text.as_bytes())?;
    files::create(&folder.join(TRUST_SIGNATURES), signature.to_armor().as_bytes())?;
    files::create(&folder.join(TRUST), text.as_bytes())?;
    output::talk(format_args!(
        "wrote {TRUST}: `{name}` alone may sign releases, publish modules and approve, until {not_after}"
    ));
    Ok(())
}

/// Signs the built-in module, unless it is signed as it is.
fn sign_module(repository: &Repository, signer: &mut dyn Signer) -> CommandResult {
    let trust = repository.trust()?;
    let folder = Folder::read(repository, &files::MODULE.parse()?)?;
    if matches!(folder.state(&trust), State::Current { .. }) {
        return Ok(());
    }
    crate::sign::sign(&folder, &trust, signer)?;
    output::talk(format_args!("signed the module {}", files::MODULE));
    Ok(())
}

/// Commits what was made here or by a setup that broke off, and nothing else that may be staged.
fn commit(git: &Git, made: &[&str], name: &SignerName) -> CommandResult {
    let new = git.run(&[&["ls-files", "-z", "--others", "--"], made].concat(), b"")?;
    let new = String::from_utf8(new)?;
    let paths: Vec<&str> = new.split('\0').filter(|path| !path.is_empty()).collect();
    if paths.is_empty() {
        return Ok(());
    }
    git.run(&[&["add", "--"], &paths[..]].concat(), b"")?;
    let (user, email) = (format!("user.name={name}"), format!("user.email={name}@localhost"));
    let mut arguments = Vec::new();
    if git.identity().is_none() {
        output::talk(format_args!(
            "note: Git does not know who you are, so this commit is by `{name}`; set it with `git config --global user.name` and `user.email`"
        ));
        arguments.extend(["-c", &user, "-c", &email]);
    }
    arguments.extend(["commit", "--quiet", "-m", "Set up the managed repository", "--"]);
    arguments.extend(&paths);
    git.run(&arguments, b"")?;
    output::talk(format_args!("committed {} files", paths.len()));
    Ok(())
}

fn address(arguments: &InitArguments, git: &Git) -> Result<String, CommandError> {
    if let Some(url) = &arguments.url {
        return Ok(url.clone());
    }
    let own = git.config("remote.origin.url").unwrap_or_else(|| git.folder().display().to_string());
    if arguments.yes {
        Ok(own)
    } else {
        interview::ask("Where this host fetches the repository", &own)
    }
}

fn farewell(choices: &Choices, folder: &Path, arguments: &InitArguments) {
    if choices.generate {
        output::talk(format_args!(
            "\nThe private key {} decides what your nodes run. It is not encrypted: keep a copy in a safe place,\n\
             protect it with `ssh-keygen -p -f {0}` and ssh-agent, and never copy it to a node.",
            choices.key.display()
        ));
    }
    let folder = folder.display();
    output::talk("\nNext:");
    if !arguments.release {
        output::talk(format_args!("  cd {folder} && wachter release"));
    }
    if !arguments.no_local_file {
        output::talk("  wachter run, to follow it on this host");
    }
    output::talk(
        "  git push --follow-tags, once there is a remote that other hosts can fetch from",
    );
}
