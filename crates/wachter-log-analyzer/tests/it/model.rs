use jiff::Timestamp;
use proptest::prelude::*;
use wachter_log_analyzer::{Anomaly, AnomalyKind, Limits, Model, Record};
use wachter_model::Verdict;

use crate::generator::{Generator, Random, WEEK};

fn record<'a>(seconds: i64, program: &'a str, message: &'a [u8]) -> Record<'a> {
    Record {
        source: "/var/log/syslog",
        offset: 7,
        time: Some(Timestamp::from_second(seconds).unwrap()),
        host: None,
        program: Some(program),
        process: None,
        message,
    }
}

/// 2026-11-02 00:00 UTC.
const BEGIN: i64 = 1_793_577_600;

/// A model that knows `days` of a quiet program: a line with one of two names every two minutes.
fn quiet(days: i64) -> (Model, i64) {
    let mut model = Model::default();
    for step in 0..days * 720 {
        let time = BEGIN + step * 120;
        let name = if step % 3 == 0 { "ann" } else { "bob" };
        let message = format!("request of user={name} served in {}ms", 20 + step * 7 % 31);
        model.observe(&record(time, "app", message.as_bytes()));
        if step % 30 == 29 {
            let anomalies = model.conclude(Timestamp::from_second(time + 120).unwrap());
            assert_eq!(anomalies, [], "at {step}");
        }
    }
    (model, BEGIN + days * 86_400)
}

fn conclude(model: &mut Model, time: i64) -> Vec<Anomaly> {
    model.conclude(Timestamp::from_second(time).unwrap())
}

#[test]
fn what_is_new_is_told_once_with_its_lines() {
    let (mut model, now) = quiet(3);
    for attempt in 0..7 {
        let line = format!("disk sda{attempt} failed\x1b[2J after {attempt} tries");
        model.observe(&record(now + attempt, "app", line.as_bytes()));
    }
    let anomalies = conclude(&mut model, now + 60);
    let [anomaly] = &anomalies[..] else { panic!("{anomalies:?}") };
    assert_eq!(anomaly.kind, AnomalyKind::NewTemplate);
    assert_eq!(anomaly.template, "disk <*> <*> after <*> tries");
    assert_eq!(anomaly.subject, "app (/var/log/syslog)");
    assert_eq!(anomaly.seen, 7);
    let expected =
        r#"app wrote a message never seen in 2160 lines: "disk <*> <*> after <*> tries""#;
    assert_eq!(anomaly.message, expected);
    assert_eq!(anomaly.evidence.len(), 3);
    assert_eq!(anomaly.evidence[0].line, r"disk sda0 failed\u{1b}[2J after 0 tries");
    assert_eq!(
        (anomaly.evidence[0].source.as_str(), anomaly.evidence[0].offset),
        ("/var/log/syslog", 7)
    );
    model.observe(&record(now + 70, "app", b"disk sda9 failed\x1b[2J after 1 tries"));
    assert_eq!(conclude(&mut model, now + 120), []);
}

#[test]
fn nothing_is_new_before_enough_is_known() {
    let mut model = Model::default();
    for (step, word) in (0..2_000).zip(["before", "after", "within"].into_iter().cycle()) {
        let time = BEGIN + step * 30;
        let line = format!("unlike {word} any other");
        model.observe(&record(time, "app", line.as_bytes()));
        model.observe(&record(time, "app", format!("event {step}").as_bytes()));
        if step % 500 == 499 {
            model.observe(&record(time, "app", format!("error at step{step} {step}").as_bytes()));
            assert_eq!(conclude(&mut model, time), []);
            assert_eq!(model.progress().warm, 0);
        }
    }
    let (model, _) = quiet(2);
    let progress = model.progress();
    assert_eq!((progress.warm, progress.programs, progress.records), (1, 1, 1440));
    assert_eq!(progress.since.unwrap().as_second(), BEGIN + 3600);
}

#[test]
fn a_program_that_was_never_seen_is_told_of_once() {
    let (mut model, now) = quiet(3);
    for attempt in 0..5 {
        let lines = [format!("mining pool{attempt} joined"), format!("hash rate {attempt}")];
        lines
            .iter()
            .for_each(|line| model.observe(&record(now + attempt, "xmrig", line.as_bytes())));
    }
    let anomalies = conclude(&mut model, now + 60);
    let [anomaly] = &anomalies[..] else { panic!("{anomalies:?}") };
    assert!(anomaly.message.starts_with("xmrig wrote for the first time; none of 2160 lines"));
}

