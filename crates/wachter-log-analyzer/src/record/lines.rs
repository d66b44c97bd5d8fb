use std::io::{self, Read};

use super::multi_line::MultiLine;

/// How much of one record is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    /// Bytes of a line; what a longer one has beyond is passed over and counted.
    pub(crate) line: usize,
    /// Lines of a record; a longer one becomes several.
    pub(crate) lines: usize,
    /// Bytes of a record; a longer one becomes several.
    pub(crate) record: usize,
}

/// Splits what a reader gives into records, in memory of about twice the longest record.
pub(crate) struct Records<R> {
    reader: R,
    cut: Cut,
    /// What was read and not taken begins at `from`; `scanned` of it hold no end of a line.
    data: Vec<u8>,
    from: usize,
    scanned: usize,
    ended: bool,
    /// Where `data[from]` stands in the source.
    position: u64,
    /// Within a line that is too long: its rest is passed over.
    inside: bool,
    multi_line: MultiLine,
    current: Assembled,
    finished: Assembled,
    /// What was taken first, where that is the beginning of the source.
    first: Vec<u8>,
    from_beginning: bool,
    /// What was taken last.
    last: Vec<u8>,
}

/// How many bytes are remembered of the beginning of a source, to know it again.
pub(crate) const FIRST: usize = 1 << 10;
/// How many bytes are remembered of what stands before a place.
pub(crate) const LAST: usize = 64;

/// A record as it grows.
#[derive(Debug, Default)]
struct Assembled {
    text: Vec<u8>,
    offset: u64,
    end: u64,
    lines: usize,
    /// Its last line has its line feed.
    whole: bool,
    /// What stands before its end.
    last: Vec<u8>,
}

/// One record as it stands in its source.
#[derive(Debug)]
pub(crate) struct Raw<'a> {
    /// Its lines, joined by line feeds.
    pub(crate) text: &'a [u8],
    /// Where it begins.
    pub(crate) offset: u64,
    /// Where the next one begins.
    pub(crate) end: u64,
    /// Its number of lines.
    pub(crate) lines: usize,
    /// Whether `end` lies within a line that was too long.
    pub(crate) inside: bool,
    /// What stands before `end`: up to [`LAST`] bytes of what was taken.
    pub(crate) last: &'a [u8],
}

/// What one step came to.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// A record that is complete.
    Record(Raw<'a>),
    /// So many bytes of a line that is too long were passed over, up to `end`.
    Skipped {
        bytes: u64,
        end: u64,
        /// The line goes on.
        inside: bool,
        /// What stands before `end`.
        last: &'a [u8],
    },
    /// There is no more for now. What remains may go on later: see [`Records::rest`].
    End,
}

const CHUNK: usize = 64 << 10;

impl<R: Read> Records<R> {
    /// `position` is where `reader` stands; `inside`, whether that is within a line whose beginning
    /// was taken already.
    pub(crate) fn new(reader: R, position: u64, inside: bool, cut: Cut) -> Self {
        Self {
            reader,
            cut,
            data: Vec::new(),
            from: 0,
            scanned: 0,
            ended: false,
            position,
            inside,
            multi_line: MultiLine::default(),
            current: Assembled::default(),
            finished: Assembled::default(),
            first: Vec::new(),
            from_beginning: position == 0,
            last: Vec::new(),
        }
    }

    /// The beginning of the source, as far as it was taken: none where reading began elsewhere.
    pub(crate) fn first(&self) -> &[u8] {
        &self.first
    }

