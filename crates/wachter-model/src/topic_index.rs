use std::collections::HashMap;

use crate::TopicFilter;

/// Finds which of many topic filters mean a topic, without asking each.
///
/// A tree by words: its cost grows with the words of the topic and the filters that match, not with
/// the filters that do not.
#[derive(Clone, Debug)]
pub struct TopicIndex<T> {
    nodes: Vec<Node>,
    values: Vec<T>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    words: HashMap<Box<str>, usize>,
    /// The node after `*`.
    any: Option<usize>,
    /// Filters that end here.
    here: Vec<usize>,
    /// Filters that end with `>` after this.
    tail: Vec<usize>,
}

impl<T> TopicIndex<T> {
    /// An index of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self { nodes: vec![Node::default()], values: Vec::new() }
    }

    /// Adds a filter with what is found by it. The same filter may be added many times.
    pub fn insert(&mut self, filter: &TopicFilter, value: T) {
        let place = self.values.len();
        self.values.push(value);
        let mut node = 0;
        for word in filter.as_str().split('.') {
            let next = self.nodes.len();
            node = match word {
                ">" => {
                    self.nodes[node].tail.push(place);
                    return;
                }
                "*" => *self.nodes[node].any.get_or_insert(next),
                word => match self.nodes[node].words.get(word) {
                    Some(known) => *known,
                    None => {
                        self.nodes[node].words.insert(word.into(), next);
                        next
                    }
                },
            };
            if node == next {
                self.nodes.push(Node::default());
            }
        }
        self.nodes[node].here.push(place);
    }

    /// Calls `found` with each value whose filter means the topic written as `topic`, in no order.
    pub fn find<'a>(&'a self, topic: &str, mut found: impl FnMut(&'a T)) {
        self.walk(0, Some(topic), &mut |place| found(&self.values[place]));
    }

    fn walk(&self, node: usize, rest: Option<&str>, found: &mut impl FnMut(usize)) {
        let node = &self.nodes[node];
        let Some(rest) = rest else {
            node.here.iter().copied().for_each(found);
            return;
        };
        node.tail.iter().copied().for_each(&mut *found);
        let (word, rest) = match rest.split_once('.') {
            Some((word, rest)) => (word, Some(rest)),
            None => (rest, None),
        };
        if let Some(next) = node.words.get(word) {
            self.walk(*next, rest, found);
        }
        if let Some(next) = node.any {
            self.walk(next, rest, found);
        }
    }
}

impl<T> Default for TopicIndex<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_what_each_filter_by_itself_means(
            filters in prop::collection::vec("(a|b|\\*)(\\.(a|b|\\*)){0,3}(\\.>)?|>", 0..30),
            topic in "(a|b|c)(\\.(a|b|c)){0,4}",
        ) {
            let filters: Vec<TopicFilter> =
                filters.iter().map(|filter| filter.parse().unwrap()).collect();
            let mut index = TopicIndex::new();
            for (place, filter) in filters.iter().enumerate() {
                index.insert(filter, place);
            }
            let mut found = Vec::new();
            index.find(&topic, |place| found.push(*place));
            found.sort_unstable();
            let topic = topic.parse().unwrap();
            let expected: Vec<_> =
                (0..filters.len()).filter(|place| filters[*place].matches(&topic)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