#[test]
fn an_odd_value_is_explained() {
    let (mut model, now) = quiet(3);
    model.observe(&record(now, "app", b"request of user=eve served in 30ms"));
    model.observe(&record(now, "app", b"request of user=ann served in 95000ms"));
    let messages: Vec<String> =
        conclude(&mut model, now + 60).into_iter().map(|anomaly| anomaly.message).collect();
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(
        messages
            .iter()
            .any(|message| message.contains("95000ms")
                && message.contains("nine of ten lie between 2")),
        "{messages:?}"
    );
}

#[test]
fn a_verdict_lowers_or_raises_what_is_told_next() {
    let burst = |model: &mut Model, now: i64| {
        for _ in 0..55 {
            model.observe(&record(now, "app", b"request of user=ann served in 25ms"));
        }
        let mut anomalies = conclude(model, now + 60);
        anomalies.retain(|anomaly| anomaly.fingerprint.ends_with(":burst"));
        anomalies.pop()
    };
    let (fresh, now) = quiet(10);
    let anomaly = burst(&mut fresh.clone(), now).unwrap();
    let mut judged = fresh.clone();
    assert!(judged.judge(&anomaly.fingerprint, Verdict::FalsePositive));
    assert!(judged.judge(&anomaly.fingerprint, Verdict::FalsePositive));
    let stored = serde_json::to_string(&judged).unwrap();
    let mut judged: Model = serde_json::from_str(&stored).unwrap();
    let after = burst(&mut judged, now).map_or(0.0, |anomaly| anomaly.score);
    assert!(after < anomaly.score - 0.1, "{after} {}", anomaly.score);
    let mut confirmed = fresh.clone();
    assert!(confirmed.judge(&anomaly.fingerprint, Verdict::Confirmed));
    let after = burst(&mut confirmed, now).unwrap();
    assert!(after.score > anomaly.score && after.severity > anomaly.severity);
    for unknown in [
        "",
        "log.rate:0000000000000000",
        "log.rate:zz",
        "log.other:1",
        "log.rate:+1",
        "disk.full:/",
    ] {
        assert!(!confirmed.judge(unknown, Verdict::Confirmed), "{unknown}");
    }
}

#[test]
fn a_template_that_stops_is_missed_and_a_host_that_is_off_is_one_anomaly() {
    let (model, now) = quiet(15);
    // Something else goes on.
    let mut stopped = model.clone();
    for hour in 0..3 {
        for step in 0..40 {
            stopped.observe(&record(now + hour * 3600 + step, "app", b"queue is empty"));
        }
        conclude(&mut stopped, now + (hour + 1) * 3600);
    }
    let anomalies = conclude(&mut stopped, now + 3 * 3600 + 60);
    assert_eq!(anomalies.len(), 2, "{anomalies:?}");
    for (anomaly, name) in anomalies.iter().zip(["bob", "ann"]) {
        assert_eq!((anomaly.kind, anomaly.seen), (AnomalyKind::Rate, 0));
        let message = format!(
            "app has not written \"request of user={name} served in <*>\" for 3 hours from 2026-11-17 00:00 UTC"
        );
        assert!(anomaly.message.starts_with(&message), "{}", anomaly.message);
    }
    // It is told as over once, by the hour in which it was worst, and no more.
    for step in 0..30 {
        let time = now + 3 * 3600 + 100 + step * 100;
        stopped.observe(&record(time, "app", b"request of user=ann served in 25ms"));
        stopped.observe(&record(time, "app", b"request of user=bob served in 25ms"));
    }
    conclude(&mut stopped, now + 4 * 3600);
    assert_eq!(conclude(&mut stopped, now + 4 * 3600 + 60), []);

    // Nothing goes on.
    let mut off = model;
    for hour in 1..=20 {
        let anomalies = conclude(&mut off, now + hour * 3600);
        assert!(anomalies.iter().all(|anomaly| anomaly.subject == "all logs"), "{anomalies:?}");
        assert_eq!(anomalies.len(), 1, "after {hour} hours");
    }
    let fingerprint = conclude(&mut off, now + 21 * 3600).pop().unwrap().fingerprint;
    assert!(off.judge(&fingerprint, Verdict::FalsePositive));
}

