//! Remembers which identities were accepted, within a window.
//!
//! An index over identities would be rewritten at random places by every commit, for half of all ids
//! are random; that costs more than the events themselves. Instead:
//!
//! - The newest **generation** is a hash table in memory, at most [`DedupWindow::generation`] entries
//!   of 20 bytes. It is on no disk: at open it is read from the events themselves.
//! - A full generation is **frozen**: sorted and stored in 1,024 rows by its first ten bits, with a
//!   filter of 16 bits an identity in memory. A look-up asks each filter and reads one row of about
//!   1 KiB where a filter says perhaps (about one in 600).
//! - The oldest generation is dropped whole.
//!
//! An identity is 128 bits of SHA-256 over a secret of this journal, source and id, so that nobody
//! outside can make two identities alike. What is found is compared with the event itself while that
//! is still there.
//!
//! Memory: 65,536 places of 21 bytes are 1.4 MiB, and 18 filters for a million identities 2.1 MiB;
//! freezing takes 1.2 MiB for some milliseconds. With few identities the table is small and there
//! are no filters.

mod filter;
mod generation;
mod identity;

use std::collections::{HashMap, VecDeque};

use rusqlite::Connection;

use crate::{DedupWindow, Seq};
use generation::Generation;
use identity::BuildIdentityHasher;
pub(crate) use identity::{Identity, Secret};

/// The window of a journal, owned by its writer.
pub(crate) struct Window {
    limits: DedupWindow,
    young: HashMap<Identity, u32, BuildIdentityHasher>,
    /// The place that the table's numbers count from.
    base: u64,
    newest: i64,
    frozen: VecDeque<Generation>,
    /// What the transaction under way put into the table.
    undo: Vec<Identity>,
}

impl Window {
    /// Loads the frozen generations. The table is filled by [`remember`](Self::remember) with what
    /// came after [`frozen_to`](Self::frozen_to).
    pub(crate) fn open(connection: &Connection, limits: DedupWindow) -> rusqlite::Result<Self> {
        let frozen = Generation::load_all(connection)?;
        Ok(Self { limits, young: HashMap::default(), base: 0, newest: 0, frozen, undo: Vec::new() })
    }

    /// The last event whose identity is in a frozen generation.
    pub(crate) fn frozen_to(&self) -> Seq {
        self.frozen.back().map_or(Seq::ZERO, |generation| generation.last)
    }

    /// Where `identity` was accepted before.
    pub(crate) fn find(
        &self,
        connection: &Connection,
        identity: &Identity,
    ) -> rusqlite::Result<Option<Seq>> {
        if let Some(offset) = self.young.get(identity) {
            return Ok(Some(Seq::new(self.base + u64::from(*offset))));
        }
        for generation in self.frozen.iter().rev() {
            if let Some(seq) = generation.find(connection, identity)? {
                return Ok(Some(seq));
            }
        }
        Ok(None)
    }

    /// Puts an identity down that was accepted at `seq`, at `at` milliseconds since 1970.
    pub(crate) fn remember(&mut self, identity: Identity, seq: Seq, at: i64) {
        if self.young.is_empty() {
            self.base = seq.get();
        }
        // A generation spans fewer numbers than this by far; a wider gap would only make the place
        // that is told for a repeat wrong, not whether it is one.
        let offset = u32::try_from(seq.get() - self.base).unwrap_or(u32::MAX);
        self.young.insert(identity, offset);
        self.newest = self.newest.max(at);
        self.undo.push(identity);
    }

    /// What was remembered is committed.
    pub(crate) fn commit(&mut self) {
        self.undo.clear();
    }

    /// What was remembered since the last commit was not written.
    pub(crate) fn roll_back(&mut self) {
        for identity in self.undo.drain(..) {
            self.young.remove(&identity);
        }
    }

    /// Whether the table must be frozen before `more` identities are put into it.
    pub(crate) fn is_full(&self, more: usize) -> bool {
        !self.young.is_empty() && self.young.len() + more > self.limits.generation
    }

    /// Whether events up to `last` may be dropped from the journal: their identities are stored.
    pub(crate) fn covers(&self, last: Seq) -> bool {
        self.young.is_empty() || self.base > last.get()
    }

    /// Stores the table as a generation and drops those that the window has left behind. The caller
    /// gives the transaction, and calls [`frozen`](Self::frozen) once it is committed.
    pub(crate) fn freeze(&self, connection: &Connection, now: i64) -> rusqlite::Result<Frozen> {
        let number = self.frozen.back().map_or(1, |generation| generation.number + 1);
        let generation = if self.young.is_empty() {
            None
        } else {
            let entries =
                self.young.iter().map(|(identity, offset)| (*identity, *offset)).collect();
            Some(Generation::store(connection, number, self.base, self.newest, entries)?)
        };
        let mut left =
            self.frozen.iter().map(|generation| generation.count).sum::<usize>() + self.young.len();
        let oldest = now.saturating_sub(crate::clock::millis(self.limits.age));
        let mut dropped = 0;
        for generation in &self.frozen {
            let enough = left - generation.count >= self.limits.ids;
            if !enough && generation.newest >= oldest {
                break;
            }
            left -= generation.count;
            dropped += 1;
            generation.remove(connection)?;
        }
        Ok(Frozen { generation, dropped })
    }

    /// Takes over what [`freeze`](Self::freeze) stored.
    pub(crate) fn frozen(&mut self, outcome: Frozen) {
        self.frozen.drain(..outcome.dropped);
        if let Some(generation) = outcome.generation {
            self.frozen.push_back(generation);
            self.young.clear();
            self.newest = 0;
        }
    }

    /// Whether the oldest generation is past the window's age.
    pub(crate) fn has_aged(&self, now: i64) -> bool {
        let oldest = now.saturating_sub(crate::clock::millis(self.limits.age));
        self.frozen.front().is_some_and(|generation| generation.newest < oldest)
    }

    /// Goes by other limits from now on.
    pub(crate) fn limit(&mut self, limits: DedupWindow) {
        self.limits = limits;
    }

    /// Whether the oldest generation is not needed to remember as many identities as it must.
    pub(crate) fn has_excess(&self) -> bool {
        self.frozen.front().is_some_and(|oldest| self.len() - oldest.count >= self.limits.ids)
    }

    /// Bytes held in memory.
    pub(crate) fn memory(&self) -> usize {
        let places = (self.young.capacity() * 8 / 7).next_power_of_two();
        let table = if self.young.capacity() == 0 {
            0
        } else {
            places * (size_of::<(Identity, u32)>() + 1)
        };
        table + self.frozen.iter().map(Generation::memory).sum::<usize>()
    }

    /// Identities that are remembered.
    pub(crate) fn len(&self) -> usize {
        self.young.len() + self.frozen.iter().map(|generation| generation.count).sum::<usize>()
    }
}

/// What a freeze stored, to be taken over once it is committed.
pub(crate) struct Frozen {
    generation: Option<Generation>,
    dropped: usize,
}

#[cfg(test)]
mod tests;
