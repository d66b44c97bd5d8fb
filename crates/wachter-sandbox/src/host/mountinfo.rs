//! What proc_pid_mountinfo(5) says of file systems.

use std::path::Path;

use wachter_protocol::module::host::Mount;

/// File systems without content of their own.
const PSEUDO: [&str; 23] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nsfs",
    "proc",
    "pstore",
    "ramfs",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "smackfs",
    "sysfs",
    "tracefs",
];

/// A line: six fields, optional ones, a hyphen, three fields. None for a file system without content.
pub(super) fn parse(line: &str) -> Option<Mount> {
    let (first, last) = line.split_once(" - ")?;
    let mut first = first.split(' ').skip(2);
    let device = first.next()?.to_owned();
    let target = unescaped(first.nth(1)?);
    first.next()?;
    let mut last = last.split(' ');
    let kind = last.next()?.to_owned();
    let source = unescaped(last.next()?);
    let options = last.next().unwrap_or_default();
    if PSEUDO.contains(&kind.as_str()) || !Path::new(&target).is_absolute() {
        return None;
    }
    // The file system's own options. Those of the mount say what this process may do there: a node under
    // systemd may write almost nowhere, while others fill the same disk.
    let read_only = options.split(',').any(|option| option == "ro");
    Some(Mount { target, source, device, kind, read_only, ..Mount::default() })
}

/// Undoes the escapes of spaces, tabs, line feeds and backslashes: `\040` and so on.
fn unescaped(word: &str) -> String {
    let mut text = String::with_capacity(word.len());
    let mut rest = word;
    while let Some((before, after)) = rest.split_once('\\') {
        text.push_str(before);
        let code = after.get(..3).and_then(|code| u8::from_str_radix(code, 8).ok());
        match code.filter(u8::is_ascii) {
            Some(code) => {
                text.push(char::from(code));
                rest = &after[3..];
            }
            None => {
                text.push('\\');
                rest = after;
            }
        }
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines() {
        let line = r"24 21 8:1 / /mnt/two\040words rw - xfs /dev/sda1 rw";
        let found = parse(line).unwrap();
        assert_eq!(found.device, "8:1");
        assert_eq!(found.target, "/mnt/two words");
        assert_eq!((found.source.as_str(), found.kind.as_str()), ("/dev/sda1", "xfs"));
        for line in
            ["", "a - b", "1 2 3 4 5", "21 1 254:0 / / rw -", "1 1 0:5 / relative rw - ext4 a rw"]
        {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn escapes() {
        for (word, expected) in [
            (r"a\040b", "a b"),
            (r"\134", "\\"),
            (r"\", "\\"),
            (r"\9", r"\9"),
            (r"\777", r"\777"),
            (r"\é", r"\é"),
        ] {
            assert_eq!(unescaped(word), expected, "{word}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_not(text: String, word in "[\\\\0-9a/é ]{0,12}") {
            let _ = (text.lines().filter_map(parse).collect::<Vec<_>>(), unescaped(&word));
            let _ = parse(&format!("1 2 0:1 / /{word} rw - ext4 {word} rw"));
        }

        #[test]
        fn a_word_without_backslash_stays(word in "[^\\\\]{0,20}") {
            prop_assert_eq!(unescaped(&word), word);
        }
    }
}
