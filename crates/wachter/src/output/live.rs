use std::ops::ControlFlow;
use std::time::Duration;

use console::{Term, truncate_str};
use serde_json::Value;

use super::{Format, Page, View, json_line};
use crate::failure::{CommandError, CommandResult};

/// What is shown at one moment.
pub(crate) struct Frame {
    /// For programs.
    pub(crate) value: Value,
    /// For people.
    pub(crate) page: Page,
}

/// How long a frame stays.
const PERIOD: Duration = Duration::from_secs(1);

/// Shows what `look` sees, each second anew, until Ctrl-C, or until nobody reads any more. A terminal
/// is drawn over; elsewhere one frame follows the other, as JSON on one line each.
pub(crate) async fn keep_showing(
    format: Format,
    mut look: impl AsyncFnMut() -> Result<Frame, CommandError>,
) -> CommandResult {
    let ended = interrupted()?;
    let mut ended = std::pin::pin!(ended);
    let mut screen = Screen::new();
    loop {
        let frame = tokio::select! {
            () = &mut ended => return Ok(()),
            frame = look() => frame?,
        };
        let shown = match format {
            Format::Json => json_line(&frame.value)?,
            Format::Human => screen.show(&frame.page)?,
        };
        if shown.is_break() {
            return Ok(());
        }
        tokio::select! {
            () = &mut ended => return Ok(()),
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

/// Ends with Ctrl-C. Counts from this call on, not from the first wait.
pub(crate) fn interrupted() -> Result<impl Future<Output = ()>, CommandError> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        interrupt.recv().await;
    })
}

/// Where frames are drawn.
struct Screen {
    terminal: Option<Term>,
    /// The lines of the last frame, which the next one is drawn over.
    drawn: usize,
    first: bool,
}

impl Screen {
    fn new() -> Self {
        let terminal = View::is_terminal().then(Term::buffered_stdout);
        Self { terminal, drawn: 0, first: true }
    }

    fn show(&mut self, page: &Page) -> Result<ControlFlow<()>, CommandError> {
        let Some(terminal) = &self.terminal else {
            let mut separated = Page::new(page.view());
            if !std::mem::replace(&mut self.first, false) {
                separated.line("");
                if separated.print_while_read()?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            return page.print_while_read();
        };
        let (rows, columns) = terminal.size();
        let lines = fitted(page, usize::from(rows), usize::from(columns));
        terminal.move_cursor_up(self.drawn)?;
        for line in &lines {
            terminal.clear_line()?;
            terminal.write_line(line)?;
        }
        // What is left of a longer frame.
        terminal.clear_to_end_of_screen()?;
        terminal.flush()?;
        self.drawn = lines.len();
        Ok(ControlFlow::Continue(()))
    }
}

/// No line wraps and none scrolls away, so that the cursor finds the first one again.
fn fitted(page: &Page, rows: usize, columns: usize) -> Vec<String> {
    let ellipsis = page.view().ellipsis();
    let most = rows.saturating_sub(1).max(1);
    let cut = |line: &String| truncate_str(line, columns.max(1), ellipsis).into_owned();
    let lines = page.lines();
    if lines.len() <= most {
        return lines.iter().map(cut).collect();
    }
    let hidden = lines.len() - (most - 1);
    let mut shown: Vec<String> = lines.iter().take(most - 1).map(cut).collect();
    shown.push(truncate_str(&format!("({hidden} more)"), columns.max(1), ellipsis).into_owned());
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_fits_the_terminal() {
        let mut page = Page::new(View::plain(None));
        page.text("first line\nsecond\nthird\nfourth");
        let check = |rows: usize, columns: usize, expected: &[&str]| {
            assert_eq!(fitted(&page, rows, columns), expected, "{rows} x {columns}");
        };
        check(24, 80, &["first line", "second", "third", "fourth"]);
        check(5, 6, &["first…", "second", "third", "fourth"]);
        check(4, 80, &["first line", "second", "(2 more)"]);
        check(0, 0, &["…"]);
    }
}
