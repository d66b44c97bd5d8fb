use wachter_api::ListModules;
use wachter_api::Nothing;
use wachter_api::shapes::Module;

use super::node::Node;
use crate::failure::CommandResult;
use crate::node::Deployed;
use crate::output::{self, Cell, Column, Format, Page, Table, Tone, View};
use crate::place::HostOptions;

/// Asks the node; where none runs, what was deployed last is what would run.
pub(super) async fn carry_out(node: &Node, host: &HostOptions, format: Format) -> CommandResult {
    let modules = match node.ask::<ListModules>(&Nothing {}, &Nothing {}).await? {
        Some(modules) => modules,
        None => of_files(&Deployed::read(&host.host()?.data)?),
    };
    if format == Format::Json {
        return output::json(&modules);
    }
    let mut page = Page::new(View::of_stdout());
    page.table(&table(&modules));
    page.print()
}

fn of_files(deployed: &Deployed) -> Vec<Module> {
    let module =
        |(name, module): (&wachter_model::ModuleName, &crate::node::DeployedModule)| Module {
            name: name.clone(),
            version: module.version.clone(),
            digest: module.digest,
            refused: module.refused.clone(),
            waits_for: None,
            grant: None,
        };
    deployed.modules.iter().map(module).collect()
}

fn table(modules: &[Module]) -> Table {
    let mut table =
        Table::new([Column::whole("MODULE"), Column::whole("VERSION"), Column::cut("STANDING")]);
    for module in modules {
        let standing = match (&module.digest, &module.refused, &module.waits_for) {
            (Some(digest), None, None) => {
                Cell::toned(&format!("may run ({})", digest.short()), Tone::Good)
            }
            (Some(_), None, Some(reason)) => {
                Cell::toned(&format!("waits: {reason}"), Tone::Warning)
            }
            (_, reason, _) => Cell::toned(
                &format!("may not run: {}", reason.as_deref().unwrap_or("nobody said why")),
                Tone::Bad,
            ),
        };
        table.row([module.name.as_str().into(), module.version.as_str().into(), standing]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_may_run() {
        let module = |name: &str, refused: Option<&str>, waits_for: Option<&str>| Module {
            name: name.parse().unwrap(),
            version: "0.1.0".to_owned(),
            digest: refused.is_none().then(|| wachter_model::Digest::from_bytes([1; 32])),
            refused: refused.map(str::to_owned),
            waits_for: waits_for.map(str::to_owned),
            grant: None,
        };
        let mut page = Page::new(View::plain(None));
        page.table(&table(&[
            module("hello", None, None),
            module("logs", Some("asks for too much"), None),
            module("report", None, Some("its environment is being built")),
        ]));
        assert_eq!(
            page.lines(),
            [
                "MODULE  VERSION  STANDING",
                "hello   0.1.0    may run (010101010101)",
                "logs    0.1.0    may not run: asks for too much",
                "report  0.1.0    waits: its environment is being built",
            ]
        );
    }
}
