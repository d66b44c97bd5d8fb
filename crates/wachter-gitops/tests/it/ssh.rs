//! OpenSSH's client in the worker's confinement, against OpenSSH's server.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use wachter_gitops::{FetchFailure, Job, Source};
use wachter_testkit::{SshKey, SshServer};

use crate::support::{World, assert_sound, failure, fetch};

/// A world, a server that serves it, and the key that opens it.
struct Served {
    world: World,
    server: SshServer,
    key: SshKey,
}

impl Served {
    /// None where there is no `sshd`.
    fn new() -> Option<Self> {
        let program = SshServer::program()?;
        let world = World::new();
        let key = SshKey::generate(world.folder.path(), "user").unwrap();
        let server = SshServer::serve(&program, &key).unwrap();
        Some(Self { world, server, key })
    }

    /// A client that has `key` and believes the hosts of `known`.
    fn job(&self, key: &SshKey, known: &str) -> Job {
        // The home folder is the tester's own, so what belongs there lies where a worker may read too.
        let folder = self.world.node().join("ssh");
        std::fs::create_dir_all(&folder).unwrap();
        let (identity, hosts) = (folder.join("identity"), self.known_hosts());
        std::fs::copy(key.private(), &identity).unwrap();
        std::fs::write(&hosts, known).unwrap();
        let configuration = format!(
            "Host *\nIdentityFile {}\nIdentitiesOnly yes\nIdentityAgent none\n\
             UserKnownHostsFile {}\nGlobalKnownHostsFile none\n",
            identity.display(),
            hosts.display()
        );
        std::fs::write(folder.join("config"), configuration).unwrap();
        let program = self.world.path("ssh");
        let script = format!("#!/bin/sh\nexec ssh -F '{}/config' \"$@\"\n", folder.display());
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut job = self.world.job(&self.server.url(self.world.origin.path()));
        let Source::Remote(remote) = &mut job.source else { unreachable!() };
        remote.ssh_program = Some(program);
        job
    }

    fn known_hosts(&self) -> PathBuf {
        self.world.node().join("ssh/known_hosts")
    }

    /// A client as it should be.
    fn good_job(&self) -> Job {
        self.job(&self.key, &self.server.known_host(self.server.host_key()))
    }

    /// What `ssh` says of why it failed.
    fn refusal(&self, job: &Job) -> String {
        match failure(job) {
            FetchFailure::Program { program, stderr } if program == "ssh" => stderr,
            other => panic!("{other:?}\n{}", self.server.log().unwrap_or_default()),
        }
    }
}

#[test]
fn from_a_real_server() {
    let Some(served) = Served::new() else { return };
    let job = served.good_job();
    let first = fetch(&job).unwrap_or_else(|error| {
        panic!("{error:?}\n{}", served.server.log().unwrap_or_default());
    });
    assert!(first.changed && first.objects > 0 && first.tags == 1, "{first:?}");
    assert!(first.confinement.file_system && first.confinement.system_calls, "{first:?}");
    assert_sound(&served.world.node());
    assert!(!fetch(&job).unwrap().changed);
    served.world.release(2, "interval: 60s\n");
    let third = fetch(&job).unwrap();
    assert!(third.changed && third.objects > 0 && third.tags == 2, "{third:?}");
    assert_sound(&served.world.node());
    let log = served.server.log().unwrap();
    assert!(log.contains("Accepted publickey"), "{log}");
}

#[test]
fn a_host_that_is_not_known_is_refused_and_not_learned() {
    let Some(served) = Served::new() else { return };
    let other = SshKey::generate(served.world.folder.path(), "other").unwrap();
    for known in [String::new(), served.server.known_host(&other)] {
        let job = served.job(&served.key, &known);
        let said = served.refusal(&job);
        assert!(said.contains("Host key verification failed"), "{said}");
        assert_eq!(std::fs::read_to_string(served.known_hosts()).unwrap(), known);
        let log = served.server.log().unwrap();
        assert!(!log.contains("Accepted"), "it logged in: {log}");
        assert!(!served.world.node().join("packed-refs").exists());
    }
}

#[test]
fn a_key_that_is_not_admitted_is_refused() {
    let Some(served) = Served::new() else { return };
    let other = SshKey::generate(served.world.folder.path(), "other").unwrap();
    let job = served.job(&other, &served.server.known_host(served.server.host_key()));
    let said = served.refusal(&job);
    assert!(said.contains("Permission denied (publickey)"), "{said}");
    // Nothing was wrong but the key.
    fetch(&served.good_job()).unwrap();
}

#[test]
fn a_server_that_dies_in_the_middle_leaves_nothing_half() {
    let Some(served) = Served::new() else { return };
    // Does not get smaller by being packed.
    let mut noise = 1u32;
    let large: String = std::iter::repeat_with(|| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'a' + (noise >> 27) as u8 % 26)
    })
    .take(200_000)
    .collect();
    served.world.release(2, &large);
    let job = served.good_job();
    let stalled = served.world.path("stalled");
    for bytes in [1_000, 20_000, 80_000] {
        // Sends a part of what was asked for, and then nothing until `sshd` is gone.
        let script = served.world.path("half");
        let text = format!(
            "#!/bin/sh\neval \"$SSH_ORIGINAL_COMMAND\" | {{\n\
             dd bs=1 count={bytes} 2> /dev/null\n: > '{}'\nexec cat > /dev/null\n}}\n",
            stalled.display()
        );
        std::fs::write(&script, text).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        served.server.admit(&served.key, Some(script.to_str().unwrap())).unwrap();
        let _ = std::fs::remove_file(&stalled);
        let failed = std::thread::scope(|scope| {
            let running = scope.spawn(|| failure(&job));
            let until = Instant::now() + Duration::from_secs(30);
            while !stalled.exists() {
                assert!(Instant::now() < until, "{bytes}: the server was never asked");
                assert!(!running.is_finished(), "{:?}", running.join());
                std::thread::yield_now();
            }
            assert_no_secret_in_sight(&served.world.path("node.git/ssh"), served.key.private());
            served.server.kill_sessions();
            running.join().unwrap()
        });
        let broken = matches!(
            failed,
            FetchFailure::Program { .. }
                | FetchFailure::Protocol { .. }
                | FetchFailure::Pack { .. }
                | FetchFailure::Unreachable { .. }
        );
        assert!(broken, "{bytes}: {failed:?}");
        assert!(!served.world.node().join("packed-refs").exists(), "{bytes}");
    }
    served.server.admit(&served.key, None).unwrap();
    assert_eq!(fetch(&job).unwrap().tags, 2);
    assert_sound(&served.world.node());
    assert_eq!(std::fs::read_dir(served.world.node().join("incoming")).unwrap().count(), 0);
}

/// Looks at the arguments and the environment of every process while one of them is our `ssh`.
fn assert_no_secret_in_sight(configuration: &Path, key: &Path) {
    let text = std::fs::read_to_string(key).unwrap();
    let secrets: Vec<&str> = text.lines().filter(|line| !line.starts_with('-')).collect();
    assert!(!secrets.is_empty(), "the key has no lines");
    let mut clients = 0;
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        for name in ["cmdline", "environ"] {
            let content = std::fs::read(process.path().join(name)).unwrap_or_default();
            let content = String::from_utf8_lossy(&content);
            assert!(!secrets.iter().any(|secret| content.contains(secret)), "{content}");
            clients += usize::from(content.contains(&*configuration.to_string_lossy()));
        }
    }
    assert!(clients > 0, "there was no client to look at");
}
