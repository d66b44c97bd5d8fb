//! A workbench: a module in a folder of its own, a launcher in development mode, and one run.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use wachter_model::{Digest, RunId};
use wachter_protocol::module::{HostViews, IdempotencyKey, ModuleIdentity, Request};
use wachter_protocol::{Egress, Grant, Manifest, Profile};
use wachter_sandbox::{Launcher, LauncherOptions, RunOrder, RunReport, Update, carry_out};

/// A module and a launcher for it.
pub(crate) struct Bench {
    folder: TempDir,
    manifest: Manifest,
}

/// What compiles and runs WebAssembly.
pub(crate) const ENGINE: &str = "wachter-modules";

/// Puts it where a run that has another user can reach it without namespaces too, as below /usr.
pub(crate) fn copy_engine(folder: &Path) {
    fs::copy(wachter_testkit::executable(ENGINE), folder.join(ENGINE)).unwrap();
}

impl Bench {
    /// A shell script with these further lines of manifest.
    pub(crate) fn shell(manifest: &str, script: &str) -> Self {
        Self::with(manifest, "run", format!("#!/bin/sh\n{script}\n").as_bytes())
    }

    pub(crate) fn with(manifest: &str, name: &str, program: &[u8]) -> Self {
        Self::of("process", manifest, name, program)
    }

    /// A module in WebAssembly.
    pub(crate) fn wasi(manifest: &str, program: &[u8]) -> Self {
        let bench = Self::of("wasi", manifest, "main.wasm", program);
        copy_engine(bench.folder.path());
        bench
    }

    fn of(kind: &str, manifest: &str, name: &str, program: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Others must be able to come near, as below /var/lib.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let module = folder.path().join("module");
        fs::create_dir(&module).unwrap();
        fs::write(module.join(name), program).unwrap();
        fs::set_permissions(module.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        let text = format!(
            "name: sample\nversion: 1.0.0\nruntime: {{ kind: {kind}, entrypoint: {name} }}\n{manifest}\n"
        );
        fs::write(module.join("module.yaml"), &text).unwrap();
        Self { folder, manifest: Manifest::read(&text).unwrap() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn options(&self, profile: Profile) -> LauncherOptions {
        let path = |name: &str| self.folder.path().join(name).into_os_string();
        let mut arguments: Vec<OsString> = vec![
            "--development".into(),
            path("module"),
            "--state".into(),
            path("state"),
            "--profile".into(),
            profile.to_string().into(),
        ];
        let engine = self.folder.path().join(ENGINE);
        if engine.exists() {
            arguments.extend(["--builtin".into(), engine.into()]);
        }
        LauncherOptions::Spawn {
            program: wachter_testkit::executable("wachter-launcher"),
            arguments,
        }
    }

    pub(crate) fn order(&self) -> RunOrder {
        let digest = describe(&self.folder.path().join("module"), &self.manifest);
        let grant = Grant::for_development(digest, &self.manifest).unwrap();
        order(&self.manifest, digest, grant)
    }

    /// One run, with everything it said for the log.
    pub(crate) async fn run(&self, profile: Profile) -> (RunReport, Vec<String>) {
        self.run_order(profile, self.order()).await
    }

    pub(crate) async fn run_order(
        &self,
        profile: Profile,
        order: RunOrder,
    ) -> (RunReport, Vec<String>) {
        let launcher = Launcher::open(&self.options(profile)).await.unwrap();
        carry_out_with(&launcher, order).await
    }
}

/// One run through a launcher that is there.
pub(crate) async fn carry_out_with(
    launcher: &Launcher,
    order: RunOrder,
) -> (RunReport, Vec<String>) {
    carry_out_until(launcher, order, &CancellationToken::new()).await
}

/// The same, with an end from outside.
pub(crate) async fn carry_out_until(
    launcher: &Launcher,
    order: RunOrder,
    cancel: &CancellationToken,
) -> (RunReport, Vec<String>) {
    let mut log = Vec::new();
    let run = carry_out(launcher, order, cancel, |update| {
        if let Update::Log(line) = update {
            log.push(line.message);
        }
    });
    let report = tokio::time::timeout(Duration::from_secs(60), run).await.unwrap().unwrap();
    (report, log)
}

/// An order of a module that is told nothing.
pub(crate) fn order(manifest: &Manifest, digest: Digest, grant: Grant) -> RunOrder {
    RunOrder {
        module: manifest.name.clone(),
        digest,
        grant,
        emits: manifest.emits.clone(),
        request: request(manifest),
        egress: Egress::default(),
    }
}

/// What a module is told when there is nothing to tell.
fn request(manifest: &Manifest) -> Request {
    let run = RunId::new();
    Request {
        protocol: 1,
        run,
        idempotency_key: Some(IdempotencyKey::of_run(run)),
        module: ModuleIdentity { name: manifest.name.clone(), version: "1.0.0".into() },
        input: serde_json::Value::Null,
        event: None,
        host: HostViews::default(),
        state: serde_json::Value::Null,
        dry_run: false,
        deadline: "2030-01-01T00:00:00Z".into(),
    }
}

/// What signing would write, for the module's digest.
fn describe(module: &Path, manifest: &Manifest) -> Digest {
    let mut files: Vec<(PathBuf, bool)> = Vec::new();
    for entry in fs::read_dir(module).unwrap() {
        let entry = entry.unwrap();
        let executable = entry.metadata().unwrap().permissions().mode() & 0o111 != 0;
        files.push((entry.path(), executable));
    }
    let files = files.into_iter().map(|(path, executable)| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let digest = Digest::of(&fs::read(path).unwrap());
        (name, wachter_trust::ModuleFile { digest, executable })
    });
    wachter_trust::ModuleDigests::new(
        manifest.name.clone(),
        manifest.version.parse().unwrap(),
        files,
    )
    .unwrap()
    .digest()
}

/// The profiles that this user can have on this host.
pub(crate) fn profiles() -> Vec<Profile> {
    if rustix::process::geteuid().is_root() {
        vec![Profile::Root, Profile::NoNamespaces]
    } else {
        vec![Profile::Unprivileged, Profile::NoNamespaces]
    }
}
