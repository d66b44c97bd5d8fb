use std::error::Error;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use wachter_model::Digest;
use wachter_trust::{
    FileKey, FileMode, ReleaseStatement, ReleaseTag, TagObject, Tagger, TreeListing,
};

/// Signs a release of the present commit without looking at what is in it, as somebody with the key
/// and without the commands could. Everything but the content is right. A release 1 exists.
///
/// # Errors
/// When `git` fails, or the key is none.
pub fn careless_release(
    repository: &Path,
    key: &Path,
    sequence: u64,
) -> Result<(), Box<dyn Error>> {
    let first = git(repository, &["cat-file", "tag", "wachter/1"], b"")?;
    let first = TagObject::parse(&first)?;
    let first = ReleaseStatement::parse(first.message())?;
    let head = String::from_utf8(git(repository, &["rev-parse", "HEAD"], b"")?)?;
    let statement = ReleaseStatement {
        sequence: sequence.to_string().parse()?,
        commit: head.trim().parse()?,
        tree: tree(repository)?,
        ..first
    };
    let tag: ReleaseTag = format!("wachter/{sequence}").parse()?;
    let tagger = Tagger {
        name: "Somebody".to_owned(),
        email: "somebody@example.com".to_owned(),
        seconds: jiff::Timestamp::now().as_second(),
    };
    let mut key = FileKey::from_openssh(&fs::read(key)?)?;
    let object = TagObject::sign(&statement, tag, &tagger, &mut key)?;
    let store = ["hash-object", "-t", "tag", "-w", "--stdin"];
    let id = String::from_utf8(git(repository, &store, object.as_bytes())?)?;
    let reference = format!("refs/tags/wachter/{sequence}");
    git(repository, &["update-ref", &reference, id.trim()], b"")?;
    Ok(())
}

fn tree(repository: &Path) -> Result<Digest, Box<dyn Error>> {
    let mut listing = TreeListing::new();
    let paths = git(repository, &["ls-tree", "-r", "-z", "--name-only", "HEAD"], b"")?;
    for path in String::from_utf8(paths)?.split('\0').filter(|path| !path.is_empty()) {
        let file = repository.join(path);
        let executable = file.metadata()?.permissions().mode() & 0o100 != 0;
        let mode = if executable { FileMode::Executable } else { FileMode::Regular };
        listing.push(mode, Digest::of(&fs::read(file)?), path)?;
    }
    Ok(listing.digest())
}

fn git(repository: &Path, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut child = Command::new("git")
        .args(arguments)
        .current_dir(repository)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    // Short enough for a pipe to take at once.
    child.stdin.take().ok_or("git has no input")?.write_all(input)?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err(format!("`git {}` failed", arguments.join(" ")).into());
    }
    Ok(output.stdout)
}
