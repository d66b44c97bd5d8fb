//! The disk at one moment: what is synced, and what waits to be.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::log::{FileId, Operation};

#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) files: BTreeMap<FileId, File>,
    pub(super) names: BTreeMap<PathBuf, Name>,
}

/// The content of a file.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) synced: Vec<u8>,
    /// In their order.
    pub(super) waiting: Vec<Change>,
}

/// Which file a name stands for: none where there is no such name.
#[derive(Debug, Default)]
pub(super) struct Name {
    pub(super) synced: Option<FileId>,
    /// What it stood for since, in order.
    pub(super) waiting: Vec<Option<FileId>>,
}

#[derive(Clone, Debug)]
pub(super) enum Change {
    Write { offset: usize, bytes: Arc<[u8]> },
    Resize { size: usize },
}

impl Disk {
    pub(super) fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Present { file, path, content } => {
                self.files.insert(*file, File { synced: content.to_vec(), waiting: Vec::new() });
                self.names.insert(path.clone(), Name { synced: Some(*file), waiting: Vec::new() });
            }
            Operation::Create { file, path } => {
                self.files.insert(*file, File::default());
                self.names.entry(path.clone()).or_default().waiting.push(Some(*file));
            }
            Operation::Delete { path } => {
                self.names.entry(path.clone()).or_default().waiting.push(None);
            }
            Operation::Write { file, offset, bytes } => {
                self.change(*file, Change::Write { offset: *offset, bytes: Arc::clone(bytes) });
            }
            Operation::Resize { file, size } => self.change(*file, Change::Resize { size: *size }),
            Operation::Sync { file } => self.files.entry(*file).or_default().sync(),
            Operation::SyncFolder { folder } => self.sync_folder(folder),
            Operation::Mark(_) => {}
        }
    }

    fn change(&mut self, file: FileId, change: Change) {
        self.files.entry(file).or_default().waiting.push(change);
    }

    fn sync_folder(&mut self, folder: &Path) {
        for (path, name) in &mut self.names {
            if path.parent() == Some(folder)
                && let Some(last) = name.waiting.pop()
            {
                name.synced = last;
                name.waiting.clear();
            }
        }
        // A file without a name keeps its blocks for who has it open, and nobody sees them again.
        let named = |file: &FileId| {
            let stands = |one: &Option<FileId>| *one == Some(*file);
            self.names.values().any(|name| stands(&name.synced) || name.waiting.iter().any(stands))
        };
        self.files.retain(|file, _| named(file));
        self.names.retain(|_, name| name.synced.is_some() || !name.waiting.is_empty());
    }
}

impl File {
    fn sync(&mut self) {
        for change in self.waiting.drain(..) {
            change.apply(&mut self.synced);
        }
    }
}

impl Change {
    /// Applies the whole change. A gap reads as zeros.
    pub(super) fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => write(content, *offset, bytes),
            Self::Resize { size } => content.resize(*size, 0),
        }
    }
}

/// Writes bytes at an offset. A gap reads as zeros.
pub(super) fn write(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(bytes);
}
