use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row};
use wachter_model::Event;

use crate::Seq;
use crate::chain::{Seal, digest};
use crate::clock::from_millis;

/// An event as the journal has it.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its place.
    pub seq: Seq,
    /// When it was written, by the clock of this node.
    pub at: Timestamp,
    /// The event.
    pub event: Arc<Event>,
    /// The size of its body in bytes.
    pub(crate) bytes: usize,
}

/// A row of the journal, its body not looked into yet.
pub(crate) struct Raw {
    pub(crate) seq: Seq,
    pub(crate) at: i64,
    pub(crate) topic: String,
    pub(crate) seal: Option<Seal>,
    pub(crate) body: Vec<u8>,
}

impl Raw {
    pub(crate) fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            seq: Seq::from_sql(row.get(0)?),
            at: row.get(1)?,
            topic: row.get(2)?,
            seal: Seal::from_slice(row.get_ref(3)?.as_blob()?),
            body: row.get(4)?,
        })
    }

    pub(crate) fn find(connection: &Connection, seq: Seq) -> rusqlite::Result<Option<Self>> {
        connection
            .prepare_cached("SELECT seq, at, topic, seal, body FROM events WHERE seq = ?1")?
            .query_row([seq.to_sql()], Self::from_row)
            .optional()
    }

    /// The event; `None` if the row is damaged.
    pub(crate) fn read(&self) -> Option<Stored> {
        let stored = Stored::read(self.seq, self.at, self.seal?, &self.body)?;
        (stored.event.event_type() == self.topic).then_some(stored)
    }
}

impl Stored {
    /// What a body holds; `None` if it is not the one that was sealed.
    pub(crate) fn read(seq: Seq, at: i64, seal: Seal, body: &[u8]) -> Option<Self> {
        if seal.digest != digest(body) {
            return None;
        }
        // The limit was kept on the way in.
        let event = Arc::new(Event::from_json_within(body, usize::MAX).ok()?);
        Some(Self { seq, at: from_millis(at), event, bytes: body.len() })
    }
}
