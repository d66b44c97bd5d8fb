//! The one place that prints: talk to stderr, data to stdout.

use std::time::Duration;

/// A line for the person who waits.
#[expect(clippy::print_stderr, reason = "this is the one place that talks")]
pub(crate) fn line(text: &str) {
    eprintln!("{text}");
}

/// A line that another program may read.
#[expect(clippy::print_stdout, reason = "this is the one place that prints data")]
pub(crate) fn data(text: &str) {
    println!("{text}");
}

/// `3.2 s` below a minute, `4 min 05 s` above.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 60 {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        for (milliseconds, expected) in [
            (0, "0.0 s"),
            (1_250, "1.2 s"),
            (59_900, "59.9 s"),
            (60_000, "1 min 00 s"),
            (365_000, "6 min 05 s"),
        ] {
            assert_eq!(duration(Duration::from_millis(milliseconds)), expected);
        }
    }
}
