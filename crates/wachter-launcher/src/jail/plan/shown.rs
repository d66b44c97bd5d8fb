//! Which folders and files of the host a run sees, and in what order they are put in place.

use std::path::{Path, PathBuf};

use super::base::Base;
use super::granted::Granted;
use super::program::{BUILTIN, CODE, Executed};
use super::{MODULE, real};
use crate::jail::view::{Bind, BindKind, View};

/// The view of a run: what every run sees, what was granted, and its module. `files` are made for it
/// where the host's own are not shown.
pub(super) fn view(
    base: &Base,
    granted: &Granted,
    module: &Path,
    program: &Executed,
    files: Vec<(PathBuf, String)>,
) -> View {
    // A folder granted above something of the base must come before it, and shows that as well.
    let (above, beside): (Vec<_>, Vec<_>) = granted
        .binds(base)
        .into_iter()
        .partition(|bind| base.binds.iter().any(|base| base.target.starts_with(&bind.target)));
    let covered = |path: &Path| above.iter().any(|bind| path.starts_with(&bind.target));
    let mut binds = above.clone();
    binds.extend(base.binds.iter().filter(|bind| !covered(&bind.target)).cloned());
    binds.extend(beside);
    binds.push(bind(module, MODULE, BindKind::ReadOnly));
    let builtin = program.builtin.as_deref().map(|path| (path, BUILTIN));
    let code = program.code.as_deref().map(|path| (path, CODE));
    let ours = builtin.into_iter().chain(code);
    binds.extend(ours.map(|(path, target)| bind(path, target, BindKind::ReadOnly)));
    // A file of the host that was granted is meant as it is.
    let shown = |path: &PathBuf| granted.read.contains(path) || granted.write.contains(path);
    View {
        binds,
        links: base.links.iter().filter(|(path, _)| !covered(path)).cloned().collect(),
        files: files.into_iter().filter(|(path, _)| !covered(path) && !shown(path)).collect(),
        ..View::default()
    }
}

impl Granted {
    /// Shorter paths first, so that a folder does not cover what is granted within it. What the base
    /// shows already needs no second mount.
    fn binds(&self, base: &Base) -> Vec<Bind> {
        let Self { read, write, exec } = self;
        let shown = |path: &&PathBuf| read.iter().chain(write).any(|shown| path.starts_with(shown));
        let readable = read.iter().filter(|path| !write.contains(path));
        let readable = readable.chain(exec.iter().filter(|path| !shown(path)));
        let readable = readable
            .filter(|path| !base.binds.iter().any(|base| path.starts_with(&base.target)))
            .map(|path| bind(path, path, BindKind::ReadOnly));
        let writable = |path: &PathBuf| {
            let programs = exec.iter().any(|exec| exec.starts_with(path) || path.starts_with(exec));
            if programs { BindKind::ReadWriteExecute } else { BindKind::ReadWrite }
        };
        let mut binds: Vec<Bind> =
            readable.chain(write.iter().map(|path| bind(path, path, writable(path)))).collect();
        binds.sort_by(|a, b| a.target.cmp(&b.target));
        binds
    }
}

fn bind(source: &Path, target: impl AsRef<Path>, kind: BindKind) -> Bind {
    Bind { source: real(source), target: target.as_ref().to_owned(), kind, optional: false }
}

#[cfg(test)]
mod tests {
    use super::super::program::Program;
    use super::*;

    fn paths(paths: &[&str]) -> Vec<PathBuf> {
        paths.iter().map(PathBuf::from).collect()
    }

    fn base() -> Base {
        let read_only = |path| bind(Path::new(path), path, BindKind::ReadOnly);
        Base {
            binds: ["/usr", "/etc/ssl/certs"].map(read_only).into(),
            links: vec![("/bin".into(), "usr/bin".into())],
        }
    }

    #[track_caller]
    fn check(read: &[&str], write: &[&str], exec: &[&str], expected: &[(&str, BindKind)]) -> View {
        let granted = Granted { read: paths(read), write: paths(write), exec: paths(exec) };
        let files = vec![("/etc/hosts".into(), String::new())];
        let program = Program::Payload { file: "run".to_owned(), interpreters: Vec::new() };
        let program = program.executed(Path::new(MODULE), true, Vec::new);
        let view = view(&base(), &granted, Path::new("/store/a"), &program, files);
        let found: Vec<_> =
            view.binds.iter().map(|bind| (bind.target.to_str().unwrap(), bind.kind)).collect();
        assert_eq!(found, expected);
        view
    }

    #[test]
    fn what_is_granted_comes_in_an_order_that_covers_nothing() {
        use BindKind::{ReadOnly, ReadWrite, ReadWriteExecute};
        let (usr, certificates, module) =
            (("/usr", ReadOnly), ("/etc/ssl/certs", ReadOnly), ("/module", ReadOnly));
        check(&[], &[], &[], &[usr, certificates, module]);
        // What the base shows needs no second mount, unless it is to be written.
        let written = ("/usr/local/a", ReadWrite);
        check(
            &["/usr/share"],
            &["/usr/local/a"],
            &["/usr/bin/tool"],
            &[usr, certificates, written, module],
        );
        // A folder comes before what is granted within it.
        let (within, around) = (("/srv/a/b", ReadWrite), ("/srv/a", ReadOnly));
        check(&["/srv/a"], &["/srv/a/b"], &[], &[usr, certificates, around, within, module]);
        let tools = ("/srv/a", ReadWriteExecute);
        check(&[], &["/srv/a"], &["/srv/a/tool"], &[usr, certificates, tools, module]);
    }

    #[test]
    fn a_folder_above_the_base_shows_the_hosts_own() {
        use BindKind::ReadOnly;
        let shown = [("/etc", ReadOnly), ("/usr", ReadOnly), ("/module", ReadOnly)];
        assert_eq!(check(&["/etc"], &[], &[], &shown).files, []);
        let shown =
            ["/usr", "/etc/ssl/certs", "/etc/hosts", "/module"].map(|path| (path, ReadOnly));
        assert_eq!(check(&["/etc/hosts"], &[], &[], &shown).files, []);
        assert_eq!(check(&[], &[], &[], &[shown[0], shown[1], shown[3]]).files.len(), 1);
    }
}
