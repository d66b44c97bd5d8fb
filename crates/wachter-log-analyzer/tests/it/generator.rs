//! Logs of a host with days and weeks, and with faults whose place is known. The same seed gives the same log.

use jiff::Timestamp;

/// 2026-01-05 00:00 UTC, a Monday, in hours since the epoch.
const BEGIN: i64 = 490_992;

pub(crate) const WEEK: u32 = 168;

/// One line.
pub(crate) struct Line {
    pub(crate) time: Timestamp,
    pub(crate) program: &'static str,
    pub(crate) message: String,
}

/// What was made to go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FaultKind {
    NewError,
    RareEvent,
    Burst,
    Silence,
    OddNumber,
    OddName,
}

/// A fault, and where it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    /// Words that the template has, and no other.
    pub(crate) marker: &'static str,
    /// In which hours, the last one not included.
    pub(crate) from: u32,
    pub(crate) until: u32,
}

/// When lines come.
#[derive(Clone, Copy)]
enum Season {
    Always,
    Office,
    Evening,
    /// At this hour of the day.
    Nightly(u32),
    /// At this hour of the week.
    Weekly(u32),
    /// More each week, by this share.
    Growing(f64),
}

/// One kind of line: program, marker, lines an hour, season, and the rest of the message.
type Kind = (&'static str, &'static str, f64, Season, fn(&mut Random) -> String);