    /// Takes the next bytes of what was read.
    fn consume(&mut self, count: usize) {
        let bytes = &self.data[self.from..self.from + count];
        if self.from_beginning && self.first.len() < FIRST {
            let room = FIRST - self.first.len();
            self.first.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        if count >= LAST {
            self.last.clear();
        } else if self.last.len() + count > LAST {
            self.last.drain(..self.last.len() + count - LAST);
        }
        self.last.extend_from_slice(&bytes[count.saturating_sub(LAST)..]);
        self.from += count;
        self.position += count as u64;
    }

    /// Goes on to the next record.
    ///
    /// # Errors
    /// Those of the reader.
    pub(crate) fn step(&mut self) -> io::Result<Step<'_>> {
        loop {
            if self.inside {
                return self.pass_over();
            }
            let Some(line) = self.line()? else { return Ok(Step::End) };
            if self.take(line) {
                let inside = self.inside && self.current.lines == 0;
                return Ok(Step::Record(self.finished.raw(inside)));
            }
        }
    }

    /// The record at the end, which may go on later; none where nothing remains.
    pub(crate) fn rest(&self) -> Option<(Raw<'_>, bool)> {
        let complete = self.current.whole;
        (self.current.lines > 0).then(|| (self.current.raw(false), complete))
    }

    /// The length of the next line without its end, and whether it has one; none where there is
    /// nothing more, or where the last line has no end yet and was taken already.
    fn line(&mut self) -> io::Result<Option<Line>> {
        loop {
            let unread = &self.data[self.from..];
            if let Some(found) = memchr::memchr(b'\n', &unread[self.scanned..]) {
                let length = self.scanned + found;
                self.scanned = 0;
                return Ok(Some(Line {
                    length: length.min(self.cut.line),
                    whole: length <= self.cut.line,
                }));
            }
            self.scanned = unread.len();
            if unread.len() > self.cut.line {
                self.scanned = 0;
                return Ok(Some(Line { length: self.cut.line, whole: false }));
            }
            if self.ended {
                return Ok(self.last());
            }
            self.fill()?;
        }
    }

    /// The unfinished line at the end joins the record that is kept back, once.
    fn last(&mut self) -> Option<Line> {
        let length = self.data.len() - self.from;
        self.scanned = 0;
        if length == 0 {
            return None;
        }
        Some(Line { length, whole: false })
    }

