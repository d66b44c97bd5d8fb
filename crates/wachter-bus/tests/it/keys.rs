use std::time::Duration;

use wachter_bus::{Bus, Expect, KeyChange, KeyConflict, KeyError, WatchError};

use crate::support::Fixture;

fn put(key: &str, value: &str, expect: Expect) -> KeyChange {
    KeyChange {
        bucket: "b".into(),
        key: key.into(),
        value: Some(value.into()),
        expect,
        lasts: None,
    }
}

fn remove(key: &str, expect: Expect) -> KeyChange {
    KeyChange { value: None, ..put(key, "", expect) }
}

async fn value(bus: &Bus, key: &str) -> Option<String> {
    bus.key("b", key).await.unwrap().map(|entry| String::from_utf8(entry.value).unwrap())
}

#[tokio::test]
async fn changes_are_made_only_if_all_is_as_expected() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    let first = bus.change_keys(vec![put("a", "1", Expect::Absent)]).await.unwrap()[0];
    let conflict = |found| KeyConflict::Changed { bucket: "b".into(), key: "a".into(), found };
    for (changes, found) in [
        (vec![put("x", "1", Expect::Absent), put("a", "2", Expect::Absent)], Some(first)),
        (vec![put("a", "2", Expect::Revision(first + 1))], Some(first)),
        (vec![remove("a", Expect::Absent)], Some(first)),
    ] {
        let error = bus.change_keys(changes).await.unwrap_err();
        assert!(matches!(&error, KeyError::Conflict(is) if *is == conflict(found)), "{error}");
        assert_eq!((value(&bus, "x").await, value(&bus, "a").await.as_deref()), (None, Some("1")));
    }
    let second = bus.change_keys(vec![put("a", "2", Expect::Revision(first))]).await.unwrap()[0];
    assert!(second > first);
    assert_eq!(bus.change_keys(vec![remove("a", Expect::Revision(second))]).await.unwrap(), [0]);
    let third = bus.change_keys(vec![put("a", "3", Expect::Absent)]).await.unwrap()[0];
    drop(bus);
    let bus = fixture.open();
    assert_eq!(value(&bus, "a").await.as_deref(), Some("3"));
    bus.change_keys(vec![remove("a", Expect::Anything)]).await.unwrap();
    let fourth = bus.change_keys(vec![put("a", "4", Expect::Absent)]).await.unwrap()[0];
    assert!(second < third && third < fourth, "a revision is never given twice");
    let large = put("a", &"x".repeat((1 << 20) + 1), Expect::Anything);
    let error = bus.change_keys(vec![large]).await.unwrap_err();
    assert!(matches!(error, KeyError::Conflict(KeyConflict::TooLarge(_))));
}

#[tokio::test]
async fn keys_run_out_and_are_listed_by_prefix() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    let short =
        KeyChange { lasts: Some(Duration::from_secs(10)), ..put("p/2", "s", Expect::Absent) };
    let others = ["p/1", "p/3", "q"].map(|key| put(key, key, Expect::Anything));
    bus.change_keys(others.into_iter().chain([short]).collect()).await.unwrap();
    let listed = async |prefix| {
        let entries = bus.keys("b", prefix).await.unwrap();
        entries.into_iter().map(|entry| entry.key).collect::<Vec<_>>()
    };
    assert_eq!(listed("p/").await, ["p/1", "p/2", "p/3"]);
    let mut watch = bus.watch_keys("b");
    fixture.clock.advance(Duration::from_secs(10));
    assert_eq!(listed("").await, ["p/1", "p/3", "q"]);
    // Before anyone has cleared it away it counts as absent, too.
    bus.change_keys(vec![put("p/2", "again", Expect::Absent)]).await.unwrap();
    let event = watch.next().await.unwrap();
    assert_eq!((event.key.as_str(), event.entry.unwrap().value.as_slice()), ("p/2", &b"again"[..]));
    let short = KeyChange { lasts: Some(Duration::from_secs(10)), ..put("r", "s", Expect::Absent) };
    bus.change_keys(vec![short]).await.unwrap();
    watch.next().await.unwrap();
    fixture.clock.advance(Duration::from_secs(10));
    bus.look_after().await.unwrap();
    let event = watch.next().await.unwrap();
    assert_eq!((event.key.as_str(), event.entry), ("r", None));
}

#[tokio::test]
async fn a_watch_says_what_it_missed() {
    let fixture = Fixture::new();
    let bus = fixture.open();
    let mut watch = bus.watch_keys("b");
    for start in 0..12 {
        let changes =
            (0..100).map(|n| put(&format!("{start}/{n}"), "", Expect::Anything)).collect();
        bus.change_keys(changes).await.unwrap();
    }
    assert_eq!(watch.next().await, Err(WatchError::Lagged(176)));
    assert_eq!(watch.next().await.unwrap().key, "1/76");
}
