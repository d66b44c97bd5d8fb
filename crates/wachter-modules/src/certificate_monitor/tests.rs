use std::collections::BTreeSet;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::time::Duration;

use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use wachter_module::{Finding, Finished, Harness};

use super::*;
use crate::builtin::Builtin;

/// 2026-11-22, noon.
fn noon() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_348_800)
}

/// A certificate for a name between two days of a year.
fn pem(name: &str, begins: (i32, u8, u8), ends: (i32, u8, u8)) -> String {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_before = date_time_ymd(begins.0, begins.1, begins.2);
    params.not_after = date_time_ymd(ends.0, ends.1, ends.2);
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
}

fn ending(ends: (i32, u8, u8)) -> String {
    pem("www.example.com", (2026, 1, 1), ends)
}

fn run(folder: &Path, earlier: Option<&Finished>) -> Finished {
    let ignored = folder.join("archive");
    let input = json!({ "folders": [folder], "ignore": [ignored] });
    let harness = Harness::new().input(input);
    let module = CertificateMonitor { now: noon };
    match earlier {
        Some(earlier) => harness.after(earlier).run(&module),
        None => harness.run(&module),
    }
}

fn told(finished: &Finished, folder: &Path) -> Vec<String> {
    let tell = |finding: &Finding| {
        let severity =
            if finding.resolved { "resolved".to_owned() } else { finding.severity.to_string() };
        let subject = finding.subject.replace(&format!("{}/", folder.display()), "");
        format!(
            "{severity} {} {subject}: {}",
            finding.kind,
            finding.message.replace(&format!("{}/", folder.display()), "")
        )
    };
    finished.findings().map(tell).collect()
}

#[test]
fn certificates_end_sooner_and_later() {
    for (ends, expected) in [
        ((2026, 12, 14), None),
        (
            (2026, 12, 13),
            Some(
                "medium certificate.expiring a.pem: the certificate of www.example.com ends in 20 days, on 2026-12-13",
            ),
        ),
        (
            (2026, 11, 28),
            Some(
                "high certificate.expiring a.pem: the certificate of www.example.com ends in 5 days, on 2026-11-28",
            ),
        ),
        (
            (2026, 11, 23),
            Some(
                "high certificate.expiring a.pem: the certificate of www.example.com ends within 12 hours, on 2026-11-23",
            ),
        ),
        (
            (2026, 11, 1),
            Some(
                "critical certificate.expiring a.pem: the certificate of www.example.com ended 22 days ago, on 2026-11-01",
            ),
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.pem"), ending(ends)).unwrap();
        let finished = run(folder.path(), None);
        assert_eq!(
            told(&finished, folder.path()).first().map(String::as_str),
            expected,
            "{ends:?}"
        );
        assert!(told(&run(folder.path(), Some(&finished)), folder.path()).is_empty());
    }
}

#[test]
fn a_certificate_that_is_renewed_is_resolved() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.pem");
    std::fs::write(&path, ending((2026, 12, 1))).unwrap();
    let first = run(folder.path(), None);
    std::fs::write(&path, ending((2026, 11, 25))).unwrap();
    let second = run(folder.path(), Some(&first));
    assert!(told(&second, folder.path())[0].starts_with("high "), "{second:?}");
    std::fs::write(&path, ending((2027, 11, 25))).unwrap();
    let third = run(folder.path(), Some(&second));
    assert!(told(&third, folder.path())[0].starts_with("resolved "), "{third:?}");
    assert_eq!(third.result.output["open"], json!([]));
    assert_eq!(third.result.output["next"][0]["ends"], "2027-11-25");
}

#[test]
fn one_that_is_gone_is_resolved_and_one_out_of_sight_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    std::fs::write(folder.path().join("a.pem"), ending((2026, 12, 1))).unwrap();
    std::fs::write(inner.join("b.pem"), pem("b.example.com", (2026, 1, 1), (2026, 12, 1))).unwrap();
    let first = run(folder.path(), None);
    assert_eq!(told(&first, folder.path()).len(), 2);
    std::fs::remove_file(folder.path().join("a.pem")).unwrap();
    let input = json!({ "folders": [inner, folder.path().join("none")] });
    let module = CertificateMonitor { now: noon };
    let blind = Harness::new().input(input).after(&first).run(&module);
    assert!(told(&blind, folder.path()).is_empty());
    let message = blind.result.message.clone().unwrap();
    assert!(message.contains("none cannot be listed: No such file"), "{message}");
    let second = run(folder.path(), Some(&blind));
    assert_eq!(
        told(&second, folder.path()),
        ["resolved certificate.expiring a.pem: a.pem: no longer there"]
    );
}

