use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use wachter_protocol::module::host::{Listening, Moment, Sockets, TcpCounters, Tracked};

use super::lines::number;
use super::root::{HostRoot, Missing};

/// The most sockets of one table that are looked at. The kernel takes about a microsecond for each.
const MAX_SOCKETS: usize = 65_536;

/// The most ports that are listed.
const MAX_LISTENING: usize = 256;

/// The states of TCP by the kernel's numbers (`include/net/tcp_states.h`), from 1 on. The last is a
/// connection that is not yet accepted as one.
const STATES: [&str; 12] = [
    "established",
    "syn-sent",
    "syn-received",
    "fin-wait-1",
    "fin-wait-2",
    "time-wait",
    "unconnected",
    "close-wait",
    "last-ack",
    "listen",
    "closing",
    "syn-received",
];

const UNCONNECTED: usize = 7;
const LISTEN: usize = 10;

/// Sockets by state, and the ports that are listened on.
pub(super) fn sample(
    root: &HostRoot,
    taken: &Moment,
    missing: &mut Missing<'_>,
) -> Option<Sockets> {
    let totals = Totals::read(root);
    let mut tcp = [0_u64; STATES.len()];
    let mut udp = 0;
    let mut listening = BTreeSet::new();
    let (mut seen, mut in_part) = (false, false);
    for (table, protocol, waits) in [
        ("tcp", "tcp", LISTEN),
        ("tcp6", "tcp", LISTEN),
        ("udp", "udp", UNCONNECTED),
        ("udp6", "udp", UNCONNECTED),
    ] {
        if totals.none_of(table) {
            seen = true;
            continue;
        }
        let path = format!("proc/self/net/{table}");
        let lines = root.lines(&path, MAX_SOCKETS, |line| {
            let Some(socket) = parse(line) else { return };
            if protocol == "udp" {
                udp += 1;
            } else {
                tcp[socket.state - 1] += 1;
            }
            if socket.state == waits {
                let Socket { address, port, user, .. } = socket;
                listening.insert(Listening { protocol: protocol.to_owned(), address, port, user });
            }
        });
        match lines {
            Ok(true) => seen = true,
            Ok(false) => {
                (seen, in_part) = (true, true);
                missing.say(format_args!(
                    "only the first {MAX_SOCKETS} sockets of /{path} are counted"
                ));
            }
            // A kernel without IPv6 has no such table.
            Err(error) if table.ends_with('6') && error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => missing.say(format_args!("/{path} cannot be read: {error}")),
        }
    }
    if !seen {
        return None;
    }
    if listening.len() > MAX_LISTENING {
        missing.say(format_args!(
            "{} ports are left out, {MAX_LISTENING} are the most",
            listening.len() - MAX_LISTENING
        ));
    }
    let path = "proc/self/net/protocols";
    let unix = missing.or_say(path, root.read(path)).map_or(0, |text| count_unix(&text));
    let mut states = BTreeMap::new();
    for (state, count) in STATES.iter().zip(tcp).filter(|(_, count)| *count > 0) {
        *states.entry((*state).to_owned()).or_default() += count;
    }
    Some(Sockets {
        taken: taken.clone(),
        used: totals.value("sockets", "used"),
        tcp: states,
        udp,
        unix,
        tcp_memory_bytes: totals.value("TCP", "mem").map(|pages| root.bytes(pages)),
        listening: listening.into_iter().take(MAX_LISTENING).collect(),
        counters: counters(root),
        in_part,
        tracked: tracked(root),
    })
}

/// What the kernel counts anyway (its `sockstat` and `sockstat6`): a name, a colon, words and numbers.
struct Totals(String);

impl Totals {
    fn read(root: &HostRoot) -> Self {
        let read = |name: &str| root.read(&format!("proc/self/net/{name}")).unwrap_or_default();
        Self(format!("{}\n{}", read("sockstat"), read("sockstat6")))
    }

    fn value(&self, line: &str, name: &str) -> Option<u64> {
        let line = self.0.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'))?;
        let mut words = line.split_ascii_whitespace().skip_while(|word| *word != name);
        words.nth(1)?.parse().ok()
    }

