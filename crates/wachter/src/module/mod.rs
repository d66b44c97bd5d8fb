//! `wachter module`: makes modules from templates, and tries them as a node would run them.

mod lint;
mod official;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use wachter_model::ModuleName;
use wachter_runtime::RunRecord;

use crate::exec::{self, read_input};
use crate::failure::{CommandError, CommandResult, ExitKind};
use crate::output::{self, Format};
use crate::place::HostOptions;
use crate::repository::RepositoryOptions;

pub(crate) use official::FIRST;

#[derive(Args, Debug)]
pub(crate) struct ModuleArguments {
    #[command(subcommand)]
    command: ModuleCommand,
}

#[derive(Subcommand, Debug)]
enum ModuleCommand {
    /// Make a module that works at once
    New {
        /// Its name
        name: ModuleName,
        /// What it is written in
        #[arg(long, value_enum, default_value_t)]
        language: Language,
        /// In Python, the same as --language python
        #[arg(long, conflicts_with = "language")]
        python: bool,
        /// In Python with packages, from a lock file with their digests
        #[arg(long)]
        requirements: bool,
        /// Where to put it [default: modules/NAME in a managed repository, NAME elsewhere]
        #[arg(long, value_name = "DIR")]
        folder: Option<PathBuf>,
    },
    /// Put a module that ships with Wachter into the managed repository, or bring it up to date
    Add {
        /// Its name: certificate-monitor, disk-health, log-analyzer, resource-monitor or system-monitor
        name: String,
        #[command(flatten)]
        repository: RepositoryOptions,
    },
    /// Look for what a node would refuse, and for what users would rather have otherwise
    Lint {
        /// The modules' folders [default: the present one; in a managed repository, all of them]
        folder: Vec<PathBuf>,
        /// Fail for warnings too
        #[arg(long)]
        strict: bool,
    },
    /// Run a module as a node would: a dry run, a run, and one more that must change nothing
    Test {
        /// The module's folder
        #[arg(default_value = ".")]
        folder: PathBuf,
        /// Input: NAME=VALUE or @FILE
        #[arg(long, short, value_name = "NAME=VALUE|@FILE")]
        input: Vec<String>,
    },
}

/// What a module is written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Language {
    /// A shell script, for what a few commands do
    #[default]
    Shell,
    /// Python 3, with its standard library
    Python,
    /// Rust, with the `wachter-module` crate
    Rust,
    /// C, compiled to WebAssembly by clang, with its standard library
    C,
}

/// The files of a template: path, content, whether it may be executed.
type Template = &'static [(&'static str, &'static str, bool)];