const KINDS: &[Kind] = &[
    ("sshd", "Accepted publickey for", 6.0, Season::Office, |r| {
        format!(
            "{} from 10.0.0.{} port {} ssh2",
            r.pick(&["ann", "ann", "ann", "bob", "deploy"]),
            r.below(9),
            r.port()
        )
    }),
    ("sshd", "Failed password for invalid user", 12.0, Season::Always, |r| {
        format!("{} from {} port {} ssh2", r.name(), r.address(), r.port())
    }),
    ("sshd", "Received disconnect from", 10.0, Season::Always, |r| {
        format!("{} port {}:11: Bye", r.address(), r.port())
    }),
    ("sshd", "pam_unix(sshd:session): session opened", 6.0, Season::Office, |r| {
        format!("for user {} by (uid=0)", r.pick(&["ann", "ann", "bob", "deploy"]))
    }),
    ("CRON", "pam_unix(cron:session): session opened", 4.0, Season::Always, |_| {
        "for user root by (uid=0)".into()
    }),
    ("CRON", "(root) CMD (run-parts", 1.0, Season::Always, |_| "/etc/cron.hourly)".into()),
    ("backup", "Backup finished", 1.0, Season::Nightly(3), |r| {
        format!("{} files {}MiB in {}s", 9000 + r.below(300), 700 + r.below(60), 200 + r.below(90))
    }),
    ("logrotate", "Rotated all logs", 1.0, Season::Nightly(0), |r| {
        format!("in {}ms", 300 + r.below(200))
    }),
    ("mdadm", "Array check of", 1.0, Season::Weekly(145), |r| {
        format!("md0 done, {} mismatches, took {}min", 0, 50 + r.below(9))
    }),
    ("certbot", "Certificate not yet due", 1.0, Season::Nightly(5), |r| {
        format!("for renewal, {} days left", 30 + r.below(50))
    }),
    ("shop", "GET request served", 60.0, Season::Office, |r| {
        format!(
            "status={} took {}ms bytes={}",
            r.pick(&["200", "200", "200", "200", "304", "404"]),
            r.spread(40.0, 0.5),
            r.spread(9000.0, 0.9)
        )
    }),
    ("shop", "POST request served", 14.0, Season::Evening, |r| {
        format!(
            "status={} took {}ms bytes={}",
            r.pick(&["200", "200", "201", "422"]),
            r.spread(90.0, 0.4),
            r.spread(700.0, 0.4)
        )
    }),
    ("shop", "cache hit ratio", 4.0, Season::Always, |r| {
        format!("{}% over {} entries", 80 + r.below(15), 5000 + r.below(400))
    }),
    ("shop", "payment accepted by provider", 5.0, Season::Evening, |r| {
        format!(
            "{} amount={}.{:02}",
            r.pick(&["ideal", "ideal", "card", "transfer"]),
            r.spread(35.0, 0.8),
            r.below(100)
        )
    }),
    ("shop", "session expired for customer", 8.0, Season::Growing(0.06), |r| {
        format!("{}", r.below(90_000))
    }),
    ("shop", "slow query on table", 1.2, Season::Office, |r| {
        format!(
            "{} took {}ms",
            r.pick(&["orders", "items", "users", "carts"]),
            r.spread(900.0, 0.3)
        )
    }),
    ("postfix", "connect from mail", 9.0, Season::Always, |r| {
        format!("{}.example.com[{}]", r.below(9), r.address())
    }),
    ("postfix", "message queued as", 7.0, Season::Office, |r| {
        format!("{:X} size={} nrcpt={}", r.below(1 << 30), r.spread(12_000.0, 1.0), 1 + r.below(3))
    }),
    ("postfix", "delivery status sent", 6.0, Season::Office, |r| {
        format!("delay={}.{} dsn=2.0.0", r.below(3), r.below(100))
    }),
    ("postfix", "warning: hostname does not resolve", 2.0, Season::Always, |r| r.address()),
    ("systemd", "Started session scope", 6.0, Season::Office, |r| {
        format!("c{} of user {}", r.below(9000), r.pick(&["ann", "bob", "root"]))
    }),
    ("systemd", "Starting apt daily upgrade", 1.0, Season::Nightly(6), |_| "activities".into()),
    ("systemd", "Finished apt daily upgrade", 1.0, Season::Nightly(6), |r| {
        format!("activities, {} packages", r.below(4))
    }),
    ("systemd", "Consumed cpu time by unit", 3.0, Season::Always, |r| {
        format!("{}.{}s", 1 + r.below(4), r.below(1000))
    }),
    ("systemd-timesyncd", "clock offset is", 2.0, Season::Always, |r| {
        format!("{}us jitter {}us", 100 + r.below(900), 100 + r.below(50))
    }),
    ("kernel", "UFW BLOCK inbound packet", 25.0, Season::Always, |r| {
        format!("SRC={} DPT={} LEN={}", r.address(), r.port(), 40 + r.below(20))
    }),
    ("kernel", "eth0 link statistics", 1.0, Season::Always, |r| {
        format!("rx {}MiB tx {}MiB", r.spread(300.0, 0.5), r.spread(100.0, 0.5))
    }),
    ("smartd", "Device temperature is", 2.0, Season::Always, |r| {
        format!("{} Celsius", 31 + r.below(6))
    }),
    ("dhclient", "DHCPACK renewal in", 1.0, Season::Always, |r| {
        format!("{} seconds", 1500 + r.below(300))
    }),
    ("apt", "installed update of package", 0.08, Season::Always, |r| {
        format!("{} version {}.{}", r.name(), r.below(9), r.below(40))
    }),
    ("haproxy", "backend health check passed", 12.0, Season::Always, |r| {
        format!("server={} in {}ms", r.pick(&["web-a", "web-b"]), 2 + r.below(5))
    }),
    ("haproxy", "frontend connections", 4.0, Season::Office, |r| {
        format!("current={} maximum={}", r.spread(120.0, 0.3), 2000)
    }),
];

/// Messages that come but once in the first weeks and once with a fault.
const RARE: &[(&str, &str)] = &[
    ("mdadm", "RebuildStarted event detected on device"),
    ("kernel", "usb device attached with vendor name"),
    ("shop", "full search index rebuild requested"),
];

const ERRORS: &[(&str, &str)] = &[
    ("shop", "database connection pool exhausted while waiting"),
    ("kernel", "blk_update_request: critical medium error, sector"),
    ("postfix", "fatal: no space left on queue device"),
    ("systemd", "Main process exited unexpectedly, status"),
    ("sshd", "error: maximum authentication attempts exceeded for root from"),
    ("haproxy", "backend shop has no server available!"),
    ("backup", "repository index is damaged, cannot read pack"),
    ("CRON", "grandchild terminated before reporting exit"),
];

/// A log, hour by hour.
pub(crate) struct Generator {
    random: Random,
    hour: u32,
    faults: Vec<Fault>,
}