    fn fill(&mut self) -> io::Result<()> {
        if self.from > 0 {
            self.data.drain(..self.from);
            self.from = 0;
        }
        let old = self.data.len();
        self.data.resize(old + CHUNK, 0);
        let read = loop {
            match self.reader.read(&mut self.data[old..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.data.truncate(old + read.as_ref().copied().unwrap_or(0));
        self.ended = read? == 0;
        Ok(())
    }

    /// Adds a line to the record, or begins another; whether one is finished then.
    fn take(&mut self, line: Line) -> bool {
        let text = &self.data[self.from..self.from + line.length];
        let too_long = !line.whole && line.length == self.cut.line;
        let full = self.current.lines >= self.cut.lines
            || self.current.text.len() + line.length >= self.cut.record;
        let continues = self.multi_line.continues(text) && !full && self.current.lines > 0;
        let had = self.current.lines > 0;
        let mut done = false;
        if !continues && had {
            std::mem::swap(&mut self.current, &mut self.finished);
            self.current.clear();
            done = true;
        }
        if self.current.lines == 0 {
            self.current.offset = self.position;
        } else {
            self.current.text.push(b'\n');
        }
        let text = text.strip_suffix(b"\r").filter(|_| line.whole).unwrap_or(text);
        self.current.text.extend_from_slice(text);
        self.current.lines += 1;
        self.current.whole = line.whole || too_long;
        self.consume(line.length + usize::from(line.whole));
        self.current.end = self.position;
        self.current.last.clone_from(&self.last);
        self.inside = too_long;
        done
    }

    /// Passes over what is buffered of a line that is too long.
    fn pass_over(&mut self) -> io::Result<Step<'_>> {
        // Its beginning is a record of its own, given out first.
        if self.current.lines > 0 {
            std::mem::swap(&mut self.current, &mut self.finished);
            self.current.clear();
            self.multi_line = MultiLine::default();
            return Ok(Step::Record(self.finished.raw(true)));
        }
        if self.from == self.data.len() && !self.ended {
            self.fill()?;
        }
        let unread = &self.data[self.from..];
        if unread.is_empty() {
            return Ok(Step::End);
        }
        let end = memchr::memchr(b'\n', unread);
        let bytes = end.map_or(unread.len(), |end| end + 1);
        let inside = end.is_none();
        self.consume(bytes);
        self.scanned = 0;
        self.inside = inside;
        let bytes = (bytes - usize::from(!inside)) as u64;
        Ok(Step::Skipped { bytes, end: self.position, inside, last: &self.last })
    }
}

/// A line that is about to be taken.
#[derive(Clone, Copy)]
struct Line {
    length: usize,
    /// Its line feed was read, and nothing of it cut.
    whole: bool,
}

impl Assembled {
    fn raw(&self, inside: bool) -> Raw<'_> {
        let Self { text, offset, end, lines, last, .. } = self;
        Raw { text, offset: *offset, end: *end, lines: *lines, inside, last }
    }

    fn clear(&mut self) {
        self.text.clear();
        self.lines = 0;
        self.whole = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CUT: Cut = Cut { line: 8, lines: 3, record: 64 };

    /// Gives a few bytes at a time.
    struct Drip<'a>(&'a [u8], usize);

    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(buffer.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    /// The records of a text; what is kept back at its end stands in brackets, what was passed
    /// over as `~bytes`.
    fn records(text: &[u8], step: usize) -> Vec<String> {
        let mut records = Records::new(Drip(text, step), 0, false, CUT);
        let mut told = Vec::new();
        let (mut at, mut skipped) = (0, 0);
        loop {
            match records.step().unwrap() {
                Step::Record(raw) => {
                    assert_eq!(raw.offset, at, "nothing is left out");
                    at = raw.end;
                    told.push(String::from_utf8_lossy(raw.text).replace('\n', "|"));
                }
                Step::Skipped { bytes, end, inside, .. } => {
                    skipped += bytes;
                    at = end;
                    if !inside {
                        told.push(format!("~{}", std::mem::take(&mut skipped)));
                    }
                }
                Step::End => break,
            }
        }
        if skipped > 0 {
            told.push(format!("~{skipped}"));
        }
        if let Some((raw, complete)) = records.rest() {
            assert_eq!(raw.offset, at);
            at = raw.end;
            let text = String::from_utf8_lossy(raw.text).replace('\n', "|");
            told.push(if complete { format!("[{text}]") } else { format!("[{text}…]") });
        }
        assert_eq!(at, text.len() as u64, "every byte is accounted for");
        told
    }

    #[test]
    fn lines_become_records() {
        for (text, expected) in [
            ("", vec![]),
            ("a\nb\n", vec!["a", "[b]"]),
            ("a\nb", vec!["a", "[b…]"]),
            ("a\r\nb\r\n", vec!["a", "[b]"]),
            ("a\n x\n y\nb\n", vec!["a| x| y", "[b]"]),
            ("a\n x\n y\n z\nb\n", vec!["a| x| y", " z", "[b]"]),
            ("0123456789abcdef\nb\n", vec!["01234567", "~8", "[b]"]),
            ("0123456789ab", vec!["01234567", "~4"]),
            ("a\n0123456789\n x\n", vec!["a", "01234567", "~2", "[ x]"]),
            ("01234567\nb\n", vec!["01234567", "[b]"]),
            ("\n\n", vec!["", "[]"]),
        ] {
            for step in [1, 3, 1_000] {
                assert_eq!(records(text.as_bytes(), step), expected, "{text:?} by {step}");
            }
        }
    }

    proptest! {
        #[test]
        fn steps_of_reading_do_not_matter(text in "[a \t0-9\n\r]{0,80}", step in 1_usize..20) {
            prop_assert_eq!(records(text.as_bytes(), step), records(text.as_bytes(), 1_000));
        }

        #[test]
        fn any_bytes_are_accounted_for(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = records(&text, 7);
        }
    }
}