    /// A table that is known to be empty is not asked for: on a machine with much memory the kernel takes
    /// milliseconds to find that there is nothing in it.
    fn none_of(&self, table: &str) -> bool {
        let is_none = |line: &str, name: &str| self.value(line, name) == Some(0);
        // Connections that have ended and wait are counted together for both versions of IP.
        let waiting = !table.starts_with("tcp") || is_none("TCP", "tw");
        is_none(&table.to_ascii_uppercase(), "inuse") && waiting
    }
}

/// A line of the tables of TCP and UDP.
struct Socket {
    address: String,
    port: u16,
    /// 1 to the number of [`STATES`].
    state: usize,
    user: u32,
}

/// The kernel's Documentation/networking/proc_net_tcp.rst; UDP has the same fields.
fn parse(line: &str) -> Option<Socket> {
    let mut words = line.split_ascii_whitespace();
    let (address, port) = words.nth(1)?.split_once(':')?;
    let state = usize::from_str_radix(words.nth(1)?, 16).ok()?;
    if !(1..=STATES.len()).contains(&state) {
        return None;
    }
    let waits = state == LISTEN || state == UNCONNECTED;
    Some(Socket {
        // Only where it is reported, which is seldom.
        address: if waits { parse_address(address)? } else { String::new() },
        port: u16::from_str_radix(port, 16).ok()?,
        state,
        user: words.nth(3)?.parse().ok()?,
    })
}

