//! Landlock: which files may be read, written and executed, and which ports reached, whatever the
//! mount namespace shows (landlock(7)). It is the second wall where there are namespaces, and the
//! first where there are none.

use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath,
    PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr, Scope,
};

use super::fault::Fault;
use super::system;

/// What may be done below each path, and where to. Paths are those that the run sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) read: Vec<PathBuf>,
    pub(crate) write: Vec<PathBuf>,
    pub(crate) execute: Vec<PathBuf>,
    pub(crate) connect: Vec<u16>,
}

/// The newest ABI whose rights this code knows.
const NEWEST: i64 = 6;

/// Restricts this process and all that it starts, for good.
pub(crate) fn restrict(rules: &Rules) -> Result<(), Fault> {
    let failed = |attempted: &str| Fault { attempted: attempted.to_owned(), errno: libc::EPERM };
    let number = system::landlock_abi().min(NEWEST);
    if number < 1 {
        // The launcher looked before it forked: the owner accepted this.
        return Ok(());
    }
    let abi = match number {
        1 => ABI::V1,
        2 => ABI::V2,
        3 => ABI::V3,
        4 => ABI::V4,
        5 => ABI::V5,
        _ => ABI::V6,
    };
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(abi))
        .map_err(|_| failed("handle file access with Landlock"))?;
    if abi >= ABI::V4 {
        ruleset = ruleset
            .handle_access(AccessNet::from_all(abi))
            .map_err(|_| failed("handle network access with Landlock"))?;
    }
    if abi >= ABI::V6 {
        ruleset = ruleset
            .scope(Scope::from_all(abi))
            .map_err(|_| failed("scope signals and sockets with Landlock"))?;
    }
    let mut created = ruleset.create().map_err(|_| failed("create a Landlock ruleset"))?;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let write =
        AccessFs::from_all(abi) & !AccessFs::Execute & !AccessFs::MakeBlock & !AccessFs::MakeChar;
    let groups = [
        (&rules.read, read),
        (&rules.write, write),
        (&rules.execute, AccessFs::Execute | AccessFs::ReadFile | AccessFs::ReadDir),
    ];
    for (path, access) in
        groups.iter().flat_map(|(paths, access)| paths.iter().map(move |path| (path, *access)))
    {
        // A path that is not there grants nothing; what must be there was looked for before.
        let Ok(opened) = PathFd::new(path) else { continue };
        let access = if path.is_dir() { access } else { access & for_file(abi) };
        created = created
            .add_rule(PathBeneath::new(opened, access))
            .map_err(|_| failed(&format!("allow {} with Landlock", path.display())))?;
    }
    if abi >= ABI::V4 {
        for port in &rules.connect {
            created = created
                .add_rule(NetPort::new(*port, AccessNet::ConnectTcp))
                .map_err(|_| failed(&format!("allow port {port} with Landlock")))?;
        }
    }
    created.restrict_self().map_err(|_| failed("restrict with Landlock"))?;
    Ok(())
}

fn for_file(abi: ABI) -> BitFlags<AccessFs> {
    AccessFs::from_file(abi)
}
