//! Of the whole folder: what is taken and refused, and points in time held against a naive count.

mod cron;
mod document;
mod window;

use jiff::Timestamp;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn zone(name: &str) -> super::Zone {
    name.parse().unwrap_or_else(|error| panic!("{error}"))
}

/// Zones with and without changes of offset, by an hour and by half, on both halves of the Earth, and
/// one whose changes follow the moon.
const ZONES: [&str; 6] = [
    "Europe/Amsterdam",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Asia/Kolkata",
    "UTC",
];
