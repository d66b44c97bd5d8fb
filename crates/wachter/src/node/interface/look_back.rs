//! Looks back into the journal without reading more of it than is asked for.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use wachter_api::Problem;
use wachter_api::shapes::StoredEvent;
use wachter_bus::{Bus, EventFilter, Predicate, Query, ReadError, Seq, Stored};
use wachter_model::TopicFilter;

use super::problems::unreadable;

/// Events that are looked at first; four times as many whenever they do not suffice.
const FIRST_SPAN: u64 = 1_024;

/// By how much a clock may have been set between the making of an identifier and its writing.
const SLACK: SignedDuration = SignedDuration::from_hours(1);

/// What one answer may come to, in bytes of the events in it: a list of large ones is cut short.
const MOST_BYTES: usize = 16 << 20;

/// Where a look back ends.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bounds {
    /// Only what was written at or after this moment.
    pub(super) since: Option<Timestamp>,
    /// Only what is after this place.
    pub(super) after: Option<u64>,
}

/// The newest things that `pick` makes of events, `limit` at most and [`MOST_BYTES`], the oldest of them
/// first. `pick` also says how many bytes of the event it keeps.
///
/// Goes back from the end in spans that grow, so that the newest few cost little however long the
/// journal is, and all of it costs a third more than reading it once.
///
/// # Errors
/// The journal cannot be read. Damaged events are passed over.
pub(super) async fn latest<T>(
    bus: &Bus,
    filter: EventFilter,
    bounds: Bounds,
    limit: usize,
    mut pick: impl FnMut(&Stored) -> Option<(usize, T)>,
) -> Result<Vec<T>, Problem> {
    let last = bus.status().last.get();
    let floor = floor(bus, bounds).await?;
    let wanted = u64::try_from(limit).unwrap_or(u64::MAX);
    let mut span = wanted.saturating_mul(2).max(FIRST_SPAN);
    loop {
        let after = last.saturating_sub(span).max(floor);
        let query = Query { filter: filter.clone(), after: Seq::new(after), ..Query::default() };
        let mut replay = bus.replay(query);
        let (mut found, mut bytes, mut full) = (VecDeque::new(), 0, false);
        while let Some(stored) = replay.next().await {
            let Some(stored) = sound(stored)? else { continue };
            let Some(picked) = pick(&stored) else { continue };
            bytes += picked.0;
            found.push_back(picked);
            while found.len() > limit || (bytes > MOST_BYTES && found.len() > 1) {
                let (left, _) = found.pop_front().expect("there is more than none");
                bytes -= left;
                full = true;
            }
        }
        if full || found.len() >= limit || after == floor {
            return Ok(found.into_iter().map(|(_, picked)| picked).collect());
        }
        span = span.saturating_mul(4);
    }
}

/// The place after which everything is within the bounds.
async fn floor(bus: &Bus, bounds: Bounds) -> Result<u64, Problem> {
    let after = bounds.after.unwrap_or(0);
    let Some(since) = bounds.since else { return Ok(after) };
    let query = Query { since: Some(since), ..Query::default() };
    let first = match bus.replay(query).next().await {
        Some(Ok(stored)) => stored.seq,
        Some(Err(ReadError::Damaged(seq))) => seq,
        Some(Err(error)) => return Err(unreadable(&error)),
        None => return Ok(bus.status().last.get().max(after)),
    };
    Ok(first.get().saturating_sub(1).max(after))
}

/// All events of this identifier, whatever their source.
///
/// # Errors
/// The journal cannot be read.
pub(super) async fn find(bus: &Bus, id: &str) -> Result<Vec<Stored>, Problem> {
    // What a run brings is named by the run and a number: it was written after the run began.
    if let Some(made) = id.get(..36).and_then(made_at).filter(|_| id.len() > 36) {
        let since = made.saturating_sub(SLACK).unwrap_or(Timestamp::MIN);
        let found = first(bus, Some(since), of_id(id)).await?;
        if let Some(found) = found {
            return Ok(vec![found]);
        }
    }
    bus.find(id).await.map_err(|error| unreadable(&error))
}

