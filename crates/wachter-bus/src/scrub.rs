//! Goes through the whole journal in the background, a little at a time, so that damage is met while
//! there is still a copy somewhere, and not when the event is needed.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::failures::Attempt;
use crate::hub::Hub;
use crate::replay::page;
use crate::verify::{Damage, Verifier};
use crate::{Notice, Seq, lock};

/// Where the scrub is.
#[derive(Default)]
pub(crate) struct Scrub(Mutex<State>);

#[derive(Default)]
struct State {
    verifier: Option<Verifier>,
    after: Seq,
    /// Whether the reader is at it.
    working: bool,
    /// When the next pass may begin, in passed time.
    rests_until: Duration,
    passes: u64,
}

impl Scrub {
    /// How often it has gone through all.
    pub(crate) fn passes(&self) -> u64 {
        lock(&self.0).passes
    }

    /// Has the reader check the next page, about 1 MiB, unless it is at it or rests.
    pub(crate) fn step(hub: &Arc<Hub>, every: Duration) {
        let now = hub.clock.elapsed();
        let mut state = lock(&hub.scrub.0);
        if state.working || now < state.rests_until {
            return;
        }
        let mut verifier = state.verifier.take().unwrap_or_else(|| Verifier::new(None, None));
        let after = state.after;
        state.working = true;
        drop(state);
        let shared = Arc::clone(hub);
        let asked = hub.reader.run(move |connection| {
            let last = shared.last();
            let seen = page(connection, after, last, |raw| {
                verifier.row(raw);
            });
            let damage = std::mem::take(&mut verifier.damage);
            let mut state = lock(&shared.scrub.0);
            state.working = false;
            match seen {
                Ok(Some(seen)) => {
                    state.after = seen;
                    state.verifier = Some(verifier);
                }
                // The end, or something that no further look would get past.
                Ok(None) | Err(_) => {
                    state.after = Seq::ZERO;
                    state.rests_until = now + every;
                    state.passes += 1;
                }
            }
            drop(state);
            match &seen {
                Ok(_) => shared.succeeded(Attempt::Scrub),
                Err(crate::ReadError::Sqlite(error)) => shared.read_failed(Attempt::Scrub, error),
                Err(_) => {}
            }
            for Damage { range, .. } in damage {
                shared.notice(Notice::Damaged { range });
            }
        });
        if !asked {
            lock(&hub.scrub.0).working = false;
        }
    }
}
