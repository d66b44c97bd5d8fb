//! The way out: what was granted, by a proxy's rules and by name, and nothing else.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};

use wachter_protocol::{Egress, Profile};
use wachter_sandbox::{ConnectionEnd, Failure, Launcher, RunReport, Verdict};

use crate::bench::{carry_out_with, profiles};
use crate::publication::Publication;

/// An HTTP server on the loopback interface that answers every request with its head.
struct Server(u16);

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                std::thread::spawn(move || answer(client));
            }
        });
        Self(port)
    }
}

fn answer(mut client: std::net::TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte)? == 1 {
        head.push(byte[0]);
    }
    if head.starts_with(b"GET /large ") {
        client.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
        return std::io::copy(&mut std::io::repeat(b'x').take(8 << 20), &mut client).map(drop);
    }
    let body =
        format!("hello from {}", String::from_utf8_lossy(&head).lines().next().unwrap_or_default());
    write!(
        client,
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Profiles with a network namespace.
fn networked() -> impl Iterator<Item = Profile> {
    profiles().into_iter().filter(|profile| *profile != Profile::NoNamespaces)
}

/// One run of a script that may reach `endpoints`, and addresses in `ranges`.
async fn run(
    profile: Profile,
    endpoints: &str,
    ranges: &str,
    script: &str,
    egress: Egress,
) -> (RunReport, Vec<String>) {
    let asked = format!("network: [{endpoints}], exec: [/usr/bin]");
    let signed = Publication::new(
        profile,
        &format!("permissions: {{ {asked} }}"),
        &format!("{{ {asked}, network_ranges: [{ranges}] }}"),
        script,
    );
    let launcher = Launcher::open(&signed.options()).await.unwrap();
    carry_out_with(&launcher, signed.order(script, egress)).await
}

/// A script that says on stderr what a command printed and how it ended, and always succeeds.
fn script(command: &str) -> String {
    format!("{{ {command} ; }} >&2; echo \"code $?\" >&2; echo '{{\"result\": {{}}}}'")
}

#[tokio::test]
async fn ordinary_clients_get_through() {
    let server = Server::start();
    let port = server.0;
    let python = |proxy: &str| {
        format!(
            "/usr/bin/python3 -I -c 'import urllib.request as r; o = r.build_opener({proxy}); print(o.open(\"http://localhost:{port}/py\", timeout=5).read().decode())'"
        )
    };
    let socket = format!(
        "/usr/bin/python3 -I -c 'import socket; s = socket.create_connection((\"localhost\", {port}), 5); s.sendall(b\"GET /raw HTTP/1.0\\r\\n\\r\\n\"); print(s.makefile().read())'"
    );
    let clients = [
        (
            "the proxy, plain",
            format!("/usr/bin/curl -sS -m 5 http://localhost:{port}/curl"),
            "hello from GET /curl HTTP/1.1",
        ),
        (
            "the proxy, a tunnel",
            format!("/usr/bin/curl -sS -m 5 -p http://localhost:{port}/tunnel"),
            "hello from GET /tunnel HTTP/1.1",
        ),
        (
            "by name, without a proxy",
            format!("/usr/bin/curl -sS -m 5 --noproxy '*' http://localhost:{port}/direct"),
            "hello from GET /direct HTTP/1.1",
        ),
        ("Python, the proxy", python(""), "hello from GET /py HTTP/1.1"),
        ("Python, by name", python("r.ProxyHandler({})"), "hello from GET /py HTTP/1.1"),
        ("Python, a socket", socket, "hello from GET /raw HTTP/1.0"),
    ];
    for profile in networked() {
        for (name, command, expected) in &clients {
            let endpoints = format!("'localhost:{port}'");
            let (report, log) = run(
                profile,
                &endpoints,
                "127.0.0.0/8, '::1/128'",
                &script(command),
                Egress::default(),
            )
            .await;
            assert_eq!(report.verdict, Verdict::Succeeded, "{profile}: {name}: {log:?}");
            assert!(log.iter().any(|line| line.contains(expected)), "{profile}: {name}: {log:?}");
            assert_eq!(report.connections.len(), 1, "{profile}: {name}: {:?}", report.connections);
            let connection = &report.connections[0];
            assert_eq!(connection.endpoint, format!("localhost:{port}"), "{profile}: {name}");
            assert_eq!(connection.end, ConnectionEnd::Closed, "{profile}: {name}: {connection:?}");
            assert_eq!(connection.address.unwrap().port(), port, "{profile}: {name}");
            assert!(
                connection.sent > 10 && connection.received > 20,
                "{profile}: {name}: {connection:?}"
            );
        }
    }
}

/// The clients of the documentation, which are the program that is run here.
#[test]
fn what_the_documentation_shows_is_what_is_tested() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = std::fs::read_to_string(root.join("docs/src/network.md")).unwrap();
    for name in ["direct", "proxy"] {
        let path = format!("crates/wachter-testkit/src/bin/egress_client/{name}.rs");
        let code = std::fs::read_to_string(root.join(&path)).unwrap();
        assert!(page.contains(&format!("```rust\n{code}```\n")), "{path} is not in the page");
    }
}

