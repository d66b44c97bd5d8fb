use std::sync::Arc;

use wachter_model::{TopicFilter, TopicIndex};

use crate::Seq;
use crate::stored::Stored;
use crate::subscription::Shared;

/// Finds the subscriptions whose topics mean an event, without asking each.
pub(crate) struct Routes {
    subscriptions: Vec<Arc<Shared>>,
    /// Places in the list above.
    index: TopicIndex<usize>,
}

impl Routes {
    pub(crate) fn of(subscriptions: impl Iterator<Item = Arc<Shared>>) -> Self {
        let subscriptions: Vec<_> = subscriptions.collect();
        let everything: TopicFilter = ">".parse().expect("a constant filter");
        let mut index = TopicIndex::new();
        for (place, subscription) in subscriptions.iter().enumerate() {
            let topics = subscription.filter().topics;
            if topics.is_empty() {
                index.insert(&everything, place);
            }
            topics.iter().for_each(|filter| index.insert(filter, place));
        }
        Self { subscriptions, index }
    }

    /// Offers what was just committed to whoever may want it, in the order of places. All up to
    /// `offered` was offered before.
    pub(crate) fn offer(&self, events: &[Stored], offered: Seq) {
        let mut found = Vec::new();
        for (number, stored) in events.iter().enumerate() {
            self.index.find(stored.event.event_type(), |place| found.push((*place, number)));
        }
        // Two filters of one subscription may mean the same event.
        found.sort_unstable();
        found.dedup();
        for wanted in found.chunk_by(|(one, _), (other, _)| one == other) {
            let events = wanted.iter().map(|(_, number)| &events[*number]);
            self.subscriptions[wanted[0].0].offer(events, offered);
        }
    }
}