impl Generator {
    /// A log of so many weeks, with faults from week `quiet` on.
    pub(crate) fn new(seed: u64, quiet: u32, weeks: u32) -> Self {
        let mut random = Random(seed);
        let (first, last) = (quiet * WEEK, weeks * WEEK - 80);
        let mut faults = Vec::new();
        for (_, marker) in ERRORS {
            let from = first + random.below(last - first);
            faults.push(Fault { kind: FaultKind::NewError, marker, from, until: from + 1 });
        }
        for (_, marker) in RARE {
            let from = first + random.below(last - first);
            faults.push(Fault { kind: FaultKind::RareEvent, marker, from, until: from + 1 });
        }
        for marker in [
            "Failed password",
            "Accepted publickey",
            "UFW BLOCK",
            "POST request",
            "connect from mail",
            "cache hit ratio",
            "slow query",
            "session expired",
            "hostname does not resolve",
            "installed update",
        ] {
            let from = first + random.below(last - first);
            faults.push(Fault { kind: FaultKind::Burst, marker, from, until: from + 1 });
        }
        for (marker, hours) in [
            ("health check passed", 3),
            ("UFW BLOCK", 3),
            ("(cron:session)", 6),
            ("clock offset", 12),
            ("temperature is", 12),
            ("run-parts", 24),
            ("Backup finished", 72),
            ("Received disconnect", 4),
        ] {
            // A job that is missed is missed from its hour on.
            let from = first + random.below((last - first) / 24) * 24;
            faults.push(Fault { kind: FaultKind::Silence, marker, from, until: from + hours });
        }
        for marker in [
            "GET request",
            "POST request",
            "temperature is",
            "clock offset",
            "health check passed",
            "link statistics",
            "DHCPACK",
        ] {
            let from = first + random.below((last - first) / 24) * 24 + 14;
            faults.push(Fault { kind: FaultKind::OddNumber, marker, from, until: from + 1 });
        }
        for marker in [
            "Accepted publickey",
            "(sshd:session)",
            "payment accepted",
            "POST request",
            "slow query",
        ] {
            let from =
                first + random.below((last - first) / WEEK) * WEEK + 24 * random.below(5) + 17;
            faults.push(Fault { kind: FaultKind::OddName, marker, from, until: from + 1 });
        }
        Self { random, hour: 0, faults }
    }

    pub(crate) fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// When an hour ends.
    pub(crate) fn end_of(hour: u32) -> Timestamp {
        Timestamp::from_second((BEGIN + i64::from(hour) + 1) * 3600).unwrap()
    }

    /// The lines of the next hour, in the order of their times.
    pub(crate) fn next_hour(&mut self, lines: &mut Vec<Line>) {
        lines.clear();
        let hour = self.hour;
        for (program, marker, rate, season, rest) in KINDS {
            let fault = |kind: FaultKind, faults: &[Fault]| {
                faults.iter().any(|fault| {
                    fault.kind == kind
                        && marker.contains(fault.marker)
                        && (fault.from..fault.until).contains(&hour)
                })
            };
            if fault(FaultKind::Silence, &self.faults) {
                continue;
            }
            let mut count = self.random.count(rate * factor(*season, hour), *season);
            if fault(FaultKind::Burst, &self.faults) {
                count = count * 4 + 12;
            }
            let odd_number = fault(FaultKind::OddNumber, &self.faults);
            let odd_name = fault(FaultKind::OddName, &self.faults);
            if odd_number || odd_name {
                count = count.max(1);
            }
            for number in 0..count {
                let mut rest = rest(&mut self.random);
                if number == 0 && odd_number {
                    rest = with_odd_number(&rest);
                }
                if number == 0 && odd_name {
                    rest = with_odd_name(&rest);
                }
                self.push(lines, program, format!("{marker} {rest}"));
            }
        }
        for fault in self.faults.clone().iter().filter(|fault| fault.from == hour) {
            let known = ERRORS.iter().chain(RARE).find(|(_, marker)| *marker == fault.marker);
            if let (FaultKind::NewError | FaultKind::RareEvent, Some((program, marker))) =
                (fault.kind, known)
            {
                let message = format!("{marker} {}", self.random.below(500));
                self.push(lines, program, message);
            }
        }
        for (number, (program, marker)) in (1..).zip(RARE) {
            if hour == 30 * number {
                self.push(lines, program, format!("{marker} {number}"));
            }
        }
        lines.sort_by_key(|line| line.time);
        self.hour += 1;
    }

