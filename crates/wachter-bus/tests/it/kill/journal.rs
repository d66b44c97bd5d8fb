//! What the journal has to hold after a kill.

use std::collections::BTreeMap;

use wachter_bus::{Bus, DeadLetterId, Outputs, Query, Seq};

use super::child::{ATTEMPTS, COUNTS, work};
use super::said::Said;
use crate::support::{event, next, number_of};

/// What the journal has of one event and what came of it.
#[derive(Default)]
struct Told {
    done: usize,
    /// The numbers of its failures, in the order of the journal.
    failed: Vec<u64>,
}

pub(super) async fn examine(bus: &Bus, said: &mut Said) {
    let opened = bus.opened();
    assert!(!opened.clean);
    assert_eq!(opened.damage, []);
    assert!(opened.cursors_reset.is_empty() && opened.salvage.is_none(), "{opened:?}");
    // Before anything is said to be missing, what retention drops further is waited for.
    bus.look_after().await.unwrap();
    let report = bus.verify(Seq::ZERO, Vec::new()).await.unwrap();
    assert!(report.is_sound(), "{report:?}");
    said.forget_before(bus.status().first);

    let (there, told) = read(bus).await;
    for (seq, id) in &said.published {
        assert_eq!(there.get(seq), Some(id), "{seq} was acknowledged and is not there");
    }
    for seq in &said.settled {
        assert_eq!(told.get(&there[seq]).map(|told| told.done), Some(1), "the output of {seq}");
    }
    for (id, told) in &told {
        assert!(told.done <= 1, "the output of {id} was written twice");
        let counted: Vec<_> = (1..=told.failed.len() as u64).collect();
        assert_eq!(told.failed, counted, "failures of {id} are counted as they are told");
    }
    for (seq, number) in &said.failed {
        let failed = &told[&there[seq]].failed;
        assert!(failed.len() as u64 >= *number, "failure {number} of {seq} is not there");
    }
    examine_dead_letters(bus, said, &there, &told).await;
    for (worker, said) in &said.counted {
        let entry = bus.key(COUNTS, worker).await.unwrap().unwrap();
        let value = u64::from_be_bytes(entry.value.try_into().unwrap());
        assert!((*said..=said + 1).contains(&value), "worker {worker} counted {said}, not {value}");
    }
}

async fn examine_dead_letters(
    bus: &Bus,
    said: &mut Said,
    there: &BTreeMap<Seq, String>,
    told: &BTreeMap<String, Told>,
) {
    let dead = bus.dead_letters(None, DeadLetterId::new(0), 10_000).await.unwrap();
    for dead in &dead {
        assert_eq!(dead.failures, ATTEMPTS);
        if let Some(id) = there.get(&dead.seq) {
            assert_eq!(told[id].failed.len(), ATTEMPTS as usize, "failures of {}", dead.seq);
        }
    }
    for seq in said.failed_now.iter().filter(|(_, number)| **number == u64::from(ATTEMPTS)) {
        assert!(dead.iter().any(|dead| dead.seq == *seq.0), "{} was given up", seq.0);
        said.totals.given_up += 1;
    }
}

/// The identifiers of events by place, and what came of each by identifier of its cause.
async fn read(bus: &Bus) -> (BTreeMap<Seq, String>, BTreeMap<String, Told>) {
    let (mut there, mut told) = (BTreeMap::new(), BTreeMap::<String, Told>::new());
    let mut causes = BTreeMap::new();
    let mut replay = bus.replay(Query::default());
    while let Some(stored) = replay.next().await {
        let stored = stored.unwrap();
        // Of what is dropped, some of the failures may be dropped too.
        if let Some(cause) = stored.event.causation_id().filter(|cause| causes.contains_key(*cause))
        {
            let told = told.entry(cause.to_owned()).or_default();
            match stored.event.event_type() {
                "done" => told.done += 1,
                _ => told.failed.push(number_of(&stored.event)),
            }
        }
        causes.insert(stored.event.id().to_string(), stored.seq);
        there.insert(stored.seq, stored.event.id().to_string());
    }
    (there, told)
}

/// Works off what is open: nothing that was accepted was forgotten.
pub(super) async fn drain(bus: &Bus, said: &Said) {
    let subscription = bus.subscribe(work()).await.unwrap();
    let end = bus.publish(vec![event("work").build().unwrap()]).await.unwrap()[0].seq;
    let mut delivered = Vec::new();
    loop {
        let status = subscription.status();
        if delivered.last() == Some(&end) && status.in_flight + status.retrying == 0 {
            break;
        }
        let mut delivery = next(&subscription).await;
        delivered.push(delivery.seq());
        delivery.ack(Outputs::default()).await.unwrap();
    }
    let (there, told) = read(bus).await;
    for seq in said.published.range(bus.status().first..).map(|(seq, _)| seq) {
        let told = told.get(&there[seq]);
        let done = told.is_some_and(|told| told.done == 1);
        let given_up = told.is_some_and(|told| told.failed.len() == ATTEMPTS as usize);
        let ends = usize::from(done) + usize::from(given_up);
        assert_eq!(ends + usize::from(delivered.contains(seq)), 1, "the end of {seq}");
    }
}
