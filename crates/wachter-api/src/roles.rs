use std::collections::BTreeSet;

use nix::unistd::{Gid, Group, Uid, User};

use crate::Role;

/// Who may do what.
///
/// The super-user and the user that the node runs as are administrators: they could do everything
/// without the interface too. Everyone else has the highest role that names them or a group of
/// theirs. Users and groups are names, or numbers where there is no name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roles {
    /// Who may see.
    pub viewers: Members,
    /// Who may also start and stop work.
    pub operators: Members,
    /// Who may also decide which release is in force.
    pub admins: Members,
}

/// Users and groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// Users by name or number.
    pub users: BTreeSet<String>,
    /// Groups by name or number.
    pub groups: BTreeSet<String>,
}

/// Somebody who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The user's number, from the kernel.
    pub user: u32,
    /// The user's name, or the number where there is no name.
    pub name: String,
    /// What the user may do; none where that is nothing.
    pub role: Option<Role>,
}

/// Why a caller could not be looked up.
#[derive(Debug, thiserror::Error)]
#[error("cannot look up user {user}")]
pub struct RoleError {
    user: u32,
    #[source]
    source: nix::Error,
}

impl Roles {
    /// Looks up who `user` is, with `group` as the effective group of the process. Reads the
    /// databases of users and groups, so it may block.
    ///
    /// A process's supplementary groups are not asked of the process, which may have ended and its
    /// number be another's by then, but of the databases.
    ///
    /// # Errors
    /// The databases cannot be read. A user without an entry is no error.
    pub fn caller(&self, user: u32, group: u32) -> Result<Caller, RoleError> {
        let failed = |source| RoleError { user, source };
        let entry = User::from_uid(Uid::from_raw(user)).map_err(failed)?;
        let mut groups = vec![Gid::from_raw(group)];
        if let Some(entry) = &entry
            && let Ok(name) = std::ffi::CString::new(entry.name.as_str())
        {
            groups.extend(nix::unistd::getgrouplist(&name, entry.gid).map_err(failed)?);
        }
        let groups = groups.into_iter().flat_map(|group| {
            let name = Group::from_gid(group).ok().flatten().map(|group| group.name);
            [Some(group.as_raw().to_string()), name].into_iter().flatten()
        });
        let name = entry.map_or_else(|| user.to_string(), |entry| entry.name);
        let role = self.role_of(user, &name, &groups.collect());
        Ok(Caller { user, name, role })
    }

    fn role_of(&self, user: u32, name: &str, groups: &BTreeSet<String>) -> Option<Role> {
        let own = nix::unistd::geteuid().as_raw();
        let number = user.to_string();
        let named = |members: &Members| {
            members.users.contains(name)
                || members.users.contains(&number)
                || !members.groups.is_disjoint(groups)
        };
        if user == 0 || user == own || named(&self.admins) {
            Some(Role::Admin)
        } else if named(&self.operators) {
            Some(Role::Operator)
        } else if named(&self.viewers) {
            Some(Role::Viewer)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn members(users: &[&str], groups: &[&str]) -> Members {
        Members { users: set(users), groups: set(groups) }
    }

    #[test]
    fn the_highest_role_counts() {
        let roles = Roles {
            viewers: members(&[], &["staff", "50"]),
            operators: members(&["olga"], &["ops"]),
            admins: members(&["4000002"], &[]),
        };
        let check = |user: u32, name: &str, groups: &[&str], expected: Option<Role>| {
            assert_eq!(roles.role_of(user, name, &set(groups)), expected, "{user} {name}");
        };
        check(4_000_001, "nobody-here", &[], None);
        check(4_000_001, "vera", &["staff"], Some(Role::Viewer));
        check(4_000_001, "vera", &["50"], Some(Role::Viewer));
        check(4_000_001, "vera", &["staff", "ops"], Some(Role::Operator));
        check(4_000_001, "olga", &[], Some(Role::Operator));
        check(4_000_002, "anna", &["staff"], Some(Role::Admin));
        check(0, "root", &[], Some(Role::Admin));
        check(nix::unistd::geteuid().as_raw(), "whoever", &[], Some(Role::Admin));
    }

    #[test]
    fn a_user_without_an_entry_is_known_by_number() {
        let roles = Roles { viewers: members(&["4000000"], &[]), ..Roles::default() };
        let caller = roles.caller(4_000_000, 4_000_000).unwrap();
        assert_eq!((caller.name.as_str(), caller.role), ("4000000", Some(Role::Viewer)));
    }
}
