/// The known name that `found` was probably meant to be, if one is near enough to suggest.
///
/// Distance is that of Damerau and Levenshtein (optimal string alignment): insert, delete, replace
/// and swap of neighbours each cost one. A third of the name's length may differ.
#[must_use]
pub fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let found: Vec<char> = found.chars().take(MAX + 1).collect();
    let distance = |name: &'a str| {
        let name_length = name.chars().count();
        let most = (name_length.max(found.len()) / 3).max(1);
        // Each character that one has more is an insertion, which costs no table to know.
        let near = name_length.abs_diff(found.len()) <= most;
        near.then(|| distance(&found, name)).flatten().filter(|distance| *distance <= most)
    };
    known
        .into_iter()
        .filter_map(|name| Some((distance(name)?, name)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// The longest texts that are compared, in characters: longer ones are no typing slip, and the table is
/// quadratic.
const MAX: usize = 64;

fn distance(left: &[char], right: &str) -> Option<usize> {
    let mut buffer = ['\0'; MAX];
    let mut length = 0;
    for character in right.chars() {
        *buffer.get_mut(length)? = character;
        length += 1;
    }
    let right = &buffer[..length];
    if left.len() > MAX {
        return None;
    }
    // Three rows of the table, since a swap looks back at the one before the last.
    let mut before_last = [0; MAX + 1];
    let mut last: [usize; MAX + 1] = std::array::from_fn(|column| column);
    for (row, from) in left.iter().enumerate() {
        let mut current = [row + 1; MAX + 1];
        for (column, to) in right.iter().enumerate() {
            let replaced = last[column] + usize::from(from != to);
            let mut best = replaced.min(last[column + 1] + 1).min(current[column] + 1);
            let swapped =
                row > 0 && column > 0 && left[row - 1] == *to && *from == right[column - 1];
            if swapped {
                best = best.min(before_last[column - 1] + 1);
            }
            current[column + 1] = best;
        }
        before_last = std::mem::replace(&mut last, current);
    }
    Some(last[length])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_slip_of_the_finger() {
        let known = ["timeout", "memory", "cpu", "processes"];
        for (found, expected) in [
            ("tiemout", Some("timeout")),
            ("memroy", Some("memory")),
            ("processs", Some("processes")),
            ("cup", Some("cpu")),
            ("network", None),
            ("", None),
        ] {
            assert_eq!(nearest(found, known), expected, "{found}");
        }
    }

    #[test]
    fn of_long_texts_it_says_nothing() {
        let check = |length: usize, found: bool| {
            let name = "n".repeat(length);
            assert_eq!(nearest(&name, [name.as_str()]).is_some(), found, "{length}");
        };
        check(MAX, true);
        check(MAX + 1, false);
        assert_eq!(nearest("memory", ["m".repeat(MAX + 1).as_str()]), None);
    }
}
