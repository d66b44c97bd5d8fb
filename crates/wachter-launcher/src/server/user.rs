//! As which user a run runs.

use wachter_protocol::launcher::RefusalKind;
use wachter_protocol::{Permissions, Profile};

use super::Server;
use crate::authority::Refusal;
use crate::jail::user::User;
use crate::passwd;

impl Server {
    /// The user that a run gets: its own where the launcher is root, the launcher's elsewhere.
    pub(super) fn user(&self, permissions: &Permissions, slot: u32) -> Result<User, Refusal> {
        let setup = |reason: String| Refusal::new(RefusalKind::Setup, reason);
        if self.host.profile != Profile::Root && permissions.user.as_deref() == Some("root") {
            return Err(setup(
                "`permissions.user: root` needs the profile `root`; start wachter-launcher as root"
                    .to_owned(),
            ));
        }
        // Also without namespaces: a run that shares the launcher's root would own root's files.
        if !self.host.changes_users {
            let own = rustix::process::geteuid().as_raw();
            let other = permissions
                .user
                .as_deref()
                .is_some_and(|name| passwd::user(name).map(|(uid, _)| uid) != Ok(own));
            if other || !permissions.groups.is_empty() {
                return Err(setup(
                    "`permissions.user` and `permissions.groups` need a launcher that may change \
                     users; start wachter-launcher as root, or leave them out"
                        .to_owned(),
                ));
            }
            return Ok(User {
                uid: rustix::process::geteuid().as_raw(),
                gid: rustix::process::getegid().as_raw(),
                groups: None,
            });
        }
        let groups = permissions
            .groups
            .iter()
            .map(|group| passwd::group(group))
            .collect::<Result<Vec<u32>, _>>()
            .map_err(setup)?;
        let (uid, gid) = match &permissions.user {
            Some(name) => passwd::user(name).map_err(setup)?,
            None => {
                let own = self.authority.local().confinement.users.first + slot;
                (own, own)
            }
        };
        Ok(User { uid, gid, groups: Some(groups) })
    }
}
