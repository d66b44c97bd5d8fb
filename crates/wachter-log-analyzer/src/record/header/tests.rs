use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;

fn calendar() -> Calendar {
    Calendar::new(TimeZone::UTC, "2026-11-22T12:00:00Z".parse().unwrap())
}

/// Time, host, program, process and message of a line, `-` for what it does not say.
fn told(line: &str) -> String {
    let calendar = calendar();
    let entry = Entry::read("log", 0, line.as_bytes(), None, &calendar);
    let Record { time, host, program, process, message, .. } = entry.record;
    format!(
        "{} {} {} {} {}",
        time.map_or("-".to_owned(), |time| time.to_string()),
        host.unwrap_or("-"),
        program.unwrap_or("-"),
        process.map_or("-".to_owned(), |process| process.to_string()),
        String::from_utf8_lossy(message)
    )
}

#[test]
fn headers_of_many_formats() {
    for (line, expected) in [
        (
            "Jun 12 16:20:12 leto sshd-session[406147]: Invalid user x from 127.0.0.1 port 49916",
            "2026-06-12T16:20:12Z leto sshd-session 406147 Invalid user x from 127.0.0.1 port 49916",
        ),
        ("<38>Dec  1 00:00:00 h su: x", "2025-12-01T00:00:00Z h su - x"),
        (
            "<30>1 2024-02-18T02:29:57+08:00 exmaple.com charon 15894 - [meta sequenceId=\"31\"] 06[NET] sent",
            "2024-02-17T18:29:57Z exmaple.com charon 15894 06[NET] sent",
        ),
        ("<30>1 - - - - - - x", "- - - - x"),
        (
            "<30>1 2024-02-18T02:29:57Z h p - ID [a b=\"]\\\"\"][c] x",
            "2024-02-18T02:29:57Z h p - x",
        ),
        (
            "2023-10-05T11:47:20.799042+02:00 leto kernel: [869507.505196] su[1433535]: segfault",
            "2023-10-05T09:47:20.799042Z leto kernel - su[1433535]: segfault",
        ),
        ("[  123.456789] usb 1-1: new", "- - kernel - usb 1-1: new"),
        (
            "2021/09/30 09:23:53 [error] 1925800#1925801: *17 user \"foo\" was not found",
            "2021-09-30T09:23:53Z - nginx 1925800 *17 user \"foo\" was not found",
        ),
        (
            "[Wed Jul 05 09:19:24.428126 2023] [proxy_fcgi:error] [pid 1178526:tid 139729482307328] [client 33.202.142.97:55309] AH01071",
            "2023-07-05T09:19:24.428126Z - apache2 1178526 [client 33.202.142.97:55309] AH01071",
        ),
        (
            "type=SYSCALL msg=audit(1684331782.575:3293): arch=c000003e",
            "2023-05-17T13:56:22.575Z - auditd - type=SYSCALL msg=audit(1684331782.575:3293): arch=c000003e",
        ),
        (
            r#"{"level":"info","time":"2025-09-14T17:00:00.100","msg":"a \"b\"","pid":7,"host":"h"}"#,
            r#"2025-09-14T17:00:00.1Z h - 7 a \"b\""#,
        ),
        (
            "2025-12-31T17:40:00.000000100+01:00 stdout F {\"msg\":\"x\"}",
            "2025-12-31T16:40:00.0000001Z - - - x",
        ),
        (
            "2022-04-25T15:08:29.098Z [AUTH] WARN: x",
            "2022-04-25T15:08:29.098Z - - - [AUTH] WARN: x",
        ),
        ("[2022-02-03 16:10:11.219][a][ERROR] x", "2022-02-03T16:10:11.219Z - - - [a][ERROR] x"),
        (
            "Oct 12 15:44:43 canyon dovecot: auth-worker(24544): pam(x)",
            "2026-10-12T15:44:43Z canyon dovecot - auth-worker(24544): pam(x)",
        ),
        (
            "time=\"2022-02-14T13:47:54+02:00\" level=error msg=x",
            "2022-02-14T11:47:54Z - - - level=error msg=x",
        ),
        ("no header at all", "- - - - no header at all"),
        ("Jun 31 16:20:12 leto sshd[1]: x", "- - - - Jun 31 16:20:12 leto sshd[1]: x"),
        ("", "- - - - "),
    ] {
        assert_eq!(told(line), expected, "{line}");
    }
}

#[test]
fn targets_are_decoded_twice() {
    let calendar = calendar();
    let line =
        br#"1.2.3.4 - - [12/Oct/2021:09:17:05 +0000] "GET /%%32%65%2e%252E%zz HTTP/1.1" 200 45"#;
    let entry = Entry::read("log", 0, line, None, &calendar);
    assert_eq!(entry.decoded_target().unwrap().as_ref(), b"/...%zz");
}

proptest! {
    #[test]
    fn any_bytes_are_a_record(line in prop::collection::vec(any::<u8>(), 0..300)) {
        let calendar = calendar();
        let entry = Entry::read("log", 0, &line, None, &calendar);
        prop_assert!(entry.record.message.len() <= line.len());
        let _ = entry.decoded_target();
    }

    /// Texts that are nearly headers.
    #[test]
    fn nearly_headers_are_records(
        line in "(<[0-9]{1,4}>)?1? ?(Feb 30|Jan  1|2024-0[0-9]-3[0-9]|9999-12-31|\\[1\\.0)[T ]?[0-9:.,]{0,12}[Z+ -]?[0-9:]{0,6} ?[a-z\\[\\]:\" {}]{0,30}"
    ) {
        let calendar = calendar();
        let _ = Entry::read("log", 0, line.as_bytes(), None, &calendar).decoded_target();
    }
}
