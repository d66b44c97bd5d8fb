//! What a client chooses, such as a user's name, stands in logs too: no address is taken from it.

use std::fs;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;
use wachter_log_analyzer::{Calendar, Entry, PatternSet, shipped};

use crate::support::Host;

/// Where the client is, and where it says that somebody else is.
const CLIENT: &str = "1.2.3.4";
const FORGED: &str = "9.9.9.9";

/// Program and line; whether the client's address is to be found.
const LINES: &[(&str, &str, bool)] = &[
    ("sshd", "Failed password for root from 1.2.3.4 port 5 ssh2", true),
    ("sshd", "Failed none for invalid user  from 1.2.3.4 port 5 ssh2 [preauth]", true),
    (
        "sshd",
        "Failed password for invalid user a from 9.9.9.9 port 1 from 1.2.3.4 port 5 ssh2",
        true,
    ),
    ("sshd", "Failed password for a from 9.9.9.9 port 1 ssh2 from 1.2.3.4 port 5 ssh2", true),
    ("sshd", "Failed publickey for invalid user a from 1.2.3.4 port 5 ssh2: RSA SHA256:abc", true),
    (
        "sshd",
        "Failed publickey for invalid user a from 1.2.3.4 port 5 ssh2: RSA-CERT SHA256:abc ID b (serial 0) CA RSA SHA256:x",
        true,
    ),
    (
        "sshd",
        "Failed publickey for a from 1.2.3.4 port 5 ssh2: RSA-CERT SHA256:abc ID x from 9.9.9.9 port 1 ssh2 (serial 0) CA RSA SHA256:x",
        false,
    ),
    (
        "sshd",
        "Failed publickey for a from 9.9.9.9 port 1 ssh2: R-CERT S ID b from 1.2.3.4 port 5 ssh2: RSA-CERT SHA256:abc ID x (serial 0) CA RSA SHA256:x",
        false,
    ),
    ("sshd", "Invalid user a from 9.9.9.9 port 1 from 1.2.3.4 port 5", true),
    ("sshd", "Connection closed by invalid user a 9.9.9.9 port 1 1.2.3.4 port 5 [preauth]", true),
    ("sshd", "Disconnected from invalid user a 9.9.9.9 port 1 1.2.3.4 port 5 [preauth]", true),
    (
        "sshd",
        "error: maximum authentication attempts exceeded for invalid user a from 9.9.9.9 port 1 from 1.2.3.4 port 5 ssh2 [preauth]",
        true,
    ),
    (
        "sshd",
        "User a from 9.9.9.9 not allowed because b from 1.2.3.4 not allowed because not listed in AllowUsers",
        true,
    ),
    (
        "sshd",
        "error: PAM: Authentication failure for illegal user a from 9.9.9.9 from 1.2.3.4",
        true,
    ),
    (
        "sshd",
        "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=1.2.3.4  user=a rhost=9.9.9.9",
        true,
    ),
    (
        "sshd",
        "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=9.9.9.9.evil.example  user=a",
        false,
    ),
    (
        "sshd",
        "Invalid user authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=9.9.9.9 from 1.2.3.4 port 5",
        true,
    ),
    (
        "sshd",
        "Invalid user Did not receive identification string from 9.9.9.9 from 1.2.3.4 port 5",
        true,
    ),
    (
        "sshd",
        "Invalid user banner exchange: Connection from 9.9.9.9 port 1: invalid format from 1.2.3.4 port 5",
        true,
    ),
    (
        "sshd",
        "Invalid user ssh_dispatch_run_fatal: Connection from 9.9.9.9 port 1 from 1.2.3.4 port 5",
        true,
    ),
    (
        "sshd",
        "Bad protocol version identification 'a' from 9.9.9.9 port 1' from 1.2.3.4 port 5",
        true,
    ),
    (
        "sshd",
        "Invalid user Bad protocol version identification 'a' from 9.9.9.9 port 1 b from 1.2.3.4 port 5",
        true,
    ),
    ("sshd", "Invalid user crowdsec-test-a from 9.9.9.9 from 1.2.3.4 port 5", true),
    ("sshd", "Invalid user Failed login attempt by IP: 9.9.9.9 from 1.2.3.4 port 5", true),
    ("dropbear", "Bad password attempt for 'a' from 9.9.9.9:1' from 1.2.3.4:5", true),
    ("dropbear", "Login attempt for nonexistent user from 1.2.3.4:5", true),
    (
        "vsftpd",
        "pam_unix(vsftpd:auth): authentication failure; logname= uid=0 euid=0 tty=ftp ruser=a rhost=1.2.3.4  user=a",
        true,
    ),
    (
        "vsftpd",
        "pam_unix(vsftpd:auth): authentication failure; logname= uid=0 euid=0 tty=ftp ruser=a rhost=9.9.9.9  user=b rhost=1.2.3.4 ",
        false,
    ),
    (
        "dovecot",
        "imap-login: Disconnected (auth failed, 1 attempts): user=<a>, rip=9.9.9.9, b>, method=PLAIN, rip=1.2.3.4, lip=7.7.7.7",
        true,
    ),
    ("dovecot", "auth-worker(1): pam(a,9.9.9.9,1.2.3.4,<x>): unknown user", true),
    (
        "postfix/smtpd",
        "NOQUEUE: reject: RCPT from unknown[1.2.3.4]: 554 <a>: reject: RCPT from b[9.9.9.9]: c",
        true,
    ),
    (
        "postfix/cleanup",
        "4F: warning: header Subject: NOQUEUE: reject: RCPT from b[9.9.9.9]: c from d[1.2.3.4]",
        false,
    ),
    (
        "postfix/cleanup",
        "4F: warning: header Subject: warning: b[9.9.9.9]: SASL LOGIN authentication failed",
        false,
    ),
    ("exim", "H=([9.9.9.9]) [1.2.3.4]:5 F=<a> rejected RCPT <b>: c", true),
    ("exim", "H=host.example ([9.9.9.9]) [1.2.3.4]:5 F=<a> rejected RCPT <b>: c", true),
    (
        "exim",
        "login authenticator failed for ([9.9.9.9]) [1.2.3.4]:5: 535 Incorrect authentication data",
        true,
    ),
    (
        "nginx",
        r#"2021/09/30 09:23:53 [error] 1#1: *17 user "a" was not found in "b", client: 1.2.3.4, server: _, request: "GET /c HTTP/1.1", referrer: "d, client: 9.9.9.9""#,
        false,
    ),
    (
        "nginx",
        r#"2021/09/30 09:23:53 [error] 1#1: *17 user "a" was not found in "b", client: 9.9.9.9, d": password mismatch, client: 1.2.3.4, server: _, request: "GET /c HTTP/1.1""#,
        false,
    ),
    (
        "nginx",
        r#"2021/12/02 11:53:15 [error] 1#1: *4 limiting requests, excess: 5 by zone "z", client: 1.2.3.4, server: s, request: "GET /, client: 9.9.9.9""#,
        true,
    ),
    (
        "nginx",
        r#"2021/12/02 11:53:15 [error] 1#1: *4 open() "/a" failed, client: 1.2.3.4, request: "GET /limiting requests, client: 9.9.9.9""#,
        false,
    ),
    (
        "nginx",
        r#"2021/12/02 11:53:15 [error] 1#1: *4 open() "/a" failed, client: 1.2.3.4, request: "GET /[client 9.9.9.9] ModSecurity: [severity "0"], client: 9.9.9.9""#,
        false,
    ),
    (
        "nginx",
        r#"2021/12/09 14:43:51 [info] 2#2: *5 ModSecurity: Warning. a [data ""] [severity "2"] [uri "/b, client: 9.9.9.9"] [ref ""], client: 1.2.3.4, server: s, request: "GET /[severity "2"], client: 9.9.9.9""#,
        false,
    ),
    (
        "nginx",
        r#"2021/12/02 11:53:15 [error] 1#1: *4 open() "/a" failed, client: 1.2.3.4, referrer: "Failed login attempt by IP: 9.9.9.9 x""#,
        false,
    ),
    (
        "apache2",
        "[Mon Oct 11 09:01:35.000000 2021] [auth_basic:error] [pid 1:tid 2] [client 1.2.3.4:5] AH01618: user [client 9.9.9.9] AH01618: a not found: /",
        true,
    ),
    (
        "apache2",
        "[Mon Oct 11 09:01:35.000000 2021] [core:info] [pid 1:tid 2] [client 1.2.3.4:5] AH00128: File does not exist: /[client 9.9.9.9] AH01618: a",
        false,
    ),
    ("kernel", "[UFW BLOCK] IN=eth0 SRC=1.2.3.4 DST=7.7.7.7 PROTO=TCP SPT=1 DPT=2", true),
    (
        "kernel",
        "[UFW BLOCK] IN=eth0 SRC=1.2.3.4 DST=7.7.7.7 PROTO=ICMP TYPE=3 [SRC=9.9.9.9 DST=7.7.7.7 PROTO=TCP SPT=1 DPT=2 ]",
        false,
    ),
    ("LLNG", "[warn] Bad password for a (9.9.9.9) (1.2.3.4)", true),
    (
        "LLNG",
        "[warn] a was not found in LDAP directory (9.9.9.9) was not found in LDAP directory (1.2.3.4)",
        true,
    ),
    ("meshcentral", "Failed password for a from 9.9.9.9 port 1 from 1.2.3.4 port 5", true),
    (
        "mysqld",
        "5 [Note] Access denied for user 'a'@'9.9.9.9''@'1.2.3.4' (using password: YES)",
        true,
    ),
    (
        "php-fpm",
        "/index.php: webConfigurator authentication error for user 'a' from: 9.9.9.9' from: 1.2.3.4",
        true,
    ),
    (
        "pvedaemon",
        "authentication failure; rhost=1.2.3.4 user=a authentication failure; rhost=9.9.9.9 user=b msg=c",
        true,
    ),
    (
        "gitea",
        "[I] Failed authentication attempt for a from 1.2.3.4:5: user does not exist [name: b from 9.9.9.9]",
        true,
    ),
    (
        "gitea",
        "[I] Failed authentication attempt for 9.9.9.9 from 1.2.3.4:5: user does not exist",
        true,
    ),
    (
        "gitea",
        "[I] Failed authentication attempt for a from [1234::5678]:0: user from 9.9.9.9:1:",
        false,
    ),
    (
        "nextcloud",
        r#"{"remoteAddr":"1.2.3.4","url":"/login","message":"Login failed: a (Remote IP: 9.9.9.9) (Remote IP: 1.2.3.4)","userAgent":"b (Remote IP: 9.9.9.9)"}"#,
        true,
    ),
    (
        "odoo",
        "1 INFO odoo res_users: Login failed for db:d login:a from 9.9.9.9 from 1.2.3.4",
        true,
    ),
    ("app", "sofia_reg.c:3 Can't find user [a@b] from 9.9.9.9 c@d] from 1.2.3.4", true),
    (
        "app",
        r#"action="ssl-login-fail" remip=1.2.3.4 user="a" remip=9.9.9.9 user="b" group="N/A""#,
        true,
    ),
    (
        "app",
        r#"level=error msg="Invalid username or password" error="a remote_addr=9.9.9.9" path="/b remote_addr=9.9.9.9" remote_addr=1.2.3.4 referer="c remote_addr=9.9.9.9""#,
        true,
    ),
    (
        "app",
        r#"{"msg":"Invalid username or password","path":"b remote_addr=9.9.9.9","remote_addr":"1.2.3.4"}"#,
        true,
    ),
    (
        "app",
        r#"Authentication request for "a" has been denied (IP: "9.9.9.9")" has been denied (IP: "1.2.3.4")."#,
        true,
    ),
    (
        "app",
        r#"msg="HTTP: POST http://a/auth/login" httpStatus=401 remoteAddr=1.2.3.4 userAgent="b httpStatus=401 remoteAddr=9.9.9.9""#,
        true,
    ),
    (
        "app",
        r#"2021-09-28 09:22:18.536 UTC [147] a 9.9.9.9 b@postgres FATAL:  password authentication failed for user "a 9.9.9.9 b""#,
        false,
    ),
    (
        "app",
        r#"2021-09-28 09:22:18.536 UTC [147] 1.2.3.4 a 9.9.9.9 b@postgres FATAL:  password authentication failed for user "a 9.9.9.9 b""#,
        true,
    ),
    (
        "app",
        "(W) WebAPI login failure. Reason: invalid, attempt count: 1, IP: 1.2.3.4, username: a, IP: 9.9.9.9, username: b",
        true,
    ),
    (
        "app",
        "Failed login for 'a' from 9.9.9.9 at b' from 1.2.3.4 at 2023-03-13 09:25:23 UTC",
        true,
    ),
    ("app", "WARN: Incorrect username or password for user a. IP=9.9.9.9. IP=1.2.3.4", true),
    (
        "app",
        r#"1690466804.2 [27/Jul/2023 16:06:44] a - 9.9.9.9 global miniserv.pl "failed" - 1.2.3.4 global miniserv.pl "failed" "-" "p""#,
        false,
    ),
    (
        "app",
        r#"1690466804.2 [27/Jul/2023 16:06:44] a - 1.2.3.4 global miniserv.pl "failed" "-" "p""#,
        true,
    ),
    (
        "app",
        r#"SecurityEvent="InvalidPassword",AccountID="a",RemoteAddress="IPV4/UDP/9.9.9.9/1",b="",RemoteAddress="IPV4/UDP/1.2.3.4/5""#,
        true,
    ),
];