/// The first event since then that the filter wants.
///
/// # Errors
/// The journal cannot be read.
pub(super) async fn first(
    bus: &Bus,
    since: Option<Timestamp>,
    filter: EventFilter,
) -> Result<Option<Stored>, Problem> {
    let mut replay = bus.replay(Query { filter, since, ..Query::default() });
    while let Some(stored) = replay.next().await {
        if let Some(stored) = sound(stored)? {
            return Ok(Some(stored));
        }
    }
    Ok(None)
}

/// A filter for one identifier.
pub(super) fn of_id(id: &str) -> EventFilter {
    let id = id.to_owned();
    let predicate = Predicate::new(move |event| event.id().as_str() == id);
    EventFilter { predicate: Some(predicate), ..EventFilter::default() }
}

/// From when on something of an identifier may be in the journal.
pub(super) fn written_since(id: &str) -> Option<Timestamp> {
    made_at(id)?.saturating_sub(SLACK).ok()
}

/// When a UUID version 7 (RFC 9562, section 5.7) was made.
fn made_at(id: &str) -> Option<Timestamp> {
    let bytes = id.as_bytes();
    let is_uuid = bytes.len() == 36
        && bytes.iter().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => *byte == b'-',
            14 => *byte == b'7',
            _ => byte.is_ascii_hexdigit(),
        });
    let digits = is_uuid.then(|| format!("{}{}", &id[..8], &id[9..13]))?;
    Timestamp::from_millisecond(i64::from_str_radix(&digits, 16).ok()?).ok()
}

/// Passes over what is damaged: the node says by itself that there is damage, and where.
///
/// # Errors
/// The journal cannot be read at all.
pub(super) fn sound(stored: Result<Stored, ReadError>) -> Result<Option<Stored>, Problem> {
    match stored {
        Ok(stored) => Ok(Some(stored)),
        Err(ReadError::Damaged(_)) => Ok(None),
        Err(error) => Err(unreadable(&error)),
    }
}

/// Filters as they stand in a query: topics joined by commas. None wants everything.
///
/// # Errors
/// One of them is no filter.
pub(super) fn topics(text: Option<&str>) -> Result<EventFilter, Problem> {
    let topics = text.unwrap_or_default().split(',').map(str::trim).filter(|text| !text.is_empty());
    let topics: Result<Vec<TopicFilter>, _> = topics.map(str::parse).collect();
    let topics = topics.map_err(|error| Problem::invalid(format!("`topic`: {error}")))?;
    Ok(EventFilter { topics, ..EventFilter::default() })
}

/// An event for the wire.
pub(super) fn shown(stored: &Stored) -> StoredEvent {
    StoredEvent { sequence: stored.seq.get(), event: json_of(&stored.event) }
}

/// How many bytes an event carries.
pub(super) fn size(stored: &Stored) -> usize {
    stored.event.data().json_text().map_or(0, str::len)
}

