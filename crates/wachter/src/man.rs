//! `wachter man`: a manual page for each command, man-pages(7).

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::failure::{CommandError, CommandResult};
use crate::output::{self, Format};

#[derive(Args, Debug)]
pub(crate) struct ManArguments {
    /// Where the pages go; made where it is missing
    #[arg(long, value_name = "DIR")]
    directory: PathBuf,
}

pub(crate) fn carry_out(arguments: &ManArguments, format: Format) -> CommandResult {
    let directory = &arguments.directory;
    let failed = |path: &Path, error: &std::io::Error| {
        CommandError::failed(format!(
            "cannot write {}: {error}; name another folder with --directory",
            path.display()
        ))
    };
    fs::create_dir_all(directory).map_err(|error| failed(directory, &error))?;
    let pages = pages()?;
    for (name, page) in &pages {
        let path = directory.join(name);
        fs::write(&path, page).map_err(|error| failed(&path, &error))?;
    }
    let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
    let sentence = format!("wrote {} pages to {}", names.len(), directory.display());
    output::result(format, &names, sentence)
}

/// The pages of all commands that are shown, each with its file's name.
fn pages() -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let mut command = crate::Arguments::command().disable_help_subcommand(true);
    // Names of commands are made from those above, and global options passed on, only now.
    command.build();
    let mut pages = Vec::new();
    collect(&command, None, &mut pages)?;
    Ok(pages)
}

fn collect(
    command: &Command,
    above: Option<&str>,
    pages: &mut Vec<(String, Vec<u8>)>,
) -> std::io::Result<()> {
    if command.is_hide_set() {
        return Ok(());
    }
    let name = match above {
        Some(above) => format!("{above}-{}", command.get_name()),
        None => command.get_name().to_owned(),
    };
    let mut below: Vec<String> = Vec::new();
    for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        below.push(format!("{name}-{}", command.get_name()));
        collect(command, Some(&name), pages)?;
    }
    let man = Man::new(command.clone())
        .title(&name)
        .source(concat!("wachter ", env!("CARGO_PKG_VERSION")))
        .manual("Wachter");
    let mut page = Vec::new();
    man.render(&mut page)?;
    let mut also = Roff::new();
    also.control("SH", ["SEE ALSO"]);
    let others = above.map(str::to_owned).into_iter().chain(below);
    let others: Vec<String> =
        others.chain((above.is_none()).then(|| "wachter-launcher".to_owned())).collect();
    for (number, other) in others.iter().enumerate() {
        let section = if other == "wachter-launcher" { "(8)" } else { "(1)" };
        let comma = if number + 1 == others.len() { "" } else { ", " };
        also.text([bold(other.as_str()), roman(format!("{section}{comma}"))]);
    }
    also.to_writer(&mut page)?;
    pages.push((format!("{name}.1"), page));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(command: &Command, above: &str, all: &mut Vec<String>) {
        for command in command.get_subcommands() {
            if !command.is_hide_set() && command.get_name() != "help" {
                let name = format!("{above}-{}", command.get_name());
                names(command, &name, all);
                all.push(format!("{name}.1"));
            }
        }
    }

    #[test]
    fn every_command_has_a_page_that_names_it() {
        let mut expected = vec!["wachter.1".to_owned()];
        names(&crate::Arguments::command(), "wachter", &mut expected);
        let pages = pages().unwrap();
        let mut found: Vec<String> = pages.iter().map(|(name, _)| name.clone()).collect();
        expected.sort();
        found.sort();
        assert_eq!(found, expected);
        assert!(found.contains(&"wachter-module-new.1".to_owned()));
        for (name, page) in &pages {
            let page = String::from_utf8_lossy(page);
            let title = name.trim_end_matches(".1");
            assert!(page.contains(&format!(".TH {title} 1")), "{name}: {page}");
            for section in ["SH NAME", "SH SYNOPSIS", "SH DESCRIPTION", "SH \"SEE ALSO\""] {
                assert!(page.contains(section), "{name} has no {section}: {page}");
            }
            assert!(!page.contains("fetch-worker"), "{name}");
        }
    }
}