/// As RFC 5280 says that there is no end: 9999-12-31, 23:59:59.
fn without_end() -> String {
    let mut params = CertificateParams::new(vec!["for-ever.example.com".to_owned()]).unwrap();
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after =
        date_time_ymd(2026, 1, 1) + Duration::from_secs(253_402_300_799 - 1_767_225_600);
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
}

#[test]
fn one_without_end_hides_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = without_end() + &ending((2026, 11, 1));
    std::fs::write(folder.path().join("a.pem"), bundle).unwrap();
    let finished = run(folder.path(), None);
    assert_eq!(
        told(&finished, folder.path()),
        [
            "critical certificate.expiring a.pem#2: the certificate of www.example.com ended 22 days ago, on 2026-11-01"
        ]
    );
    let ends: Vec<_> = finished.result.output["next"].as_array().unwrap().iter().collect();
    assert_eq!((&ends[0]["ends"], &ends[1]["ends"]), (&json!("2026-11-01"), &json!("9999-12-30")));
}

#[test]
fn a_damaged_one_hides_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let damaged = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    let bundle = damaged.to_owned() + &ending((2026, 11, 1));
    std::fs::write(folder.path().join("a.pem"), bundle).unwrap();
    let told = told(&run(folder.path(), None), folder.path());
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("critical certificate.expiring a.pem#2: "), "{told:?}");
    assert!(told[1].starts_with("low certificate.unreadable a.pem: "), "{told:?}");
}

#[test]
fn what_can_no_longer_be_read_is_not_resolved() {
    let ended = ending((2026, 11, 1));
    let early = pem("early.example.com", (2027, 1, 1), (2030, 1, 1));
    let cut = &ended[..ended.len() / 2];
    for junk in ["-----BEGIN junk", cut, &"x".repeat(2 << 20), "0"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pem");
        std::fs::write(&path, format!("{ended}{early}")).unwrap();
        std::fs::write(folder.path().join("a.pem.crt"), ending((2026, 11, 2))).unwrap();
        let first = run(folder.path(), None);
        assert_eq!(told(&first, folder.path()).len(), 3, "{first:?}");
        std::fs::write(&path, junk).unwrap();
        std::fs::remove_file(folder.path().join("a.pem.crt")).unwrap();
        let second = run(folder.path(), Some(&first));
        let mut told_of_second = told(&second, folder.path());
        told_of_second.sort();
        assert_eq!(told_of_second.len(), 2, "{told_of_second:?}");
        assert!(told_of_second[0].starts_with("low certificate.unreadable a.pem: "));
        assert!(told_of_second[1].starts_with("resolved certificate.expiring a.pem.crt: "));
        std::fs::remove_file(&path).unwrap();
        let third = told(&run(folder.path(), Some(&second)), folder.path());
        assert_eq!(third.len(), 3, "{third:?}");
        assert!(third.iter().all(|told| told.starts_with("resolved ")), "{third:?}");
    }
}

#[test]
fn folders_as_lets_encrypt_has_them() {
    let folder = tempfile::tempdir().unwrap();
    let (live, archive) = (folder.path().join("live/site"), folder.path().join("archive/site"));
    std::fs::create_dir_all(&live).unwrap();
    std::fs::create_dir_all(&archive).unwrap();
    let leaf = ending((2026, 12, 1));
    let issuer = pem("Authority", (2026, 1, 1), (2026, 12, 2));
    let key = KeyPair::generate().unwrap().serialize_pem();
    std::fs::write(archive.join("cert1.pem"), ending((2026, 2, 2))).unwrap();
    for (name, text) in [
        ("cert", leaf.clone()),
        ("chain", issuer.clone()),
        ("fullchain", leaf + &issuer),
        ("privkey", key),
    ] {
        std::fs::write(archive.join(format!("{name}2.pem")), text).unwrap();
        let target = format!("../../archive/site/{name}2.pem");
        symlink(target, live.join(format!("{name}.pem"))).unwrap();
    }
    let finished = run(folder.path(), None);
    let told: Vec<_> = told(&finished, folder.path())
        .iter()
        .map(|told| told.split(": ").next().unwrap().to_owned())
        .collect();
    // Each once, and what was renewed not at all.
    assert_eq!(
        told,
        [
            "medium certificate.expiring live/site/cert.pem",
            "medium certificate.expiring live/site/chain.pem"
        ]
    );
    assert_eq!(finished.result.output["certificates"], 2);
}

