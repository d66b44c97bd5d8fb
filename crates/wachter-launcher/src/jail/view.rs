//! The file system that a run sees: a small tmpfs with read-only copies of the paths that every
//! program needs and of those that were granted, entered by pivot_root(2).
//!
//! Mounts are cloned with open_tree(2) and put in place with move_mount(2), so a source is opened
//! once, and nothing that the new root covers gets in the way.

use std::fs;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags,
};

use wachter_secret::MAX_VALUE_BYTES;

use super::fault::{Attempt, Fault};
use super::system;
use crate::secrets::Secret;

/// Where the secrets of a run are.
pub(crate) const SECRETS: &str = "/run/secrets";

/// A path of the host in the view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bind {
    pub(crate) source: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) kind: BindKind,
    /// Left out where the host does not have it. Files can be missing for a moment while packages
    /// are upgraded.
    pub(crate) optional: bool,
}

/// How a path of the host is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BindKind {
    ReadOnly,
    ReadWrite,
    /// As `ReadWrite`, for a folder in which programs were granted as well.
    ReadWriteExecute,
    Device,
}

/// All that a run sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) binds: Vec<Bind>,
    /// Symbolic links: where, and what they say.
    pub(crate) links: Vec<(PathBuf, PathBuf)>,
    /// Small files made for the run.
    pub(crate) files: Vec<(PathBuf, String)>,
    /// Paths below a bind that are covered with nothing.
    pub(crate) masks: Vec<PathBuf>,
    /// Bytes that `/tmp` holds.
    pub(crate) tmp_bytes: u64,
}

/// Inodes that `/tmp` holds: one for each 4 KiB of it, within reason.
fn tmp_inodes(bytes: u64) -> u64 {
    (bytes / 4_096).clamp(64, 65_536)
}

/// A clone of a mount, not yet anywhere.
pub(crate) struct Source {
    tree: OwnedFd,
    is_folder: bool,
    bind: Bind,
}

/// The folder that the new root is built on; whatever it holds is covered in this namespace only.
const BUILD: &str = "/tmp";

/// Clones what the view shows, with the rights that this process has now.
pub(crate) fn open(view: &View) -> Result<Vec<Source>, Fault> {
    let mut sources = Vec::with_capacity(view.binds.len());
    for bind in &view.binds {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_RECURSIVE;
        // The path was resolved when it was judged. A link that has come into it since, made by who
        // can write there, would lead elsewhere.
        let source = match open_exactly(&bind.source) {
            Err(Errno::NOENT | Errno::ACCESS) if bind.optional => continue,
            source => source.attempt(|| format!("open {}", bind.source.display()))?,
        };
        let tree = rustix::mount::open_tree(&source, "", flags | OpenTreeFlags::AT_EMPTY_PATH)
            .attempt(|| format!("open {}", bind.source.display()))?;
        let status =
            rustix::fs::fstat(&tree).attempt(|| format!("look at {}", bind.source.display()))?;
        let is_folder = rustix::fs::FileType::from_raw_mode(status.st_mode).is_dir();
        let attributes = match bind.kind {
            BindKind::ReadOnly => {
                MountAttrFlags::MOUNT_ATTR_RDONLY
                    | MountAttrFlags::MOUNT_ATTR_NOSUID
                    | MountAttrFlags::MOUNT_ATTR_NODEV
            }
            // What can be written is not executed, by no loader either.
            BindKind::ReadWrite => {
                MountAttrFlags::MOUNT_ATTR_NOSUID
                    | MountAttrFlags::MOUNT_ATTR_NODEV
                    | MountAttrFlags::MOUNT_ATTR_NOEXEC
            }
            BindKind::ReadWriteExecute => {
                MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV
            }
            BindKind::Device => {
                MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC
            }
        };
        system::set_mount_attributes(tree.as_fd(), attributes.bits().into())
            .attempt(|| format!("restrict the mount of {}", bind.source.display()))?;
        sources.push(Source { tree, is_folder, bind: bind.clone() });
    }
    Ok(sources)
}

/// Opens a path, for naming it only, on which no symbolic link lies.
pub(super) fn open_exactly(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    rustix::fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)
}

