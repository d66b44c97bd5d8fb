use console::{measure_text_width, truncate_str};

use super::{Tone, View, plain};

/// Cells in columns.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

/// A column: its heading, and how it is fitted.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    name: String,
    /// Whether it may lose its end where the terminal is narrow.
    cut: bool,
    /// How wide it is at least, for rows that come one by one.
    least: usize,
    /// Where the terminal is too narrow for all, columns are left out, the lowest of these first.
    spare: Option<u8>,
}

/// What stands in one place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

/// Between two columns.
const GAP: usize = 2;
/// No column is cut below this.
const NARROWEST: usize = 8;

impl Column {
    /// Is never cut: a name or a number that somebody may want to copy.
    pub(crate) fn whole(name: &str) -> Self {
        Self { name: name.to_owned(), cut: false, least: 0, spare: None }
    }

    /// May be cut.
    pub(crate) fn cut(name: &str) -> Self {
        Self { name: name.to_owned(), cut: true, least: 0, spare: None }
    }

    /// May be left out altogether, before those with a higher number.
    pub(crate) fn spare(self, order: u8) -> Self {
        Self { spare: Some(order), ..self }
    }

    /// At least so wide.
    pub(crate) fn at_least(self, least: usize) -> Self {
        Self { least, ..self }
    }
}

impl Cell {
    /// A text from anywhere.
    pub(crate) fn plain(text: &str) -> Self {
        Self::toned(text, Tone::Plain)
    }

    /// The same, with a meaning.
    pub(crate) fn toned(text: &str, tone: Tone) -> Self {
        Self { text: plain(text), tone }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::plain(&text)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::plain(text)
    }
}