#[test]
fn random_lines_do_not_fill_more_than_the_limit_nor_drive_out_what_is_known() {
    let limits = Limits { bytes: 100_000, ..Limits::default() };
    let (mut model, now) = quiet(7);
    model.set_limits(limits);
    let mut random = Random(3);
    for step in 0..60_000_i64 {
        let words: Vec<String> =
            (0..3 + random.below(9)).map(|_| random.name() + &random.name()).collect();
        let line = words.join(" ");
        model.observe(&record(now + step / 100, "noise", line.as_bytes()));
        if step % 10_000 == 0 {
            assert!(serde_json::to_string(&model).unwrap().len() <= limits.bytes);
        }
    }
    assert!(conclude(&mut model, now + 700).len() < 5);
    assert!(serde_json::to_string(&model).unwrap().len() <= limits.bytes);
    assert!(model.progress().forgotten > 50_000);
    assert!(model.templates().any(|template| template.text.starts_with("request of user=")));
}

#[test]
fn hostile_lines_and_times_do_no_harm() {
    let mut model = Model::new(Limits { bytes: 0, ..Limits::default() });
    let long = vec![b'a'; 1_000_000];
    let many = "=<*> ".repeat(100_000);
    let quotes = "\"\\".repeat(600);
    let lines: [&[u8]; 7] =
        [b"", b"\0\0\0", b"\xFF\xFE = =", &long, many.as_bytes(), quotes.as_bytes(), b"<*> <*>"];
    for seconds in [0, 1, BEGIN, i64::from(i32::MAX) * 50, BEGIN - 86_400 * 365, BEGIN] {
        for program in ["", "a", "\u{202e}\0", &"p".repeat(500)] {
            for line in lines {
                model.observe(&record(seconds, program, line));
            }
        }
        conclude(&mut model, BEGIN);
        let stored = serde_json::to_string(&model).unwrap();
        assert!(stored.len() <= 64 * 1024);
        let again: Model = serde_json::from_str(&stored).unwrap();
        assert_eq!(serde_json::to_string(&again).unwrap(), stored);
    }
    for template in model.templates() {
        assert!(!template.text.contains(char::is_control));
    }
}

#[test]
fn what_is_no_model_is_refused_with_a_reason() {
    let stored = serde_json::to_value(Model::default()).unwrap();
    let mut newer = stored.clone();
    newer[0] = 2.into();
    newer[1] = "of another shape".into();
    let mut broken = stored.clone();
    broken[1]["all"][2] = serde_json::json!([u32::MAX, 0, 0, 0]);
    for (value, expected) in [
        (newer, "the model has version 2, and this reads 1; begin with a new model"),
        (broken, "the model was changed by others; begin with a new one"),
        (serde_json::json!([]), "invalid length 0, expected a list of the version 1 and a model"),
    ] {
        assert_eq!(serde_json::from_value::<Model>(value).unwrap_err().to_string(), expected);
    }
    assert!(serde_json::from_value::<Model>(stored).is_ok());
}

/// Stored and read again.
fn stored_and_read(model: &Model) -> Model {
    let stored = serde_json::to_string(model).unwrap();
    let again: Model = serde_json::from_str(&stored).unwrap();
    assert_eq!(serde_json::to_string(&again).unwrap(), stored);
    again
}

#[test]
fn a_digit_in_a_key_is_no_harm_to_what_was_learned() {
    let mut model = Model::default();
    for name in ["ann", "bob", "cas", "dora"] {
        let line = format!("hello dear x1={name}");
        model.observe(&record(BEGIN, "app", line.as_bytes()));
    }
    model.observe(&record(BEGIN, "audit", b"argc=2 a0=ffffff9c a1=run"));
    model.observe(&record(BEGIN, "audit", b"call of k2=\xff\xfe"));
    conclude(&mut model, BEGIN + 60);
    let mut again = stored_and_read(&model);
    for (program, line, expected) in [
        ("app", &b"hello dear x1=eve"[..], "hello dear x1=<*>"),
        ("audit", b"argc=2 a0=ffffff9c a1=run", "argc=<*> a0=<*> a1=run"),
        ("audit", b"argc=3 a0=0 a1=run", "argc=<*> a0=<*> a1=run"),
        ("audit", b"call of k2=\xff", "call of k2=<*>"),
    ] {
        let found = again.find(&record(BEGIN, program, line)).map(|template| template.text);
        assert_eq!(found.as_deref(), Some(expected));
    }
}