    fn push(&mut self, lines: &mut Vec<Line>, program: &'static str, message: String) {
        let second = i64::from(self.random.below(3600));
        let time = Timestamp::from_second((BEGIN + i64::from(self.hour)) * 3600 + second).unwrap();
        lines.push(Line { time, program, message });
    }
}

/// The first number of the message forty times as large.
fn with_odd_number(text: &str) -> String {
    let begin = text.match_indices("took ").next().map_or(0, |(place, _)| place);
    let start = text[begin..].find(|letter: char| letter.is_ascii_digit()).unwrap() + begin;
    let length =
        text[start..].find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len() - start);
    let number: u64 = text[start..start + length].parse().unwrap();
    format!("{}{}{}", &text[..start], number * 40, &text[start + length..])
}

/// A name that nobody has heard of where a known one stands.
fn with_odd_name(text: &str) -> String {
    let known =
        ["ann", "bob", "deploy", "ideal", "card", "transfer", "orders", "items", "users", "carts"];
    let odd = |word: &str| {
        if known.contains(&word) {
            "mallory".to_owned()
        } else if word.starts_with("status=") {
            "status=500".to_owned()
        } else {
            word.to_owned()
        }
    };
    text.split(' ').map(odd).collect::<Vec<_>>().join(" ")
}

fn factor(season: Season, hour: u32) -> f64 {
    let (time, day) = (hour % 24, hour / 24 % 7);
    let bump = |middle: f64, width: f64| (-((f64::from(time) - middle) / width).powi(2)).exp();
    match season {
        Season::Always => 1.0,
        Season::Office => {
            0.05 + if day < 5 { 2.0 * bump(13.0, 3.5) } else { 0.3 * bump(14.0, 5.0) }
        }
        Season::Evening => 0.1 + bump(20.0, 3.0) * if day < 4 { 1.5 } else { 2.5 },
        Season::Nightly(at) => f64::from(u32::from(time == at)),
        Season::Weekly(at) => f64::from(u32::from(hour % WEEK == at)),
        Season::Growing(share) => {
            (1.0 + share).powf(f64::from(hour) / f64::from(WEEK)) * (0.2 + bump(16.0, 5.0))
        }
    }
}

/// Numbers that look random: SplitMix64 (Steele, Lea and Flood, 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    pub(crate) fn below(&mut self, most: u32) -> u32 {
        u32::try_from(self.next() % u64::from(most)).unwrap()
    }

    /// From 0 to 1, neither included.
    fn fraction(&mut self) -> f64 {
        (f64::from(self.below(1 << 30)) + 0.5) / f64::from(1 << 30)
    }

    /// From a normal distribution (Box and Muller, 1958).
    fn normal(&mut self) -> f64 {
        (-2.0 * self.fraction().ln()).sqrt() * (std::f64::consts::TAU * self.fraction()).cos()
    }

    /// From a logarithmic normal distribution with this median.
    fn spread(&mut self, median: f64, width: f64) -> u64 {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is small and positive"
        )]
        let number = (median * (width * self.normal()).exp()) as u64;
        number
    }

    /// A Poisson number (Knuth) whose mean varies by a fifth, but for what comes on the minute.
    fn count(&mut self, mean: f64, season: Season) -> u32 {
        if matches!(season, Season::Nightly(_) | Season::Weekly(_)) {
            return u32::from(mean > 0.0);
        }
        let mean = mean * (0.2 * self.normal()).exp();
        let (limit, mut product, mut count) = ((-mean).exp(), self.fraction(), 0);
        while product > limit {
            product *= self.fraction();
            count += 1;
        }
        count
    }

    fn pick(&mut self, among: &[&'static str]) -> &'static str {
        among[self.below(u32::try_from(among.len()).unwrap()) as usize]
    }

    fn port(&mut self) -> u32 {
        1024 + self.below(64_000)
    }

    fn address(&mut self) -> String {
        format!(
            "{}.{}.{}.{}",
            1 + self.below(220),
            self.below(256),
            self.below(256),
            self.below(256)
        )
    }

    /// A name that few others have.
    pub(crate) fn name(&mut self) -> String {
        let syllables = ["ka", "lo", "mi", "ne", "ru", "sa", "to", "vi"];
        (0..3).map(|_| self.pick(&syllables)).collect()
    }
}
