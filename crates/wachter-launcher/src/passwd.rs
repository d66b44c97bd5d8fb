//! Users and groups of the host by name, from `/etc/passwd` and `/etc/group` (passwd(5), group(5)).
//! Names from a directory service are not looked up: this executable is static and loads nothing.

use std::fs;

/// The number of a user, and of its group.
///
/// # Errors
/// There is none of this name; one sentence.
pub(crate) fn user(name: &str) -> Result<(u32, u32), String> {
    let text = fs::read_to_string("/etc/passwd")
        .map_err(|error| format!("cannot read /etc/passwd: {error}"))?;
    find(&text, name, |fields| Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?)))
        .ok_or_else(|| {
            format!("there is no user `{name}` in /etc/passwd; create it, or change the grant")
        })
}

/// The number of a group.
///
/// # Errors
/// There is none of this name; one sentence.
pub(crate) fn group(name: &str) -> Result<u32, String> {
    let text = fs::read_to_string("/etc/group")
        .map_err(|error| format!("cannot read /etc/group: {error}"))?;
    find(&text, name, |fields| fields.get(2)?.parse().ok()).ok_or_else(|| {
        format!("there is no group `{name}` in /etc/group; create it, or change the grant")
    })
}

fn find<T>(text: &str, name: &str, take: impl Fn(&[&str]) -> Option<T>) -> Option<T> {
    text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        if fields.first() == Some(&name) { take(&fields) } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(user("root"), Ok((0, 0)));
        assert_eq!(group("root"), Ok(0));
        assert!(user("no-such-user").unwrap_err().contains("create it"));
        let text = "short:x\nroot:x:none:0\n";
        assert_eq!(find(text, "root", |fields| fields.get(2)?.parse::<u32>().ok()), None);
    }
}
