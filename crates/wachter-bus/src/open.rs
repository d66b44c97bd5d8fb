//! From a folder to a bus that works: one path for a new journal, a proper end and a crash.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _};
use wachter_model::Event;

use crate::connect::{Files, Purpose};
use crate::dedup::{Identity, Secret, Window};
use crate::hub::Hub;
use crate::publish::Preparation;
use crate::reader::Reader;
use crate::salvage::{self, Salvage};
use crate::schema::{self, Schema};
use crate::stored::Raw;
use crate::subscription;
use crate::verify::{Damage, Verifier};
use crate::writer::{Head, Segment, Writer, set_fact};
use crate::{Chain, Options, ReadError, Seq, SeqRange, SubscriptionName, checkpoint, clock};

/// Why a bus was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another bus of this one, has it.
    #[error("the journal in {} is in use; stop the other node, or give this one a folder of its own", .0.display())]
    InUse(PathBuf),
    /// The folder cannot be made or locked.
    #[error("cannot use the folder {}", folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A later version wrote it.
    #[error("the journal in {} has schema {found}, and this version knows up to {known}; use the version that wrote it, or a later one", folder.display())]
    Newer {
        /// Which.
        folder: PathBuf,
        /// The schema that it has.
        found: usize,
        /// The newest schema that is known here.
        known: usize,
    },
    /// SQLite cannot open it.
    #[error("cannot open the journal in {}", folder.display())]
    Sqlite {
        /// Which.
        folder: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// What is sound could not be taken out of a damaged journal.
    #[error("cannot take what is sound out of the damaged journal in {}; it was left as it is", folder.display())]
    Salvage {
        /// Which.
        folder: PathBuf,
        /// Why.
        #[source]
        source: salvage::SalvageError,
    },
    /// A thread was not started.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

/// What was found on opening.
#[derive(Clone, Debug, Default)]
pub struct Opened {
    /// Whether the journal was made just now.
    pub new: bool,
    /// The identity of the journal that this folder had before, where that is gone and a new one was
    /// made: a file that was deleted, or cut to nothing.
    pub vanished: Option<String>,
    /// Whether it had been closed properly.
    pub clean: bool,
    /// Events that were checked: those since the last checkpoint.
    pub verified: u64,
    /// What was damaged among them, and what is missing at the end.
    pub damage: Vec<Damage>,
    /// Subscriptions whose place was damaged: they begin again where they certainly were.
    pub cursors_reset: Vec<SubscriptionName>,
    /// What was taken out of a file that SQLite could not read any more.
    pub salvage: Option<Salvage>,
}

/// All that a bus is made of.
pub(crate) struct Parts {
    pub(crate) hub: Arc<Hub>,
    pub(crate) writer: std::thread::JoinHandle<()>,
    pub(crate) opened: Opened,
    pub(crate) files: Files,
}

pub(crate) fn open(options: Options) -> Result<Parts, OpenError> {
    let files = Files::new(options.folder.clone(), options.vfs.clone());
    let folder = || options.folder.clone();
    let owner = files
        .own()
        .map_err(|source| OpenError::Folder { folder: folder(), source })?
        .ok_or_else(|| OpenError::InUse(folder()))?;
    let sqlite = |source| OpenError::Sqlite { folder: folder(), source };
    let mut salvaged = None;
    // Met by a reader the last time; the look at the end alone may pass it by.
    let noted = files.damage_note().exists();
    let begun = if noted { Err(Begin::Noted) } else { begin(&files, &options) };
    let (connection, found) = match begun {
        Err(error) if error.calls_for_salvage() => {
            let salvage = salvage::run(&files, &owner, options.clock.now())
                .map_err(|source| OpenError::Salvage { folder: folder(), source })?;
            salvaged = Some(salvage);
            // What it noted is done; a note that stays costs one more salvage.
            let _ = std::fs::remove_file(files.damage_note());
            begin(&files, &options).map_err(|error| error.into_open(folder()))?
        }
        begun => begun.map_err(|error| error.into_open(folder()))?,
    };
    let Begun { journal, secret, head, window, dropping, mut opened } = found;
    opened.salvage = salvaged;
    opened.vanished = owner.noted_identity().filter(|noted| opened.new && *noted != journal);
    owner.note_identity(&journal);
    let reader = Reader::start(&files).map_err(|error| match error {
        ReadError::Sqlite(error) => sqlite(error),
        ReadError::Thread(error) => OpenError::Thread(error),
        ReadError::Damaged(_) | ReadError::Closed => OpenError::Thread(io::Error::other(error)),
    })?;
    let preparation = Preparation::new(secret, options.max_event_bytes);
    let last = Seq::new(head.next - 1);
    let first: Option<i64> = connection
        .query_row("SELECT min(seq) FROM events", [], |row| row.get(0))
        .map_err(sqlite)?;
    let first = first.map_or(Seq::new(head.next), Seq::from_sql);
    let bounds = SeqRange::new(first, last);
    let hub = Arc::new(Hub::new(reader, Arc::clone(&options.clock), journal, bounds, preparation));
    let careful = !opened.clean && !opened.new;
    opened.cursors_reset = subscription::load_all(&connection, &hub, careful).map_err(sqlite)?;
    let writer = Writer {
        connection,
        hub: Arc::clone(&hub),
        head,
        window,
        options,
        dropping,
        failing: false,
        _owner: owner,
    };
    let writer = writer.start().map_err(OpenError::Thread)?;
    Ok(Parts { hub, writer, opened, files })
}

enum Begin {
    Newer(usize),
    Sqlite(rusqlite::Error),
    /// Damage was met before.
    Noted,
}

impl Begin {
    fn calls_for_salvage(&self) -> bool {
        match self {
            Self::Newer(_) => false,
            Self::Sqlite(error) => salvage::calls_for_it(error),
            Self::Noted => true,
        }
    }

    fn into_open(self, folder: PathBuf) -> OpenError {
        match self {
            Self::Newer(found) => OpenError::Newer { folder, found, known: schema::VERSION },
            Self::Sqlite(source) => OpenError::Sqlite { folder, source },
            Self::Noted => OpenError::Sqlite { folder, source: rusqlite::Error::InvalidQuery },
        }
    }
}

impl From<rusqlite::Error> for Begin {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

struct Begun {
    journal: String,
    secret: Secret,
    head: Head,
    window: Window,
    dropping: Option<(Seq, Seq)>,
    opened: Opened,
}

fn begin(files: &Files, options: &Options) -> Result<(Connection, Begun), Begin> {
    let connection = files.connect(Purpose::Write)?;
    let new = match schema::migrate(&connection)? {
        Schema::Newer(found) => return Err(Begin::Newer(found)),
        Schema::Current { new } => new,
    };
    let journal = identity_of(&connection)?;
    let secret = secret_of(&connection)?;
    let clean = fact::<i64>(&connection, "clean")? == Some(1);
    let mut window = Window::open(&connection, options.dedup)?;
    let newest = checkpoint::newest(&connection, &journal)?;
    let (mut head, mut verifier) = beginning(&connection, &journal, newest.as_ref())?;
    let from = newest.as_ref().map_or(Seq::ZERO, |newest| newest.last);
    read_tail(&connection, &mut window, &mut head, &mut verifier, secret, from)?;
    // What was said to be there, and what others still count on, must not be numbered again.
    let promised = [
        fact::<i64>(&connection, "last")?,
        connection.query_row("SELECT max(floor) FROM subscriptions", [], |row| row.get(0))?,
    ];
    let promised = promised.into_iter().flatten().max().map_or(Seq::ZERO, Seq::from_sql);
    verifier.end(promised);
    head.next = head.next.max(promised.get() + 1);
    if head.segment.count == 0 {
        head.segment.first = head.next;
    }
    head.revision = fact::<i64>(&connection, "revision")?.unwrap_or(0).cast_unsigned();
    let dropping = unfinished_drop(&connection)?;
    let damage = std::mem::take(&mut verifier.damage);
    connection.execute_batch("BEGIN IMMEDIATE")?;
    set_fact(&connection, "clean", 0)?;
    remember_damage(&connection, &damage, clock::to_millis(options.clock.now()))?;
    connection.execute_batch("COMMIT")?;
    let opened = Opened { new, clean, verified: verifier.events, damage, ..Opened::default() };
    Ok((connection, Begun { journal, secret, head, window, dropping, opened }))
}

/// The head after the newest checkpoint, or before the first event.
fn beginning(
    connection: &Connection,
    journal: &str,
    newest: Option<&checkpoint::Checkpoint>,
) -> rusqlite::Result<(Head, Verifier)> {
    let (last, chain, at) = match newest {
        Some(newest) => (newest.last, newest.chain, clock::to_millis(newest.at)),
        None => (Seq::ZERO, Chain::begin(journal), 0),
    };
    let next = last.get() + 1;
    let head = Head { next, chain, at, revision: 0, segment: Segment::after(next, chain) };
    let mut verifier = Verifier::new(Some(Seq::new(next)), Some(chain));
    // The last event that the checkpoint covers is the one that is compared with it.
    if let Some(newest) = newest.filter(|newest| newest.dropped.is_none())
        && let Some(raw) = Raw::find(connection, newest.last)?
    {
        let agrees = raw.seal.is_some_and(|seal| seal.chain == newest.chain);
        if !agrees {
            let mut covered = Verifier::new(Some(newest.last), None);
            covered.row(&raw);
            covered.checkpoint(newest);
            verifier.damage.append(&mut covered.damage);
            // What follows was chained to the row, not to what the checkpoint says now.
            let chain = raw.seal.map(|seal| seal.chain);
            let damage = std::mem::take(&mut verifier.damage);
            verifier = Verifier::new(Some(Seq::new(next)), chain);
            verifier.damage = damage;
        }
    }
    Ok((head, verifier))
}

/// Reads what no checkpoint covers, and what no frozen generation of identities covers.
fn read_tail(
    connection: &Connection,
    window: &mut Window,
    head: &mut Head,
    verifier: &mut Verifier,
    secret: Secret,
    verified_to: Seq,
) -> rusqlite::Result<()> {
    let frozen_to = window.frozen_to();
    let mut select = connection
        .prepare("SELECT seq, at, topic, seal, body FROM events WHERE seq > ?1 ORDER BY seq")?;
    let mut rows = select.query([frozen_to.min(verified_to).to_sql()])?;
    while let Some(row) = rows.next()? {
        let raw = Raw::from_row(row)?;
        let mut sound = true;
        if raw.seq > verified_to {
            sound = verifier.row(&raw);
            let chain = verifier.chain().unwrap_or(head.chain);
            head.passed(raw.seq, raw.at, chain, raw.body.len() as u64);
        }
        if raw.seq > frozen_to
            && sound
            && let Ok(event) = Event::from_json_within(&raw.body, usize::MAX)
        {
            window.remember(Identity::of(secret, &event), raw.seq, raw.at);
        }
    }
    window.commit();
    Ok(())
}

/// A segment that was marked as dropped and still has events.
fn unfinished_drop(connection: &Connection) -> rusqlite::Result<Option<(Seq, Seq)>> {
    connection
        .query_row(
            "SELECT (SELECT min(seq) FROM events), max(last) FROM checkpoints WHERE dropped IS NOT NULL",
            [],
            |row| Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<i64>>(1)?)),
        )
        .map(|bounds| match bounds {
            (Some(first), Some(last)) if first <= last => {
                Some((Seq::from_sql(first), Seq::from_sql(last)))
            }
            _ => None,
        })
}

