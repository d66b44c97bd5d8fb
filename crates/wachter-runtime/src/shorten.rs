/// Cuts a text to `most` bytes at the end of a character, which an ellipsis then says. It may come from
/// a module, and may be as long as a line of one.
pub(crate) fn shorten(text: &mut String, most: usize) {
    const CUT: &str = "…";
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most.saturating_sub(CUT.len())));
        text.push_str(CUT);
        text.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::shorten;

    #[test]
    fn a_text_is_cut_at_a_character_and_says_so() {
        for (text, most, expected) in [
            ("", 4, ""),
            ("four", 4, "four"),
            ("fives", 4, "f…"),
            ("ééé", 6, "ééé"),
            ("éééé", 6, "é…"),
            ("long", 0, "…"),
        ] {
            let mut cut = text.to_owned();
            shorten(&mut cut, most);
            assert_eq!(cut, expected, "{text} to {most}");
        }
    }
}
