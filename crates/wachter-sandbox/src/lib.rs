//! The host half of confinement: what a run is given, and what is taken from it.
//!
//! [`Launcher`] speaks with `wachter-launcher`, [`carry_out`] sees one run through and
//! [`build_environment`] one build, [`Broker`] is their only way to the network, and [`sample`] is what it may know of the host.
//!
//! # Invariants
//! - No code of a module runs in this process, and none of its output is trusted: it is read within
//!   limits, and control characters are escaped before a person sees them.
//! - This crate verifies nothing; the launcher does, and this side cannot talk it out of it.
//! - What a run emitted is handed on only if the run succeeded.

mod build;
mod egress;
mod host;
mod jailed;
mod launcher;
mod lines;
mod output;
mod run;

pub use build::{BuildFailure, BuildOrder, BuildReport, BuildVerdict, build_environment};
pub use egress::{AddressRefused, Broker, Connection, ConnectionEnd, Serving};
pub use host::{HostRoot, sample};
pub use launcher::{Launcher, LauncherError, LauncherGone, LauncherOptions};
pub use output::{OutputError, printable};
pub use run::{Failure, RunOrder, RunReport, Update, Verdict, carry_out};
