//! Secrets as files of age: the format v1 of <https://age-encryption.org/v1>, for X25519 recipients.
//!
//! [`seal`] encrypts to [`Recipient`]s, [`open`] decrypts with an [`Identity`]; the programs `age` and
//! `rage` do the same with the same files. [`Named`] binds a value to the name it was made for, so
//! that whoever carries the file cannot hand the secret of one module to another. [`Redactor`] takes
//! values out of what a program writes.
//!
//! This crate is linked into the launcher, which may be root, so it is small: passphrases, SSH keys
//! and plugins of age are left out, and a file is opened as a whole or not at all. Sealing and new
//! identities are the feature `seal`, which the launcher does without.
//!
//! # Invariants
//! - No secret is in an error, in a `Debug` text, or left in memory by this crate after its use.
//! - Nothing that was not authenticated is ever handed out.
//! - Nothing here opens a file.

mod armor;
mod header;
mod key;
mod named;
mod open;
mod payload;
mod redact;
#[cfg(feature = "seal")]
mod seal;

pub use key::{Identity, KeyError, Recipient, identities};
pub use named::{Named, NamedError};
pub use open::{OpenError, open, recipients};
pub use redact::{MIN_REDACTED_BYTES, Redactor, Secrets};
#[cfg(feature = "seal")]
pub use seal::{SealError, seal};

/// The most bytes that a file may have.
pub const MAX_BYTES: usize = 1 << 20;

/// The most bytes of a value that a run can be given.
pub const MAX_VALUE_BYTES: usize = 64 << 10;
