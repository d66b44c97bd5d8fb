use std::borrow::Cow;

use jiff::Timestamp;

use super::bytes::{Scan, text};
use super::request::{self, Request};
use super::time::{Calendar, clock, epoch, iso, month};
use super::{Record, json};

/// A record, and what else its first line says.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// The record.
    pub record: Record<'a>,
    /// The whole text, header included.
    pub text: &'a [u8],
    /// What was asked of a web server, where it is a line of an access log.
    pub request: Option<Request<'a>>,
}

/// What the beginning of a line says.
#[derive(Debug, Default)]
struct Header<'a> {
    time: Option<Timestamp>,
    host: Option<&'a str>,
    program: Option<&'a str>,
    process: Option<u32>,
    message: &'a [u8],
    request: Option<Request<'a>>,
}

impl<'a> Entry<'a> {
    /// Reads the header of a record: RFC 5424, RFC 3164, ISO 8601 times with or without what
    /// syslog writes after them, access and error logs of Apache and nginx, the kernel's seconds
    /// since the boot, audit records, JSON objects. What has none of these is message alone.
    ///
    /// `program` is what wrote the source, for records that do not name one.
    #[must_use]
    pub fn read(
        source: &'a str,
        offset: u64,
        text: &'a [u8],
        program: Option<&'a str>,
        calendar: &Calendar,
    ) -> Self {
        let header = read(text, calendar);
        let record = Record {
            source,
            offset,
            time: header.time,
            host: header.host,
            program: header.program.or(program),
            process: header.process,
            message: header.message,
        };
        Self { record, text, request: header.request }
    }
}

impl Entry<'_> {
    /// The target of its request without percent-encoding, undone twice, as a server that decodes
    /// once too often would.
    #[must_use]
    pub fn decoded_target(&self) -> Option<Cow<'_, [u8]>> {
        let target = self.request?.target;
        let once = decoded(target);
        if memchr::memchr(b'%', &once).is_none() {
            Some(once)
        } else {
            Some(decoded(&once).into_owned().into())
        }
    }
}

/// Undoes percent-encoding once; what is none stays as it is.
fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = memchr::memchr(b'%', text) else { return Cow::Borrowed(text) };
    let hex = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut plain = Vec::with_capacity(text.len());
    plain.extend_from_slice(&text[..first]);
    let mut rest = &text[first..];
    while let Some((byte, tail)) = rest.split_first() {
        match (byte, tail) {
            (b'%', [high, low, after @ ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                plain.push(hex(*high).unwrap_or(0) << 4 | hex(*low).unwrap_or(0));
                rest = after;
            }
            _ => {
                plain.push(*byte);
                rest = tail;
            }
        }
    }
    Cow::Owned(plain)
}

fn read<'a>(line: &'a [u8], calendar: &Calendar) -> Header<'a> {
    let known = match line.first() {
        Some(b'<') => priority(line, calendar),
        Some(b'A'..=b'Z') => traditional(line, calendar).or_else(|| named_day(line, calendar)),
        Some(b'[') => bracket(line, calendar),
        Some(b'{') => object(line, calendar),
        Some(b'0'..=b'9') => dated(line, calendar).or_else(|| seconds(line)),
        Some(b't') => audit(line).or_else(|| key_values(line, calendar)),
        _ => None,
    };
    known
        .or_else(|| access(line, calendar))
        .unwrap_or_else(|| Header { message: line, ..Header::default() })
}

/// The priority in `<>` that stands before a message on the wire, and in some files.
fn priority<'a>(line: &'a [u8], calendar: &Calendar) -> Option<Header<'a>> {
    let mut scan = Scan::new(line);
    scan.byte(b'<')?;
    scan.digits(1, 3)?;
    scan.byte(b'>')?;
    structured(scan, calendar)
        .or_else(|| traditional(scan.rest(), calendar))
        .or_else(|| dated(scan.rest(), calendar))
        .or_else(|| {
            let mut tagged = scan;
            let (program, process) = tag(&mut tagged)?;
            Some(Header { program, process, message: tagged.rest(), ..Header::default() })
        })
}

