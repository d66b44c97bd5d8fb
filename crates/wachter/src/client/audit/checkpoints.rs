//! Checkpoints on their way out of the host.

use wachter_api::shapes::JournalCheckpoint;
use wachter_api::{ListCheckpoints, Nothing};

use crate::client::node::Node;
use crate::client::words::time;
use crate::failure::{CommandError, CommandResult};
use crate::output::{self, Cell, Column, Format, Page, Table, Tone, View};

/// Prints one to the byte, so that what was redirected into a file can be verified.
pub(super) async fn print(sequence: Option<u64>, node: &Node, format: Format) -> CommandResult {
    let all = node.call::<ListCheckpoints>(&Nothing {}, &Nothing {}).await?;
    let found = chosen(&all, sequence)?;
    if found.signature.is_none() {
        output::talk("it is not signed yet: it proves as much as the place where it is kept");
    }
    match format {
        Format::Json => output::json(found),
        Format::Human => kept(found).lines().try_for_each(output::data),
    }
}

/// The text with its signature, which is what [`super::mark::Mark`] reads.
fn kept(checkpoint: &JournalCheckpoint) -> String {
    format!("{}{}", checkpoint.text, checkpoint.signature.as_deref().unwrap_or_default())
}

fn chosen(
    all: &[JournalCheckpoint],
    sequence: Option<u64>,
) -> Result<&JournalCheckpoint, CommandError> {
    let Some(newest) = all.last() else {
        return Err(CommandError::failed(
            "the journal has no checkpoint yet: the first comes when its first segment is closed; \
             keep what `wachter audit verify --output json` prints until then",
        ));
    };
    let Some(sequence) = sequence else { return Ok(newest) };
    let covers = |one: &&JournalCheckpoint| (one.first..=one.last).contains(&sequence);
    all.iter().find(covers).ok_or_else(|| {
        CommandError::failed(format!(
            "no checkpoint covers event {sequence}: the last is at event {}; see `wachter audit checkpoints`",
            newest.last
        ))
    })
}

pub(super) async fn list(node: &Node, format: Format) -> CommandResult {
    let all = node.call::<ListCheckpoints>(&Nothing {}, &Nothing {}).await?;
    if format == Format::Json {
        return output::json(&all);
    }
    if all.is_empty() {
        output::talk("no segment of the journal is closed yet, so there is no checkpoint");
    }
    let mut page = Page::new(View::of_stdout());
    page.table(&table(&all));
    page.print()
}

fn table(all: &[JournalCheckpoint]) -> Table {
    let mut table = Table::new([
        Column::whole("TIME (UTC)"),
        Column::whole("FIRST"),
        Column::whole("LAST"),
        Column::whole("EVENTS"),
        Column::whole("SIGNED"),
        Column::whole("KEPT").spare(1),
    ]);
    for one in all {
        table.row([
            time(one.time).into(),
            one.first.to_string().into(),
            one.last.to_string().into(),
            one.events.to_string().into(),
            match one.signature {
                Some(_) => "yes".into(),
                None => Cell::toned("not yet", Tone::Warning),
            },
            if one.dropped { "checkpoint alone" } else { "with its events" }.into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint(first: u64, last: u64) -> JournalCheckpoint {
        JournalCheckpoint {
            first,
            last,
            events: last + 1 - first,
            time: "2026-11-22T10:00:00Z".parse().unwrap(),
            text: "text\n".to_owned(),
            signature: (first == 1).then(|| "signature\n".to_owned()),
            dropped: first == 1,
        }
    }

    #[test]
    fn one_is_chosen_by_an_event_that_it_covers() {
        let all = [checkpoint(1, 5), checkpoint(6, 9)];
        let last = |sequence| chosen(&all, sequence).map(|one| one.last);
        for (sequence, expected) in [(None, 9), (Some(1), 5), (Some(5), 5), (Some(6), 9)] {
            assert_eq!(last(sequence).ok(), Some(expected), "{sequence:?}");
        }
        for beyond in [0, 10] {
            let error = last(Some(beyond)).unwrap_err().to_string();
            assert!(error.contains("the last is at event 9"), "{error}");
        }
        let error = chosen(&[], None).unwrap_err().to_string();
        assert!(error.contains("no checkpoint yet"), "{error}");
        assert_eq!(kept(&all[0]), "text\nsignature\n");
    }

    #[test]
    fn shows_checkpoints() {
        let mut page = Page::new(View::plain(None));
        page.table(&table(&[checkpoint(1, 5), checkpoint(6, 9)]));
        assert_eq!(
            page.lines(),
            [
                "TIME (UTC)           FIRST  LAST  EVENTS  SIGNED   KEPT",
                "2026-11-22 10:00:00  1      5     5       yes      checkpoint alone",
                "2026-11-22 10:00:00  6      9     4       not yet  with its events",
            ]
        );
    }
}