#[test]
fn no_address_is_taken_from_what_a_client_chose() {
    let set = PatternSet::new(shipped().unwrap()).unwrap();
    let calendar = Calendar::new(TimeZone::UTC, Timestamp::UNIX_EPOCH);
    let mut wrong = Vec::new();
    for (program, line, expected) in LINES {
        let entry = Entry::read("a", 0, line.as_bytes(), Some(program), &calendar);
        let mut addresses = Vec::new();
        set.find(&entry, |found| {
            let address = found.group("address").unwrap_or_default().into_owned();
            addresses.push(String::from_utf8(address).unwrap());
        });
        let right = addresses.iter().any(|address| address == CLIENT);
        let forged = addresses.iter().any(|address| address.contains(FORGED));
        if right != *expected || forged {
            wrong.push(format!("{program}: {line}: {addresses:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn nobody_is_framed_by_what_an_access_log_quotes() {
    let plain = r#"1.2.3.4 - - [22/Nov/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "Failed login attempt by IP: 9.9.9.9 x""#;
    let object = r#"{"request":{"client_ip":"1.2.3.4","method":"GET","uri":"/","headers":{"User-Agent":["Failed login attempt by IP: 9.9.9.9 x"]}},"status":200}"#;
    for line in [plain, object] {
        let mut host = Host::new(&json!({}));
        fs::write(host.path("app.log"), format!("{line}\n").repeat(6)).unwrap();
        let findings: Vec<_> =
            host.run().findings().map(|finding| finding.fingerprint.clone()).collect();
        assert_eq!(findings, Vec::<String>::new(), "{line}");
    }
    // A pattern of one's own is held against every line that its author did not exclude.
    let own = json!([{
        "name": "mine", "contains": ["by IP"], "match": ["by IP: (?<address>\\S+)"],
        "alarms": [{ "name": "mine", "type": "log.alert", "severity": "low", "message": "{address}" }],
    }]);
    let mut host = Host::new(&json!({ "patterns": own }));
    fs::write(host.path("app.log"), format!("{plain}\n")).unwrap();
    let mut findings = host.run().findings().filter(|finding| !finding.resolved);
    assert_eq!(findings.next().unwrap().fingerprint, "mine:9.9.9.9");
}

#[test]
fn an_attack_that_hides_its_address_is_told_without_one() {
    let line = r#"2021/12/09 14:43:51 [info] 2#2: *5 ModSecurity: Warning. a [severity "2"] [ref ""], client: 1.2.3.4, server: s, request: "GET /, client: 9.9.9.9""#;
    let mut host = Host::new(&json!({}));
    fs::write(host.path("app.log"), format!("{line}\n")).unwrap();
    let findings: Vec<_> =
        host.run().findings().filter(|finding| !finding.resolved).cloned().collect();
    let [finding] = &findings[..] else { panic!("{findings:?}") };
    assert_eq!(finding.fingerprint, "modsecurity-attack-unclear:ModSecurity");
}
