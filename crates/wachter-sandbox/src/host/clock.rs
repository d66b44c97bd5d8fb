use wachter_protocol::module::host::{Clock, Moment};

use super::root::{HostRoot, Missing};

/// The error from which on the kernel counts a clock as unsynchronized, in microseconds
/// (`NTP_PHASE_LIMIT`). It gets there by itself while nothing keeps the clock in step. systemd draws the
/// line at the same place; the flag `STA_UNSYNC` alone is not enough, since a chrony that does not set
/// the hardware clock leaves it set.
const UNKNOWN_ERROR: u64 = 16_000_000;

/// Whether the time of day is kept in step.
pub(super) fn sample(root: &HostRoot, taken: &Moment, missing: &mut Missing<'_>) -> Option<Clock> {
    if !root.is_alive() {
        missing.say("only the clock of the host that is running can be asked");
        return None;
    }
    match ask() {
        Ok(answer) => Some(Clock { taken: taken.clone(), ..told(&answer) }),
        Err(error) => {
            missing.say(format_args!(
                "the kernel does not tell how it keeps time: {error}; under systemd, `ProtectClock=` of the unit must be off and `SystemCallFilter=` must have adjtimex"
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

fn told(answer: &libc::timex) -> Clock {
    let maximum = u64::try_from(answer.maxerror).unwrap_or(0);
    let offset = if answer.status & libc::STA_NANO == 0 {
        answer.offset.saturating_mul(1_000)
    } else {
        answer.offset
    };
    Clock {
        synchronized: maximum < UNKNOWN_ERROR,
        offset_nanoseconds: offset,
        estimated_error_microseconds: u64::try_from(answer.esterror).unwrap_or(0),
        maximum_error_microseconds: maximum,
        // Parts per million with 16 bits after the point.
        frequency_parts_per_billion: answer.freq.saturating_mul(1_000) / 65_536,
        ..Clock::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let clock = of(maxerror, status, offset);
            assert_eq!((clock.synchronized, clock.offset_nanoseconds), (synchronized, nanoseconds));
            assert_eq!(clock.estimated_error_microseconds, 70);
            assert_eq!(clock.frequency_parts_per_billion, -1_000);
        }
    }
}
