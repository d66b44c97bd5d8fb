//! Packs what is shipped into a Debian package, `target/package/wachter_VERSION_ARCHITECTURE.deb`.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context as _;

use crate::workspace::Workspace;
use crate::{dist, program, say};

const NAME: &str = "wachter";

/// The name of this machine's kind in Debian.
const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };

/// What is run when the package comes and goes, in `deploy/debian`.
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// Builds what is shipped, and packs it.
///
/// # Errors
/// Something does not compile, or a program is missing.
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    dist::run(workspace)?;
    let executables = workspace.target.join("dist");
    let package = build(workspace, &executables, env!("CARGO_PKG_VERSION"))?;
    say::line(&format!("  {}", package.display()));
    Ok(())
}

/// Packs the executables of a folder, with what stands beside them, as a version, and says where the
/// package is.
///
/// # Errors
/// A file or a program is missing.
pub(crate) fn build(
    workspace: &Workspace,
    executables: &Path,
    version: &str,
) -> anyhow::Result<PathBuf> {
    let folder = workspace.target.join("package");
    let root = folder.join("root");
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    fs::create_dir_all(&root)?;
    let mut install = program::command(executables.join("deploy/install.sh"), &workspace.root);
    install.arg("--from").arg(executables).args(["--prefix", "/usr", "--root"]).arg(&root);
    program::read(&mut install)?;
    let made = committed(workspace)?;
    documents(&root, version, made)?;
    let control = root.join("DEBIAN");
    fs::create_dir_all(&control)?;
    fs::write(control.join("control"), description(executables, &root, version)?)?;
    fs::write(control.join("md5sums"), sums(&root)?)?;
    for script in SCRIPTS {
        let to = control.join(script);
        fs::copy(workspace.root.join("deploy/debian").join(script), &to)?;
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755))?;
    }
    let package = folder.join(format!("{NAME}_{version}_{ARCHITECTURE}.deb"));
    let mut pack = program::command("dpkg-deb", &workspace.root);
    // The same files make the same package, whenever it is made.
    pack.env("SOURCE_DATE_EPOCH", made.to_string());
    program::read(pack.args(["--root-owner-group", "-Zxz", "--build"]).arg(&root).arg(&package))?;
    fs::remove_dir_all(&root)?;
    Ok(package)
}

/// When the present commit was made, in seconds since 1970; outside of Git, now.
fn committed(workspace: &Workspace) -> anyhow::Result<u64> {
    let mut git = program::command("git", &workspace.root);
    let printed = program::output(git.args(["log", "-1", "--format=%ct"]))?;
    let now =
        || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map(|time| time.as_secs());
    Ok(printed.stdout.trim().parse().or_else(|_| now())?)
}

/// The licence and the changes, where Debian has them.
fn documents(root: &Path, version: &str, made: u64) -> anyhow::Result<()> {
    let folder = root.join("usr/share/doc").join(NAME);
    fs::create_dir_all(&folder)?;
    let copyright = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\
         Upstream-Name: Wachter\n\nFiles: *\nCopyright: the Wachter developers\nLicense: Apache-2.0 or Expat\n\
         \u{20}On Debian systems, the Apache License is in /usr/share/common-licenses/Apache-2.0.\n";
    fs::write(folder.join("copyright"), copyright)?;
    let mut format = program::command("date", root);
    let date =
        program::read(format.args(["--utc", "--rfc-email", "--date"]).arg(format!("@{made}")))?;
    let changes = format!(
        "{NAME} ({version}) unstable; urgency=medium\n\n  * See CHANGELOG.md of the project.\n\n -- The Wachter developers <wachter@localhost>  {date}",
    );
    fs::write(folder.join("changelog"), changes)?;
    let mut compress = program::command("gzip", &folder);
    program::run(compress.args(["--best", "--no-name", "--force", "changelog"]))
}

/// The control file: see deb-control(5).
fn description(executables: &Path, root: &Path, version: &str) -> anyhow::Result<String> {
    let size = files(root)?.iter().map(|(_, size)| size.div_ceil(1024)).sum::<u64>();
    let libc = ["wachter", "wachter-modules"].map(|name| needed_libc(&executables.join(name)));
    let [node, modules] = libc;
    let libc = node?.max(modules?);
    let (major, minor) = libc.context("the executables ask for no version of the C library")?;
    Ok(format!(
        "Package: {NAME}
Version: {version}
Section: admin
Priority: optional
Architecture: {ARCHITECTURE}
Maintainer: The Wachter developers <wachter@localhost>
Installed-Size: {size}
Depends: libc6 (>= {major}.{minor}), libgcc-s1, systemd
Recommends: ca-certificates, git, openssh-client
Description: self-hosted automation and security agent
 Wachter keeps machines in order from a Git repository. It accepts signed
 releases alone and runs their modules confined and with least privilege, on
 schedules, on events and on demand, with a durable journal of what was done.
"
    ))
}

/// The newest version of the C library that an executable names.
fn needed_libc(executable: &Path) -> anyhow::Result<Option<(u32, u32)>> {
    let mut list = program::command("objdump", Path::new("/"));
    let symbols = program::read(list.arg("-T").arg(executable))?;
    Ok(newest_libc(&symbols))
}

fn newest_libc(symbols: &str) -> Option<(u32, u32)> {
    let versions = symbols.split(|c: char| !(c.is_ascii_alphanumeric() || "._".contains(c)));
    versions
        .filter_map(|word| {
            let (major, minor) = word.strip_prefix("GLIBC_")?.split_once('.')?;
            Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
        })
        .max()
}

/// What dpkg compares installed files with.
fn sums(root: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    for (path, _) in files(root)? {
        if path.starts_with("DEBIAN") || root.join(&path).is_symlink() {
            continue;
        }
        let mut sum = program::command("md5sum", root);
        let printed = program::read(sum.arg("--").arg(&path))?;
        let digits = printed.split_whitespace().next().context("md5sum printed nothing")?;
        writeln!(text, "{digits}  {}", path.display())?;
    }
    Ok(text)
}

/// Files and links below a folder with their sizes, sorted.
fn files(root: &Path) -> anyhow::Result<Vec<(PathBuf, u64)>> {
    let (mut found, mut folders) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let metadata = path.symlink_metadata()?;
            if metadata.is_dir() {
                folders.push(path);
            } else {
                found.push((path.strip_prefix(root)?.to_owned(), metadata.len()));
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_counts() {
        let symbols = "0000 DF *UND* 0000 (GLIBC_2.3.4) memcpy\n0000 DF *UND* 0000 (GLIBC_2.34) a\n0000 (GLIBC_2.9) b\n0000 (GCC_3.0) c";
        assert_eq!(newest_libc(symbols), Some((2, 34)));
        assert_eq!(newest_libc("nothing GLIBC_ GLIBC_PRIVATE"), None);
    }

    #[test]
    fn scripts_are_scripts_of_a_shell() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/debian");
        for script in SCRIPTS {
            let path = folder.join(script);
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o755, "{script}");
            program::run(program::command("sh", &folder).arg("-n").arg(&path)).unwrap();
        }
    }
}
