//! Turns what a module writes into messages, within its limits.

use wachter_protocol::module::{MAX_LINE, Message, MessageError, ModuleResult, parse_line};

/// Reads stdout piece by piece. Never holds more than one line of the most bytes allowed.
#[derive(Debug)]
pub(crate) struct OutputReader {
    line: Vec<u8>,
    left: u64,
    result: Option<ModuleResult>,
}

/// Why a module's output is not accepted, and its run therefore ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutputError {
    /// More than granted.
    #[error("the module wrote more than `limits.output` allows")]
    TooMuch,
    /// Not the protocol.
    #[error("line {line} of the output was refused")]
    Message {
        /// Counted from 1.
        line: u64,
        /// Why.
        source: MessageError,
    },
    /// Words after the last word.
    #[error("the module wrote another message after its `result`, which must be the last")]
    AfterResult,
}

impl OutputReader {
    /// For at most `limit` bytes.
    pub(crate) fn new(limit: u64) -> Self {
        Self { line: Vec::new(), left: limit, result: None }
    }

    /// Takes a piece and hands each message on; `number` counts lines.
    pub(crate) fn feed(
        &mut self,
        bytes: &[u8],
        number: &mut u64,
        mut take: impl FnMut(Message),
    ) -> Result<(), OutputError> {
        self.spend(bytes.len())?;
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let ends = piece.ends_with(b"\n");
            let room = (MAX_LINE + 1).saturating_sub(self.line.len());
            self.line.extend_from_slice(&piece[..piece.len().min(room + usize::from(ends))]);
            if ends {
                let line = std::mem::take(&mut self.line);
                *number += 1;
                self.accept(line.strip_suffix(b"\n").unwrap_or(&line), *number, &mut take)?;
            } else if self.line.len() > MAX_LINE {
                // Waiting for the end of the line could mean waiting for ever.
                return Err(OutputError::Message {
                    line: *number + 1,
                    source: MessageError::TooLong,
                });
            }
        }
        Ok(())
    }

    /// Takes what stands after the last line feed, and gives the result if there was one.
    pub(crate) fn finish(
        mut self,
        number: &mut u64,
        mut take: impl FnMut(Message),
    ) -> Result<Option<ModuleResult>, OutputError> {
        let line = std::mem::take(&mut self.line);
        *number += 1;
        self.accept(&line, *number, &mut take)?;
        Ok(self.result)
    }

    /// Counts bytes that were written elsewhere, on stderr, against the same limit.
    pub(crate) fn spend(&mut self, bytes: usize) -> Result<(), OutputError> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.left = self.left.checked_sub(bytes).ok_or(OutputError::TooMuch)?;
        Ok(())
    }

    fn accept(
        &mut self,
        line: &[u8],
        number: u64,
        take: &mut impl FnMut(Message),
    ) -> Result<(), OutputError> {
        let message =
            parse_line(line).map_err(|source| OutputError::Message { line: number, source })?;
        match message {
            None => {}
            Some(_) if self.result.is_some() => return Err(OutputError::AfterResult),
            Some(Message::Result(result)) => self.result = Some(result),
            Some(message) => take(message),
        }
        Ok(())
    }
}

/// Makes a line of stderr fit for a terminal and a log: control characters are written as escapes,
/// so that no module moves the cursor or rewrites a line (CWE-117, CWE-150). So are the invisible
/// ones that end lines or change the order in which text is shown (CVE-2021-42574).
#[must_use]
pub fn printable(line: &str) -> String {
    line.chars()
        .flat_map(|character| {
            let plain = character == '\t' || !(character.is_control() || is_misleading(character));
            let escaped = (!plain).then(|| character.escape_unicode());
            plain.then_some(character).into_iter().chain(escaped.into_iter().flatten())
        })
        .collect()
}

fn is_misleading(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(pieces: &[&[u8]], limit: u64) -> Result<(usize, Option<ModuleResult>), OutputError> {
        let mut reader = OutputReader::new(limit);
        let (mut messages, mut lines) = (0, 0);
        for piece in pieces {
            reader.feed(piece, &mut lines, |_| messages += 1)?;
        }
        let result = reader.finish(&mut lines, |_| messages += 1)?;
        Ok((messages, result))
    }

    #[test]
    fn lines_may_come_in_pieces() {
        let pieces: [&[u8]; 3] =
            [b"{\"progress\":{}}\n{\"pro", b"gress\":{}}\n{\"res", b"ult\":{}}"];
        let (messages, result) = read(&pieces, 1_000).unwrap();
        assert_eq!((messages, result), (2, Some(ModuleResult::default())));
    }

    #[test]
    fn floods_are_cut() {
        assert_eq!(read(&[&[b'\n'; 11]], 10).unwrap_err(), OutputError::TooMuch);
        let long = vec![b' '; MAX_LINE + 1];
        let too_long = OutputError::Message { line: 1, source: MessageError::TooLong };
        assert_eq!(read(&[&long], u64::MAX).unwrap_err(), too_long);
        let mut ended = long.clone();
        ended.push(b'\n');
        assert_eq!(read(&[&ended], u64::MAX).unwrap_err(), too_long);
    }

    #[test]
    fn a_result_is_the_end() {
        let text = b"{\"result\":{}}\n{\"progress\":{}}\n";
        assert_eq!(read(&[text], 1_000).unwrap_err(), OutputError::AfterResult);
        assert_eq!(read(&[b"{\"progress\":{}}\n"], 1_000).unwrap().1, None);
    }

    #[test]
    fn no_terminal_is_driven() {
        assert_eq!(printable("a\tb\x1b[2J\u{9b}\r"), "a\tb\\u{1b}[2J\\u{9b}\\u{d}");
        assert_eq!(printable("\u{202e}gpj.exe\u{2028}"), "\\u{202e}gpj.exe\\u{2028}");
        assert_eq!(printable("häme ✓ ‘日本’"), "häme ✓ ‘日本’");
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(bytes: Vec<u8>, cut in 0usize..64) {
            let cut = cut.min(bytes.len());
            let whole = read(&[&bytes], 1 << 20);
            let pieces = read(&[&bytes[..cut], &bytes[cut..]], 1 << 20);
            prop_assert_eq!(whole, pieces);
        }
    }
}