macro_rules! template {
    ($folder:literal: $($path:literal $executable:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../templates/module/", $folder, "/", $path)), $executable)),*]
    };
}

const SHELL: Template = template!("shell":
    "module.yaml" false, "main.sh" true, "wachter.sh" false, "input.schema.json" false, "README.md" false);
const PYTHON: Template = template!("python":
    "module.yaml" false, "main.py" true, "wachter_module.py" false, "input.schema.json" false, "README.md" false);
const PACKAGES: Template = &[
    ("module.yaml", include_str!("../../templates/module/python-packages/module.yaml"), false),
    ("main.py", include_str!("../../templates/module/python-packages/main.py"), false),
    (
        "requirements.in",
        include_str!("../../templates/module/python-packages/requirements.in"),
        false,
    ),
    (
        "requirements.lock",
        include_str!("../../templates/module/python-packages/requirements.lock"),
        false,
    ),
    ("wachter_module.py", include_str!("../../templates/module/python/wachter_module.py"), false),
    ("input.schema.json", include_str!("../../templates/module/python/input.schema.json"), false),
    ("README.md", include_str!("../../templates/module/python-packages/README.md"), false),
];
const RUST: Template = template!("rust":
    "module.yaml" false, "Cargo.toml" false, ".cargo/config.toml" false, "src/main.rs" false, "input.schema.json" false, "README.md" false);

const C: Template = template!("c":
    "module.yaml" false, "main.c" false, "wachter.h" false, "build.sh" true, "input.schema.json" false, "README.md" false);

pub(crate) fn carry_out(
    arguments: ModuleArguments,
    host: HostOptions,
    format: Format,
) -> CommandResult {
    match arguments.command {
        ModuleCommand::New { name, language, python, requirements, folder } => {
            let language = if python { Language::Python } else { language };
            let template = match (language, requirements) {
                (Language::Python, true) => PACKAGES,
                (Language::Python, false) => PYTHON,
                (Language::Shell, false) => SHELL,
                (Language::Rust, false) => RUST,
                (Language::C, false) => C,
                (_, true) => {
                    return Err(CommandError::usage(
                        "`--requirements` are those of a module in Python; add --python",
                    ));
                }
            };
            new(&name, template, folder, format)
        }
        ModuleCommand::Add { name, repository } => official::add(&name, &repository, format),
        ModuleCommand::Lint { folder, strict } => lint::lint(folder, strict, format),
        ModuleCommand::Test { folder, input } => crate::block_on(test(folder, input, host, format)),
    }
}

fn new(
    name: &ModuleName,
    template: Template,
    folder: Option<PathBuf>,
    format: Format,
) -> CommandResult {
    let in_repository = folder.is_none() && Path::new("trust/trust.yaml").exists();
    let folder = folder.unwrap_or_else(|| {
        if in_repository { Path::new("modules").join(name.as_str()) } else { name.as_str().into() }
    });
    if folder.exists() {
        return Err(CommandError::failed(format!(
            "{} exists; choose another name or --folder",
            folder.display()
        )));
    }
    let sdk = format!("\"{}\"", env!("CARGO_PKG_VERSION"));
    for (path, content, executable) in template {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap_or(&folder))?;
        // Elsewhere there is no schema at the place that this line names.
        let names_schema = |line: &&str| line.starts_with("# yaml-language-server:");
        let content: String = content
            .split_inclusive('\n')
            .filter(|line| in_repository || !names_schema(line))
            .collect();
        fs::write(&path, content.replace("{{name}}", name.as_str()).replace("{{sdk}}", &sdk))?;
        let mode = if *executable { 0o755 } else { 0o644 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    }
    let has = |file| template.iter().any(|(path, ..)| *path == file);
    let build = if has("build.sh") {
        format!("\nbuild it: {}/build.sh", folder.display())
    } else if has("Cargo.toml") {
        // The crate is not published, so its place is the author's to say.
        format!(
            "\nbuild it: name your clone of wachter-module in {0}/Cargo.toml, then (cd {0} && cargo install --path . --root . --no-track)",
            folder.display()
        )
    } else {
        String::new()
    };
    output::talk(format_args!(
        "made {0}{build}\ntry it:   wachter module test {0}\nsign it:  wachter sign {name}",
        folder.display()
    ));
    if format == Format::Json {
        let files: Vec<&str> = template.iter().map(|(path, ..)| *path).collect();
        output::json(&serde_json::json!({ "folder": folder, "files": files }))?;
    }
    Ok(())
}

/// One step of a test: what was asked, and whether it holds.
struct Check {
    name: &'static str,
    failure: Option<String>,
}

async fn test(
    folder: PathBuf,
    input: Vec<String>,
    host: HostOptions,
    format: Format,
) -> CommandResult {
    let input = read_input(&input)?;
    let mut checks = Vec::new();
    let mut state = serde_json::Value::Null;
    let mut records: Vec<RunRecord> = Vec::new();
    for (name, dry_run) in [("dry run", true), ("run", false), ("run again", false)] {
        let mut runnable = exec::from_folder(&folder, &host)?;
        runnable.hand_in(input.clone())?;
        runnable.request.dry_run = dry_run;
        runnable.request.state = state.clone();
        let (record, new_state) = exec::watch_with_state(&runnable, true).await?;
        state = new_state.unwrap_or(state);
        checks.push(Check { name, failure: failure(&record, name == "run again") });
        records.push(record);
    }
    match format {
        Format::Json => output::json(&records)?,
        Format::Human => {
            for check in &checks {
                match &check.failure {
                    None => output::data(format_args!("ok      {}", check.name))?,
                    Some(reason) => output::data(format_args!("FAILED  {}: {reason}", check.name))?,
                }
            }
        }
    }
    match checks.into_iter().find_map(|check| check.failure) {
        None => Ok(()),
        Some(reason) => Err(CommandError::new(ExitKind::RunFailed, reason)),
    }
}

fn failure(record: &RunRecord, must_not_change: bool) -> Option<String> {
    match record.outcome.as_str() {
        "succeeded" if must_not_change && record.changed => Some(
            "the second run with the same input says `changed: true`; say so only when something is different from before".to_owned(),
        ),
        // In a dry run a module may decline.
        "succeeded" => None,
        "refused" if record.dry_run => None,
        _ => Some(record.message.clone().unwrap_or_else(|| record.outcome.clone())),
    }
}
