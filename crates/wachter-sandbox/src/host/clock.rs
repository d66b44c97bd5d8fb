use std::time::Duration;

use wachter_protocol::module::host::{Clock, Discipline, Moment};

use super::program::output;
use super::root::{HostRoot, Missing};

const TIMEDATECTL: &str = "usr/bin/timedatectl";
const TIME: Duration = Duration::from_secs(3);
const MAX_OUTPUT: usize = 1 << 12;

/// The error from which on the kernel counts a clock as unsynchronized, in microseconds
/// (`NTP_PHASE_LIMIT`). It gets there by itself while nothing keeps the clock in step. systemd draws the
/// line at the same place; the flag `STA_UNSYNC` alone is not enough, since a chrony that does not set
/// the hardware clock leaves it set.
const UNKNOWN_ERROR: u64 = 16_000_000;

/// Whether the time of day is kept in step.
///
/// The kernel tells, unless the node's unit takes the call away together with those that set the clock
/// (`ProtectClock=`). Then systemd's own answer to the same question has to do.
pub(super) fn sample(root: &HostRoot, taken: &Moment, missing: &mut Missing<'_>) -> Option<Clock> {
    let refused = if root.is_alive() {
        match ask() {
            Ok(answer) => {
                let (synchronized, discipline) = told(&answer);
                let discipline = Some(discipline);
                return Some(Clock { taken: taken.clone(), synchronized, discipline });
            }
            Err(error) => error.to_string(),
        }
    } else {
        "this is a recorded host".to_owned()
    };
    if !root.path("run/systemd/system").is_dir() {
        missing.say(format_args!("the kernel does not tell how it keeps time: {refused}"));
        return None;
    }
    let arguments = ["show", "--property=NTPSynchronized", "--value"];
    match output(&root.path(TIMEDATECTL), &arguments, TIME, MAX_OUTPUT) {
        Ok(answer) => {
            let synchronized = answer.trim() == "yes";
            Some(Clock { taken: taken.clone(), synchronized, discipline: None })
        }
        Err(error) => {
            missing.say(format_args!(
                "the kernel does not tell how it keeps time: {refused}; neither does `timedatectl`: {error}"
            ));
            None
        }
    }
}

/// adjtimex(2), with nothing to adjust.
#[expect(unsafe_code, reason = "no crate that is kept up wraps adjtimex(2)")]
fn ask() -> std::io::Result<libc::timex> {
    // SAFETY: a `timex` is integers alone, for which zero is a value.
    let mut answer: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one `timex` through the pointer, which is valid for that, and keeps it
    // no longer than the call. `modes` is 0, so nothing is changed.
    match unsafe { libc::adjtimex(&raw mut answer) } {
        -1 => Err(std::io::Error::last_os_error()),
        _ => Ok(answer),
    }
}

fn told(answer: &libc::timex) -> (bool, Discipline) {
    let maximum = u64::try_from(answer.maxerror).unwrap_or(0);
    let offset = if answer.status & libc::STA_NANO == 0 {
        answer.offset.saturating_mul(1_000)
    } else {
        answer.offset
    };
    let discipline = Discipline {
        offset_nanoseconds: offset,
        estimated_error_microseconds: u64::try_from(answer.esterror).unwrap_or(0),
        maximum_error_microseconds: maximum,
        // Parts per million with 16 bits after the point.
        frequency_parts_per_billion: answer.freq.saturating_mul(1_000) / 65_536,
    };
    (maximum < UNKNOWN_ERROR, discipline)
}

#[cfg(test)]
mod tests {
    use super::super::program::write_program;
    use super::*;
    use wachter_protocol::HostView;

    #[test]
    fn what_the_kernel_answers() {
        let of = |maxerror, status, offset| {
            let mut answer = ask().unwrap();
            (answer.maxerror, answer.status, answer.offset) = (maxerror, status, offset);
            (answer.esterror, answer.freq) = (70, -65_536);
            told(&answer)
        };
        for (maxerror, status, offset, synchronized, nanoseconds) in [
            (16_000_000, libc::STA_UNSYNC, 0, false, 0),
            (15_999_999, libc::STA_UNSYNC, 3, true, 3_000),
            (500, libc::STA_NANO | libc::STA_PLL, -250, true, -250),
        ] {
            let (told, clock) = of(maxerror, status, offset);
            assert_eq!((told, clock.offset_nanoseconds), (synchronized, nanoseconds));
            assert_eq!(clock.estimated_error_microseconds, 70);
            assert_eq!(clock.frequency_parts_per_billion, -1_000);
        }
    }

    #[test]
    fn where_the_kernel_may_not_be_asked() {
        for (script, expected) in [
            ("[ \"$*\" = 'show --property=NTPSynchronized --value' ] && echo yes", Some(true)),
            ("echo no", Some(false)),
            ("exit 1", None),
        ] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(folder.path().join("run/systemd/system")).unwrap();
            write_program(&folder.path().join(TIMEDATECTL), script);
            let mut missing = Vec::new();
            let mut sentences = Missing::of(HostView::Clock, &mut missing);
            let root = HostRoot::at(folder.path());
            let clock = sample(&root, &Moment::default(), &mut sentences);
            assert_eq!(clock.map(|clock| clock.synchronized), expected, "{script}");
            assert_eq!(missing.is_empty(), expected.is_some(), "{missing:?}");
        }
    }
}