#[tokio::test]
async fn a_client_in_rust_gets_through_both_ways() {
    let (server, other) = (Server::start(), Server::start());
    let folder = tempfile::tempdir().unwrap();
    crate::stage::open_to_all(folder.path(), 0o755);
    let client = folder.path().join("client");
    std::fs::copy(wachter_testkit::executable("wachter-egress-client"), &client).unwrap();
    let asked = format!("network: ['localhost:{}'], exec: [{}]", server.0, client.display());
    let (manifest, grant) = (
        format!("permissions: {{ {asked} }}"),
        format!("{{ {asked}, network_ranges: [127.0.0.0/8, '::1/128'] }}"),
    );
    for profile in networked() {
        for way in ["direct", "proxy"] {
            let script = format!("exec {} {way} localhost:{} /rust", client.display(), server.0);
            let signed = Publication::new(profile, &manifest, &grant, &script);
            let launcher = Launcher::open(&signed.options()).await.unwrap();
            let order = signed.order(&script, Egress::default());
            let (report, log) = carry_out_with(&launcher, order).await;
            assert_eq!(report.verdict, Verdict::Succeeded, "{profile}: {way}: {log:?}");
            let answer = report.result.unwrap().output;
            let answer = answer.as_str().unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{profile}: {way}: {answer}");
            assert!(answer.ends_with("hello from GET /rust HTTP/1.0"), "{profile}: {answer}");
            assert!(
                matches!(&report.connections[..], [one] if one.end == ConnectionEnd::Closed),
                "{profile}: {way}: {:?}",
                report.connections
            );
            // What was not granted is refused to it, in words that lead to the record.
            let script = format!("exec {} {way} localhost:{} /rust", client.display(), other.0);
            let signed = Publication::new(profile, &manifest, &grant, &script);
            let launcher = Launcher::open(&signed.options()).await.unwrap();
            let order = signed.order(&script, Egress::default());
            let (report, log) = carry_out_with(&launcher, order).await;
            let Verdict::Failed(Failure::Module(message)) = &report.verdict else {
                panic!("{profile}: {way}: {:?} {log:?}", report.verdict)
            };
            // Without the proxy the jail itself may refuse, where it has rules on ports.
            let expected: &[&str] = match way {
                "proxy" => &["the proxy refused"],
                _ => &["refused", "denied"],
            };
            assert!(
                expected.iter().any(|words| message.contains(words)),
                "{profile}: {way}: {message}"
            );
        }
    }
}

