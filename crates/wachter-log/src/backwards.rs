use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt as _;

/// What is read of a file at once.
const BLOCK: usize = 64 << 10;

/// What is held of a line at most, in bytes. What a line has beyond it is left out.
pub(crate) const LONGEST_LINE: usize = 1 << 20;

/// Goes through the whole lines of a file from the last to the first, each with its place, until `look`
/// breaks off. Says where the last whole line ends, and whether it was broken off. What stands after
/// that end is a line that is being written.
pub(crate) fn lines(
    file: &File,
    mut look: impl FnMut(u64, &[u8]) -> ControlFlow<()>,
) -> io::Result<(u64, ControlFlow<()>)> {
    let mut begin = file.metadata()?.len();
    // From `begin` up to where the line ends that is being put together.
    let mut held: Vec<u8> = Vec::new();
    let mut end = None;
    while begin > 0 {
        let length = BLOCK.min(usize::try_from(begin).unwrap_or(BLOCK));
        begin -= length as u64;
        let mut block = vec![0; length];
        file.read_exact_at(&mut block, begin)?;
        // Only the block can hold the end of a line.
        let mut unseen = block.len();
        block.append(&mut held);
        held = block;
        while let Some(at) = held[..unseen].iter().rposition(|byte| *byte == b'\n') {
            let place = begin + at as u64 + 1;
            if end.is_some() && look(place, beginning(&held[at + 1..])).is_break() {
                return Ok((end.unwrap_or(place), ControlFlow::Break(())));
            }
            end = end.or(Some(place));
            held.truncate(at);
            unseen = at;
        }
        held.truncate(LONGEST_LINE);
    }
    let broken = if end.is_some() { look(0, beginning(&held)) } else { ControlFlow::Continue(()) };
    Ok((end.unwrap_or(0), broken))
}

/// What is held of a line.
fn beginning(line: &[u8]) -> &[u8] {
    &line[..line.len().min(LONGEST_LINE)]
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn read(bytes: &[u8]) -> (u64, Vec<(u64, Vec<u8>)>) {
        let mut found = Vec::new();
        let (end, flow) = lines(&file(bytes), |place, line| {
            found.push((place, line.to_vec()));
            ControlFlow::Continue(())
        })
        .unwrap();
        assert!(flow.is_continue());
        found.reverse();
        (end, found)
    }

    /// The same, forwards and in memory.
    fn expected(bytes: &[u8]) -> (u64, Vec<(u64, Vec<u8>)>) {
        let (mut place, mut found) = (0, Vec::new());
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let Some(whole) = line.strip_suffix(b"\n") else { break };
            let cut = whole.len().min(LONGEST_LINE);
            found.push((place, whole[..cut].to_vec()));
            place += line.len() as u64;
        }
        (place, found)
    }

    #[test]
    fn lines_are_put_together_over_blocks() {
        let check = |lengths: &[usize]| {
            let bytes: Vec<u8> = lengths
                .iter()
                .zip(b'a'..)
                .flat_map(|(length, letter)| [vec![letter; *length], vec![b'\n']].concat())
                .collect();
            assert_eq!(read(&bytes), expected(&bytes), "{lengths:?}");
            let cut = &bytes[..bytes.len() - 1];
            assert_eq!(read(cut), expected(cut), "{lengths:?}, of which the last has no end");
        };
        check(&[0]);
        check(&[0, 0, 3]);
        check(&[BLOCK - 1, BLOCK - 1, BLOCK - 1]);
        check(&[BLOCK, BLOCK + 1, 1]);
        check(&[5, 3 * BLOCK + 7, 0, 9]);
        check(&[5, LONGEST_LINE, 7]);
        assert_eq!(read(b""), (0, Vec::new()));
    }

    #[test]
    fn of_a_line_without_end_the_beginning_is_held() {
        for over in [1, BLOCK, 5 * BLOCK + 3] {
            let long = LONGEST_LINE + over;
            let bytes =
                [b"a\n", &vec![b'b'; LONGEST_LINE][..], &vec![b'c'; over], b"\nd\n"].concat();
            let (_, found) = read(&bytes);
            assert_eq!(found.len(), 3);
            let held = &found[1].1;
            assert!(held.len() == LONGEST_LINE && held.iter().all(|byte| *byte == b'b'));
            assert_eq!((found[2].0, found[2].1.as_slice()), (long as u64 + 3, &b"d"[..]));
        }
    }

    #[test]
    fn no_more_is_read_than_is_asked_for() {
        let bytes = b"one\ntwo\nthree\n".repeat(100_000);
        let mut left = 3;
        let mut seen = Vec::new();
        let (end, flow) = lines(&file(&bytes), |_, line| {
            seen.push(String::from_utf8(line.to_vec()).unwrap());
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
        assert_eq!((end, flow, seen.len()), (bytes.len() as u64, ControlFlow::Break(()), 3));
        assert_eq!(seen, ["three", "two", "one"]);
    }

    proptest! {
        #[test]
        fn any_bytes_read_backwards_are_those_read_forwards(
            pieces in prop::collection::vec(("[ab\n]{0,9}", 0..3_usize), 0..9),
        ) {
            let bytes: Vec<u8> = pieces
                .iter()
                .flat_map(|(text, long)| [text.as_bytes(), &vec![b'x'; long * 40_000]].concat())
                .collect();
            prop_assert_eq!(read(&bytes), expected(&bytes));
        }
    }
}