/// RFC 5424, section 6: `1 TIME HOST PROGRAM PROCESS MESSAGE-ID STRUCTURED-DATA MESSAGE`.
fn structured<'a>(mut scan: Scan<'a>, calendar: &Calendar) -> Option<Header<'a>> {
    scan.text(b"1 ")?;
    let time = match iso(&mut scan, calendar) {
        Some(time) => Some(time),
        None => scan.text(b"-").map(|()| None)?,
    };
    scan.byte(b' ')?;
    let given = |word: &'a [u8]| text(word).filter(|word| *word != "-");
    let host = given(scan.word()?);
    let program = given(scan.word()?);
    let process = given(scan.word()?).and_then(|number| number.parse().ok());
    let _message_id = scan.word()?;
    if scan.byte(b'-').is_none() {
        while scan.byte(b'[').is_some() {
            element(&mut scan)?;
        }
    }
    scan.spaces();
    // A byte order mark says that the message is UTF-8.
    let _ = scan.text(b"\xEF\xBB\xBF");
    let header = Header { time, host, program, process, message: scan.rest(), request: None };
    Some(kernel(header))
}

/// One element of structured data after its `[`, with `\]` and `"` within its values.
fn element(scan: &mut Scan<'_>) -> Option<()> {
    let rest = scan.rest();
    let (mut quoted, mut escaped) = (false, false);
    for (place, byte) in rest.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b']' if !quoted => {
                *scan = Scan::new(&rest[place + 1..]);
                return Some(());
            }
            _ => {}
        }
    }
    None
}

/// RFC 3164, section 4.1: `Oct  5 11:47:20 host program[number]: message`. Some put a year after the
/// day.
fn traditional<'a>(line: &'a [u8], calendar: &Calendar) -> Option<Header<'a>> {
    let mut scan = Scan::new(line);
    let month = month(&mut scan)?;
    scan.byte(b' ')?;
    scan.spaces();
    let day = i8::try_from(scan.digits(1, 2)?).ok()?;
    scan.byte(b' ')?;
    let mut with_year = scan;
    let year = with_year.digits(4, 4).filter(|_| with_year.byte(b' ').is_some());
    let time = match year.and_then(|year| i16::try_from(year).ok()) {
        Some(year) => {
            scan = with_year;
            let date = jiff::civil::Date::new(year, month, day).ok()?;
            calendar.moment(date.to_datetime(clock(&mut scan)?))?
        }
        None => calendar.without_year(month, day, clock(&mut scan)?)?,
    };
    // Routers end the time with a colon.
    let _ = scan.byte(b':');
    scan.byte(b' ')?;
    Some(sender(scan, Some(time)))
}

/// What syslog writes after the time: host and tag, or a tag alone.
fn sender<'a>(scan: Scan<'a>, time: Option<Timestamp>) -> Header<'a> {
    let mut with_host = scan;
    if let Some(host) = with_host.word().filter(|host| is_host(host))
        && let Some((program, process)) = tag(&mut with_host)
    {
        let message = with_host.rest();
        return kernel(Header { time, host: text(host), program, process, message, request: None });
    }
    let mut without = scan;
    if let Some((program, process)) = tag(&mut without) {
        let message = without.rest();
        return kernel(Header { time, program, process, message, ..Header::default() });
    }
    Header { time, message: scan.rest(), ..Header::default() }
}

/// The program and its process: `sshd[123]: `.
fn tag<'a>(scan: &mut Scan<'a>) -> Option<(Option<&'a str>, Option<u32>)> {
    let mut ahead = *scan;
    let name = ahead.while_(|byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/' | b'@' | b'+')
    })?;
    let mut process = None;
    if ahead.byte(b'[').is_some() {
        process = text(ahead.until(b']')?)?.parse().ok();
    } else if ahead.byte(b'(').is_some() {
        // `dovecot: auth-worker(123)` and `pam(sshd)` say more of the name.
        ahead.until(b')')?;
    }
    ahead.byte(b':')?;
    ahead.spaces();
    *scan = ahead;
    Some((text(name), process))
}

fn is_host(word: &[u8]) -> bool {
    word.first().is_some_and(u8::is_ascii_alphanumeric)
        && word
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':'))
        && word.last() != Some(&b':')
}

