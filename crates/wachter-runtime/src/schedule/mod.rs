//! When agents run: what the clock makes due, what may start, and what waits.
//!
//! Three machines without clock, thread or I/O. [`Timetable`] turns time into [`Tick`]s; [`Admission`]
//! turns work, whatever its cause, into starts, within limits; [`Restarts`] and [`Standing`] say of one
//! agent when it may be tried again and what is to be said of it. Whoever drives them reads the clock,
//! keeps [`AgentTimes`] where they survive, and starts and ends runs.
//!
//! # Invariants
//! - No clock is read, no file written, nothing slept for: the same calls give the same answers.
//! - A tick's time is never handed out twice, but after the clock went back by more than
//!   [`Timetable::REWIND`], which is taken for a correction.
//! - What waits is bounded, and what is turned away is told with its reason.
//!
//! # Limits
//! | what | how many |
//! |---|---|
//! | missed ticks of one agent that are looked at | as many of the latest as is wanted, 1,000 at most ([`Timetable::new`]) |
//! | lateness that makes a tick a missed one | more than 60 seconds ([`Timetable::GRACE`]) |
//! | ticks from one call, about | 1,000 ([`Timetable::MOST_AT_ONCE`]) |
//! | runs under way, of one agent, waiting, for one agent | as [`AdmissionLimits`] says |
//!
//! # Trade-offs
//! - A clock that went back by less than three hours is waited for, by intervals too: nothing is done
//!   twice, and nothing is done in that time. Elapsed time would be another clock to hand in.
//! - A tick outside its agent's window waits for the opening, and all that wait are one. To drop them
//!   would be to let an agent that ticks once a day at the wrong hour never run, without a word.
//! - Ticks that fell into a pause are not made up for: who pauses an agent does not want its work done
//!   later.

mod admission;
mod kept;
mod restarts;
mod standing;
mod tick;
mod times;
mod timetable;
mod work;

#[cfg(test)]
mod tests;

pub use admission::{Admission, AdmissionLimits};
pub use kept::AgentTimes;
pub use restarts::{FailureRow, RestartOptions, Restarts};
pub use standing::{AgentState, Change, ChangeError, Standing, Transition};
pub use tick::{Due, Passed, Reason, Tick};
pub use times::Times;
pub use timetable::Timetable;
pub use work::{Offered, Priority, TurnedAway, Work, has_effects};
