use super::MOST_TOKENS;
use super::hash::Keyed;

/// How a value is written in a template.
pub(crate) const WILD: &str = "<*>";

/// The hash of a token that is a value as a whole.
pub(crate) const WILD_HASH: u64 = 0x2D35_8DCC_AA6C_78A5;

/// A longer word is a value: nobody writes it in a message that is always the same.
const LONGEST_WORD: usize = 64;

/// A part of the line at hand, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u16,
    pub(crate) end: u16,
}

impl Span {
    /// The part of `line`, which is the one that it was cut from.
    pub(crate) fn of(self, line: &[u8]) -> &[u8] {
        line.get(usize::from(self.start)..usize::from(self.end)).unwrap_or_default()
    }
}

/// One token of a line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    /// Of the token as it is masked.
    pub(crate) hash: u64,
    /// Of the token as it would be if it were a value; the same as `hash` where it is one.
    pub(crate) wild: u64,
    pub(crate) span: Span,
    /// How many bytes of it stay where the rest is a value: those of `key=`.
    pub(crate) key: u16,
    /// Whether it is a word that says something: two letters in a row.
    pub(crate) telling: bool,
}

impl Token {
    pub(crate) const fn is_value(&self) -> bool {
        self.hash == self.wild
    }

    /// The value in it, without its key.
    pub(crate) const fn value(&self) -> Span {
        Span { start: self.span.start + self.key, end: self.span.end }
    }
}

/// Cuts `line`, of at most 65,535 bytes, into tokens, in place of what `tokens` held.
#[inline]
pub(crate) fn cut(line: &[u8], key: Keyed, tokens: &mut Vec<Token>) {
    tokens.clear();
    let mut place = 0;
    while let Some(byte) = line.get(place) {
        if CLASS[usize::from(*byte)] == SPACE {
            place += 1;
            continue;
        }
        let start = place;
        let mut seen = 0;
        let mut equals = 0;
        while let Some(byte) = line.get(place) {
            let class = CLASS[usize::from(*byte)];
            if class == SPACE {
                break;
            }
            if class == EQUALS && equals == 0 {
                equals = place - start;
            }
            seen |= class;
            place += 1;
        }
        if tokens.len() + 1 == MOST_TOKENS {
            // What is left of a very long line is one value.
            place = line.len();
            seen = DIGIT;
            equals = 0;
        }
        tokens.push(token(line, start, place, seen, equals, key));
    }
}

#[inline]
#[allow(clippy::cast_possible_truncation, reason = "the caller keeps to the limit")]
fn token(line: &[u8], start: usize, end: usize, seen: u8, equals: usize, key: Keyed) -> Token {
    let text = &line[start..end];
    let span = Span { start: start as u16, end: end as u16 };
    let mut kept = 0;
    let mut wild = WILD_HASH;
    if equals > 0 && is_key(&text[..equals]) {
        kept = equals + 1;
        wild ^= key.bytes(&text[..kept]);
    }
    let value = is_value(text, &text[kept..], seen);
    let hash = if value { wild } else { key.bytes(text) };
    Token { hash, wild, span, key: kept as u16, telling: !value && is_telling(text) }
}

/// Whether what stands before `=` names what stands behind it.
fn is_key(text: &[u8]) -> bool {
    text[0].is_ascii_alphabetic()
        && text.iter().all(|byte| CLASS[usize::from(*byte)] & (LETTER | DOT | DIGIT) != 0)
}

/// Whether a token, or what follows its key, is a value by its look.
#[inline]
fn is_value(token: &[u8], text: &[u8], seen: u8) -> bool {
    // The digit of `key2=word` is the key's: what follows is judged as behind any other key.
    if seen & (DIGIT | STRANGE) != 0
        && (token.len() == text.len()
            || text.iter().any(|byte| CLASS[usize::from(*byte)] & (DIGIT | STRANGE) != 0))
    {
        return true;
    }
    if seen & HIGH != 0 && std::str::from_utf8(text).is_err() {
        return true;
    }
    text.len() > LONGEST_WORD
        || text == b"()"
        || text == WILD.as_bytes()
        || is_path(text)
        || is_hexadecimal(text)
        || (seen & AROUND != 0 && text.windows(3).any(|three| three == b"://"))
        || (seen & DOT != 0 && is_host(text))
        || is_day_or_month(text)
}

fn is_path(text: &[u8]) -> bool {
    match *text {
        [b'/', _, ..] => true,
        [_, b'/', ..] => text.len() > 2,
        _ => false,
    }
}

/// A number in hexadecimal digits that happens to have letters alone: one in a thousand of seven digits has.
fn is_hexadecimal(text: &[u8]) -> bool {
    text.len() >= 7
        && (text.iter().all(|byte| matches!(byte, b'a'..=b'f'))
            || text.iter().all(|byte| matches!(byte, b'A'..=b'F')))
}