#[test]
fn what_is_not_a_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let write =
        |name: &str, content: &[u8]| std::fs::write(folder.path().join(name), content).unwrap();
    let good = ending((2030, 1, 1));
    let der =
        x509_parser::pem::Pem::iter_from_buffer(good.as_bytes()).next().unwrap().unwrap().contents;
    write("text.pem", b"nothing of the kind");
    write("empty.crt", b"");
    write("notes.txt", b"-----BEGIN CERTIFICATE-----\nx");
    write("good.der", &der);
    write("cut.der", &der[..der.len() / 2]);
    write("cut.pem", b"-----BEGIN CERTIFICATE-----\nMIIB\n");
    write("large.pem", &vec![b'x'; 2 << 20]);
    write("early.pem", pem("early.example.com", (2027, 1, 1), (2030, 1, 1)).as_bytes());
    write(
        "comment.pem",
        format!("subject=example\n\n{}", pem("c.example.com", (2026, 1, 1), (2030, 1, 1)))
            .as_bytes(),
    );
    let finished = run(folder.path(), None);
    let told = told(&finished, folder.path());
    let expected = [
        "low certificate.unreadable cut.der: cut.der cannot be read: it holds a damaged certificate",
        "low certificate.unreadable cut.pem: cut.pem cannot be read: it is no PEM",
        "medium certificate.not-yet-valid early.pem: the certificate of early.example.com is not valid before 2027-01-01",
        "low certificate.unreadable large.pem: large.pem cannot be read: it has more than 1048576 bytes",
    ];
    assert_eq!(told.len(), expected.len(), "{told:?}");
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.starts_with(expected), "{told}");
    }
    assert_eq!(finished.result.output["certificates"], 3);
}

#[test]
fn a_file_that_may_not_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.pem");
    std::fs::write(&path, ending((2030, 1, 1))).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    // Root reads everything, so that only others are told.
    let expected = usize::from(std::fs::File::open(&path).is_err());
    assert_eq!(run(folder.path(), None).findings().count(), expected);
}

#[test]
fn it_says_only_what_its_manifest_names_and_the_page_tells_of_it() {
    let manifest = Builtin::find("certificate-monitor").unwrap().manifest();
    let emits: BTreeSet<_> = manifest.emits.iter().map(ToString::to_string).collect();
    let kinds = [EXPIRING, NOT_YET_VALID, UNREADABLE].map(|kind| kind.topic.to_owned());
    assert_eq!(emits, BTreeSet::from(kinds));
    let read: Vec<_> =
        manifest.permissions.filesystem.read.iter().map(ToString::to_string).collect();
    let folders: Vec<_> =
        Input::default().folders.iter().map(|path| path.display().to_string()).collect();
    assert_eq!(read, folders);
    let page = include_str!("../../../../docs/src/certificate-monitor.md");
    let input = json!(Input::default());
    let names = input.as_object().unwrap().keys().cloned().chain(emits);
    for name in names.chain(["certificates", "certificate_least_days"].map(str::to_owned)) {
        assert!(page.contains(&format!("`{name}`")), "{name} is not on the page");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_not(bytes: Vec<u8>, text in "[A-Za-z0-9+/=\n]{0,200}") {
        let _ = certificate::read(&bytes);
        let _ = certificate::read(&[&[0x30][..], &bytes].concat());
        let _ = certificate::read(format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n").as_bytes());
    }

    #[test]
    fn a_damaged_certificate_is_read_or_not(place in 0_usize..400, byte: u8) {
        static DER: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
        let der = DER.get_or_init(|| {
            let pem = ending((2030, 1, 1));
            x509_parser::pem::Pem::iter_from_buffer(pem.as_bytes()).next().unwrap().unwrap().contents
        });
        let mut der = der.clone();
        let place = place % der.len();
        der[place] = byte;
        let _ = certificate::read(&der);
    }
}
