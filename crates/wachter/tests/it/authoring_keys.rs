//! Which key signs: files, ssh-agent, and what is refused.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::author::Author;

#[test]
fn an_encrypted_key_signs_through_the_agent() {
    let mut author = Author::new();
    let key = author.encrypted_key("work", "open sesame");
    let (private, public) = (key.display().to_string(), format!("{}.pub", key.display()));
    author
        .wachter(&["init", "--yes", "--name", "alice", "--key", &private, "fleet"])
        .fails(1, "load it with `ssh-add`");
    author
        .wachter(&["init", "--yes", "--name", "alice", "--key", &public, "fleet"])
        .fails(1, "no ssh-agent runs");
    author.start_agent();
    author
        .wachter(&["init", "--yes", "--name", "alice", "--key", &public, "fleet"])
        .fails(1, "does not hold the key");
    author.add_to_agent(&key, "open sesame");
    author.wachter(&["init", "--yes", "--name", "alice", "--key", &private, "fleet"]).succeeds();
    let author = author.within("fleet");
    author.wachter(&["release", "--yes", "--key", &public]).succeeds();
    let allowed =
        author.wachter(&["trust", "allowed-signers", "release"]).succeeds().stdout.clone();
    fs::write(author.home().join("allowed"), allowed).unwrap();
    let allowed = format!("gpg.ssh.allowedSignersFile={}", author.home().join("allowed").display());
    author.git(&["-c", &allowed, "verify-tag", "wachter/1"]);
}

#[test]
fn the_only_key_of_the_agent_needs_no_name() {
    let mut author = Author::with_repository();
    author.git(&["config", "--unset", "user.signingkey"]);
    author.wachter(&["release", "--yes"]).fails(2, "name one with --key FILE");
    author.start_agent();
    author.wachter(&["release", "--yes"]).fails(2, "ssh-agent holds no key");
    let key = author.home().join(".config/wachter/keys/alice");
    author.add_to_agent(&key, "");
    author.wachter(&["release", "--yes"]).succeeds();
    let other = author.new_key("other");
    author.add_to_agent(other.private(), "");
    author.wachter(&["release", "--yes"]).fails(2, "ssh-agent holds several keys: SHA256:");
    author.git(&["config", "user.signingkey", other.public()]);
    author.wachter(&["release", "--yes"]).fails(3, "is not in the trust file");
}

#[test]
fn a_dead_agent_is_named() {
    let mut author = Author::with_repository();
    author.git(&["config", "--unset", "user.signingkey"]);
    author.agent_at(&author.home().join("nothing"));
    author.wachter(&["release", "--yes"]).fails(1, "ssh-agent cannot be reached at");
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let author = Author::with_repository();
    let key = author.home().join(".config/wachter/keys/alice");
    for mode in [0o644, 0o640, 0o604, 0o620] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        author.wachter(&["release", "--yes"]).fails(3, "can be read by others");
    }
    fs::set_permissions(&key, fs::Permissions::from_mode(0o400)).unwrap();
    author.wachter(&["release", "--yes"]).succeeds();
}

#[test]
fn what_is_no_key_is_refused() {
    let author = Author::with_repository();
    let file = author.home().join("junk");
    fs::write(&file, "junk\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let file = file.display().to_string();
    author.wachter(&["release", "--yes", "--key", &file]).fails(1, "not an OpenSSH private key");
    author.wachter(&["release", "--yes", "--key", "missing"]).fails(1, "missing: No such file");
}
