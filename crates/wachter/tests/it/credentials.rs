//! Each source of a token, against a server that asks for one, and where a token must not turn up.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding as _};
use wachter_secret::{Identity, seal};
use wachter_testkit::{Fault, GitServerOptions, GithubApp, GithubServer, Phase, RsaKey, Tokens};

use crate::site::Site;

const TOKEN: &str = "ghp_hunter2hunter2hunter2";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    File,
    Environment,
    Systemd,
    Age,
    App,
    /// An App whose API speaks TLS.
    AppOverTls,
}

use Kind::{Age, App, AppOverTls, Environment, File, Systemd};

const ALL: [Kind; 6] = [File, Environment, Systemd, Age, App, AppOverTls];

/// A site whose server asks for a token, and whose local file says where it is.
struct Guarded {
    site: Site,
    tokens: Tokens,
    github: Option<GithubServer>,
    /// What must turn up nowhere, besides the tokens.
    secrets: Vec<String>,
}

impl Guarded {
    fn new(kind: Kind) -> Self {
        let site = Site::new();
        fs::create_dir(site.path("secrets")).unwrap();
        let tokens = Tokens::default();
        site.server().require(tokens.clone());
        let mut guarded = Self { site, tokens, github: None, secrets: Vec::new() };
        guarded.configure(kind);
        if !matches!(kind, App | AppOverTls) {
            guarded.put(kind, TOKEN);
            guarded.tokens.add(TOKEN);
        }
        guarded
    }

    fn secret(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.site.path("secrets").join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    }

    fn configure(&mut self, kind: Kind) {
        let folder = self.site.path("secrets").display().to_string();
        let credential = match kind {
            File => format!("{{ file: {folder}/token }}"),
            Environment => "{ environment: FORGE_TOKEN }".to_owned(),
            Systemd => {
                self.site.set("CREDENTIALS_DIRECTORY", folder);
                "{ systemd: token }".to_owned()
            }
            Age => {
                let identity = Identity::generate().unwrap().secret_text().to_string();
                self.secret("identity", &identity);
                self.secrets.push(identity);
                format!("{{ age: {{ file: {folder}/token.age, identity: {folder}/identity }} }}")
            }
            App | AppOverTls => self.configure_app(kind == AppOverTls),
        };
        let path = self.site.path("node.yaml");
        let text = fs::read_to_string(&path).unwrap();
        let changed = text.replacen(
            "repository:\n",
            &format!("repository:\n  credential: {credential}\n"),
            1,
        );
        assert_ne!(changed, text);
        fs::write(&path, changed).unwrap();
    }

    fn configure_app(&mut self, tls: bool) -> String {
        let key = RsaKey::generate();
        // Any line of it would do harm; this one is in the middle.
        let text = key.pkcs1_pem();
        self.secrets.push(text.lines().nth(9).unwrap().to_owned());
        // How every assertion begins.
        self.secrets.push("eyJhbGciOi".to_owned());
        let path = self.secret("app.pem", text);
        let app = GithubApp {
            client: "Iv23liTest".into(),
            installation: 42,
            repository: "infra".into(),
            key,
        };
        let tokens = self.tokens.clone();
        let server = match tls {
            true => GithubServer::serve_tls(app, tokens).unwrap(),
            false => GithubServer::serve(app, tokens).unwrap(),
        };
        if let Some(certificate) = server.certificate() {
            let path = self.secret("certificates.pem", certificate);
            self.site.set("SSL_CERT_FILE", path);
        }
        let url = server.url();
        self.github = Some(server);
        format!(
            "{{ github_app: {{ client: Iv23liTest, installation: 42, private_key: {path}, api: \"{url}\" }} }}"
        )
    }

    /// Puts a token where it is looked for.
    fn put(&mut self, kind: Kind, token: &str) {
        match kind {
            File | Systemd => drop(self.secret("token", format!("{token}\n"))),
            Environment => self.site.set("FORGE_TOKEN", token),
            Age => {
                let identity = fs::read_to_string(self.site.path("secrets/identity")).unwrap();
                let identity: Identity = identity.parse().unwrap();
                let content = seal(token.as_bytes(), &[identity.recipient()]).unwrap();
                self.secret("token.age", content);
            }
            App | AppOverTls => unreachable!("GitHub makes it"),
        }
    }

