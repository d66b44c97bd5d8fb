//! Damage done on purpose, and what is said of it. A journal of 60 events in segments of 20, all but
//! the last 10 of them under checkpoints; then something is broken, and it is opened and verified.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use rusqlite::Connection;
use wachter_bus::{
    Bus, Damage, DamageKind, DeadLetterId, Expect, KeyChange, Notice, Options, Outputs, Query,
    ReadError, SegmentLimits, Seq, SeqRange,
};
use wachter_model::EventId;

use crate::support::{Fixture, next, number_of, numbered, options, publish, subscribe};

fn small(options: &mut Options) {
    options.segment = SegmentLimits { events: 20, ..SegmentLimits::default() };
}

/// A closed journal: 50 events, three settled by the subscription `one`.
async fn journal() -> Fixture {
    let fixture = Fixture::new();
    let bus = fixture.open_with(small);
    for start in [0, 20, 40] {
        publish(&bus, start..(start + 20).min(50)).await;
    }
    let subscription = subscribe(&bus, "one").await;
    for _ in 0..3 {
        next(&subscription).await.ack(Outputs::default()).await.unwrap();
    }
    drop(subscription);
    bus.close();
    fixture
}

fn path(fixture: &Fixture) -> std::path::PathBuf {
    fixture.path().join("journal.db")
}

fn edit(fixture: &Fixture, change: impl FnOnce(&Connection)) {
    let connection = Connection::open(path(fixture)).unwrap();
    change(&connection);
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
}