pub(crate) fn remember_damage(
    connection: &Connection,
    damage: &[Damage],
    now: i64,
) -> rusqlite::Result<()> {
    for one in damage {
        connection
            .prepare_cached(
                "INSERT OR IGNORE INTO damage (first, last, kind, found) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute((one.range.first.to_sql(), one.range.last.to_sql(), one.kind.as_str(), now))?;
    }
    Ok(())
}

pub(crate) fn fact<T: rusqlite::types::FromSql>(
    connection: &Connection,
    name: &str,
) -> rusqlite::Result<Option<T>> {
    connection
        .prepare_cached("SELECT value FROM facts WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()
}

fn identity_of(connection: &Connection) -> rusqlite::Result<String> {
    if let Some(found) = fact::<String>(connection, "journal")?
        && uuid::Uuid::try_parse(&found).is_ok()
    {
        return Ok(found);
    }
    let made = uuid::Uuid::new_v4().to_string();
    set_fact(connection, "journal", &made)?;
    Ok(made)
}

fn secret_of(connection: &Connection) -> rusqlite::Result<Secret> {
    if let Some(found) = fact::<Vec<u8>>(connection, "secret")?
        && let Ok(secret) = found.try_into()
    {
        return Ok(Secret(secret));
    }
    // 122 random bits of the system's generator: enough to keep anyone from searching for a pair.
    let made = *uuid::Uuid::new_v4().as_bytes();
    set_fact(connection, "secret", made)?;
    Ok(Secret(made))
}
