//! `wachter support-bundle`: what helps to find out what is wrong with this node, in one file.
//!
//! It collects from the data folder, from the same code as `status` and `doctor`, and, where a node
//! answers on its socket, from that. What cannot be had is named in the bundle and stops nothing.
//!
//! # Invariants
//! - Everything that is put in has gone through the [`Redactor`], and is text.
//! - Inputs, outputs, events and states of modules are left out, whatever they hold.
//! - Nothing of the node is changed.

mod archive;
mod collect;
mod journal;
mod node;
mod redactor;

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use serde_json::json;

use crate::failure::{CommandError, CommandResult};
use crate::output::{self, Format};
use crate::place::HostOptions;
use collect::Bundle;
use redactor::Redactor;

#[derive(Args, Debug)]
pub(crate) struct BundleArguments {
    /// Where it goes [default: wachter-support-<node>-<time>.tar.gz in the present folder]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Only show what would be put in
    #[arg(long, conflicts_with = "file")]
    list: bool,
}

pub(crate) async fn carry_out(
    arguments: BundleArguments,
    options: HostOptions,
    format: Format,
) -> CommandResult {
    let now = Timestamp::now();
    let bundle = Bundle::collect(&options, now).await;
    let file = match (arguments.list, arguments.file) {
        (true, _) => None,
        (false, Some(file)) => Some(file),
        (false, None) => Some(PathBuf::from(bundle.file_name(now))),
    };
    if let Some(file) = &file {
        archive::write(file, &bundle.folder(), &bundle.entries, now).map_err(|error| {
            CommandError::failed(format!(
                "cannot write {}: {error}; name another file with --file",
                file.display()
            ))
        })?;
    }
    if format == Format::Json {
        let entries: Vec<_> = bundle
            .entries
            .iter()
            .map(|entry| json!({ "name": entry.name, "bytes": entry.content.len(), "holds": entry.holds }))
            .collect();
        return output::json(
            &json!({ "file": file, "entries": entries, "missing": bundle.missing }),
        );
    }
    let rows: Vec<Vec<String>> = bundle
        .entries
        .iter()
        .map(|entry| {
            vec![entry.name.clone(), entry.content.len().to_string(), entry.holds.to_owned()]
        })
        .collect();
    output::table(&["FILE", "BYTES", "HOLDS"], &rows)?;
    for missing in &bundle.missing {
        output::talk(format_args!("left out: {missing}"));
    }
    if let Some(file) = &file {
        output::talk(format_args!(
            "wrote {}; secrets that are known by their form or name were taken out, so look through it all the same before you hand it on",
            file.display()
        ));
    }
    Ok(())
}
