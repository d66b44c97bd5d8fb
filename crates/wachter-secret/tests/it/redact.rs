//! What goes through a redactor, and what does not.

use base64ct::{Base64, Base64Unpadded, Base64Url, Base64UrlUnpadded, Encoding as _};
use proptest::prelude::*;
use wachter_secret::{Redactor, Secrets};

const TOKEN: &str = "hunter2-and-more";

fn redact(secrets: &Secrets, pieces: &[&[u8]]) -> Vec<u8> {
    let mut redactor = Redactor::new(secrets);
    let mut out = Vec::new();
    for piece in pieces {
        redactor.feed(piece, &mut out);
    }
    redactor.finish(&mut out);
    out
}

fn token() -> Secrets {
    Secrets::new([("token", TOKEN.as_bytes())])
}

#[test]
fn what_is_found() {
    let check = |text: &str, expected: &str| {
        let found = redact(&token(), &[text.as_bytes()]);
        assert_eq!(String::from_utf8_lossy(&found), expected, "{text}");
    };
    check("", "");
    check("nothing of interest\n", "nothing of interest\n");
    check("hunter2-and-more", "[redacted:token]");
    check("a hunter2-and-more b", "a [redacted:token] b");
    check("hunter2-and-mor", "hunter2-and-mor");
    check("hunter2-hunter2-and-more-", "hunter2-[redacted:token]-");
    check("hunter2-and-morehunter2-and-more", "[redacted:token][redacted:token]");
    // With escapes, those that nobody needs included, and where there is no JSON.
    check(r#"{"a":"hunter2\u002dand-mor\u0065"}"#, r#"{"a":"[redacted:token]"}"#);
    check(r"hunter2-and-mor\u006", r"hunter2-and-mor\u006");
    check(r"\ud83dhunter2-and-more\ud83d", r"\ud83d[redacted:token]\ud83d");
    check(r"\hunter2-and-more\", r"\[redacted:token]\");
}

#[test]
fn base64_is_found_wherever_it_begins() {
    for before in ["", "u", "u:", "user", "user:"] {
        for after in ["", "\n", "!!", " and so on"] {
            let text = format!("{before}{TOKEN}{after}");
            for encoded in [
                Base64::encode_string(text.as_bytes()),
                Base64Unpadded::encode_string(text.as_bytes()),
                Base64Url::encode_string(text.as_bytes()),
                Base64UrlUnpadded::encode_string(text.as_bytes()),
            ] {
                let found = redact(&token(), &[format!("Basic {encoded}\n").as_bytes()]);
                let found = String::from_utf8(found).unwrap();
                assert_eq!(found.matches("[redacted:token]").count(), 1, "{text}: {found}");
                assert!(found.starts_with("Basic ") && found.ends_with('\n'), "{text}: {found}");
                if before.is_empty() && after.is_empty() {
                    assert_eq!(found, "Basic [redacted:token]\n");
                }
            }
        }
    }
}

#[test]
fn base64_in_lines_is_found() {
    let value = "x1y2z3".repeat(40);
    let secrets = Secrets::new([("key", value.as_bytes())]);
    let encoded = Base64::encode_string(value.as_bytes());
    for line_break in ["\n", "\r\n", r"\n", r"\r\n"] {
        for width in [64, 76] {
            let lines: Vec<&str> = encoded
                .as_bytes()
                .chunks(width)
                .map(|line| std::str::from_utf8(line).unwrap())
                .collect();
            let text = format!("a {} b", lines.join(line_break));
            let found = redact(&secrets, &[text.as_bytes()]);
            assert_eq!(String::from_utf8(found).unwrap(), "a [redacted:key] b");
        }
    }
}

#[test]
fn both_alphabets_are_looked_for() {
    let value = b"\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8\xf7\xf6";
    let secrets = Secrets::new([("key", value.as_slice())]);
    for encoded in [Base64::encode_string(value), Base64Url::encode_string(value)] {
        let escaped = encoded.replace('/', "\\/");
        for text in [encoded, escaped] {
            assert_eq!(redact(&secrets, &[text.as_bytes()]), b"[redacted:key]", "{text}");
        }
    }
}

#[test]
fn several_secrets_are_told_apart_and_overlaps_are_one() {
    let secrets = Secrets::new([
        ("short", b"abcdefgh".as_slice()),
        ("long", b"abcdefghij"),
        ("other", b"ghijklmnop"),
        ("tiny", b"abc"),
    ]);
    let check = |text: &str, expected: &str| {
        assert_eq!(String::from_utf8_lossy(&redact(&secrets, &[text.as_bytes()])), expected);
    };
    check("abcdefgh abcdefghij", "[redacted:short] [redacted:long]");
    check("abcdefghijklmnop.", "[redacted:long].");
    check("ghijklmnopabcdefgh", "[redacted:other][redacted:short]");
    // A short value would be found in every word.
    check("abc", "abc");
    // A value that overlaps itself leaves no part of it.
    let secrets = Secrets::new([("again", b"abababab".as_slice())]);
    assert_eq!(redact(&secrets, &[b"-abababababab-"]), b"-[redacted:again]-");
    // White space around a value is not what is secret.
    let secrets = Secrets::new([("line", b" \nhunter2-and-more\r\n".as_slice())]);
    assert_eq!(redact(&secrets, &[b"hunter2-and-more!"]), b"[redacted:line]!");
}

#[test]
fn whole_lines_go_on_at_once() {
    for line in ["{\"log\": {}}\n", "ends like it hunter2-\n", "aHVudGV\n", "\\\n", "=\n"] {
        let mut redactor = Redactor::new(&token());
        let mut out = Vec::new();
        redactor.feed(line.as_bytes(), &mut out);
        assert_eq!(String::from_utf8_lossy(&out), line);
    }
    let mut redactor = Redactor::new(&token());
    let mut out = Vec::new();
    redactor.feed(b"a hunter2-and-more b hunter2-", &mut out);
    assert_eq!(String::from_utf8_lossy(&out), "a [redacted:token] b ");
    redactor.feed(b"and-less", &mut out);
    assert_eq!(String::from_utf8_lossy(&out), "a [redacted:token] b hunter2-and-less");
}

#[test]
fn memory_is_bounded() {
    let value = [b"a".repeat(1_000), b"b".to_vec()].concat();
    let secrets = Secrets::new([("key", value.as_slice())]);
    let mut redactor = Redactor::new(&secrets);
    let (mut out, mut fed) = (Vec::new(), 0);
    for _ in 0..300 {
        redactor.feed(&[b'a'; 999], &mut out);
        fed += 999;
        assert!(fed - out.len() <= 6_000, "{} of {fed} held", fed - out.len());
    }
    redactor.finish(&mut out);
    assert_eq!(out.len(), fed);
}

/// A text in a string of JSON, each character written in one of the ways that there are.
fn escaped(text: &str, ways: &[u8]) -> String {
    let mut written = String::new();
    for (index, character) in text.chars().enumerate() {
        let way = ways.get(index % ways.len().max(1)).copied().unwrap_or_default();
        let must = matches!(character, '"' | '\\') || u32::from(character) < 0x20;
        match (way % 4, character) {
            (0, '/') => written.push_str("\\/"),
            (1 | 2, '"' | '\\') => written.extend(['\\', character]),
            (1, '\n') => written.push_str("\\n"),
            (way, character) if way == 3 || must => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    written.push_str(&format!("\\u{unit:04x}"));
                }
            }
            (_, character) => written.push(character),
        }
    }
    written
}

