use std::collections::HashMap as Model;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn identity(number: u32) -> Identity {
    use sha2::{Digest as _, Sha256};
    Identity::from_bytes(Sha256::digest(number.to_be_bytes())[..16].try_into().unwrap())
}

fn store() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    crate::schema::migrate(&connection).unwrap();
    connection
}

fn limits(ids: usize, generation: usize) -> DedupWindow {
    DedupWindow { ids, age: Duration::from_secs(1_000), generation }
}

fn freeze(window: &mut Window, connection: &Connection, now: i64) {
    let frozen = window.freeze(connection, now).unwrap();
    window.frozen(frozen);
}

#[test]
fn memory_stays_within_what_is_promised() {
    let (connection, mut window) = (store(), None);
    let window = window.insert(Window::open(&connection, DedupWindow::default()).unwrap());
    assert_eq!(window.memory(), 0);
    connection.execute_batch("BEGIN").unwrap();
    for number in 0..1_100_000 {
        if window.is_full(1) {
            freeze(window, &connection, 0);
        }
        window.remember(identity(number), Seq::new(u64::from(number) + 1), 0);
        window.commit();
    }
    assert!(window.memory() < 6 << 20, "{} bytes", window.memory());
    assert!((1_000_000..1_120_000).contains(&window.len()), "{}", window.len());
    for number in (100_000..1_100_000).step_by(997) {
        let found = window.find(&connection, &identity(number)).unwrap();
        assert_eq!(found, Some(Seq::new(u64::from(number) + 1)));
    }
    assert_eq!(window.find(&connection, &identity(0)).unwrap(), None);
}

#[test]
fn an_old_generation_is_dropped_by_age() {
    let connection = store();
    let mut window = Window::open(&connection, limits(1_000, 10)).unwrap();
    window.remember(identity(1), Seq::new(1), 0);
    freeze(&mut window, &connection, 0);
    window.remember(identity(2), Seq::new(2), 900_000);
    freeze(&mut window, &connection, 900_000);
    assert!(!window.has_aged(1_000_000) && window.has_aged(1_000_001));
    freeze(&mut window, &connection, 1_000_001);
    assert_eq!(window.find(&connection, &identity(1)).unwrap(), None);
    assert_eq!(window.find(&connection, &identity(2)).unwrap(), Some(Seq::new(2)));
    let rows: i64 =
        connection.query_row("SELECT count(*) FROM identities", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The window against a map, with roll-backs and reopening: at least the newest `ids` are known,
    /// and nothing is known that was not accepted.
    #[test]
    fn remembers_like_a_map(steps in proptest::collection::vec((0_u32..200, 0..10_u8), 1..300)) {
        let connection = store();
        let mut window = Window::open(&connection, limits(40, 8)).unwrap();
        let (mut model, mut order, mut next) = (Model::new(), Vec::new(), 1_u64);
        for (number, step) in steps {
            let found = window.find(&connection, &identity(number)).unwrap();
            if let Some(found) = found {
                prop_assert_eq!(Some(&found), model.get(&number));
            } else {
                let newest = &order[order.len().saturating_sub(40)..];
                prop_assert!(!newest.contains(&number), "{} forgotten", number);
                if window.is_full(1) {
                    freeze(&mut window, &connection, 0);
                }
                window.remember(identity(number), Seq::new(next), 0);
                if step == 0 {
                    window.roll_back();
                } else {
                    window.commit();
                    model.insert(number, Seq::new(next));
                    order.push(number);
                    next += 1;
                }
            }
            if step == 1 {
                let frozen = window.frozen_to();
                window = Window::open(&connection, limits(40, 8)).unwrap();
                prop_assert_eq!(window.frozen_to(), frozen);
                let mut young: Vec<_> = model.iter().filter(|(_, seq)| **seq > frozen).collect();
                young.sort_by_key(|(_, seq)| **seq);
                for (number, seq) in young {
                    window.remember(identity(*number), *seq, 0);
                }
                window.commit();
            }
        }
    }
}
