use std::fs;
use std::io::Write;
use std::path::Path;

use crate::failure::{CommandError, CommandResult};
use crate::module::FIRST;
use crate::output;
use crate::repository::{TRUST, TRUST_SIGNATURES};
use crate::schema;

/// The module that every new repository has.
pub(super) const MODULE: &str = FIRST.name;

/// What a new repository holds before anything is signed. The module is the one that ships with
/// Wachter, so there is one source of it.
const FILES: [(&str, &str); 13] = [
    (".gitattributes", GIT_ATTRIBUTES),
    (".gitignore", GIT_IGNORE),
    schema::IN_REPOSITORY[0],
    schema::IN_REPOSITORY[1],
    schema::IN_REPOSITORY[2],
    ("README.md", README),
    ("config/agents/README.md", AGENTS_README),
    ("config/agents/system-monitor.yaml", FIRST.agent),
    ("config/wachter.yaml", SETTINGS),
    ("modules/README.md", MODULES_README),
    ("modules/system-monitor/README.md", FIRST.files[0].1),
    ("modules/system-monitor/input.schema.json", FIRST.files[1].1),
    ("modules/system-monitor/module.yaml", FIRST.files[2].1),
];

const GIT_ATTRIBUTES: &str = "\
# Signatures are over bytes: no line ending is ever converted.
* -text
";

const GIT_IGNORE: &str = "\
# What is built here: Rust modules are compiled into one folder, and what they come to lies in theirs.
/target/
";

const README: &str = "\
# Managed repository

What Wachter keeps machines in order with.

| folder | holds |
|---|---|
| `config/wachter.yaml` | settings of all nodes; `config/groups/` and `config/hosts/` say more of some |
| `config/agents/` | what runs, and when |
| `modules/` | the code that runs, each module signed |
| `trust/` | who may sign releases and publish modules |
| `.schemas/` | what editors complete and check these files by; `wachter schema --write` brings newer ones |

Nothing here takes effect by being pushed: nodes follow signed releases alone.

```sh
wachter sign MODULE      # after changing a module
git commit -a
wachter release          # shows what changed, and signs a release
git push --follow-tags
```

`wachter trust show` says who may do what, `wachter verify` what a node would say.
";

const AGENTS_README: &str = "\
# Agents

One file an agent, named as the agent is: which module, what wakes it, and what it is told.
";

const SETTINGS: &str = "\
# yaml-language-server: $schema=../.schemas/settings.v1.schema.json
# Settings of all nodes. Without any, all is as `wachter config show` says.
";

const MODULES_README: &str = "\
# Modules

One folder a module. Make one with `wachter module new`, try it with `wachter module test`, and sign
it with `wachter sign`.
";

/// Writes what is missing, and gives the paths that hold what this program writes.
pub(super) fn write(folder: &Path) -> Result<Vec<&'static str>, CommandError> {
    // Half of someone else's module is worse than none.
    let module = format!("modules/{MODULE}/");
    let manifest = folder.join(&module).join("module.yaml");
    let foreign =
        fs::read_to_string(manifest).is_ok_and(|text| !FILES.iter().any(|(_, own)| *own == text));
    let mut own = Vec::new();
    for (path, content) in FILES {
        if foreign && path.starts_with(&module) {
            continue;
        }
        let file = folder.join(path);
        if file.symlink_metadata().is_err() {
            create(&file, content.as_bytes())?;
            own.push(path);
        } else if fs::read(&file).is_ok_and(|text| text == content.as_bytes()) {
            own.push(path);
        } else {
            output::talk(format_args!("{path} exists and was left as it is"));
        }
    }
    Ok(own)
}

/// What signing adds.
pub(super) fn signatures() -> [&'static str; 4] {
    [
        TRUST,
        TRUST_SIGNATURES,
        "modules/system-monitor/module.digests",
        "modules/system-monitor/module.sig",
    ]
}

/// Creates a file and its folders. One that exists is an error.
pub(super) fn create(path: &Path, content: &[u8]) -> CommandResult {
    let write = || {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = fs::File::create_new(path)?;
        file.write_all(content)?;
        file.sync_all()
    };
    write().map_err(|error| CommandError::failed(format!("{}: {error}", path.display())))
}
