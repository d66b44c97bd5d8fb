use clap::{ArgGroup, Args};
use jiff::Timestamp;
use wachter_api::shapes::{Replay, ReplayReport, Subscription};
use wachter_api::{ListSubscriptions, Nothing, ReplayEvents};

use super::moment::Moment;
use super::node::Node;
use super::words::count;
use crate::failure::CommandResult;
use crate::output::{self, Cell, Column, Format, Page, Table, Tone, View};

#[derive(Args, Debug)]
#[command(group(ArgGroup::new("begin").required(true).args(["from", "since"])))]
pub(crate) struct ReplayArguments {
    /// The agent, or the subscription, that gets them
    agent: String,
    /// From the event with this number on
    #[arg(long, value_name = "SEQUENCE")]
    from: Option<u64>,
    /// From then on: 1h, 2d, 2026-11-22 or a time
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// Up to the event with this number [default: all that it has had]
    #[arg(long, value_name = "SEQUENCE", conflicts_with = "until")]
    to: Option<u64>,
    /// Up to what was written before then: 1h, 2d, 2026-11-22 or a time
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
}

pub(super) async fn replay(
    arguments: ReplayArguments,
    node: &Node,
    format: Format,
) -> CommandResult {
    let ReplayArguments { agent, from, since, to, until } = arguments;
    let now = Timestamp::now();
    let (since, until) =
        (since.map(|since| since.before(now)), until.map(|until| until.before(now)));
    let replay = Replay { subscription: agent.clone(), from, since, to, until };
    let report = node.call::<ReplayEvents>(&Nothing {}, &replay).await?;
    output::result(format, &report, sentence(&agent, &report))
}

fn sentence(agent: &str, report: &ReplayReport) -> String {
    let events = count(report.events, "event is", "events are");
    let how = if report.dry_run { ", as a dry run" } else { "" };
    format!(
        "{events} delivered to {agent} once more{how}; `wachter runs --agent {agent}` shows what comes of it"
    )
}

pub(super) async fn subscriptions(node: &Node, format: Format) -> CommandResult {
    let subscriptions = node.get::<ListSubscriptions>().await?;
    if format == Format::Json {
        return output::json(&subscriptions);
    }
    let mut page = Page::new(View::of_stdout());
    page.table(&table(&subscriptions));
    page.print()
}

fn table(subscriptions: &[Subscription]) -> Table {
    let mut table = Table::new([
        Column::whole("SUBSCRIPTION"),
        Column::whole("DONE UP TO"),
        Column::whole("BEHIND"),
        Column::whole("UNDER WAY"),
        Column::whole("DEAD LETTERS"),
    ]);
    for subscription in subscriptions {
        let tone = if subscription.dead_letters > 0 { Tone::Bad } else { Tone::Plain };
        table.row([
            subscription.name.as_str().into(),
            subscription.floor.to_string().into(),
            subscription.behind.to_string().into(),
            subscription.in_flight.to_string().into(),
            Cell::toned(&subscription.dead_letters.to_string(), tone),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_repeated_and_how_far_each_is() {
        let report = |events, dry_run| sentence("disk", &ReplayReport { events, dry_run });
        assert!(
            report(1, true).starts_with("1 event is delivered to disk once more, as a dry run;")
        );
        assert!(
            report(7, false).starts_with("7 events are delivered to disk once more; `wachter runs")
        );
        let mut page = Page::new(View::plain(None));
        page.table(&table(&[Subscription {
            name: "agents/disk".to_owned(),
            floor: 7,
            in_flight: 1,
            behind: 2,
            dead_letters: 3,
        }]));
        assert_eq!(
            page.lines(),
            [
                "SUBSCRIPTION  DONE UP TO  BEHIND  UNDER WAY  DEAD LETTERS",
                "agents/disk   7           2       1          3",
            ]
        );
    }
}
