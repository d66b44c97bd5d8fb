//! The files of `config/`: which there are, and what each is for.

use wachter_document::nearest;

/// The folder of agents in the managed repository.
pub const AGENTS: &str = "config/agents/";

/// What a file of the managed repository is, as far as this crate has to do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConfigFile<'p> {
    /// `config/wachter.yaml`.
    Settings,
    /// `config/groups/<group>.yaml`.
    Group(&'p str),
    /// `config/hosts/<host>.yaml`.
    Host(&'p str),
    /// `config/agents/<name>.yaml`.
    Agent(&'p str),
    /// Not of this crate.
    Other,
    /// In `config/`, and yet nothing: probably misspelt.
    Unknown,
}

const ENDINGS: [&str; 3] = [".yaml", ".yml", ".json"];

/// Folders of `config/`; the last two are read by others.
const FOLDERS: [&str; 5] = ["agents", "groups", "hosts", "policies", "secrets"];

impl<'p> ConfigFile<'p> {
    pub(crate) fn of(path: &'p str) -> Self {
        let Some(rest) = path.strip_prefix("config/") else { return Self::Other };
        let Some((folder, file)) = rest.split_once('/') else {
            return match stem(rest) {
                Some("wachter") => Self::Settings,
                Some(_) => Self::Unknown,
                None => Self::Other,
            };
        };
        let Some(name) = stem(file) else { return Self::Other };
        match folder {
            "agents" if !name.contains('/') => Self::Agent(name),
            "groups" if !name.contains('/') => Self::Group(name),
            "hosts" if !name.contains('/') => Self::Host(name),
            "policies" | "secrets" => Self::Other,
            _ => Self::Unknown,
        }
    }

    /// What to say of an [`Unknown`](Self::Unknown) file.
    pub(crate) fn hint(path: &str) -> String {
        let rest = path.strip_prefix("config/").unwrap_or(path);
        let folder = rest.split_once('/').map(|(folder, _)| folder);
        let meant = match folder {
            Some(folder) => nearest(folder, FOLDERS).map(|name| format!("config/{name}/")),
            None => nearest(stem(rest).unwrap_or(rest), ["wachter"])
                .map(|_| "config/wachter.yaml".to_owned()),
        };
        match meant {
            Some(meant) => format!("is not read; did you mean `{meant}`?"),
            None => "is not read; settings stand in config/wachter.yaml, config/groups/ and \
                     config/hosts/, agents in config/agents/"
                .to_owned(),
        }
    }
}

/// A file's name without its ending, if that is one of a document.
fn stem(file: &str) -> Option<&str> {
    ENDINGS.iter().find_map(|ending| file.strip_suffix(ending)).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_its_place() {
        use ConfigFile::{Agent, Group, Host, Other, Settings, Unknown};
        for (path, expected) in [
            ("config/wachter.yaml", Settings),
            ("config/wachter.json", Settings),
            ("config/groups/web.yml", Group("web")),
            ("config/hosts/web-1.yaml", Host("web-1")),
            ("config/agents/monitor.yaml", Agent("monitor")),
            ("config/agents/README.md", Other),
            ("config/policies/a.yaml", Other),
            ("config/secrets/a.age", Other),
            ("modules/a/module.yaml", Other),
            ("config/wachtr.yaml", Unknown),
            ("config/host/a.yaml", Unknown),
            ("config/agents/team/a.yaml", Unknown),
            ("config/.yaml", Other),
        ] {
            assert_eq!(ConfigFile::of(path), expected, "{path}");
        }
        assert!(ConfigFile::hint("config/host/a.yaml").contains("`config/hosts/`"));
        assert!(ConfigFile::hint("config/wachtr.yaml").contains("`config/wachter.yaml`"));
    }
}