/// Words that are few enough to be merged, and keys and values of every look.
fn word() -> impl Strategy<Value = Vec<u8>> {
    let text = prop_oneof![
        4 => "(hello|dear|in|of|call)",
        2 => "(a|b2|x1|k-9|_|3)?=?(ann|bob|cas|dora|eve|fay|gus)",
        1 => "(a0|uid|x1)=(ff|ffffff9c|/bin|a.b|\\(\\)|<\\*>|=|é|)",
        1 => "(<\\*>|=|==|Mon|[a-f]{7}|[<*>=1é]{0,4})",
    ];
    let bytes = prop::collection::vec(any::<u8>(), 0..4);
    prop_oneof![
        9 => text.prop_map(String::into_bytes),
        1 => bytes.prop_map(|bytes| [&b"k2="[..], &bytes].concat()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// What was learned of any lines is read again, and every line is known that was.
    #[test]
    fn whatever_was_learned_is_read_again(
        lines in prop::collection::vec(prop::collection::vec(word(), 0..6), 0..60),
    ) {
        let mut model = Model::default();
        let lines: Vec<_> = lines.iter().map(|words| words.join(&b' ')).collect();
        for line in &lines {
            model.observe(&record(BEGIN, "app", line));
        }
        conclude(&mut model, BEGIN + 60);
        let mut again = stored_and_read(&model);
        for line in &lines {
            let known = model.find(&record(BEGIN, "app", line)).unwrap().text;
            let found = again.find(&record(BEGIN, "app", line)).map(|template| template.text);
            prop_assert_eq!(found, Some(known));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Stored after any conclusion and read again, through a tree of JSON values too, it tells what it would have told, and is
    /// stored alike.
    #[test]
    fn a_reload_changes_nothing(seed in any::<u64>(), at in 1_u32..WEEK * 2, bytes in 64_000_usize..100_000) {
        let mut generator = Generator::new(seed, 1, 4);
        let mut model = Model::new(Limits { bytes, score: 0.0 });
        let mut again = None;
        let mut lines = Vec::new();
        for hour in 0..WEEK * 2 {
            generator.next_hour(&mut lines);
            lines.truncate(60);
            let mut told = [Vec::new(), Vec::new()];
            for (model, told) in [Some(&mut model), again.as_mut()].into_iter().zip(&mut told) {
                let Some(model) = model else { continue };
                for line in &lines {
                    let time = line.time.as_second();
                    model.observe(&record(time, line.program, line.message.as_bytes()));
                }
                *told = model.conclude(Generator::end_of(hour));
            }
            if again.is_some() {
                prop_assert_eq!(&told[0], &told[1]);
            }
            if hour == at {
                let stored = serde_json::to_value(&model).unwrap();
                again = Some(serde_json::from_value::<Model>(stored).unwrap());
            }
        }
        let [model, again] = [Some(model), again].map(|model| serde_json::to_string(&model.unwrap()).unwrap());
        prop_assert!(model.len() <= bytes.max(65_536));
        prop_assert_eq!(model, again);
    }

    /// Whatever is written, whenever: nothing panics, the limit holds, and what is stored is read again.
    #[test]
    fn any_lines_at_any_times_keep_to_the_limit(
        lines in prop::collection::vec(
            (
                prop::collection::vec(any::<u8>(), 0..60),
                prop_oneof![Just(None), (0_i64..4_000_000_000).prop_map(Some), (BEGIN..BEGIN + 9_000_000).prop_map(Some)],
                "[a-c\\x00]{0,2}",
                0_u8..20,
            ),
            0..120,
        ),
    ) {
        let mut model = Model::new(Limits { bytes: 0, score: 0.0 });
        for (line, seconds, program, conclude) in &lines {
            let time = seconds.map(|seconds| Timestamp::from_second(seconds).unwrap());
            model.observe(&Record { time, ..record(0, program, line) });
            if *conclude == 0 {
                for anomaly in model.conclude(time.unwrap_or(Timestamp::UNIX_EPOCH)) {
                    prop_assert!((0.0..=1.0).contains(&anomaly.score) && anomaly.evidence.len() <= 5);
                    prop_assert!(!anomaly.message.contains(char::is_control));
                }
            }
        }
        model.conclude(Timestamp::from_second(BEGIN).unwrap());
        let stored = serde_json::to_string(&model).unwrap();
        prop_assert!(stored.len() <= 65_536);
        let again: Model = serde_json::from_str(&stored).unwrap();
        prop_assert_eq!(serde_json::to_string(&again).unwrap(), stored);
    }
}