    /// Everything that must turn up nowhere, in each form that it is sent in.
    fn unwanted(&self) -> Vec<String> {
        let mut unwanted = self.secrets.clone();
        for token in self.tokens.all() {
            unwanted.push(Base64::encode_string(format!("x-access-token:{token}").as_bytes()));
            unwanted.push(token);
        }
        unwanted
    }

    fn check_silent(&self, place: &str, content: &[u8]) {
        for secret in self.unwanted() {
            let found = content.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{place} holds {secret}");
        }
    }

    fn check_files(&self, folder: &Path) {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            if kind.is_dir() && !path.ends_with("secrets") {
                self.check_files(&path);
            } else if kind.is_file() {
                self.check_silent(
                    &path.display().to_string(),
                    &fs::read(&path).unwrap_or_default(),
                );
            }
        }
    }

    /// Looks at every process of the host. `known` may have its environment as it was given.
    fn check_processes(&self, known: Option<u32>) {
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let process = entry.file_name().to_string_lossy().into_owned();
            if !process.bytes().all(|byte| byte.is_ascii_digit()) {
                continue;
            }
            for name in ["cmdline", "environ"] {
                let given =
                    name == "environ" && known.is_some_and(|known| known.to_string() == process);
                if !given {
                    let content = fs::read(entry.path().join(name)).unwrap_or_default();
                    self.check_silent(&format!("/proc/{process}/{name}"), &content);
                }
            }
        }
    }
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < until, "waited for {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn every_source_opens_a_server_that_asks_for_a_token() {
    for kind in ALL {
        let guarded = Guarded::new(kind);
        drop(guarded.site.server().take_requests());
        assert_eq!(guarded.site.json(&["sync"])["in_force"], 1, "{kind:?}");
        let requests = guarded.site.server().take_requests();
        assert!(
            !requests.is_empty() && requests.iter().all(|request| request.authorized),
            "{kind:?}"
        );
        guarded.check_files(guarded.site.path("").as_path());
    }
}

#[test]
fn an_authority_of_ones_own_is_trusted_by_its_name_in_the_environment() {
    let mut site = Site::with(GitServerOptions { tls: true, credential: None });
    assert_eq!(site.json(&["sync"])["in_force"], 1);
    let mut node = site.start();
    node.hear("hello succeeded");
    drop(node);
    // The same without it.
    site.set("SSL_CERT_FILE", "");
    let said = site.wachter(&["sync"]);
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert!(said.stderr.contains("certificate"), "{}", said.stderr);
    // By the folder.
    let folder = site.path("authorities");
    fs::create_dir(&folder).unwrap();
    fs::copy(site.path("authority.pem"), folder.join("0a1b2c3d.0")).unwrap();
    site.set("SSL_CERT_DIR", format!("/nonexistent:{}", folder.display()));
    site.ok(&["sync"]);
}

#[test]
fn a_token_that_everybody_can_read_opens_nothing() {
    let guarded = Guarded::new(File);
    let token = guarded.site.path("secrets/token");
    for (mode, code, words) in [
        (0o644, 3, "can be read by others (mode 0644)"),
        (0o660, 3, "can be written by others (mode 0660)"),
        (0o640, 0, ""),
    ] {
        fs::set_permissions(&token, fs::Permissions::from_mode(mode)).unwrap();
        let said = guarded.site.wachter(&["sync"]);
        assert_eq!(said.code, code, "{mode:o}: {}", said.stderr);
        assert!(said.stderr.contains(words), "{mode:o}: {}", said.stderr);
        guarded.check_silent("an error", said.stderr.as_bytes());
    }
}

#[test]
fn a_wrong_token_is_named_by_what_to_do_and_not_by_itself() {
    for kind in [File, Environment, Systemd, Age] {
        let mut guarded = Guarded::new(kind);
        guarded.put(kind, "ghp_wrongwrongwrong");
        let said = guarded.site.wachter(&["sync"]);
        assert_eq!(said.code, 1, "{kind:?}: {}", said.stderr);
        assert!(
            said.stderr.contains("the server refused the credential (status 401)"),
            "{}",
            said.stderr
        );
        assert!(
            !format!("{}{}", said.stdout, said.stderr).contains("wrongwrong"),
            "{}",
            said.stderr
        );
    }
    let none = Guarded::new(File);
    fs::remove_file(none.site.path("secrets/token")).unwrap();
    let said = none.site.wachter(&["sync"]);
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert!(said.stderr.contains("cannot read the token"), "{}", said.stderr);
}