/// Names with dots inside, such as hosts, files and classes. A sentence's end has its dot behind.
fn is_host(text: &[u8]) -> bool {
    let bare = |byte: &u8| CLASS[usize::from(*byte)] & AROUND == 0;
    let (Some(first), Some(last)) = (text.iter().position(bare), text.iter().rposition(bare))
    else {
        return false;
    };
    let name = &text[first..=last];
    text.last() != Some(&b'.')
        && name.contains(&b'.')
        && !name.starts_with(b".")
        && !name.ends_with(b".")
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

fn is_day_or_month(text: &[u8]) -> bool {
    matches!(
        text.strip_suffix(b",").unwrap_or(text),
        b"Mon"
            | b"Tue"
            | b"Wed"
            | b"Thu"
            | b"Fri"
            | b"Sat"
            | b"Sun"
            | b"Jan"
            | b"Feb"
            | b"Mar"
            | b"Apr"
            | b"May"
            | b"Jun"
            | b"Jul"
            | b"Aug"
            | b"Sep"
            | b"Oct"
            | b"Nov"
            | b"Dec"
    )
}

#[inline]
fn is_telling(text: &[u8]) -> bool {
    let mut letter = false;
    for byte in text {
        let now = byte.is_ascii_alphabetic() || *byte >= 0x80;
        if letter && now {
            return true;
        }
        letter = now;
    }
    false
}

const SPACE: u8 = 1;
const DIGIT: u8 = 2;
const EQUALS: u8 = 4;
const DOT: u8 = 8;
const LETTER: u8 = 16;
/// What may stand around a word: brackets, quotes, commas.
const AROUND: u8 = 32;
/// A byte that ASCII does not know.
const HIGH: u8 = 64;
/// A control character: never part of a word.
const STRANGE: u8 = 128;

static CLASS: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[allow(clippy::cast_possible_truncation, reason = "the loop ends before 256")]
        let class = match byte as u8 {
            b' ' | b'\t' | b'\r' | b'\n' => SPACE,
            b'0'..=b'9' => DIGIT,
            b'=' => EQUALS,
            b'.' => DOT,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'-' => LETTER,
            b'(' | b')' | b'[' | b']' | b'<' | b'>' | b'\'' | b'"' | b',' | b':' | b';' => AROUND,
            0x80..=0xFF => HIGH,
            0..=0x1F | 0x7F => STRANGE,
            _ => 0,
        };
        classes[byte] = class;
        byte += 1;
    }
    classes
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn masked(line: &[u8]) -> String {
        let mut tokens = Vec::new();
        cut(line, Keyed::random(), &mut tokens);
        let text = |token: &Token| {
            let text = std::str::from_utf8(token.span.of(line));
            if token.is_value() {
                let key = &line[usize::from(token.span.start)..][..usize::from(token.key)];
                format!("{}{WILD}", std::str::from_utf8(key).unwrap())
            } else {
                text.unwrap().to_owned()
            }
        };
        tokens.iter().map(text).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn values_are_masked_by_their_look() {
        for (line, expected) in [
            ("Accepted publickey for ann", "Accepted publickey for ann"),
            ("  port 22\t ssh2 ", "port <*> <*>"),
            ("uid=0 tty=ssh logname= rhost=a.example", "uid=<*> tty=ssh logname= rhost=<*>"),
            ("in /var/log at (a.b.example), done.", "in <*> at <*> done."),
            ("Sat Jun, Saturn ()", "<*> <*> Saturn <*>"),
            ("queued as FDFFFED id=abcdefa decade", "queued as <*> id=<*> decade"),
            ("see \"http://example/a\" (+https://b)", "see <*> <*>"),
            ("level2=warn x=(a)", "level2=warn x=(a)"),
            ("x1=<*> a0=/bin/sh a2=a.b k9=é", "x1=<*> a0=<*> a2=<*> k9=é"),
            ("a=b=1 =c 1=d", "a=<*> =c <*>"),
            ("é\u{301} ünïcode", "é\u{301} ünïcode"),
            ("a \u{1b}[31mred <*>", "a <*> <*>"),
            ("", ""),
        ] {
            assert_eq!(masked(line.as_bytes()), expected, "{line:?}");
        }
        assert_eq!(masked(b"bad \xFF\xFE bytes k2=\xFF"), "bad <*> bytes k2=<*>");
    }

    #[test]
    fn a_long_line_ends_in_one_value() {
        let line = "word ".repeat(200);
        assert_eq!(masked(line.as_bytes()), "word ".repeat(MOST_TOKENS - 1) + WILD);
        assert_eq!(masked("x".repeat(70).as_bytes()), WILD);
    }

    proptest! {
        #[test]
        fn any_bytes_are_cut_into_few_tokens_within_the_line(
            line in prop::collection::vec(any::<u8>(), 0..2000),
        ) {
            let mut tokens = Vec::new();
            cut(&line, Keyed::random(), &mut tokens);
            prop_assert!(tokens.len() <= MOST_TOKENS);
            let mut end = 0;
            for token in tokens {
                prop_assert!(token.span.start >= end && token.span.end > token.span.start);
                prop_assert!(token.value().start <= token.span.end);
                prop_assert!(token.is_value() || std::str::from_utf8(token.span.of(&line)).is_ok());
                end = token.span.end;
            }
        }

        #[test]
        fn a_template_is_its_own_template(line in "[a-z=. <>*,/()A1]{0,60}") {
            let once = masked(line.as_bytes());
            prop_assert_eq!(masked(once.as_bytes()), once);
        }
    }
}