impl Table {
    pub(crate) fn new(columns: impl IntoIterator<Item = Column>) -> Self {
        Self { columns: columns.into_iter().collect(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// With its heading.
    pub(super) fn lines(&self, view: &View) -> Vec<String> {
        let layout = self.layout(view, true);
        let head: Vec<Cell> =
            self.columns.iter().map(|column| Cell::toned(&column.name, Tone::Strong)).collect();
        std::iter::once(&head).chain(&self.rows).map(|row| line(row, &layout, view)).collect()
    }

    /// The rows alone, as wide as they are and as the columns are at least.
    pub(super) fn rows_alone(&self, view: &View) -> Vec<String> {
        let layout = self.layout(view, false);
        self.rows.iter().map(|row| line(row, &layout, view)).collect()
    }

    /// Which columns are shown, and how wide: as wide as needed. Where that is too much, those that are
    /// spare are left out, until the rest fits with what may be cut of it; the widest of that gives way.
    fn layout(&self, view: &View, head: bool) -> Vec<(usize, usize)> {
        let natural = |(index, column): (usize, &Column)| {
            let cells = self.rows.iter().filter_map(|row| row.get(index));
            let cells = cells.map(|cell| measure_text_width(&cell.text));
            let name = if head { measure_text_width(&column.name) } else { 0 };
            (index, cells.chain([name, column.least]).max().unwrap_or(0))
        };
        let mut layout: Vec<_> = self.columns.iter().enumerate().map(natural).collect();
        let Some(most) = view.width else { return layout };
        let cuttable = |(index, width): &(usize, usize)| {
            if self.columns[*index].cut { (*width).min(NARROWEST) } else { *width }
        };
        // Rows that come one by one have to lose the same columns, however wide each is.
        let least = |column: &(usize, usize)| match head {
            true => cuttable(column),
            false => cuttable(&(column.0, self.columns[column.0].least)),
        };
        while with_gaps(layout.iter().map(least)) > most {
            let spare = (0..layout.len())
                .filter_map(|place| Some((self.columns[layout[place].0].spare?, place)))
                .min();
            let Some((_, place)) = spare else { break };
            layout.remove(place);
        }
        while with_gaps(layout.iter().map(|(_, width)| *width)) > most {
            let widest = layout
                .iter_mut()
                .filter(|(index, width)| self.columns[*index].cut && *width > NARROWEST)
                .max_by_key(|(_, width)| *width);
            let Some((_, width)) = widest else { break };
            *width -= 1;
        }
        layout
    }
}

fn with_gaps(widths: impl ExactSizeIterator<Item = usize>) -> usize {
    let gaps = GAP * widths.len().saturating_sub(1);
    widths.sum::<usize>() + gaps
}

fn line(cells: &[Cell], layout: &[(usize, usize)], view: &View) -> String {
    let none = Cell::default();
    let cells: Vec<(&Cell, usize)> =
        layout.iter().map(|(index, width)| (cells.get(*index).unwrap_or(&none), *width)).collect();
    let mut line = String::new();
    let last = cells.iter().rposition(|(cell, _)| !cell.text.is_empty());
    let shown = cells.iter().take(last.map_or(0, |last| last + 1));
    for (index, (cell, width)) in shown.enumerate() {
        if index > 0 {
            line.push_str(&" ".repeat(GAP));
        }
        let text = truncate_str(&cell.text, *width, view.ellipsis());
        line.push_str(&view.paint(&text, cell.tone));
        if Some(index) != last {
            line.push_str(&" ".repeat(width.saturating_sub(measure_text_width(&text))));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fits_columns_to_the_terminal() {
        let mut table =
            Table::new([Column::whole("NAME"), Column::cut("WHAT"), Column::whole("LAST")]);
        table.row(["a-long-name".into(), "漢字 and more words than fit".into(), "1".into()]);
        table.row(["b".into(), Cell::toned("short", Tone::Bad), Cell::default()]);
        let check = |view: View, expected: &[&str]| assert_eq!(table.lines(&view), expected);
        check(
            View::plain(None),
            &[
                "NAME         WHAT                          LAST",
                "a-long-name  漢字 and more words than fit  1",
                "b            short",
            ],
        );
        check(
            View::plain(Some(33)),
            &[
                "NAME         WHAT            LAST",
                "a-long-name  漢字 and more…  1",
                "b            short",
            ],
        );
        // What may not be cut stays whole, whatever that costs.
        check(
            View::plain(Some(3)),
            &["NAME         WHAT      LAST", "a-long-name  漢字 an…  1", "b            short"],
        );
        check(
            View { colour: true, ..View::plain(Some(3)) },
            &[
                "\u{1b}[1mNAME\u{1b}[0m         \u{1b}[1mWHAT\u{1b}[0m      \u{1b}[1mLAST\u{1b}[0m",
                "a-long-name  漢字 an…  1",
                "b            \u{1b}[31mshort\u{1b}[0m",
            ],
        );
    }

    #[test]
    fn leaves_out_what_is_spare() {
        let mut table = Table::new([
            Column::whole("NAME"),
            Column::whole("FIRST").spare(1),
            Column::whole("SECOND").spare(2).at_least(9),
            Column::cut("WHAT"),
        ]);
        table.row(["a".into(), "1".into(), "2".into(), "more than enough words".into()]);
        let check = |width: usize, head: &str, row: &str, alone: &str| {
            let view = View::plain(Some(width));
            assert_eq!(table.lines(&view), [head, row]);
            assert_eq!(table.rows_alone(&view), [alone]);
        };
        check(
            99,
            "NAME  FIRST  SECOND     WHAT",
            "a     1      2          more than enough words",
            "a  1  2          more than enough words",
        );
        check(
            32,
            "NAME  FIRST  SECOND     WHAT",
            "a     1      2          more th…",
            "a  1  2          more than enou…",
        );
        check(
            31,
            "NAME  SECOND     WHAT",
            "a     2          more than eno…",
            "a  1  2          more than eno…",
        );
        check(20, "NAME  WHAT", "a     more than eno…", "a  1  2          more th…");
    }

    #[test]
    fn rows_that_come_one_by_one_stand_below_each_other() {
        let line = |text: &str| {
            let mut table = Table::new([Column::whole("A").at_least(4), Column::cut("B")]);
            table.row([text.into(), "x".into()]);
            table.rows_alone(&View::plain(None))
        };
        assert_eq!([line("1"), line("1234567")], [["1     x"], ["1234567  x"]]);
    }
}