#[test]
fn what_is_wrong_with_an_app_is_said() {
    let guarded = Guarded::new(App);
    let key = guarded.site.path("secrets/app.pem");
    let check = |code: i32, words: &str| {
        let said = guarded.site.wachter(&["sync"]);
        assert_eq!(said.code, code, "{}", said.stderr);
        assert!(said.stderr.contains(words), "{}", said.stderr);
        guarded.check_silent("an error", said.stderr.as_bytes());
        assert_eq!(guarded.site.server().take_requests(), [], "it was asked without a token");
    };
    drop(guarded.site.server().take_requests());
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    check(3, "can be read by others (mode 0640)");
    guarded.secret("app.pem", "no key");
    check(1, "it holds no private key in PEM");
    guarded.secret("app.pem", RsaKey::generate().pkcs8_pem());
    check(1, "check that `private_key` is a key of the App");
    let path = guarded.site.path("node.yaml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("http://127.0.0.1", "http://192.0.2.1")).unwrap();
    check(1, "`repository.credential.github_app.api`: plain HTTP is used only to this machine");
    fs::write(&path, text.replace("Iv23liTest", "\"Iv 23\"")).unwrap();
    check(1, "`repository.credential.github_app.client`: a client identifier is");
}

#[test]
fn an_identity_that_others_can_read_opens_nothing() {
    let guarded = Guarded::new(Age);
    let identity = guarded.site.path("secrets/identity");
    fs::set_permissions(&identity, fs::Permissions::from_mode(0o644)).unwrap();
    let said = guarded.site.wachter(&["sync"]);
    assert_eq!(said.code, 3, "{}", said.stderr);
    assert!(said.stderr.contains("can be read by others (mode 0644)"), "{}", said.stderr);
    guarded.check_silent("an error", said.stderr.as_bytes());
}

#[test]
fn a_token_turns_up_nowhere_while_a_node_works() {
    for kind in [Environment, Age, App] {
        let guarded = Guarded::new(kind);
        let site = &guarded.site;
        let mut node = site.start();
        node.hear("release 1 is in force");
        node.hear("hello succeeded");
        // A worker that waits for its server holds the token for as long as it takes to look.
        site.server().inject(Phase::Discovery, Fault::Stall);
        drop(site.server().take_requests());
        node.signal("-HUP");
        wait_until("a worker", || !site.server().take_requests().is_empty());
        guarded.check_processes((kind == Environment).then(|| node.child.id()));
        if kind == Environment {
            // What was given is there, so that what is looked for would be found.
            let given = fs::read(format!("/proc/{}/environ", node.child.id())).unwrap();
            assert!(String::from_utf8_lossy(&given).contains(TOKEN));
        }
        let before = site.json(&["runs"])[0]["run"].clone();
        wait_until("a run beside the worker", || site.json(&["runs"])[0]["run"] != before);
        drop(node);
        for command in [&["status"][..], &["runs", "--limit", "100"], &["modules"]] {
            let said = site.wachter(command);
            guarded.check_silent(
                &command.join(" "),
                format!("{}{}", said.stdout, said.stderr).as_bytes(),
            );
        }
        assert!(site.path("data/journal/journal.db").exists() && site.path("node.log").exists());
        guarded.check_files(&site.path(""));
    }
}

#[test]
fn a_node_keeps_the_token_of_an_app_until_it_is_refused() {
    let guarded = Guarded::new(App);
    let (site, github) = (&guarded.site, guarded.github.as_ref().unwrap());
    let mut node = site.start();
    node.hear("release 1 is in force");
    assert_eq!(github.take_requests().len(), 1);
    let fetch = |code: i32| {
        drop(site.server().take_requests());
        let said = site.wachter(&["sync"]);
        assert_eq!(said.code, code, "{}{}", said.stdout, said.stderr);
        assert!(!site.server().take_requests().is_empty());
    };
    fetch(0);
    assert_eq!(github.take_requests(), [], "a token that holds was thrown away");
    guarded.tokens.revoke_all();
    node.forget();
    fetch(1);
    node.hear("the server refused the credential");
    fetch(0);
    assert_eq!(github.take_requests().len(), 1);
    wait_until("a fetch that succeeds", || {
        site.json(&["status"])["status"]["fetch_error"].is_null()
    });
}
