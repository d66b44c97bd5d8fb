//! How large the journal is, from its files alone: it is not opened, so it may be damaged or in use.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

/// The beginning of every SQLite database (SQLite file format, section 1.3).
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Sizes of the files below `folder`, and what the header of each database says.
///
/// # Errors
/// The folder cannot be read.
pub(super) fn statistics(folder: &Path) -> std::io::Result<Value> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Ok(metadata) = path.metadata() else { continue };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let header = read_limited_start(&path).and_then(|start| header(&start));
        files.push(json!({ "name": name, "bytes": metadata.len(), "database": header }));
    }
    files.sort_by_key(|file| file["name"].to_string());
    Ok(json!({ "files": files }))
}

fn read_limited_start(path: &Path) -> Option<Vec<u8>> {
    use std::io::Read;
    let mut start = Vec::new();
    fs::File::open(path).ok()?.take(100).read_to_end(&mut start).ok()?;
    Some(start)
}

/// What the first 100 bytes of a database tell: numbers are big-endian.
fn header(start: &[u8]) -> Option<Value> {
    if !start.starts_with(MAGIC) || start.len() < 100 {
        return None;
    }
    let number = |at: usize| {
        let bytes: [u8; 4] = start[at..at + 4].try_into().expect("the range has four bytes");
        u32::from_be_bytes(bytes)
    };
    // 1 stands for what two bytes cannot hold.
    let page_size = match u16::from_be_bytes([start[16], start[17]]) {
        1 => 65_536,
        size => u32::from(size),
    };
    Some(json!({
        "page_bytes": page_size,
        "pages": number(28),
        "free_pages": number(36),
        "schema": number(60),
        "changes": number(24),
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_database_tells_its_size() {
        let mut start = vec![0; 100];
        start[..16].copy_from_slice(MAGIC);
        start[16..18].copy_from_slice(&8_192_u16.to_be_bytes());
        start[28..32].copy_from_slice(&7_u32.to_be_bytes());
        start[60..64].copy_from_slice(&3_u32.to_be_bytes());
        let found = header(&start).unwrap();
        assert_eq!((&found["page_bytes"], &found["pages"]), (&json!(8_192), &json!(7)));
        assert_eq!(found["schema"], 3);
        start[16..18].copy_from_slice(&[0, 1]);
        assert_eq!(header(&start).unwrap()["page_bytes"], 65_536);
        assert_eq!(header(&start[..99]), None);
    }

    proptest! {
        #[test]
        fn any_file_is_looked_at(start in proptest::collection::vec(any::<u8>(), 0..120)) {
            let magic = start.starts_with(MAGIC) && start.len() >= 100;
            prop_assert_eq!(header(&start).is_some(), magic);
        }
    }
}
