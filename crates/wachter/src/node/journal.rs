//! The journal of a node, and the key that signs its checkpoints.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use wachter_bus::{Bus, DedupWindow, Limits, Notice, Options, Retention, SegmentLimits};
use wachter_config::{JournalSettings, Settings};
use wachter_file::read_limited;
use wachter_model::chain;
use wachter_trust::{FileKey, Namespace, PublicKey, Signature, Signer as _};

use crate::failure::CommandError;
use crate::keys;

/// The folder of the journal, in the data folder.
pub(crate) const FOLDER: &str = "journal";

/// The private key of the node, in its data folder; its public half is beside it with `.pub`.
const KEY: &str = "node-key";

/// The namespace of signatures over checkpoints.
const NAMESPACE: &str = "wachter-journal";

/// The most bytes of a key file.
const MAX_KEY_BYTES: u64 = 64 << 10;

/// Opens the journal, or makes it. Waits for the disk.
///
/// # Errors
/// See [`wachter_bus::OpenError`]; or the node's key cannot be made or read.
pub(crate) fn open(data: &Path, settings: &JournalSettings) -> Result<Bus, CommandError> {
    let signer = Checkpoints { key: Mutex::new(key(data)?) };
    let options = Options::new(data.join(FOLDER)).with(limits(settings));
    let bus = Bus::open(Options { signer: Some(Arc::new(signer)), ..options })?;
    let opened = bus.opened();
    for damage in &opened.damage {
        tracing::error!(target: "journal", "the journal is damaged at {}: {}; `wachter audit verify` says more",
            damage.range,
            damage.kind.as_str()
        );
    }
    if !opened.new && !opened.clean {
        tracing::warn!(target: "journal", "the node was not ended properly; {} events since the last checkpoint were checked",
            opened.verified
        );
    }
    Ok(bus)
}

/// Has the journal go by the settings, whenever they change. Ends with the bus, or with who changes them.
pub(crate) async fn follow(bus: Bus, mut settings: watch::Receiver<Arc<Settings>>) {
    let mut known = settings.borrow().journal.clone();
    while settings.changed().await.is_ok() {
        let journal = settings.borrow_and_update().journal.clone();
        if journal == known {
            continue;
        }
        if bus.configure(limits(&journal)).await.is_err() {
            return;
        }
        tracing::info!(target: "journal", "the journal goes by other settings");
        known = journal;
    }
}

fn limits(settings: &JournalSettings) -> Limits {
    let (dedup, retention) = (DedupWindow::default(), Retention::default());
    let bytes =
        |size: wachter_model::ByteSize| usize::try_from(size.as_bytes()).unwrap_or(usize::MAX);
    Limits {
        max_event_bytes: bytes(settings.max_event),
        queue_bytes: u32::try_from(settings.queue.as_bytes()).unwrap_or(u32::MAX),
        dedup: DedupWindow {
            ids: usize::try_from(settings.dedup.ids.get()).unwrap_or(usize::MAX),
            age: settings.dedup.age.to_std(),
            ..dedup
        },
        segment: SegmentLimits {
            events: settings.segment.events.get(),
            bytes: settings.segment.size.as_bytes(),
            age: settings.segment.age.to_std(),
        },
        retention: Retention {
            age: Some(settings.retention.age.to_std()),
            bytes: Some(settings.retention.size.as_bytes()),
            ..retention
        },
    }
}

/// The node's own key; it is made at the first start.
fn key(data: &Path) -> Result<FileKey, CommandError> {
    let path = data.join(KEY);
    if !path.exists() {
        keys::generate(&path, "wachter node")?;
    }
    let text = read_limited(&path, MAX_KEY_BYTES).map_err(|error| {
        CommandError::failed(format!("cannot read {}: {error}", path.display()))
    })?;
    FileKey::from_openssh(&text).map_err(|error| {
        CommandError::failed(format!(
            "{}: {}; move it away for a new one, and keep its `.pub` to check older checkpoints",
            path.display(),
            chain(&error)
        ))
    })
}

/// Checks signatures of checkpoints by the public keys in the data folder: `node-key.pub`, and those of
/// earlier keys that were kept beside it as `node-key-….pub`. Reads them.
///
/// # Errors
/// The folder cannot be read.
pub(crate) fn checker(
    data: &Path,
) -> std::io::Result<impl Fn(&str, &str) -> Result<(), String> + use<>> {
    let mut keys = Vec::new();
    for entry in std::fs::read_dir(data)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with(KEY) && name.ends_with(".pub") {
            // One that is damaged verifies nothing, which is told of what it had signed.
            keys.extend(keys::public_key(&data.join(name)).ok());
        }
    }
    Ok(move |text: &str, signature: &str| {
        check_signature(text, signature, |key| match keys.contains(key) {
            true => Ok(()),
            false => Err(format!("key {} is not this node's", key.fingerprint())),
        })
    })
}