/// The kernel's seconds since the boot, which stand before its messages.
fn kernel(mut header: Header<'_>) -> Header<'_> {
    if header.program == Some("kernel")
        && let Some(message) = after_uptime(header.message)
    {
        header.message = message;
    }
    header
}

fn after_uptime(message: &[u8]) -> Option<&[u8]> {
    let mut scan = Scan::new(message);
    scan.byte(b'[')?;
    scan.spaces();
    scan.digits(1, 12)?;
    scan.byte(b'.')?;
    scan.digits(6, 9)?;
    scan.byte(b']')?;
    scan.spaces();
    Some(scan.rest())
}

/// A line that begins with a date.
fn dated<'a>(line: &'a [u8], calendar: &Calendar) -> Option<Header<'a>> {
    let mut scan = Scan::new(line);
    let time = Some(iso(&mut scan, calendar)?);
    let with_t = line.get(10) == Some(&b'T');
    let _ = scan.byte(b':');
    scan.spaces();
    // Container runtimes: `stdout F message`.
    let mut stream = scan;
    if let Some(b"stdout" | b"stderr") = stream.word()
        && let Some(b"F" | b"P") = stream.word()
    {
        let inner = read(stream.rest(), calendar);
        return Some(Header { time, ..inner });
    }
    if line.get(4) == Some(&b'/')
        && let Some(header) = nginx_error(scan, time)
    {
        return Some(header);
    }
    // rsyslog's own format of files writes the time so, and then as syslog does.
    Some(if with_t {
        sender(scan, time)
    } else {
        Header { time, message: scan.rest(), ..Header::default() }
    })
}

/// nginx: `2021/09/30 09:23:53 [error] 1925800#1925800: *17 message`.
fn nginx_error<'a>(mut scan: Scan<'a>, time: Option<Timestamp>) -> Option<Header<'a>> {
    scan.byte(b'[')?;
    scan.while_(|byte| byte.is_ascii_lowercase())?;
    scan.text(b"] ")?;
    let process = u32::try_from(scan.digits(1, 10)?).ok();
    scan.byte(b'#')?;
    scan.digits(1, 10)?;
    scan.text(b": ")?;
    Some(Header {
        time,
        program: Some("nginx"),
        process,
        message: scan.rest(),
        ..Header::default()
    })
}

/// `1690466804.216 ...`: seconds since 1970.
fn seconds(line: &[u8]) -> Option<Header<'_>> {
    let mut scan = Scan::new(line);
    let time = Some(epoch(&mut scan)?);
    scan.byte(b' ')?;
    Some(Header { time, message: scan.rest(), ..Header::default() })
}

/// `Mon Oct 11 09:01:35 2021: message`, with a zone before the year or not.
fn named_day<'a>(line: &'a [u8], calendar: &Calendar) -> Option<Header<'a>> {
    let mut scan = Scan::new(line);
    let time = weekday_time(&mut scan, calendar)?;
    let _ = scan.byte(b':');
    scan.spaces();
    Some(Header { time: Some(time), message: scan.rest(), ..Header::default() })
}

fn weekday_time(scan: &mut Scan<'_>, calendar: &Calendar) -> Option<Timestamp> {
    let mut ahead = *scan;
    let day = ahead.while_(|byte| byte.is_ascii_alphabetic())?;
    if day.len() != 3 {
        return None;
    }
    ahead.byte(b' ')?;
    let month = month(&mut ahead)?;
    ahead.byte(b' ')?;
    ahead.spaces();
    let day = i8::try_from(ahead.digits(1, 2)?).ok()?;
    ahead.byte(b' ')?;
    let time = clock(&mut ahead)?;
    let mut with_year = ahead;
    with_year.byte(b' ')?;
    let year = i16::try_from(with_year.digits(4, 4)?).ok()?;
    *scan = with_year;
    calendar.moment(jiff::civil::Date::new(year, month, day).ok()?.to_datetime(time))
}