/// An event as JSON.
pub(super) fn json_of(event: &wachter_model::Event) -> Value {
    serde_json::from_slice(&event.to_json()).expect("an event is written as JSON")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wachter_model::{Event, RunId};

    use super::*;

    async fn journal(count: usize) -> (tempfile::TempDir, Bus) {
        let folder = tempfile::tempdir().unwrap();
        let bus = Bus::open(wachter_bus::Options::new(folder.path())).unwrap();
        let (source, rare, common) =
            ("/here".parse().unwrap(), "a.rare".parse().unwrap(), "a.common".parse().unwrap());
        let events: Vec<Event> = (1..=count)
            .map(|number| {
                let topic = if number % 1_000 == 7 { &rare } else { &common };
                Event::builder(wachter_model::Source::clone(&source), topic).build().unwrap()
            })
            .collect();
        for batch in events.chunks(2_000) {
            bus.publish(batch.to_vec()).await.unwrap();
        }
        (folder, bus)
    }

    #[tokio::test]
    async fn the_newest_are_found_however_far_back() {
        let (_folder, bus) = journal(10_000).await;
        let check = async |topic: &str, after: Option<u64>, limit: usize, expected: &[u64]| {
            let bounds = Bounds { after, since: None };
            let filter = topics(Some(topic)).unwrap();
            let found =
                latest(&bus, filter, bounds, limit, |stored| Some((0, stored.seq.get()))).await;
            assert_eq!(found.unwrap(), expected, "{topic} {after:?} {limit}");
        };
        check("a.common", None, 2, &[9_999, 10_000]).await;
        check("a.rare", None, 1, &[9_007]).await;
        check("a.rare", None, 3, &[7_007, 8_007, 9_007]).await;
        check("a.rare", Some(8_006), 9, &[8_007, 9_007]).await;
        check("a.rare", Some(9_007), 9, &[]).await;
        check("a.rare,a.common", Some(9_998), 9, &[9_999, 10_000]).await;
        let all = latest(&bus, topics(None).unwrap(), Bounds::default(), 20_000, |_| Some((0, ())));
        assert_eq!(all.await.unwrap().len(), 10_000);
        let far = Timestamp::now().saturating_add(SLACK).unwrap();
        let bounds = Bounds { since: Some(far), after: None };
        let none = latest(&bus, topics(None).unwrap(), bounds, 5, |_| Some((0, ())));
        assert!(none.await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn the_newest_few_of_a_long_journal_are_read_alone() {
        let (_folder, bus) = journal(20_000).await;
        let check = async |topic: Option<&str>, limit: usize, most: usize| {
            let mut looked_at = 0;
            let found = latest(&bus, topics(topic).unwrap(), Bounds::default(), limit, |stored| {
                looked_at += 1;
                Some((0, stored.seq.get()))
            });
            assert_eq!(found.await.unwrap().len(), limit);
            assert!(looked_at <= most, "{looked_at} for the last {limit} of {topic:?}");
        };
        check(None, 1, 1_024).await;
        check(None, 50, 1_024).await;
        check(None, 1_000, 2_000).await;
        // One of a thousand: those of the last 1,024 and of the last 4,096.
        check(Some("a.rare"), 4, 1 + 4).await;
    }

    #[tokio::test]
    async fn what_was_not_found_is_not_counted() {
        let (_folder, bus) = journal(3_000).await;
        let even =
            |stored: &Stored| Some((0, stored.seq.get())).filter(|(_, seq)| seq % 1_000 == 0);
        let found = latest(&bus, topics(None).unwrap(), Bounds::default(), 2, even).await;
        assert_eq!(found.unwrap(), [2_000, 3_000]);
    }

    #[tokio::test]
    async fn a_list_of_large_things_is_cut_short() {
        let (_folder, bus) = journal(10).await;
        let check = async |each: usize, expected: &[u64]| {
            let large = |stored: &Stored| Some((each, stored.seq.get()));
            let found = latest(&bus, topics(None).unwrap(), Bounds::default(), 4, large).await;
            assert_eq!(found.unwrap(), expected, "{each}");
        };
        check(MOST_BYTES / 4, &[7, 8, 9, 10]).await;
        check(MOST_BYTES / 2, &[9, 10]).await;
        check(MOST_BYTES * 2, &[10]).await;
    }

    #[test]
    fn an_identifier_says_when_it_was_made() {
        let before = Timestamp::now();
        let made = made_at(&RunId::new().to_string()).unwrap();
        assert!((made - before).get_milliseconds().abs() < 60_000, "{made}");
        for other in ["", "a", "6f6b1a0e-2c8f-4b1d-9d4e-0c7d4f3a2b19", &"é".repeat(18)] {
            assert_eq!(made_at(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_identifier_or_none(text in "\\PC{0,40}") {
            let _ = made_at(&text);
            let _ = text.get(..36).and_then(made_at);
        }

        #[test]
        fn any_text_is_a_filter_or_refused(text in "\\PC{0,40}") {
            let _ = topics(Some(&text));
        }
    }
}