fn cut<'a>(text: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
    places.extend([0, text.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect()
}

fn holds(text: &[u8], value: &[u8]) -> bool {
    text.windows(value.len()).any(|window| window == value)
}

/// Few letters, so that values begin, end and overlap like one another. None of them is in a mark.
fn value() -> impl Strategy<Value = String> {
    prop_oneof!["[xyz]{8,20}", "[x\"\\\\\n/\u{1}é🔑]{6,12}", "[X-Z!-/]{8,40}"]
        .prop_filter("long enough without white space", |value| value.trim().len() >= 8)
}

/// A value in one of the forms that are looked for.
fn form(value: &str, before: &str, way: u8, ways: &[u8]) -> String {
    let text = format!("{before}{value}");
    match way % 6 {
        0 => text,
        1 => escaped(&text, ways),
        2 => Base64::encode_string(text.as_bytes()),
        3 => Base64UrlUnpadded::encode_string(text.as_bytes()),
        4 => escaped(&Base64::encode_string(text.as_bytes()), ways),
        _ => Base64UrlUnpadded::encode_string(format!("{text}{before}").as_bytes()),
    }
}

/// What base64 of each alignment cannot hide; told by another way than the redactor finds it.
fn encoded_anywhere(text: &[u8], value: &[u8]) -> bool {
    let alphabet = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(byte);
    let standard = |byte: &u8| match byte {
        b'-' => b'+',
        b'_' => b'/',
        byte => *byte,
    };
    text.split(|byte| !alphabet(byte)).any(|run| {
        let run: Vec<u8> = run.iter().map(standard).collect();
        (0..4.min(run.len())).any(|skipped| {
            let run = &run[skipped..];
            let run = &run[..run.len() / 4 * 4];
            std::str::from_utf8(run)
                .ok()
                .and_then(|run| Base64Unpadded::decode_vec(run).ok())
                .is_some_and(|decoded| holds(&decoded, value))
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_value_comes_through_however_the_stream_is_cut(
        values in prop::collection::vec(value(), 1..4),
        parts in prop::collection::vec(
            (any::<prop::sample::Index>(), "[a-z]{0,4}", any::<u8>(), prop::collection::vec(any::<u8>(), 1..5), "[xyz =\n\\\\a-c]{0,6}"),
            0..6,
        ),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let names: Vec<String> = (0..values.len()).map(|number| format!("s{number}")).collect();
        let secrets = Secrets::new(
            names.iter().map(String::as_str).zip(values.iter().map(String::as_bytes)),
        );
        let mut text = String::new();
        for (which, before, way, ways, after) in &parts {
            text.push_str(&form(which.get::<String>(&values), before, *way, ways));
            text.push_str(after);
        }
        let whole = redact(&secrets, &[text.as_bytes()]);
        prop_assert_eq!(&redact(&secrets, &cut(text.as_bytes(), &cuts)), &whole);
        let single: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        prop_assert_eq!(&redact(&secrets, &single), &whole);
        for value in &values {
            let value = value.trim().as_bytes();
            prop_assert!(!holds(&whole, value), "{:?}", String::from_utf8_lossy(&whole));
            prop_assert!(!encoded_anywhere(&whole, value), "{:?}", String::from_utf8_lossy(&whole));
        }
    }

    /// What a reader of JSON makes of what comes out holds no value either.
    #[test]
    fn no_value_comes_through_json(
        value in value(),
        before in "[a-c\"\\\\]{0,4}",
        ways in prop::collection::vec(any::<u8>(), 1..6),
    ) {
        let secrets = Secrets::new([("s", value.as_bytes())]);
        let line = format!("{{\"a\":\"{}\"}}\n", escaped(&format!("{before}{value}"), &ways));
        let out = redact(&secrets, &[line.as_bytes()]);
        let read: serde_json::Value = serde_json::from_slice(&out).unwrap();
        prop_assert!(!holds(read["a"].as_str().unwrap().as_bytes(), value.trim().as_bytes()));
    }

    /// What holds no secret is not touched.
    #[test]
    fn other_text_goes_through_as_it_is(
        bytes: Vec<u8>,
        text in "[hunter2\\\\u-]{0,60}",
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let secrets = token();
        for text in [bytes.as_slice(), text.as_bytes()] {
            prop_assume!(!holds(text, TOKEN.as_bytes()));
            prop_assert_eq!(redact(&secrets, &cut(text, &cuts)), text);
        }
    }
}
