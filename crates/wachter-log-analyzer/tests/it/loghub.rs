//! The labelled sets of loghub, which are for research alone: they are read where they are, and nothing of them is kept.

use std::collections::{BTreeMap, BTreeSet};

use wachter_testkit::fixture;

pub(crate) const SETS: [&str; 4] = ["Apache", "HDFS", "Linux", "OpenSSH"];

/// One line of a set.
pub(crate) struct Labelled {
    pub(crate) content: Vec<u8>,
    pub(crate) event: Vec<u8>,
}

/// The lines of a set.
pub(crate) fn read(set: &str) -> Option<Vec<Labelled>> {
    let name = format!("logs/loghub/{set}/{set}_2k.log_structured.csv");
    let rows = rows(&std::fs::read(fixture(&name)?).unwrap());
    let column = |name: &str| rows[0].iter().position(|head| head == name.as_bytes()).unwrap();
    let (content, event) = (column("Content"), column("EventId"));
    let labelled =
        |row: &Vec<Vec<u8>>| Labelled { content: row[content].clone(), event: row[event].clone() };
    Some(rows[1..].iter().map(labelled).collect())
}

/// Comma-separated values (RFC 4180).
fn rows(text: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let (mut rows, mut row, mut field) = (Vec::new(), Vec::new(), Vec::new());
    let mut quoted = false;
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' if quoted && bytes.peek() == Some(&b'"') => {
                bytes.next();
                field.push(b'"');
            }
            b'"' => quoted = !quoted,
            b',' if !quoted => row.push(std::mem::take(&mut field)),
            b'\n' if !quoted => {
                row.push(std::mem::take(&mut field));
                rows.push(std::mem::take(&mut row));
            }
            b'\r' if !quoted => {}
            other => field.push(other),
        }
    }
    rows
}

/// The share of lines whose group has exactly the lines that its label has (Zhu et al., 2019).
pub(crate) fn grouping_accuracy<G: Ord>(groups: &[G], lines: &[Labelled]) -> f64 {
    let mut found: BTreeMap<&G, Vec<usize>> = BTreeMap::new();
    let mut labels: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
    for (number, (group, line)) in groups.iter().zip(lines).enumerate() {
        found.entry(group).or_default().push(number);
        labels.entry(&line.event).or_default().push(number);
    }
    let labels: BTreeSet<Vec<usize>> = labels.into_values().collect();
    let right: usize = found.values().filter(|lines| labels.contains(*lines)).map(Vec::len).sum();
    right as f64 / lines.len() as f64
}

#[test]
fn fields_of_comma_separated_values_are_read() {
    let is = rows(b"a,\"b,\"\"c\"\"\"\r\n,\"d\ne\"\n");
    assert_eq!(is, [[b"a".to_vec(), b"b,\"c\"".to_vec()], [b"".to_vec(), b"d\ne".to_vec()]]);
}
