//! What somebody who must not would do: made by hand, since the commands refuse to.

use std::path::Path;

use wachter_model::Digest;
use wachter_trust::{
    FileKey, FileMode, ReleaseStatement, ReleaseTag, TagObject, Tagger, TreeListing,
};

use crate::wachter::{Outcome, Place};

/// Signs a release of the present commit without looking at what is in it.
pub(crate) fn release_unseen(place: &Place, sequence: u64) -> Outcome<()> {
    let last = place.git(&["cat-file", "tag", &format!("wachter/{}", 1)])?;
    let last = TagObject::parse(format!("{last}\n").as_bytes())?;
    let last = ReleaseStatement::parse(last.message())?;
    let statement = ReleaseStatement {
        sequence: sequence.to_string().parse()?,
        commit: place.git(&["rev-parse", "HEAD"])?.parse()?,
        tree: tree(place)?,
        ..last
    };
    let tag: ReleaseTag = format!("wachter/{sequence}").parse()?;
    let tagger = Tagger {
        name: "Somebody".to_owned(),
        email: "somebody@example.com".to_owned(),
        seconds: jiff::Timestamp::now().as_second(),
    };
    let mut key = FileKey::from_openssh(&std::fs::read(place.key())?)?;
    let object = TagObject::sign(&statement, tag, &tagger, &mut key)?;
    let id =
        place.git_with_input(&["hash-object", "-t", "tag", "-w", "--stdin"], object.as_bytes())?;
    place.git(&["update-ref", &format!("refs/tags/wachter/{sequence}"), &id])?;
    Ok(())
}

fn tree(place: &Place) -> Outcome<Digest> {
    let mut listing = TreeListing::new();
    for path in place
        .git(&["ls-tree", "-r", "-z", "--name-only", "HEAD"])?
        .split('\0')
        .filter(|path| !path.is_empty())
    {
        let file = place.repository().join(Path::new(path));
        let executable =
            std::os::unix::fs::PermissionsExt::mode(&file.metadata()?.permissions()) & 0o100 != 0;
        let mode = if executable { FileMode::Executable } else { FileMode::Regular };
        listing.push(mode, Digest::of(&std::fs::read(file)?), path)?;
    }
    Ok(listing.digest())
}
