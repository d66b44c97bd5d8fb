use std::collections::VecDeque;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::Identity;
use super::filter::Filter;
use crate::Seq;

/// A frozen generation: its entries in the table `identities`, its filter here.
pub(super) struct Generation {
    pub(super) number: i64,
    pub(super) last: Seq,
    pub(super) newest: i64,
    pub(super) count: usize,
    first: u64,
    filter: Filter,
}

/// Rows a generation has: identities that begin with the same ten bits share one.
const ROWS: u64 = 1 << ROW_BITS;
const ROW_BITS: u32 = 10;

/// Sixteen bytes of identity, four of place.
const ENTRY: usize = 20;

impl Generation {
    pub(super) fn store(
        connection: &Connection,
        number: i64,
        first: u64,
        newest: i64,
        mut entries: Vec<(Identity, u32)>,
    ) -> rusqlite::Result<Self> {
        entries.sort_unstable();
        let mut filter = Filter::for_count(entries.len());
        let mut insert = connection
            .prepare_cached("INSERT OR REPLACE INTO identities (place, entries) VALUES (?1, ?2)")?;
        let mut bytes = Vec::with_capacity(2048);
        for row in entries.chunk_by(|left, right| row_of(&left.0) == row_of(&right.0)) {
            bytes.clear();
            for (identity, offset) in row {
                filter.insert(identity);
                bytes.extend_from_slice(identity.as_bytes());
                bytes.extend_from_slice(&offset.to_be_bytes());
            }
            insert.execute(params![place(number, row_of(&row[0].0)), bytes])?;
        }
        let count = entries.len();
        let most = entries.iter().map(|(_, offset)| *offset).max().unwrap_or(0);
        let last = Seq::new(first + u64::from(most));
        connection
            .prepare_cached("INSERT OR REPLACE INTO generations VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![
                number,
                first.cast_signed(),
                last.to_sql(),
                newest,
                i64::try_from(count).unwrap_or(i64::MAX)
            ])?;
        Ok(Self { number, last, newest, count, first, filter })
    }

    pub(super) fn load_all(connection: &Connection) -> rusqlite::Result<VecDeque<Self>> {
        let mut select = connection.prepare(
            "SELECT number, first, last, newest, count FROM generations ORDER BY number",
        )?;
        let mut entries =
            connection.prepare("SELECT entries FROM identities WHERE place BETWEEN ?1 AND ?2")?;
        let mut found = VecDeque::new();
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let number: i64 = row.get(0)?;
            let count = usize::try_from(row.get::<_, i64>(4)?).unwrap_or(0);
            // The count is only a hint of size here, and damage must not make it a large one.
            let mut filter = Filter::for_count(count.min(1 << 20));
            let mut chunks = entries.query([place(number, 0), place(number, ROWS - 1)])?;
            while let Some(chunk) = chunks.next()? {
                for entry in chunk.get_ref(0)?.as_blob()?.chunks_exact(ENTRY) {
                    filter.insert(&identity_of(entry));
                }
            }
            found.push_back(Self {
                number,
                first: row.get::<_, i64>(1)?.cast_unsigned(),
                last: Seq::from_sql(row.get(2)?),
                newest: row.get(3)?,
                count,
                filter,
            });
        }
        Ok(found)
    }

    pub(super) fn find(
        &self,
        connection: &Connection,
        identity: &Identity,
    ) -> rusqlite::Result<Option<Seq>> {
        if !self.filter.may_hold(identity) {
            return Ok(None);
        }
        let place = place(self.number, row_of(identity));
        connection
            .prepare_cached("SELECT entries FROM identities WHERE place = ?1")?
            .query_row([place], |row| {
                let entries = row.get_ref(0)?.as_blob()?;
                let found = entries
                    .chunks_exact(ENTRY)
                    .find(|entry| entry[..16] == *identity.as_bytes())
                    .map(|entry| u32::from_be_bytes([entry[16], entry[17], entry[18], entry[19]]));
                Ok(found.map(|offset| Seq::new(self.first + u64::from(offset))))
            })
            .optional()
            .map(Option::flatten)
    }

    pub(super) fn remove(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection
            .prepare_cached("DELETE FROM identities WHERE place BETWEEN ?1 AND ?2")?
            .execute([place(self.number, 0), place(self.number, ROWS - 1)])?;
        connection
            .prepare_cached("DELETE FROM generations WHERE number = ?1")?
            .execute([self.number])?;
        Ok(())
    }

    pub(super) fn memory(&self) -> usize {
        self.filter.memory()
    }
}

fn row_of(identity: &Identity) -> u64 {
    identity.high() >> (64 - ROW_BITS)
}

const fn place(number: i64, row: u64) -> i64 {
    (number << ROW_BITS) | row.cast_signed()
}

fn identity_of(entry: &[u8]) -> Identity {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&entry[..16]);
    Identity::from_bytes(bytes)
}
