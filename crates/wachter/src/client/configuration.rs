use clap::Args;
use wachter_api::shapes::{Configuration, ConfigurationQuery, Origin};
use wachter_api::{GetConfiguration, Nothing, ReloadConfiguration};

use super::node::Node;
use crate::failure::{CommandError, CommandResult};
use crate::output::{self, Column, Format, Page, Table, View};

#[derive(Args, Debug)]
pub(crate) struct GetArguments {
    /// Only values at or below this path, such as `log` or `agent.hello.on`
    path: Option<String>,
}

pub(crate) async fn get(arguments: GetArguments, node: &Node, format: Format) -> CommandResult {
    let query = ConfigurationQuery { path: arguments.path };
    let configuration = node.call::<GetConfiguration>(&query, &Nothing {}).await?;
    if let (true, Some(path)) = (configuration.values.is_empty(), &query.path) {
        return Err(CommandError::failed(format!(
            "there is no value at or below `{path}`; `wachter config get` lists all"
        )));
    }
    if format == Format::Json {
        return output::json(&configuration);
    }
    let mut page = Page::new(View::of_stdout());
    page.table(&table(&configuration));
    page.print()
}

fn table(configuration: &Configuration) -> Table {
    let mut table =
        Table::new([Column::whole("PATH"), Column::cut("VALUE"), Column::cut("SET BY")]);
    for (path, value) in &configuration.values {
        let origins: Vec<String> = value.origins.iter().map(place).collect();
        table.row([
            path.as_str().into(),
            value.value.to_string().into(),
            origins.join(", over ").into(),
        ]);
    }
    table
}

fn place(origin: &Origin) -> String {
    match origin.line {
        Some(line) => format!("{}:{line}", origin.place),
        None => origin.place.clone(),
    }
}

pub(crate) async fn reload(node: &Node, format: Format) -> CommandResult {
    let reloaded = node.get::<ReloadConfiguration>().await?;
    if format == Format::Json {
        return output::json(&reloaded);
    }
    if reloaded.changed.is_empty() {
        output::data("nothing is different")?;
    } else {
        output::data(format_args!("in force now: {}", reloaded.changed.join(", ")))?;
    }
    if !reloaded.needs_restart.is_empty() {
        let keys = reloaded.needs_restart.join(", ");
        output::talk(format_args!("restart the node for: {keys}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn says_who_set_what() {
        let configuration: Configuration = serde_json::from_value(json!({
            "digest": "00".repeat(32),
            "values": {
                "agent.hello.with.greeting": {
                    "value": "Good day",
                    "origins": [
                        { "layer": "host", "place": "config/hosts/web-1.yaml", "line": 3 },
                        { "layer": "wachter", "place": "config/wachter.yaml", "line": 1 },
                    ],
                },
                "log.level": {
                    "value": "info",
                    "origins": [{ "layer": "defaults", "place": "defaults", "line": null }],
                },
            },
        }))
        .unwrap();
        let mut page = Page::new(View::plain(None));
        page.table(&table(&configuration));
        assert_eq!(
            page.lines(),
            [
                "PATH                       VALUE       SET BY",
                "agent.hello.with.greeting  \"Good day\"  config/hosts/web-1.yaml:3, over config/wachter.yaml:1",
                "log.level                  \"info\"      defaults",
            ]
        );
    }
}
