//! Reading objects and judging what they hold. Nothing here writes, and nothing is a work tree.

mod ancestry;
mod commit;
mod contents;
mod name;
mod object;
mod tree;
mod walk;

pub use ancestry::AncestryError;
pub(crate) use ancestry::{descends_from, first_parents};
pub(crate) use commit::Commit;
pub use commit::CommitError;
pub(crate) use contents::{Contents, file as contents_file};
pub use name::NameError;
pub use object::ObjectError;
pub(crate) use object::{ObjectReader, ObjectStore};
pub use tree::TreeError;
pub use walk::{ChangeKind, HostileTree, TreeLimits};
pub(crate) use walk::{TreeFiles, changes, find};
