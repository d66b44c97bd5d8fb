//! The log: every operation on the disk in its order, with marks between.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};

/// One file, whatever its name: a file that is deleted and made again is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileId(u64);

/// What happened to the disk. Paths are relative to the folder.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    /// A file that was there already, with all its content synced.
    Present {
        file: FileId,
        path: PathBuf,
        content: Arc<[u8]>,
    },
    Create {
        file: FileId,
        path: PathBuf,
    },
    Delete {
        path: PathBuf,
    },
    Write {
        file: FileId,
        offset: usize,
        bytes: Arc<[u8]>,
    },
    /// The size of the file was set, up or down.
    Resize {
        file: FileId,
        size: usize,
    },
    Sync {
        file: FileId,
    },
    SyncFolder {
        folder: PathBuf,
    },
    /// Not on the disk: what a test noted.
    Mark(String),
}

#[derive(Debug)]
pub(super) struct Log {
    folder: PathBuf,
    operations: Vec<Operation>,
    /// Which file has which name now, with the number that the system gave it.
    names: BTreeMap<PathBuf, (FileId, u64)>,
    /// Where each file was made, for descriptions and for syncs of its folder.
    origins: Vec<PathBuf>,
    recording: bool,
    syncs_count: bool,
    /// While this is true, no sync ends.
    hold: Arc<(Mutex<bool>, Condvar)>,
}

impl Log {
    /// Begins with what stands in the folder.
    pub(super) fn of_folder(folder: &Path) -> io::Result<Self> {
        let folder = folder.canonicalize()?;
        let mut log = Self {
            folder: folder.clone(),
            operations: Vec::new(),
            names: BTreeMap::new(),
            origins: Vec::new(),
            recording: true,
            syncs_count: true,
            hold: Arc::default(),
        };
        log.read_folder(&folder)?;
        Ok(log)
    }

