//! What a publisher and an owner leave behind: a signed trust file, a signed module in a node's data
//! folder, and the local file that grants it something.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use wachter_model::Digest;
use wachter_protocol::{Egress, Grant, LocalFile, Manifest, Profile};
use wachter_sandbox::{LauncherOptions, RunOrder};
use wachter_trust::{
    FileKey, ModuleDigests, ModuleFile, Namespace, RepositoryId, Signer, TrustDraft,
};

use crate::bench::{ENGINE, copy_engine, order};

const REPOSITORY: &str = "6f0c1c53-8c2c-4f0c-a6ab-3f0a8f5a2a11";

/// A node's data folder, an owner's local file, and the keys for all of it.
pub(crate) struct Publication {
    folder: TempDir,
    pub(crate) root: FileKey,
    pub(crate) publisher: FileKey,
    pub(crate) draft: TrustDraft,
    manifest: Manifest,
    text: String,
    /// Files beside the manifest and the program, by name.
    further: Vec<(String, Vec<u8>)>,
}

impl Publication {
    /// A module with these further lines of manifest, granted `allowance`.
    pub(crate) fn new(profile: Profile, manifest: &str, allowance: &str, script: &str) -> Self {
        Self::with(profile, manifest, allowance, shell(script).as_bytes())
    }

    /// The same with any program.
    pub(crate) fn with(profile: Profile, manifest: &str, allowance: &str, program: &[u8]) -> Self {
        let runtime = "{ kind: process, entrypoint: run }";
        Self::of(profile, runtime, &[], manifest, allowance, "", program)
    }

    /// The same of a module in WebAssembly.
    pub(crate) fn wasi(profile: Profile, manifest: &str, allowance: &str, program: &[u8]) -> Self {
        let runtime = "{ kind: wasi, entrypoint: run }";
        let signed = Self::of(profile, runtime, &[], manifest, allowance, "", program);
        copy_engine(signed.folder.path());
        signed
    }

    /// The same for any runtime, with further files, and with further lines of the local file.
    pub(crate) fn of(
        profile: Profile,
        runtime: &str,
        further: &[(&str, &str)],
        manifest: &str,
        allowance: &str,
        local: &str,
        program: &[u8],
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Others must be able to come near, as below /var/lib.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let root = FileKey::from_seed(&[1; 32], "root").unwrap();
        let publisher = FileKey::from_seed(&[2; 32], "publisher").unwrap();
        let repository: RepositoryId = REPOSITORY.parse().unwrap();
        let in_a_year = Timestamp::now() + SignedDuration::from_hours(24 * 365);
        let in_a_year = Timestamp::from_second(in_a_year.as_second()).unwrap();
        let draft = TrustDraft::of_one(
            repository,
            "alice".parse().unwrap(),
            publisher.public_key().clone(),
            in_a_year,
        );
        let text = format!("name: sample\nversion: 1.0.0\nruntime: {runtime}\n{manifest}\n");
        let manifest = Manifest::read(&text).unwrap();
        for name in ["owner", "node/trust", "node/modules"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        let absent: Vec<String> =
            wachter_protocol::Mechanism::ALL.iter().map(ToString::to_string).collect();
        let local = format!(
            "version: 1\nrepository: {{ url: /, id: {REPOSITORY} }}\nroots: {{ threshold: 1, keys: ['{}'] }}\n\
             confinement: {{ profile: {profile}, accept_absent: [{}] }}\ngrants: {{ sample: {allowance} }}\n{local}\n",
            root.public_key(),
            absent.join(", "),
        );
        fs::write(folder.path().join("owner/node.yaml"), local).unwrap();
        let further = further.iter();
        let further = further.map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec()));
        let further = further.collect();
        let mut signed = Self { folder, root, publisher, draft, manifest, text, further };
        signed.trust();
        signed.publish_program(program);
        signed
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Signs the trust file as it stands.
    pub(crate) fn trust(&mut self) {
        let text = self.draft.render().unwrap();
        let signature = self.root.sign(Namespace::TRUST, text.as_bytes()).unwrap();
        fs::write(self.path("node/trust/trust.yaml"), text).unwrap();
        fs::write(self.path("node/trust/trust.yaml.sig"), signature.to_armor()).unwrap();
    }

    /// What a publisher signs of a module of this name with this program.
    pub(crate) fn digests(&self, name: &str, program: &[u8]) -> ModuleDigests {
        let file =
            |content: &[u8], executable| ModuleFile { digest: Digest::of(content), executable };
        let mut files = BTreeMap::from([
            ("module.yaml".to_owned(), file(self.text.as_bytes(), false)),
            ("run".to_owned(), file(program, true)),
        ]);
        files.extend(
            self.further.iter().map(|(name, content)| (name.clone(), file(content, false))),
        );
        ModuleDigests::new(name.parse().unwrap(), "1.0.0".parse().unwrap(), files).unwrap()
    }

    /// Signs a shell script as the module and puts it where the node has it. Gives the folder.
    pub(crate) fn publish(&mut self, script: &str) -> PathBuf {
        self.publish_program(shell(script).as_bytes())
    }

    /// The same with any program.
    pub(crate) fn publish_program(&mut self, program: &[u8]) -> PathBuf {
        let digests = self.digests("sample", program);
        let folder = self.path("node/modules").join(digests.digest().to_string());
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("module.yaml"), &self.text).unwrap();
        fs::write(folder.join("run"), program).unwrap();
        for (name, content) in &self.further {
            fs::write(folder.join(name), content).unwrap();
        }
        fs::set_permissions(folder.join("run"), Permissions::from_mode(0o755)).unwrap();
        let signature =
            self.publisher.sign(Namespace::MODULE, digests.render().as_bytes()).unwrap();
        fs::write(folder.join("module.digests"), digests.render()).unwrap();
        fs::write(folder.join("module.sig"), signature.to_armor()).unwrap();
        folder
    }

    /// What a node that has the same local file would ask for.
    pub(crate) fn order(&self, script: &str, egress: Egress) -> RunOrder {
        self.order_of(shell(script).as_bytes(), egress)
    }

    /// The same with any program.
    pub(crate) fn order_of(&self, program: &[u8], egress: Egress) -> RunOrder {
        let digest = self.digests("sample", program).digest();
        let local =
            LocalFile::read(&fs::read_to_string(self.path("owner/node.yaml")).unwrap()).unwrap();
        let grant = Grant::decide(digest, &self.manifest, local.grants.get(&self.manifest.name));
        // A node that asks for more than it has names some grant all the same.
        let grant = grant.unwrap_or_else(|_| {
            let least =
                "name: sample\nversion: 1.0.0\nruntime: { kind: process, entrypoint: run }\n";
            Grant::for_development(digest, &Manifest::read(least).unwrap()).unwrap()
        });
        RunOrder { egress, ..order(&self.manifest, digest, grant) }
    }

    pub(crate) fn options(&self) -> LauncherOptions {
        let arguments = ["--local-file", "owner/node.yaml", "--data", "node", "--state", "state"];
        let engine = self.path(ENGINE).exists().then_some(["--builtin", ENGINE]);
        let arguments = arguments.into_iter().chain(engine.into_iter().flatten());
        let arguments = arguments.map(|word| match word.strip_prefix("--") {
            Some(_) => word.into(),
            None => self.path(word).into_os_string(),
        });
        LauncherOptions::Spawn {
            program: wachter_testkit::executable("wachter-launcher"),
            arguments: arguments.collect(),
        }
    }
}

/// A module that is a shell script.
pub(crate) fn shell(script: &str) -> String {
    format!("#!/bin/sh\n{script}\n")
}
