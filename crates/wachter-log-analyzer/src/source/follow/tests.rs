use std::fs;
use std::io::Write as _;
use std::path::Path;

use flate2::write::GzEncoder;

use super::*;

/// One turn of a log in `folder`: the records and how far it came.
fn turn(
    folder: &Path,
    cursor: Option<Cursor>,
    most: u64,
    stop: &dyn Fn() -> bool,
) -> (Vec<String>, Result<Turn, FollowError>) {
    let folders = [folder.to_owned()];
    let follower = Follower {
        folders: &folders,
        cut: Cut { line: 1 << 10, lines: 10, record: 1 << 16 },
        now: i64::MAX / 4,
        hold: 0,
        decompressed: 1 << 20,
        stop,
    };
    let mut records = Vec::new();
    let mut visit = |raw: &Raw<'_>, _: i64| {
        records.push(String::from_utf8_lossy(raw.text).into_owned());
    };
    let turn = follower.turn(&folder.join("app.log"), cursor, Begin::File, most, &mut visit);
    (records, turn)
}

#[test]
fn no_time_left_is_not_taken_for_a_file_that_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let path = |name: &str| root.join(name);
    let text: String = (0..100).map(|line| format!("line {line}\n")).collect();
    fs::write(path("app.log"), &text).unwrap();
    let (first, read) = turn(&root, None, 300, &|| false);
    let cursor = read.unwrap().cursor.unwrap();
    assert!(cursor.offset > 200 && cursor.offset < text.len() as u64, "{}", cursor.offset);

    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    fs::write(path("app.log.1.gz"), encoder.finish().unwrap()).unwrap();
    fs::remove_file(path("app.log")).unwrap();
    fs::write(path("app.log"), "a new file\n").unwrap();
    let (none, late) = turn(&root, Some(cursor.clone()), u64::MAX, &|| true);
    assert!(none.is_empty() && matches!(late, Err(FollowError::Late)), "{none:?} {late:?}");

    let (rest, read) = turn(&root, Some(cursor), u64::MAX, &|| false);
    assert_eq!(read.unwrap().losses, []);
    let all: Vec<_> = text.lines().chain(["a new file"]).collect();
    assert_eq!([first, rest].concat(), all);
}