/// A line that begins with `[`: the kernel's own buffer, Apache's errors, or a date in brackets.
fn bracket<'a>(line: &'a [u8], calendar: &Calendar) -> Option<Header<'a>> {
    if let Some(message) = after_uptime(line) {
        return Some(Header { program: Some("kernel"), message, ..Header::default() });
    }
    let mut scan = Scan::new(line);
    scan.byte(b'[')?;
    if let Some(time) = weekday_time(&mut scan, calendar) {
        scan.text(b"] ")?;
        return Some(apache_error(scan, time));
    }
    let time = match iso(&mut scan, calendar) {
        Some(time) => time,
        None => {
            let month = month(&mut scan)?;
            scan.byte(b' ')?;
            scan.spaces();
            let day = i8::try_from(scan.digits(1, 2)?).ok()?;
            scan.byte(b' ')?;
            calendar.without_year(month, day, clock(&mut scan)?)?
        }
    };
    scan.byte(b']')?;
    scan.spaces();
    Some(Header { time: Some(time), message: scan.rest(), ..Header::default() })
}

/// Apache: `[proxy_fcgi:error] [pid 1178526:tid 139729] message`, after the time.
fn apache_error(mut scan: Scan<'_>, time: Timestamp) -> Header<'_> {
    let mut process = None;
    let mut ahead = scan;
    if ahead.byte(b'[').is_some()
        && let Some(level) = ahead.until(b']')
        && memchr::memchr(b' ', level).is_none()
    {
        ahead.spaces();
        scan = ahead;
        if ahead.text(b"[pid ").is_some() {
            let number = ahead.digits(1, 10);
            if ahead.until(b']').is_some() {
                process = number.and_then(|number| u32::try_from(number).ok());
                ahead.spaces();
                scan = ahead;
            }
        }
    }
    let (time, program) = (Some(time), Some("apache2"));
    Header { time, program, process, message: scan.rest(), ..Header::default() }
}

/// `type=SYSCALL msg=audit(1684331782.575:3293): ...`, by the audit daemon.
fn audit(line: &[u8]) -> Option<Header<'_>> {
    let mut scan = Scan::new(line);
    scan.text(b"type=")?;
    scan.word()?;
    scan.text(b"msg=audit(")?;
    let time = Some(epoch(&mut scan)?);
    Some(Header { time, program: Some("auditd"), message: line, ..Header::default() })
}

/// `time="2022-02-14T13:47:54+02:00" level=error msg="..."`: the keys are left in the message.
fn key_values<'a>(line: &'a [u8], calendar: &Calendar) -> Option<Header<'a>> {
    let mut scan = Scan::new(line);
    scan.text(b"time=").or_else(|| scan.text(b"ts=")).or_else(|| scan.text(b"t="))?;
    let _ = scan.byte(b'"');
    let time = iso(&mut scan, calendar).or_else(|| epoch(&mut scan))?;
    let _ = scan.byte(b'"');
    scan.spaces();
    Some(Header { time: Some(time), message: scan.rest(), ..Header::default() })
}

/// A JSON object in one line: its usual keys.
fn object<'a>(line: &'a [u8], calendar: &Calendar) -> Option<Header<'a>> {
    let fields = json::fields(line)?;
    let given = |names: &[&[u8]]| json::first(&fields, names);
    let time = given(&[
        b"time",
        b"timestamp",
        b"@timestamp",
        b"ts",
        b"t",
        b"eventtime",
        b"start_time",
        b"date",
    ])
    .and_then(|time| {
        let mut scan = Scan::new(time);
        iso(&mut scan, calendar).or_else(|| epoch(&mut scan))
    });
    let program = given(&[b"program", b"service", b"app", b"application", b"syslog_identifier"]);
    let process =
        given(&[b"pid", b"process", b"_pid"]).and_then(text).and_then(|pid| pid.parse().ok());
    let message =
        given(&[b"msg", b"message", b"log", b"event"]).filter(|message| !message.is_empty());
    Some(Header {
        time,
        host: given(&[b"host", b"hostname", b"_hostname"])
            .and_then(text)
            .filter(|host| !host.starts_with('{')),
        program: program.and_then(text).filter(|program| !program.starts_with(['{', '['])),
        process,
        message: message.unwrap_or(line),
        request: request::of_object(&fields),
    })
}

fn access<'a>(line: &'a [u8], calendar: &Calendar) -> Option<Header<'a>> {
    let (request, time) = request::read(line, calendar)?;
    Some(Header { time, message: line, request: Some(request), ..Header::default() })
}

#[cfg(test)]
mod tests;