#[tokio::test]
async fn everything_else_is_refused_and_recorded() {
    let server = Server::start();
    let other = Server::start();
    let (port, other) = (server.0, other.0);
    let granted = format!("'localhost:{port}'");
    let curl = |rest: &str| format!("/usr/bin/curl -sS -m 5 {rest}");
    let own_address = std::fs::read_to_string("/proc/net/fib_trie").unwrap();
    let own_address = own_address
        .lines()
        .collect::<Vec<_>>()
        .windows(2)
        .filter(|pair| pair[1].contains("/32 host LOCAL"))
        .filter_map(|pair| pair[0].trim().strip_prefix("|-- ").map(str::to_owned))
        .find(|address| !address.starts_with("127."));
    let mut cases = vec![
        ("a port that was not granted", granted.clone(), "127.0.0.0/8", curl(&format!("http://localhost:{other}/")), "was not granted"),
        ("a host that was not granted", granted.clone(), "127.0.0.0/8", curl(&format!("http://127.0.0.1:{port}/")), "was not granted"),
        ("a tunnel that was not granted", granted.clone(), "127.0.0.0/8", curl(&format!("-p http://127.0.0.1:{port}/")), "was not granted"),
        ("loopback by name", granted.clone(), "", curl(&format!("http://localhost:{port}/")), "network_ranges"),
        ("loopback by name, without a proxy", granted.clone(), "", curl(&format!("--noproxy '*' http://localhost:{port}/")), "network_ranges"),
        ("loopback by another range", granted.clone(), "10.0.0.0/8", curl(&format!("http://localhost:{port}/")), "network_ranges"),
        ("a private address", "'10.0.0.1:80'".to_owned(), "127.0.0.0/8", curl("http://10.0.0.1/"), "is not public"),
        ("a link-local address", "'169.254.169.254:80'".to_owned(), "", curl("http://169.254.169.254/"), "is not public"),
        ("no proxy request", granted.clone(), "127.0.0.0/8", "/usr/bin/python3 -I -c 'import socket; s = socket.create_connection((\"127.0.0.1\", 3128)); s.sendall(b\"\\0\\0\\r\\n\\r\\n\"); print(s.recv(99))'".to_owned(), "not HTTP"),
    ];
    if let Some(address) = own_address {
        cases.push((
            "an own address",
            format!("'{address}:{port}'"),
            "127.0.0.0/8",
            curl(&format!("http://{address}:{port}/")),
            "is this host",
        ));
    }
    for profile in networked() {
        for (name, endpoints, ranges, command, reason) in &cases {
            let (report, log) =
                run(profile, endpoints, ranges, &script(command), Egress::default()).await;
            assert_eq!(report.verdict, Verdict::Succeeded, "{profile}: {name}: {log:?}");
            assert!(
                !log.iter().any(|line| line.contains("hello from")),
                "{profile}: {name}: {log:?}"
            );
            let refused = matches!(&report.connections[..], [connection] if matches!(&connection.end, ConnectionEnd::Refused(found) if found.contains(reason)));
            assert!(refused, "{profile}: {name}: {:?} {log:?}", report.connections);
        }
    }
}

#[tokio::test]
async fn quotas_hold() {
    let server = Server::start();
    let port = server.0;
    let granted = format!("'localhost:{port}'");
    for profile in networked() {
        let egress = Egress { bytes: wachter_model::ByteSize::from_mib(1), ..Egress::default() };
        let large =
            script(&format!("/usr/bin/curl -sS -m 5 http://localhost:{port}/large | wc -c"));
        let (report, log) = run(profile, &granted, "127.0.0.0/8, '::1/128'", &large, egress).await;
        assert_eq!(report.verdict, Verdict::Succeeded, "{profile}: {log:?}");
        let [connection] = &report.connections[..] else {
            panic!("{profile}: {:?}", report.connections)
        };
        assert_eq!(connection.end, ConnectionEnd::Quota, "{profile}: {connection:?}");
        assert!(connection.received <= 1 << 20, "{profile}: {connection:?}");
        let egress = Egress { connections: 1, ..Egress::default() };
        // The first stays open, so there is no place for the second.
        let two = script(&format!(
            "/usr/bin/python3 -I -c 'import socket; c = lambda: socket.create_connection((\"localhost\", {port}), 5); a = c(); a.sendall(b\"GET\"); b = c(); print(\"second:\", b.recv(99))'"
        ));
        let (report, log) = run(profile, &granted, "127.0.0.0/8, '::1/128'", &two, egress).await;
        let ends: Vec<&ConnectionEnd> =
            report.connections.iter().map(|connection| &connection.end).collect();
        assert!(ends.contains(&&ConnectionEnd::Quota), "{profile}: {ends:?} {log:?}");
        assert_eq!(ends.len(), 2, "{profile}: {ends:?} {log:?}");
    }
}
