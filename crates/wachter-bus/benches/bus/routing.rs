//! How many events a second are matched with many filters, of which one in a hundred means each.

use std::hint::black_box;
use std::time::Instant;

use wachter_model::{TopicFilter, TopicIndex};

const FILTERS: usize = 500;
const TOPICS: usize = 1_000;
const GOAL: f64 = 1e6;

pub(crate) fn measure() {
    let mut index = TopicIndex::new();
    let mut filters = Vec::<TopicFilter>::new();
    // Five filters for each of a hundred first words, of every kind.
    for number in 0..FILTERS {
        let word = number % 100;
        let text = match number / 100 {
            0 => format!("word{word}.>"),
            1 => format!("word{word}.*.end"),
            2 => format!("*.of{word}.end"),
            3 => format!("word{word}.of{word}.end"),
            _ => format!("word{word}.of{word}.*"),
        };
        let filter: TopicFilter = text.parse().expect("a filter");
        index.insert(&filter, number);
        filters.push(filter);
    }
    let topics: Vec<_> = (0..TOPICS).map(|n| format!("word{0}.of{0}.end", n % 100)).collect();
    let (mut matched, mut events) = (0_u64, 0_u64);
    let begun = Instant::now();
    while begun.elapsed().as_secs_f64() < 1.0 {
        for topic in &topics {
            index.find(black_box(topic), |_| matched += 1);
        }
        events += TOPICS as u64;
    }
    let rate = events as f64 / begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    let mut each = 0_u64;
    for topic in &topics {
        each +=
            filters.iter().filter(|filter| filter.matches_text(black_box(topic))).count() as u64;
    }
    let by_each = TOPICS as f64 / begun.elapsed().as_secs_f64();
    assert_eq!(matched / events, each / TOPICS as u64, "both find the same");
    println!(
        "routing over {FILTERS} filters, {} of which match: {:.2} M events/s; asking each {:.2} M{}",
        matched / events,
        rate / 1e6,
        by_each / 1e6,
        if rate < GOAL { " MISSED (goal 1 M)" } else { "" }
    );
}
