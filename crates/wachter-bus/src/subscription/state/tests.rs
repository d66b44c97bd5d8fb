use super::*;
use crate::subscription::SubscriptionName;
use wachter_model::Event;

fn state() -> State {
    let name: SubscriptionName = "one".parse().unwrap();
    State::new(SubscriptionOptions::new(name), Cursor::default(), false)
}

/// A cursor that moved on between the making of what is written and the commit is written again.
#[test]
fn what_changes_while_a_cursor_is_written_is_not_taken_for_written() {
    let mut state = state();
    state.pass(Seq::new(3));
    let cursor = state.cursor(Seq::ZERO, &CursorChange::default());
    let version = state.version();
    state.pass(Seq::new(4));
    state.written(version, cursor.position);
    assert!(state.is_unwritten(Seq::ZERO, false));
    let version = state.version();
    state.written(version, Seq::new(4));
    assert!(!state.is_unwritten(Seq::ZERO, true));
}

/// What is fed passes over what it was not given, without a write until that is worth one.
#[test]
fn a_subscription_that_is_fed_keeps_up_with_what_it_does_not_want() {
    let mut state = state();
    assert_eq!(state.floor(Seq::new(9)), Seq::ZERO, "it is not fed");
    state.live = true;
    assert_eq!(state.floor(Seq::new(9)), Seq::new(9));
    assert!(!state.is_unwritten(Seq::new(9), false));
    assert!(state.is_unwritten(Seq::new(9), true));
    assert!(state.is_unwritten(Seq::new(10_000), false));
}

/// Only the transaction that settles an event may leave it out of the cursor: another one that is
/// committed before would lose it.
#[test]
fn what_is_being_settled_is_open_to_every_other_transaction() {
    let mut state = state();
    for seq in [1, 2] {
        let open =
            Open { seq: Seq::new(seq), deliveries: 1, failures: 0, revived: false, owed: false };
        state.pending.insert(open.seq, Pending::told_of(open));
    }
    state.position = Seq::new(2);
    state.pending.get_mut(&Seq::new(1)).unwrap().phase = Phase::Settling(1);
    state.pending.get_mut(&Seq::new(2)).unwrap().phase = Phase::Burying;
    let open = |state: &mut State, settled: &[u64]| -> Vec<u64> {
        let settled = settled.iter().copied().map(Seq::new).collect();
        let change = CursorChange { settled, ..CursorChange::default() };
        state.cursor(Seq::ZERO, &change).open.iter().map(|open| open.seq.get()).collect()
    };
    assert_eq!(open(&mut state, &[]), [1, 2]);
    assert_eq!(open(&mut state, &[1]), [2]);
    assert_eq!(open(&mut state, &[2, 1]), [0; 0]);
}

/// Between the two ends of a jump nothing is given again, and nothing counts as lost.
#[test]
fn a_replay_passes_over_what_lies_behind_its_end() {
    let mut state = state();
    state.pass(Seq::new(9));
    let given = state.set_back(Again { after: Seq::new(2), to: Some(Seq::new(4)) }, Seq::new(9));
    assert_eq!(given, (Seq::new(2), Seq::new(4)));
    assert_eq!((state.position, state.floor(Seq::new(9))), (Seq::new(2), Seq::new(2)));
    assert_eq!(state.would_lose(Seq::new(9), Seq::new(9)), 2);
    assert_eq!(state.would_lose(Seq::new(3), Seq::new(9)), 1);
    state.pass(Seq::new(3));
    assert_eq!(state.position, Seq::new(3));
    state.pass(Seq::new(4));
    assert_eq!(state.position, Seq::new(9));
    assert_eq!(state.would_lose(Seq::new(9), Seq::new(9)), 0);
    assert!(state.is_replay(Seq::new(9)) && !state.is_replay(Seq::new(10)));
}

/// The end of a jump is passed also where the subscription wants nothing at its beginning.
#[test]
fn a_replay_ends_although_nothing_is_wanted_at_its_end() {
    let mut state = state();
    state.pass(Seq::new(9));
    state.set_back(Again { after: Seq::new(2), to: Some(Seq::new(5)) }, Seq::new(9));
    [3, 7, 12].map(stored).iter().for_each(|stored| state.look_at(stored));
    assert_eq!(state.pending.keys().map(|seq| seq.get()).collect::<Vec<_>>(), [3, 12]);
}

fn stored(seq: u64) -> Stored {
    let event = Event::builder("/here".parse().unwrap(), &"a".parse().unwrap()).build().unwrap();
    Stored { seq: Seq::new(seq), at: jiff::Timestamp::UNIX_EPOCH, event: Arc::new(event), bytes: 9 }
}

/// A state that looks at the database, where the end is at 2.
fn looking() -> State {
    let mut state = state();
    state.members = 1;
    assert!(matches!(state.step(Duration::ZERO), Step::Read { room: 1.., .. }));
    state.reading = false;
    state
}

/// While others publish without end, the end that was looked for is never the end any more.
#[test]
fn what_is_committed_during_a_look_does_not_make_it_look_again() {
    let mut state = looking();
    state.offer([stored(2), stored(3)].iter(), Seq::new(1));
    state.offer([stored(5)].iter(), Seq::new(4));
    [stored(1), stored(2)].iter().for_each(|stored| state.look_at(stored));
    state.join(Some(Seq::new(2)));
    assert!(state.live);
    assert_eq!(state.pending.keys().map(|seq| seq.get()).collect::<Vec<_>>(), [1, 2, 3, 5]);
    // What is offered now is fed, and what was not offered is not wanted.
    state.offer([stored(7)].iter(), Seq::new(6));
    assert_eq!(state.floor(Seq::new(7)), Seq::ZERO);
    assert_eq!(state.pending.len(), 5);
}

#[test]
fn a_look_that_does_not_reach_the_end_is_followed_by_another() {
    let mut state = looking();
    state.offer([stored(5)].iter(), Seq::new(4));
    state.join(None);
    assert!(!state.live);
    assert!(state.pending.is_empty());
    assert!(matches!(state.step(Duration::ZERO), Step::Read { .. }));
}

/// What is offered during a look is kept up to a limit; beyond it, it is read.
#[test]
fn what_is_kept_during_a_look_is_bounded() {
    let mut state = looking();
    let many: Vec<_> = (3..1_000).map(stored).collect();
    state.offer(many.iter(), Seq::new(2));
    assert!(state.ahead.is_none());
    state.join(Some(Seq::new(2)));
    assert!(!state.live);
    assert!(state.pending.is_empty());
}

/// Where there is no room for what was kept, it is read when there is.
#[test]
fn what_there_is_no_room_for_is_read_later() {
    let mut state = looking();
    let window = state.options.window() as u64;
    state.offer([stored(window + 5)].iter(), Seq::ZERO);
    (1..=window).for_each(|seq| state.look_at(&stored(seq)));
    state.join(Some(Seq::new(window + 3)));
    assert!(!state.live);
    assert_eq!(state.position, Seq::new(window + 4));
}