/// Checks the signature of a checkpoint's text by a key that `accept` takes.
///
/// # Errors
/// Why it does not hold, in words; or why `accept` does not take its key.
pub(crate) fn check_signature(
    text: &str,
    signature: &str,
    accept: impl FnOnce(&PublicKey) -> Result<(), String>,
) -> Result<(), String> {
    let signature = Signature::parse(signature.as_bytes()).map_err(|error| chain(&error))?;
    accept(signature.key())?;
    let namespace = Namespace::new(NAMESPACE).map_err(|error| chain(&error))?;
    signature.verify(namespace, text.as_bytes()).map_err(|error| chain(&error))
}

/// Signs checkpoints with the node's key.
#[derive(Debug)]
struct Checkpoints {
    key: Mutex<FileKey>,
}

impl wachter_bus::Signer for Checkpoints {
    fn sign(&self, text: &[u8]) -> Result<String, String> {
        let namespace = Namespace::new(NAMESPACE).map_err(|error| chain(&error))?;
        let mut key = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        let signature = key.sign(namespace, text).map_err(|error| chain(&error))?;
        Ok(signature.to_armor())
    }
}

/// Says in the log what a person should know about the journal. Ends with the bus.
pub(crate) async fn watch(bus: Bus) {
    let mut notices = bus.notices();
    drop(bus);
    loop {
        match notices.recv().await {
            Ok(notice) => tell(&notice),
            Err(tokio::sync::broadcast::error::RecvError::Lagged(missed)) => {
                tracing::warn!(target: "journal", "{missed} notices of the journal were not seen");
            }
            Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
        }
    }
}

fn tell(notice: &Notice) {
    match notice {
        Notice::Damaged { range } => {
            tracing::error!(target: "journal", "events {range} of the journal are damaged and are passed over; `wachter audit verify` says more"
            );
        }
        Notice::Lost { subscription, range } => {
            tracing::error!(target: "journal", "retention dropped events {range} that `{subscription}` had not had; raise `journal.retention`"
            );
        }
        Notice::DeadLettered { subscription, seq, reason } => {
            tracing::warn!(target: "journal", "`{subscription}` gave event {seq} up: {reason}; see `wachter dead-letters list`"
            );
        }
        Notice::Failing(error) => {
            wachter_log::critical!("the journal fails: {}", chain(error));
        }
        Notice::Recovered => tracing::info!(target: "journal", "the journal works again"),
        Notice::Unsigned { reason } => {
            tracing::warn!(target: "journal", "a checkpoint of the journal could not be signed: {reason}");
        }
    }
}

#[cfg(test)]
mod tests {
    use wachter_bus::{PublishReason, Signer as _};
    use wachter_config::Catalogue;
    use wachter_model::{ByteSize, Event};

    use super::*;

    /// The journal that is open goes by what the settings say now.
    #[tokio::test]
    async fn a_journal_follows_its_settings() {
        let data = tempfile::tempdir().unwrap();
        let mut settings = Catalogue::default().settings().clone();
        let bus = open(data.path(), &settings.journal).unwrap();
        let (set, settings_of) = watch::channel(Arc::new(settings.clone()));
        let following = tokio::spawn(follow(bus.clone(), settings_of));
        let event = || {
            let builder = Event::builder("/here".parse().unwrap(), &"a.b".parse().unwrap());
            builder.json(&"x".repeat(1 << 16).into()).build().unwrap()
        };
        bus.publish(vec![event()]).await.unwrap();
        settings.journal.segment.events = 1.try_into().unwrap();
        settings.journal.max_event = ByteSize::from_mib(2);
        set.send_replace(Arc::new(settings.clone()));
        // The writer closes the segment once it goes by the new bound.
        while bus.checkpoints().await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        settings.journal.max_event = "32KiB".parse().unwrap();
        set.send_replace(Arc::new(settings));
        let refused = loop {
            match bus.publish(vec![event()]).await {
                Ok(_) => tokio::task::yield_now().await,
                Err(error) => break error.reason,
            }
        };
        assert!(matches!(refused, PublishReason::TooLarge { limit: 32_768, .. }), "{refused}");
        drop(set);
        following.await.unwrap();
    }

    #[test]
    fn a_checkpoint_holds_by_the_nodes_own_keys_alone() {
        let (own, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let sign = |data: &Path, text: &str| {
            let signer = Checkpoints { key: Mutex::new(key(data).unwrap()) };
            signer.sign(text.as_bytes()).unwrap()
        };
        let old = sign(own.path(), "one");
        std::fs::rename(own.path().join("node-key.pub"), own.path().join("node-key-1.pub"))
            .unwrap();
        std::fs::remove_file(own.path().join("node-key")).unwrap();
        let new = sign(own.path(), "one");
        let foreign = sign(other.path(), "one");
        let check = checker(own.path()).unwrap();
        assert_eq!((check("one", &old), check("one", &new)), (Ok(()), Ok(())));
        assert!(check("two", &new).is_err());
        assert!(check("one", &foreign).unwrap_err().contains("is not this node's"));
        assert!(check("one", "no signature").is_err());
    }
}