/// One word of 32 bits, or four, each as a number of this machine and in hexadecimal.
fn parse_address(text: &str) -> Option<String> {
    let word = |index: usize| {
        let digits = text.get(index * 8..index * 8 + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    match text.len() {
        8 => Some(Ipv4Addr::from(word(0)?).to_string()),
        32 => {
            let mut bytes = [0; 16];
            for index in 0..4 {
                bytes[index * 4..index * 4 + 4].copy_from_slice(&word(index)?);
            }
            Some(Ipv6Addr::from(bytes).to_string())
        }
        _ => None,
    }
}

/// The kernel's table of protocols: a name, a size, how many sockets there are. Asking for the sockets
/// themselves would make the kernel print the path of each.
fn count_unix(text: &str) -> u64 {
    text.lines()
        .filter(|line| line.starts_with("UNIX"))
        .map(|line| number(line.split_ascii_whitespace().nth(2)))
        .fold(0, u64::saturating_add)
}

fn counters(root: &HostRoot) -> Option<TcpCounters> {
    let basic = root.read("proc/self/net/snmp").ok()?;
    let more = root.read("proc/self/net/netstat").unwrap_or_default();
    Some(TcpCounters {
        sent: named(&basic, "Tcp:", "OutSegs")?,
        retransmitted: named(&basic, "Tcp:", "RetransSegs")?,
        listen_overflows: named(&more, "TcpExt:", "ListenOverflows").unwrap_or(0),
    })
}

/// The kernel's `snmp` and `netstat`: a line of names, and one of numbers below it.
fn named(text: &str, group: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(group));
    let column = lines.next()?.split_ascii_whitespace().position(|word| word == name)?;
    lines.next()?.split_ascii_whitespace().nth(column)?.parse().ok()
}

fn tracked(root: &HostRoot) -> Option<Tracked> {
    let read = |name: &str| -> Option<u64> {
        root.read(&format!("proc/sys/net/netfilter/nf_conntrack_{name}")).ok()?.trim().parse().ok()
    };
    Some(Tracked { count: read("count")?, most: read("max")? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write as _;
    use wachter_protocol::HostView;

    const TITLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

    fn line(local: &str, state: &str, user: u32) -> String {
        format!(
            "   0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000  {user}        0 1065 1\n"
        )
    }

    /// As a machine of this byte order writes it.
    fn loopback() -> String {
        format!("{:08X}", u32::from_ne_bytes([127, 0, 0, 1]))
    }

    fn host(files: &[(&str, String)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = folder.path().join("proc").join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
        }
        folder
    }

    fn look(folder: &tempfile::TempDir) -> (Option<Sockets>, Vec<String>) {
        let mut missing = Vec::new();
        let root = HostRoot::at(folder.path());
        let mut sentences = Missing::of(HostView::Sockets, &mut missing);
        (sample(&root, &Moment::default(), &mut sentences), missing)
    }

    #[test]
    fn states_ports_and_counters() {
        let any = "00000000:0016";
        let tcp = [
            TITLE.to_owned(),
            line(any, "0A", 0),
            line(&format!("{}:1F90", loopback()), "0A", 33),
            line(&format!("{}:1F90", loopback()), "08", 33),
            line(&format!("{}:1F90", loopback()), "08", 33),
            line(any, "01", 0),
            line(any, "FF", 0),
        ];
        let tcp6 = [TITLE.to_owned(), line(&format!("{}:0016", "0".repeat(32)), "0A", 0)];
        let udp = [TITLE.to_owned(), line("00000000:0044", "07", 0), line(any, "01", 0)];
        let folder = host(&[
            ("self/net/tcp", tcp.concat()),
            ("self/net/tcp6", tcp6.concat()),
            ("self/net/udp", udp.concat()),
            ("self/net/udp6", TITLE.to_owned()),
            (
                "self/net/protocols",
                "protocol size sockets\nUNIX-STREAM 1216 20 -1\nUNIX 1216 3 -1\nTCP 1 9\n".into(),
            ),
            (
                "self/net/sockstat",
                "sockets: used 11\nTCP: inuse 1 orphan 0 tw 0 alloc 1 mem 74\n".into(),
            ),
            ("self/net/snmp", "Ip: A\nIp: 1\nTcp: InSegs OutSegs RetransSegs\nTcp: 5 6 7\n".into()),
            ("self/net/netstat", "TcpExt: X ListenOverflows\nTcpExt: 1 8\n".into()),
            ("sys/net/netfilter/nf_conntrack_count", "12\n".into()),
            ("sys/net/netfilter/nf_conntrack_max", "4096\n".into()),
        ]);
        let (sockets, missing) = look(&folder);
        let sockets = sockets.unwrap();
        assert!(missing.is_empty(), "{missing:?}");
        let states: Vec<_> =
            sockets.tcp.iter().map(|(state, count)| format!("{state} {count}")).collect();
        assert_eq!(states, ["close-wait 2", "established 1", "listen 3"]);
        assert_eq!((sockets.udp, sockets.unix, sockets.used), (2, 23, Some(11)));
        assert_eq!(sockets.tcp_memory_bytes, Some(74 * 4_096));
        let ports: Vec<_> = sockets
            .listening
            .iter()
            .map(|one| format!("{} {} {} {}", one.protocol, one.address, one.port, one.user))
            .collect();
        assert_eq!(
            ports,
            ["tcp 0.0.0.0 22 0", "tcp 127.0.0.1 8080 33", "tcp :: 22 0", "udp 0.0.0.0 68 0"]
        );
        assert!(!sockets.in_part);
        let expected = TcpCounters { sent: 6, retransmitted: 7, listen_overflows: 8 };
        assert_eq!(sockets.counters, Some(expected));
        assert_eq!(sockets.tracked, Some(Tracked { count: 12, most: 4_096 }));
    }

    #[test]
    fn a_host_without_the_newer_protocol_misses_nothing() {
        let folder = host(&[
            ("self/net/tcp", TITLE.to_owned()),
            ("self/net/udp", TITLE.to_owned()),
            ("self/net/protocols", String::new()),
            // What is known to be empty is not looked at.
            ("self/net/sockstat", "TCP: inuse 1 tw 0\n".into()),
            ("self/net/sockstat6", "TCP6: inuse 0\n".into()),
            ("self/net/tcp6", line("00000000:0016", "0A", 0)),
        ]);
        let (sockets, missing) = look(&folder);
        assert!(sockets.unwrap().tcp.is_empty() && missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn a_table_without_end_is_counted_in_part() {
        let many = line("00000000:0016", "06", 0).repeat(MAX_SOCKETS + 5);
        let folder = host(&[
            ("self/net/tcp", many),
            ("self/net/udp", TITLE.to_owned()),
            ("self/net/protocols", String::new()),
        ]);
        let (sockets, missing) = look(&folder);
        let sockets = sockets.unwrap();
        assert_eq!((sockets.tcp["time-wait"], sockets.in_part), (65_536, true));
        assert!(missing[0].contains("only the first 65536 sockets"), "{missing:?}");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_not(text: String, address in "[0-9A-Fé:]{0,40}", state in "[0-9A-F]{0,3}") {
            let _ = (parse(&text), parse(&line(&address, &state, 1)), parse_address(&address));
            let _ = (count_unix(&text), named(&text, "Tcp:", "OutSegs"));
        }
    }
}