/// Builds the view and enters it. The process is in a mount namespace of its own.
pub(crate) fn enter(view: &View, sources: Vec<Source>, secrets: &[Secret]) -> Result<(), Fault> {
    // Nothing that happens here may reach the host.
    rustix::mount::mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
        .attempt(|| "make mounts private")?;
    // Before /proc is covered: the kernel gives a new one only to who can see a whole one.
    let processes = new_file_system("proc", &[("subset", "pid"), ("hidepid", "invisible")])?;
    let root = new_file_system("tmpfs", &[("size", "1m"), ("nr_inodes", "1k"), ("mode", "0755")])?;
    attach(&root, BUILD)?;
    // The path alone would still name the folder below the mount.
    std::env::set_current_dir(BUILD).attempt(|| "enter the new root")?;
    // First, for what was granted may lie below it.
    let bytes = view.tmp_bytes.to_string();
    let inodes = tmp_inodes(view.tmp_bytes).to_string();
    let tmp =
        new_file_system("tmpfs", &[("size", &bytes), ("nr_inodes", &inodes), ("mode", "1777")])?;
    place(&tmp, "tmp")?;
    for (path, target) in &view.links {
        parent(path)?;
        symlink(target, inside(path)).attempt(|| format!("link {}", path.display()))?;
    }
    for source in sources {
        let place = inside(&source.bind.target);
        if source.is_folder {
            fs::create_dir_all(place)
                .attempt(|| format!("make {}", source.bind.target.display()))?;
        } else {
            parent(&source.bind.target)?;
            fs::write(place, "").attempt(|| format!("make {}", source.bind.target.display()))?;
        }
        attach(&source.tree, place)?;
    }
    for (path, text) in &view.files {
        parent(path)?;
        fs::write(inside(path), text).attempt(|| format!("write {}", path.display()))?;
    }
    for path in &view.masks {
        mask(path)?;
    }
    if !secrets.is_empty() {
        show(secrets)?;
    }
    place(&processes, "proc")?;
    rustix::process::pivot_root(".", ".").attempt(|| "enter the new root")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).attempt(|| "leave the old root")?;
    std::env::set_current_dir("/").attempt(|| "enter the new root")?;
    rustix::mount::mount_remount(
        "/",
        rustix::mount::MountFlags::BIND
            | rustix::mount::MountFlags::RDONLY
            | rustix::mount::MountFlags::NOSUID
            | rustix::mount::MountFlags::NODEV,
        "",
    )
    .attempt(|| "make the new root read-only")
}

/// Puts secrets into a file system of their own, in memory, which nobody can write from then on.
fn show(secrets: &[Secret]) -> Result<(), Fault> {
    let files = secrets.len() as u64 + 1;
    // A value fits into one page of the largest kind.
    let (size, inodes) = ((files * MAX_VALUE_BYTES as u64).to_string(), files.to_string());
    let mount =
        new_file_system("tmpfs", &[("size", &size), ("nr_inodes", &inodes), ("mode", "0500")])?;
    let folder = Path::new(SECRETS);
    let place = inside(folder);
    fs::create_dir_all(place).attempt(|| format!("make {SECRETS}"))?;
    attach(&mount, place)?;
    for secret in secrets {
        // Named by itself, and not by a file that could be there already.
        let attempted = || format!("write {SECRETS}/{}", secret.name);
        let file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o400)
            .open(place.join(secret.name.as_str()));
        file.and_then(|mut file| file.write_all(&secret.value)).attempt(attempted)?;
    }
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY.bits();
    system::set_mount_attributes(mount.as_fd(), attributes.into())
        .attempt(|| format!("restrict the mount of {SECRETS}"))
}

fn new_file_system(kind: &str, options: &[(&str, &str)]) -> Result<OwnedFd, Fault> {
    let attempted = || format!("make a {kind} file system");
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).attempt(attempted)?;
    for (key, value) in options {
        rustix::mount::fsconfig_set_string(context.as_fd(), *key, *value).attempt(attempted)?;
    }
    rustix::mount::fsconfig_create(context.as_fd()).attempt(attempted)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .attempt(attempted)
}

/// Puts a mount on a path of the new root, and makes the path.
fn place(mount: &OwnedFd, path: &str) -> Result<(), Fault> {
    rustix::fs::mkdir(path, Mode::from_raw_mode(0o755)).attempt(|| format!("make /{path}"))?;
    attach(mount, path)
}

fn attach(mount: &OwnedFd, path: impl AsRef<Path>) -> Result<(), Fault> {
    let path = path.as_ref();
    rustix::mount::move_mount(mount, "", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .attempt(|| format!("mount {}", path.display()))
}

/// Covers a path, if it is there, with nothing.
fn mask(path: &Path) -> Result<(), Fault> {
    let place = inside(path);
    let Ok(status) = rustix::fs::lstat(place) else { return Ok(()) };
    if rustix::fs::FileType::from_raw_mode(status.st_mode).is_dir() {
        attach(
            &new_file_system("tmpfs", &[("size", "4k"), ("nr_inodes", "2"), ("mode", "0555")])?,
            place,
        )
    } else {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let nothing =
            rustix::mount::open_tree(CWD, "/dev/null", flags).attempt(|| "open /dev/null")?;
        attach(&nothing, place)
    }
}

/// Where an absolute path of the view is while it is built: below the working directory.
fn inside(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

fn parent(path: &Path) -> Result<(), Fault> {
    match inside(path).parent() {
        Some(folder) if !folder.as_os_str().is_empty() => {
            fs::create_dir_all(folder).attempt(|| format!("make {}", folder.display()))
        }
        _ => Ok(()),
    }
}
