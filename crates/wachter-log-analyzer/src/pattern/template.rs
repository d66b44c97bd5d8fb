use super::evidence::shown;

/// Characters of a value that are shown.
const MOST: usize = 120;

/// Puts values into the places of a text: `{user} from {address}`. A place without a value becomes
/// `?`, since a record need not have every group.
pub(crate) fn render<'v>(template: &str, value: impl Fn(&str) -> Option<&'v [u8]>) -> String {
    let mut text = String::with_capacity(template.len() + 32);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        let Some((name, tail)) = after.split_once('}') else {
            text.push('{');
            rest = after;
            break;
        };
        match value(name) {
            Some(value) => text.push_str(&shown(value, MOST)),
            None => text.push('?'),
        }
        rest = tail;
    }
    text.push_str(rest);
    text
}

/// The names of the places.
pub(crate) fn places(template: &str) -> impl Iterator<Item = &str> {
    template.split('{').skip(1).filter_map(|part| part.split_once('}').map(|(name, _)| name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled() {
        let value = |name: &str| (name == "user").then_some(&b"bob\n"[..]);
        for (template, expected) in [
            ("{user} x", r"bob\n x"),
            ("a {other}", "a ?"),
            ("a {user", "a {user"),
            ("{user}{user}", r"bob\nbob\n"),
            ("", ""),
        ] {
            assert_eq!(render(template, value), expected);
        }
        assert_eq!(places("{a} b {c}").collect::<Vec<_>>(), ["a", "c"]);
    }
}
