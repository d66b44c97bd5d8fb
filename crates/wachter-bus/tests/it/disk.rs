//! A disk that is full, and one that may only be read. The test runs itself again where it may mount a
//! small file system of its own; where it may not, it says so and is skipped.

use std::fs;
use std::path::Path;
use std::process::Command;

use wachter_bus::{Bus, Notice, OpenError, Options, Outputs, PublishReason, Seq, WriteError};

use crate::support::{name, next, numbered, options, publish};

const MOUNTED: &str = "WACHTER_BUS_MOUNTED";

/// Runs `test` on a file system of 4 MiB.
fn on_a_small_disk(test: &str) {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"mount -t tmpfs -o size=4m none "$1" && exec "$0" --exact "$2" --nocapture"#;
    let run = |script: &str| {
        Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
            .arg(std::env::current_exe().unwrap())
            .arg(folder.path())
            .arg(test)
            .env(MOUNTED, folder.path())
            .status()
    };
    if !run(r#"mount -t tmpfs -o size=4m none "$1""#).is_ok_and(|status| status.success()) {
        println!("skipped: no user and mount namespaces here");
        return;
    }
    assert!(run(script).unwrap().success(), "{test} on a small disk");
}

#[test]
fn a_full_disk() {
    let Some(folder) = std::env::var_os(MOUNTED) else {
        return on_a_small_disk("disk::a_full_disk");
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(fill(Path::new(&folder)));
}

async fn fill(folder: &Path) {
    let ballast = folder.join("ballast");
    fs::write(&ballast, vec![0; 2 << 20]).unwrap();
    let bus = Bus::open(Options::new(folder)).unwrap();
    let mut notices = bus.notices();
    publish(&bus, 0..10).await;
    let subscription = bus.subscribe(options("one")).await.unwrap();
    let mut held = next(&subscription).await;
    let (mut number, mut acknowledged) = (10, 10);
    let large =
        |number: u64| numbered(number).into_builder().subject("x".repeat(20_000)).build().unwrap();
    let refused = loop {
        match bus.publish(vec![large(number)]).await {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
        number += 1;
        assert!(number < 1_000, "4 MiB hold more than 20 MB");
    };
    assert!(
        matches!(refused.reason, PublishReason::Write(WriteError::DiskFull)),
        "{}",
        refused.reason
    );
    assert_eq!(refused.batch, [large(number)]);
    assert_eq!(notices.recv().await.unwrap(), Notice::Failing(WriteError::DiskFull));
    assert_eq!(bus.status().failing, Some(WriteError::DiskFull));
    assert_eq!(bus.status().last, Seq::new(acknowledged));
    // An acknowledgement that cannot be written is not one; its event is held still.
    let output = Outputs { events: vec![large(2_000)], keys: Vec::new() };
    assert!(held.ack(output.clone()).await.is_err());
    fs::remove_file(&ballast).unwrap();
    bus.publish(refused.batch).await.unwrap();
    assert_eq!(notices.recv().await.unwrap(), Notice::Recovered);
    assert_eq!(bus.status().failing, None);
    held.ack(output).await.unwrap();
    drop((held, subscription));
    let report = bus.verify(Seq::ZERO, Vec::new()).await.unwrap();
    assert!(report.is_sound() && report.events == acknowledged + 2, "{report:?}");
    bus.close();
    let bus = Bus::open(Options::new(folder)).unwrap();
    assert_eq!((bus.status().last.get(), bus.opened().damage.len()), (acknowledged + 2, 0));
    assert_eq!(bus.subscriptions()[0].name, name("one"));
}

#[test]
fn a_read_only_disk() {
    let Some(folder) = std::env::var_os(MOUNTED) else {
        return on_a_small_disk("disk::a_read_only_disk");
    };
    let folder = Path::new(&folder);
    let mount = |how: &str| {
        let status = Command::new("mount").args(["-o", how]).arg(folder).status().unwrap();
        assert!(status.success(), "mount -o {how}");
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let bus = Bus::open(Options::new(folder)).unwrap();
        publish(&bus, 0..10).await;
        bus.close();
        mount("remount,ro");
        let error = Bus::open(Options::new(folder)).unwrap_err();
        assert!(matches!(error, OpenError::Folder { .. } | OpenError::Sqlite { .. }), "{error}");
        mount("remount,rw");
        let bus = Bus::open(Options::new(folder)).unwrap();
        assert_eq!(bus.status().last, Seq::new(10));
        publish(&bus, [10]).await;
    });
}