    fn read_folder(&mut self, folder: &Path) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.read_folder(&entry.path())?;
            } else if kind.is_file() && !entry.file_name().as_encoded_bytes().ends_with(b"-shm") {
                self.present(&entry.path())?;
            }
        }
        Ok(())
    }

    /// A path inside the folder, relative to it.
    fn relative(&self, path: &Path) -> Option<PathBuf> {
        path.strip_prefix(&self.folder).ok().map(Path::to_owned)
    }

    fn add_file(&mut self, path: &Path, inode: u64) -> FileId {
        let file = FileId(self.origins.len() as u64);
        self.origins.push(path.to_owned());
        self.names.insert(path.to_owned(), (file, inode));
        file
    }

    fn present(&mut self, path: &Path) -> io::Result<FileId> {
        let content = fs::read(path)?.into();
        let inode = fs::metadata(path)?.ino();
        let path = self.relative(path).unwrap_or_else(|| path.to_owned());
        let file = self.add_file(&path, inode);
        self.operations.push(Operation::Present { file, path, content });
        Ok(file)
    }

    /// The file at this full path was opened. `existed` says whether it was there before.
    ///
    /// `None` where it is not recorded.
    pub(super) fn opened(&mut self, path: &Path, existed: bool) -> io::Result<Option<FileId>> {
        let Some(relative) = self.relative(path).filter(|_| self.recording) else {
            return Ok(None);
        };
        let inode = fs::metadata(path)?.ino();
        match self.names.get(&relative) {
            Some((file, known)) if existed && *known == inode => Ok(Some(*file)),
            // Made or replaced past SQLite.
            _ if existed => self.present(path).map(Some),
            known => {
                if known.is_some() {
                    // Taken away past SQLite.
                    self.operations.push(Operation::Delete { path: relative.clone() });
                }
                let file = self.add_file(&relative, inode);
                self.operations.push(Operation::Create { file, path: relative });
                Ok(Some(file))
            }
        }
    }

    /// The file at this full path was deleted, and its folder synced or not.
    pub(super) fn deleted(&mut self, path: &Path, synced: bool) {
        let Some(path) = self.relative(path).filter(|_| self.recording) else { return };
        self.names.remove(&path);
        let folder = path.parent().map(Path::to_owned);
        self.operations.push(Operation::Delete { path });
        if let Some(folder) = folder.filter(|_| synced) {
            self.operations.push(Operation::SyncFolder { folder });
        }
    }

    pub(super) fn written(&mut self, file: FileId, offset: usize, bytes: &[u8]) {
        self.push(Operation::Write { file, offset, bytes: bytes.into() });
    }

    pub(super) fn resized(&mut self, file: FileId, size: usize) {
        self.push(Operation::Resize { file, size });
    }

    pub(super) fn synced(&mut self, file: FileId) {
        if self.syncs_count {
            self.push(Operation::Sync { file });
        }
    }

    /// The folder that this file was made in was synced.
    pub(super) fn folder_synced(&mut self, file: FileId) {
        let folder = self.origin(file).parent().map(Path::to_owned).unwrap_or_default();
        if self.syncs_count {
            self.push(Operation::SyncFolder { folder });
        }
    }

    pub(super) fn hold(&self) -> Arc<(Mutex<bool>, Condvar)> {
        Arc::clone(&self.hold)
    }

    /// Leaves out syncs of files, and of folders along with them, from now on.
    pub(super) fn ignore_syncs(&mut self) {
        self.syncs_count = false;
    }

    pub(super) fn mark(&mut self, text: String) {
        self.push(Operation::Mark(text));
    }

    fn push(&mut self, operation: Operation) {
        if self.recording {
            self.operations.push(operation);
        }
    }

    /// Forgets everything and records no more.
    pub(super) fn end(&mut self) {
        self.recording = false;
        self.operations = Vec::new();
    }

    /// The operations from the first number up to the second.
    pub(super) fn between(&self, first: usize, end: usize) -> &[Operation] {
        let end = end.min(self.operations.len());
        &self.operations[first.min(end)..end]
    }

    /// Before each operation that is no mark and that was not there at the start, and the end.
    pub(super) fn cut_points(&self) -> Vec<usize> {
        let start = self.operations.iter().take_while(|one| one.is_present()).count();
        let marks = |at: &usize| matches!(self.operations.get(*at), Some(Operation::Mark(_)));
        (start..=self.operations.len()).filter(|at| !marks(at)).collect()
    }

    pub(super) fn marks(&self, end: usize) -> Vec<String> {
        let mark = |operation: &Operation| match operation {
            Operation::Mark(text) => Some(text.clone()),
            _ => None,
        };
        self.between(0, end).iter().filter_map(mark).collect()
    }

    pub(super) fn describe(&self, point: usize) -> String {
        let one = |at: Option<usize>| {
            at.and_then(|at| self.operations.get(at))
                .map_or_else(|| "nothing".to_owned(), |operation| self.line(operation))
        };
        let last = (0..point).rev().find(|at| !matches!(self.operations[*at], Operation::Mark(_)));
        format!("cut at {point}: after {}, before {}", one(last), one(Some(point)))
    }

    fn line(&self, operation: &Operation) -> String {
        let name = |file: &FileId| self.origin(*file).display();
        match operation {
            Operation::Present { path, .. } => format!("{} being there", path.display()),
            Operation::Create { path, .. } => format!("create {}", path.display()),
            Operation::Delete { path } => format!("delete {}", path.display()),
            Operation::Write { file, offset, bytes } => {
                format!("write {} bytes at {offset} of {}", bytes.len(), name(file))
            }
            Operation::Resize { file, size } => format!("set {} to {size} bytes", name(file)),
            Operation::Sync { file } => format!("sync {}", name(file)),
            Operation::SyncFolder { folder } => format!("sync the folder '{}'", folder.display()),
            Operation::Mark(text) => format!("the mark '{text}'"),
        }
    }

    fn origin(&self, file: FileId) -> &Path {
        usize::try_from(file.0)
            .ok()
            .and_then(|at| self.origins.get(at))
            .map_or(Path::new(""), |path| path)
    }
}

impl Operation {
    fn is_present(&self) -> bool {
        matches!(self, Self::Present { .. })
    }
}
