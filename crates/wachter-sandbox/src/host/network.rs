use wachter_protocol::module::host::{Interface, Moment, Network, Traffic};

use super::lines::number;
use super::root::{HostRoot, Missing};

/// The most interfaces: a host full of containers has one or two each.
const MAX_INTERFACES: usize = 256;

/// Network interfaces.
pub(super) fn sample(
    root: &HostRoot,
    taken: &Moment,
    missing: &mut Missing<'_>,
) -> Option<Network> {
    // `proc/net` follows the thread that asks; this path is where it leads, without the detour.
    let text = missing.or_say("proc/self/net/dev", root.read("proc/self/net/dev"))?;
    let mut interfaces = parse(&text);
    let left_out = interfaces.len().saturating_sub(MAX_INTERFACES);
    if left_out > 0 {
        missing
            .say(format_args!("{left_out} interfaces are left out, {MAX_INTERFACES} are the most"));
        // Those of containers are many, and no cable is in them.
        interfaces.sort_by_cached_key(|one| (!has_device(root, &one.name), one.name.clone()));
        interfaces.truncate(MAX_INTERFACES);
    }
    interfaces.sort_by(|one, other| one.name.cmp(&other.name));
    for interface in &mut interfaces {
        interface.state = state(root, &interface.name);
    }
    let left_out = u32::try_from(left_out).unwrap_or(u32::MAX);
    Some(Network { taken: taken.clone(), interfaces, left_out })
}

fn state(root: &HostRoot, name: &str) -> Option<String> {
    let text = root.read(&format!("{}/operstate", folder(name)?)).ok()?;
    Some(text.trim().chars().take(32).collect())
}

/// Whether an interface is a device of its own, and not made of others or of nothing.
fn has_device(root: &HostRoot, name: &str) -> bool {
    folder(name).is_some_and(|folder| root.path(format!("{folder}/device")).exists())
}

fn folder(name: &str) -> Option<String> {
    let is_name = !name.contains('/') && !name.starts_with('.');
    is_name.then(|| format!("sys/class/net/{name}"))
}

/// The kernel's table of devices: two lines of titles, then a name, a colon and 16 counters.
fn parse(text: &str) -> Vec<Interface> {
    let interface = |line: &str| {
        // An alias such as `eth0:1` has a colon too; no counter has.
        let (name, counters) = line.rsplit_once(':')?;
        let counters: Vec<u64> =
            counters.split_ascii_whitespace().map(|word| number(Some(word))).collect();
        let traffic = |first: usize| {
            let at = |index: usize| counters.get(first + index).copied().unwrap_or(0);
            Traffic { bytes: at(0), packets: at(1), errors: at(2), dropped: at(3) }
        };
        let name = name.trim();
        (!name.is_empty() && counters.len() >= 12).then(|| Interface {
            name: name.chars().take(64).collect(),
            state: None,
            received: traffic(0),
            sent: traffic(8),
        })
    };
    text.lines().filter_map(interface).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use wachter_protocol::HostView;

    const DEVICES: &str = "Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 1000 10 0 0 0 0 0 0 1000 10 0 0 0 0 0 0
  eth0:99999999999 12345 1 2 0 0 0 77 5555 44 3 4 0 0 0 0
";

    #[test]
    fn counters_of_both_directions() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("proc/self/net/dev", DEVICES);
        write("sys/class/net/eth0/operstate", "up\n");
        let mut missing = Vec::new();
        let root = HostRoot::at(folder.path());
        let network =
            sample(&root, &Moment::default(), &mut Missing::of(HostView::Network, &mut missing))
                .unwrap();
        let [ethernet, loopback] = &network.interfaces[..] else { panic!("{network:?}") };
        assert_eq!((ethernet.name.as_str(), ethernet.state.as_deref()), ("eth0", Some("up")));
        assert_eq!(
            ethernet.received,
            Traffic { bytes: 99_999_999_999, packets: 12_345, errors: 1, dropped: 2 }
        );
        assert_eq!(ethernet.sent, Traffic { bytes: 5_555, packets: 44, errors: 3, dropped: 4 });
        assert_eq!((loopback.name.as_str(), &loopback.state), ("lo", &None));
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn too_many_interfaces_are_counted() {
        use std::fmt::Write as _;
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("proc/self/net")).unwrap();
        let table = (0..300).fold(String::new(), |mut table, number| {
            writeln!(table, "veth{number:03}: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0").unwrap();
            table
        });
        let table = format!("{table}wlan0: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n");
        std::fs::create_dir_all(folder.path().join("sys/class/net/wlan0/device")).unwrap();
        std::fs::write(folder.path().join("proc/self/net/dev"), table).unwrap();
        let mut missing = Vec::new();
        let root = HostRoot::at(folder.path());
        let network =
            sample(&root, &Moment::default(), &mut Missing::of(HostView::Network, &mut missing))
                .unwrap();
        assert_eq!((network.interfaces.len(), network.left_out), (MAX_INTERFACES, 45));
        assert_eq!(network.interfaces.last().unwrap().name, "wlan0");
        assert!(missing[0].contains("45 interfaces are left out"), "{missing:?}");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_not(text: String, line in "[a-z./:]{0,9}:( [0-9]{0,25}){0,20}") {
            let _ = (parse(&text), parse(&line));
        }
    }
}
