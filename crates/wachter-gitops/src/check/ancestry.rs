use std::collections::{HashSet, VecDeque};

use super::{Commit, CommitError, ObjectReader};
use crate::ObjectId;

/// Why it cannot be said where a commit comes from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AncestryError {
    /// A commit on the way.
    #[error("the history cannot be followed")]
    Commit(#[from] CommitError),
    /// More commits than anyone should have to read.
    #[error("the history was followed for {0} commits without an end")]
    TooLong(usize),
}

/// Whether `new` is `old`, or comes after it by any path. Reads at most `limit` commits.
///
/// # Errors
/// A commit that is missing or damaged, or a limit that is reached.
pub(crate) fn descends_from(
    reader: &ObjectReader,
    new: ObjectId,
    old: ObjectId,
    limit: usize,
) -> Result<bool, AncestryError> {
    let mut buffer = Vec::new();
    let mut seen = HashSet::from([new]);
    // Breadth first: the last release is a few commits away, however long the history is.
    let mut queue = VecDeque::from([new]);
    let mut read = 0;
    while let Some(id) = queue.pop_front() {
        if id == old {
            return Ok(true);
        }
        read += 1;
        if read > limit {
            return Err(AncestryError::TooLong(limit));
        }
        let commit = Commit::read(reader, id, &mut buffer)?;
        queue.extend(commit.parents.into_iter().filter(|parent| seen.insert(*parent)));
    }
    Ok(false)
}

/// The commits from `new` back to, and without, `old`, by first parents alone; newest first. `None`
/// when `old` is not on that way.
///
/// # Errors
/// As [`descends_from`].
pub(crate) fn first_parents(
    reader: &ObjectReader,
    new: ObjectId,
    old: ObjectId,
    limit: usize,
) -> Result<Option<Vec<ObjectId>>, AncestryError> {
    let mut buffer = Vec::new();
    let mut way = Vec::new();
    let mut at = new;
    while at != old {
        if way.len() == limit {
            return Err(AncestryError::TooLong(limit));
        }
        way.push(at);
        match Commit::read(reader, at, &mut buffer)?.parents.first() {
            Some(parent) => at = *parent,
            None => return Ok(None),
        }
    }
    Ok(Some(way))
}