/// Flips one bit in a column of a row.
fn flip(connection: &Connection, table: &str, column: &str, row: &str, at: usize) {
    let select = format!("SELECT rowid, {column} FROM {table} WHERE {row}");
    let (id, mut bytes): (i64, Vec<u8>) =
        connection.query_row(&select, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    bytes[at] ^= 1;
    let update = format!("UPDATE {table} SET {column} = ?1 WHERE rowid = ?2");
    connection.execute(&update, rusqlite::params![bytes, id]).unwrap();
}

fn damage(first: u64, last: u64, kind: DamageKind) -> Damage {
    Damage { range: SeqRange::new(Seq::new(first), Seq::new(last)), kind }
}

/// What can still be read, and what is told as damaged meanwhile.
async fn read(bus: &Bus) -> (Vec<u64>, Vec<u64>) {
    let mut replay = bus.replay(Query::default());
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    while let Some(stored) = replay.next().await {
        match stored {
            Ok(stored) => good.push(number_of(&stored.event) + 1),
            Err(ReadError::Damaged(seq)) => bad.push(seq.get()),
            Err(error) => panic!("{error}"),
        }
    }
    (good, bad)
}

/// Breaks a journal, and compares what is found on opening, what a verification finds, and which
/// events cannot be read any more.
async fn check(
    name: &str,
    breaks: impl FnOnce(&Connection),
    opening: &[Damage],
    verifying: &[Damage],
    unreadable: &[u64],
) {
    let fixture = journal().await;
    edit(&fixture, breaks);
    let bus = fixture.open_with(small);
    assert_eq!(bus.opened().damage, opening, "{name}, on opening");
    assert_eq!(bus.known_damage().await.unwrap(), opening, "{name}, as it is remembered");
    let report = bus.verify(Seq::ZERO, Vec::new()).await.unwrap();
    assert_eq!(report.damage, verifying, "{name}, on verifying");
    let (good, bad) = read(&bus).await;
    let mut lost: Vec<_> = (1..=50).filter(|seq| !good.contains(seq)).collect();
    assert_eq!(lost, unreadable, "{name}, on reading");
    lost.retain(|seq| !bad.contains(seq));
    let missing = verifying.iter().filter(|damage| damage.kind == DamageKind::Missing);
    let missing: Vec<_> =
        missing.flat_map(|damage| damage.range.first.get()..=damage.range.last.get()).collect();
    assert_eq!(lost, missing, "{name}: what is not there and not told of");
    // It goes on, under a number that was never given before.
    publish(&bus, [1_000]).await;
    assert_eq!(bus.status().last, Seq::new(51), "{name}");
    let subscription = subscribe(&bus, "one").await;
    for seq in good.into_iter().filter(|seq| *seq > 3).chain([1_001]) {
        let mut delivery = next(&subscription).await;
        assert_eq!(number_of(delivery.event()) + 1, seq, "{name}");
        delivery.ack(Outputs::default()).await.unwrap();
    }
}

#[tokio::test]
async fn a_body_in_the_past() {
    let found = [damage(7, 7, DamageKind::Body)];
    check("body", |it| flip(it, "events", "body", "seq = 7", 60), &[], &found, &[7]).await;
}

#[tokio::test]
async fn bodies_at_the_end() {
    let breaks = |it: &Connection| {
        flip(it, "events", "body", "seq = 44", 60);
        flip(it, "events", "body", "seq = 45", 60);
    };
    let found = [damage(44, 45, DamageKind::Body)];
    check("bodies at the end", breaks, &found, &found, &[44, 45]).await;
}

#[tokio::test]
async fn a_digest() {
    let found = [damage(8, 8, DamageKind::Seal)];
    check("digest", |it| flip(it, "events", "seal", "seq = 8", 3), &[], &found, &[8]).await;
}

#[tokio::test]
async fn a_value_of_the_chain() {
    let found = [damage(9, 9, DamageKind::Seal)];
    check("chain", |it| flip(it, "events", "seal", "seq = 9", 40), &[], &found, &[]).await;
}

#[tokio::test]
async fn a_row_that_was_written_anew() {
    let breaks = |it: &Connection| {
        let body: Vec<u8> =
            it.query_row("SELECT body FROM events WHERE seq = 11", [], |row| row.get(0)).unwrap();
        let body = String::from_utf8(body).unwrap().replace("n10", "x10").into_bytes();
        let digest = *wachter_model::Digest::of(&body).as_bytes();
        let mut seal: Vec<u8> =
            it.query_row("SELECT seal FROM events WHERE seq = 11", [], |row| row.get(0)).unwrap();
        seal[..32].copy_from_slice(&digest);
        it.execute("UPDATE events SET body = ?1, seal = ?2 WHERE seq = 11", (body, seal)).unwrap();
    };
    check("rewritten", breaks, &[], &[damage(11, 11, DamageKind::Link)], &[]).await;
}

#[tokio::test]
async fn rows_that_changed_places() {
    let breaks = |it: &Connection| {
        it.execute_batch(
            "UPDATE events SET seq = 999 WHERE seq = 12; UPDATE events SET seq = 12 WHERE seq = 13;
             UPDATE events SET seq = 13 WHERE seq = 999;",
        )
        .unwrap();
    };
    let fixture = journal().await;
    edit(&fixture, breaks);
    let bus = fixture.open_with(small);
    let report = bus.verify(Seq::ZERO, Vec::new()).await.unwrap();
    assert_eq!(report.damage, [damage(12, 14, DamageKind::Link)]);
}

#[tokio::test]
async fn a_time_that_was_changed() {
    let breaks = |it: &Connection| {
        it.execute_batch("UPDATE events SET at = at + 1 WHERE seq = 15").unwrap();
    };
    check("time", breaks, &[], &[damage(15, 15, DamageKind::Link)], &[]).await;
}

#[tokio::test]
async fn a_topic_that_was_changed() {
    let fixture = journal().await;
    edit(&fixture, |it| {
        it.execute_batch("UPDATE events SET topic = 'other' WHERE seq = 16").unwrap();
    });
    let (_, bad) = read(&fixture.open_with(small)).await;
    assert_eq!(bad, [16]);
}

#[tokio::test]
async fn rows_that_are_gone() {
    let breaks = |it: &Connection| {
        it.execute_batch("DELETE FROM events WHERE seq IN (5, 21, 22)").unwrap();
    };
    let found = [damage(5, 5, DamageKind::Missing), damage(21, 22, DamageKind::Missing)];
    check("gone", breaks, &[], &found, &[5, 21, 22]).await;
}

#[tokio::test]
async fn the_end_that_is_gone() {
    let breaks = |it: &Connection| {
        it.execute_batch("DELETE FROM events WHERE seq > 47").unwrap();
    };
    let found = [damage(48, 50, DamageKind::Missing)];
    check("end", breaks, &found, &found, &[48, 49, 50]).await;
}

#[tokio::test]
async fn a_checkpoint() {
    let breaks = |it: &Connection| flip(it, "checkpoints", "chain", "first = 1", 0);
    check("checkpoint", breaks, &[], &[damage(1, 20, DamageKind::Checkpoint)], &[]).await;
}

#[tokio::test]
async fn the_newest_checkpoint() {
    let found = [damage(21, 40, DamageKind::Checkpoint)];
    let breaks = |it: &Connection| flip(it, "checkpoints", "chain", "first = 21", 0);
    check("newest checkpoint", breaks, &found, &found, &[]).await;
}

#[tokio::test]
async fn a_checkpoint_that_is_gone() {
    for first in [1, 21] {
        let breaks = |it: &Connection| {
            it.execute("DELETE FROM checkpoints WHERE first = ?1", [first]).unwrap();
        };
        // Without the newest, its segment is open again, and closed again with the next events.
        let found: Vec<_> =
            (first == 1).then(|| damage(1, 20, DamageKind::Checkpoint)).into_iter().collect();
        check(&format!("no checkpoint from {first}"), breaks, &[], &found, &[]).await;
    }
}

#[tokio::test]
async fn a_signature_that_is_wrong() {
    #[derive(Debug)]
    struct Stamp;
    fn stamp(text: &str) -> String {
        wachter_model::Digest::of(text.as_bytes()).to_string()
    }
    impl wachter_bus::Signer for Stamp {
        fn sign(&self, text: &[u8]) -> Result<String, String> {
            Ok(stamp(std::str::from_utf8(text).unwrap()))
        }
    }
    let fixture = Fixture::new();
    let signed = |options: &mut Options| {
        small(options);
        options.signer = Some(std::sync::Arc::new(Stamp));
    };
    let bus = fixture.open_with(signed);
    for start in [0, 20, 40] {
        publish(&bus, start..start + 20).await;
    }
    bus.close();
    let checked = async || {
        let bus = fixture.open_with(small);
        let check = |text: &str, signature: &str| {
            if stamp(text) == signature { Ok(()) } else { Err("another text".to_owned()) }
        };
        let report = bus.check_signatures(check).await.unwrap();
        let wrong: Vec<_> = report.wrong.iter().map(|(one, _)| one.first.get()).collect();
        let unsigned: Vec<_> = report.unsigned.iter().map(|one| one.first.get()).collect();
        (report.sound, wrong, unsigned)
    };
    assert_eq!(checked().await, (3, vec![], vec![]));
    edit(&fixture, |it| {
        it.execute_batch(
            "UPDATE checkpoints SET signature = 'x' || signature WHERE first = 1;
             UPDATE checkpoints SET count = count + 1 WHERE first = 21;
             UPDATE checkpoints SET signature = NULL WHERE first = 41;",
        )
        .unwrap();
    });
    assert_eq!(checked().await, (0, vec![1, 21], vec![41]));
}

/// Whoever can write the file can write all of it anew; a checkpoint that was kept elsewhere tells.
#[tokio::test]
async fn a_history_that_was_made_up() {
    let fixture = journal().await;
    let bus = fixture.open_with(small);
    let kept = bus.checkpoints().await.unwrap();
    assert_eq!(kept.len(), 2);
    drop(bus);
    let other = journal().await;
    for (name, change) in [("another journal", ""), ("the same identity", "journal")] {
        edit(&other, |it| {
            if !change.is_empty() {
                it.execute(
                    "UPDATE facts SET value = ?1 WHERE name = ?2",
                    (&kept[0].journal, change),
                )
                .unwrap();
            }
        });
        let bus = other.open_with(small);
        let report = bus.verify(Seq::ZERO, kept.clone()).await.unwrap();
        let contradicted: Vec<_> = report.contradicted.iter().map(|one| one.last.get()).collect();
        assert_eq!(contradicted, [20, 40], "{name}");
        drop(bus);
    }
}

/// Nobody asks for the event, and the scrub finds it.
#[tokio::test]
async fn a_body_that_nobody_reads() {
    let fixture = journal().await;
    edit(&fixture, |it| flip(it, "events", "body", "seq = 7", 60));
    let bus = fixture.open_with(small);
    let mut notices = bus.notices();
    while bus.status().scrubs == 0 {
        bus.look_after().await.unwrap();
        // The reader answers in turn, so the page is done after this.
        drop(bus.event(Seq::new(1)).await);
    }
    let range = SeqRange::new(Seq::new(7), Seq::new(7));
    assert_eq!(notices.try_recv().unwrap(), Notice::Damaged { range });
    assert!(notices.try_recv().is_err());
    assert_eq!(bus.status().damaged, 1);
}

#[tokio::test]
async fn a_cursor() {
    let fixture = journal().await;
    edit(&fixture, |it| flip(it, "subscriptions", "cursor", "name = 'one'", 2));
    let bus = fixture.open_with(small);
    let reset: Vec<_> = bus.opened().cursors_reset.iter().map(ToString::to_string).collect();
    assert_eq!(reset, ["one"]);
    let subscription = subscribe(&bus, "one").await;
    assert_eq!(number_of(next(&subscription).await.event()), 3, "the floor is kept beside it");
}

#[tokio::test]
async fn a_file_cut_in_half() {
    let fixture = journal().await;
    let file = fs::File::options().write(true).open(path(&fixture)).unwrap();
    file.set_len(file.metadata().unwrap().len() / 16_384 * 8_192).unwrap();
    salvaged("cut", &fixture).await;
}

/// Every page in turn, all of it zeros.
#[tokio::test]
async fn any_page_of_zeros() {
    let fixture = journal().await;
    let whole = fs::read(path(&fixture)).unwrap();
    let lock = fs::read(fixture.path().join("journal.lock")).unwrap();
    let mut unharmed = 0;
    for page in 0..whole.len() / 8_192 {
        let fixture = Fixture::new();
        let mut broken = whole.clone();
        broken[page * 8_192..(page + 1) * 8_192].fill(0);
        fs::write(path(&fixture), broken).unwrap();
        fs::write(fixture.path().join("journal.lock"), &lock).unwrap();
        if !salvaged(&format!("page {page}"), &fixture).await {
            unharmed += 1;
        }
    }
    assert!(unharmed <= 8, "{unharmed} pages were not missed");
}

/// Opens and uses all of it, again as often as damage is met: in the end the bus works, whatever is
/// left is sound, and what is not left is told of. Returns whether anything was found.
async fn salvaged(name: &str, fixture: &Fixture) -> bool {
    let mut salvage = None;
    let mut works = false;
    for turn in 0..3 {
        let bus = fixture.open_with(small);
        salvage = salvage.or_else(|| bus.opened().salvage.clone());
        works = exercise(&bus, turn).await;
        if works {
            break;
        }
    }
    assert!(works, "{name}: {salvage:?}");
    let bus = fixture.open_with(small);
    let report = bus.verify(Seq::ZERO, Vec::new()).await.unwrap();
    let only_gaps = report.damage.iter().all(|damage| damage.kind == DamageKind::Missing);
    let (good, bad) = read(&bus).await;
    assert!(only_gaps && bad.is_empty(), "{name}: {report:?}");
    let kept = good.iter().filter(|number| **number <= 50).count() as u64;
    match &salvage {
        Some(salvage) => {
            assert!(salvage.kept_aside.exists(), "{name}");
            let lost: u64 = salvage.lost.iter().map(|range| range.len()).sum();
            let unknown = salvage.incomplete.contains(&"events");
            assert!(unknown || lost + kept == 50, "{name}: {kept} kept, {salvage:?}");
        }
        None => assert_eq!((report.damage, kept), (Vec::new(), 50), "{name}"),
    }
    salvage.is_some()
}

/// Reads all and writes everywhere; `false` if that met damage.
async fn exercise(bus: &Bus, turn: u64) -> bool {
    let verified = bus.verify(Seq::ZERO, Vec::new()).await.is_ok();
    let read = bus.dead_letters(None, DeadLetterId::new(0), 10).await.is_ok();
    let correlated =
        numbered(1_000 + turn).into_builder().correlation_id("a").causation_id(&EventId::new());
    let published = bus.publish(vec![correlated.build().unwrap()]).await.is_ok();
    let change = KeyChange {
        bucket: "b".into(),
        key: "k".into(),
        value: Some(Vec::new()),
        expect: Expect::Anything,
        lasts: Some(std::time::Duration::from_secs(60)),
    };
    let changed = bus.change_keys(vec![change]).await.is_ok();
    let Ok(subscription) = bus.subscribe(options("another")).await else { return false };
    let Ok(delivery) =
        tokio::time::timeout(std::time::Duration::from_secs(20), subscription.next()).await
    else {
        return false;
    };
    let buried = delivery.unwrap().dead_letter("on purpose").await.is_ok();
    verified && read && published && changed && buried
}

/// Cut at lengths that are no number of pages, too.
#[tokio::test]
async fn a_file_cut_anywhere() {
    let fixture = journal().await;
    let whole = fs::read(path(&fixture)).unwrap();
    let lock = fs::read(fixture.path().join("journal.lock")).unwrap();
    for part in 0..10 {
        let fixture = Fixture::new();
        fs::write(path(&fixture), &whole[..part * whole.len() / 10 + part * 37]).unwrap();
        fs::write(fixture.path().join("journal.lock"), &lock).unwrap();
        if part == 0 {
            // A file of no length is a new journal; the note in the lock tells of the old one.
            let bus = fixture.open_with(small);
            let noted = String::from_utf8(lock.clone()).unwrap();
            assert_eq!(bus.opened().vanished.as_deref(), Some(noted.trim_end()));
            assert_ne!(bus.journal(), noted.trim_end());
        } else {
            salvaged(&format!("cut at {part} of 10"), &fixture).await;
        }
    }
}

/// The last write to the log was torn at every place of a frame, as a power cut may leave it.
#[tokio::test]
async fn a_log_that_was_torn() {
    let fixture = Fixture::new();
    let bus = fixture.open_with(small);
    for number in 0..30 {
        publish(&bus, [number]).await;
    }
    let whole = fs::read(fixture.path().join("journal.db-wal")).unwrap();
    let frame = 24 + 8_192;
    let mut lengths = BTreeSet::new();
    for cut in (0..3 * frame).step_by(1_369) {
        let after = fixture.crash();
        let log = path(&after).with_extension("db-wal");
        fs::write(&log, &whole[..whole.len() - cut]).unwrap();
        let bus = after.open_with(small);
        assert!(bus.opened().salvage.is_none() && bus.opened().damage.is_empty());
        let report = bus.verify(Seq::ZERO, Vec::new()).await.unwrap();
        let (good, bad) = read(&bus).await;
        assert!(report.is_sound() && bad.is_empty(), "{cut}: {report:?}");
        assert_eq!(
            good,
            (1..=good.len() as u64).collect::<Vec<_>>(),
            "what is left is a beginning"
        );
        lengths.insert(good.len());
        publish(&bus, [1_000]).await;
    }
    assert!(lengths.len() > 1 && lengths.last() == Some(&30), "{lengths:?}");
}

#[tokio::test]
async fn a_log_that_was_deleted() {
    let fixture = Fixture::new();
    let bus = fixture.open_with(small);
    publish(&bus, 0..50).await;
    let after = fixture.crash();
    fs::remove_file(Path::new(&path(&after)).with_extension("db-wal")).unwrap();
    let bus = after.open_with(small);
    // All that it had is gone, and nothing else is said to be there.
    let report = bus.verify(Seq::ZERO, Vec::new()).await.unwrap();
    assert_eq!(read(&bus).await.0.len() as u64, report.events);
    publish(&bus, [1_000]).await;
}

#[tokio::test]
async fn a_log_with_a_flipped_bit_ends_there() {
    let fixture = Fixture::new();
    let bus = fixture.open_with(small);
    for number in 0..50 {
        publish(&bus, [number]).await;
    }
    let after = fixture.crash();
    let log = path(&after).with_extension("db-wal");
    let mut bytes = fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&log, bytes).unwrap();
    let bus = after.open_with(small);
    let report = bus.verify(Seq::ZERO, Vec::new()).await.unwrap();
    let (good, bad) = read(&bus).await;
    assert!(report.is_sound() && bad.is_empty(), "{report:?}");
    assert!((1..50).contains(&good.len()), "{} events", good.len());
    assert_eq!(good, (1..=good.len() as u64).collect::<Vec<_>>(), "what is left is a beginning");
}
