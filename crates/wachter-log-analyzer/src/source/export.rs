//! The export format of the journal: <https://systemd.io/JOURNAL_EXPORT_FORMATS/>.

use std::io::{self, BufRead, Read as _};

/// What is read of one entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExportLimits {
    /// Bytes of a field's value; the rest is passed over and counted.
    pub(crate) value: usize,
    /// Fields of an entry; further ones are passed over.
    pub(crate) fields: usize,
}

/// Why a stream is not the export format.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExportError {
    /// A field without a name, or with one that cannot be.
    #[error("the journal's export has a field without a name that can be read")]
    Name,
    /// A field with a length that nothing has.
    #[error("the journal's export names a field of {0} bytes")]
    Length(u64),
    /// It ends within an entry.
    #[error("the journal's export ends within an entry")]
    Ended,
    /// It cannot be read.
    #[error("the journal's export cannot be read")]
    Read(#[from] io::Error),
}

/// One entry: the fields that are wanted.
#[derive(Debug, Default)]
pub(crate) struct ExportEntry {
    fields: Vec<(String, Vec<u8>)>,
    /// Bytes of values that were passed over.
    pub(crate) cut: u64,
    /// Bytes that it takes in the stream.
    pub(crate) size: u64,
}

/// The longest name of a field; systemd allows 64 bytes.
const MAX_NAME: usize = 256;
/// The longest field of a journal (`DATA_SIZE_MAX` of systemd is 768 MiB).
const MAX_LENGTH: u64 = 1 << 30;

impl ExportEntry {
    /// Reads the next entry with those fields that `wanted` names; none at the end of the stream.
    ///
    /// # Errors
    /// A stream that is not the format, or that ends within an entry.
    pub(crate) fn read(
        source: &mut impl BufRead,
        limits: ExportLimits,
        wanted: &[&str],
    ) -> Result<Option<Self>, ExportError> {
        let mut entry = Self::default();
        let mut any = false;
        loop {
            let Some((name, separator)) = entry.name(source)? else {
                return if any { Err(ExportError::Ended) } else { Ok(None) };
            };
            if name.is_empty() && separator == b'\n' {
                // An empty line ends an entry; several in a row are one.
                if any {
                    return Ok(Some(entry));
                }
                continue;
            }
            let name = String::from_utf8(name).map_err(|_| ExportError::Name)?;
            if name.is_empty() || name.len() > MAX_NAME {
                return Err(ExportError::Name);
            }
            any = true;
            let keep = wanted.contains(&name.as_str()) && entry.fields.len() < limits.fields;
            let most = if keep { limits.value } else { 0 };
            let value = if separator == b'=' {
                entry.line(source, most, keep)?
            } else {
                entry.binary(source, most, keep)?
            };
            if keep {
                entry.fields.push((name, value));
            }
        }
    }

    /// The first value of a field.
    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| &value[..])
    }

    /// A name and what ends it: `=` before a value in the line, a line feed before a binary one.
    fn name(&mut self, source: &mut impl BufRead) -> Result<Option<(Vec<u8>, u8)>, ExportError> {
        let mut name = Vec::new();
        loop {
            let buffer = fill(source)?;
            if buffer.is_empty() {
                return if name.is_empty() { Ok(None) } else { Err(ExportError::Ended) };
            }
            let end = memchr::memchr2(b'=', b'\n', buffer);
            let taken = end.unwrap_or(buffer.len());
            name.extend_from_slice(&buffer[..taken.min(MAX_NAME + 1)]);
            let separator = end.map(|end| buffer[end]);
            let consumed = taken + usize::from(end.is_some());
            source.consume(consumed);
            self.size += consumed as u64;
            if let Some(separator) = separator {
                return Ok(Some((name, separator)));
            }
            if name.len() > MAX_NAME {
                return Err(ExportError::Name);
            }
        }
    }

    /// A value up to the end of the line.
    fn line(
        &mut self,
        source: &mut impl BufRead,
        most: usize,
        keep: bool,
    ) -> Result<Vec<u8>, ExportError> {
        let mut value = Vec::new();
        loop {
            let buffer = fill(source)?;
            if buffer.is_empty() {
                return Err(ExportError::Ended);
            }
            let end = memchr::memchr(b'\n', buffer);
            let taken = &buffer[..end.unwrap_or(buffer.len())];
            let room = most - value.len();
            value.extend_from_slice(&taken[..taken.len().min(room)]);
            self.count_cut(taken.len().saturating_sub(room), keep);
            let consumed = taken.len() + usize::from(end.is_some());
            source.consume(consumed);
            self.size += consumed as u64;
            if end.is_some() {
                return Ok(value);
            }
        }
    }

    /// A value with its length before it, as 64 bits little-endian, and a line feed after.
    fn binary(
        &mut self,
        source: &mut impl BufRead,
        most: usize,
        keep: bool,
    ) -> Result<Vec<u8>, ExportError> {
        let mut length = [0; 8];
        source.read_exact(&mut length).map_err(ended)?;
        let length = u64::from_le_bytes(length);
        if length > MAX_LENGTH {
            return Err(ExportError::Length(length));
        }
        let kept = length.min(most as u64);
        let mut value = Vec::new();
        source.by_ref().take(kept).read_to_end(&mut value)?;
        let passed = io::copy(&mut source.by_ref().take(length - kept), &mut io::sink())?;
        self.count_cut(usize::try_from(passed).unwrap_or(usize::MAX), keep);
        let mut end = [0];
        source.read_exact(&mut end).map_err(ended)?;
        if value.len() as u64 != kept || passed != length - kept || end != *b"\n" {
            return Err(ExportError::Ended);
        }
        self.size += 9 + length;
        Ok(value)
    }

    const fn count_cut(&mut self, bytes: usize, keep: bool) {
        if keep {
            self.cut += bytes as u64;
        }
    }
}

fn ended(error: io::Error) -> ExportError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => ExportError::Ended,
        _ => error.into(),
    }
}

fn fill(source: &mut impl BufRead) -> io::Result<&[u8]> {
    // The borrow of a first try would last, so an interruption is looked for apart.
    loop {
        match source.fill_buf() {
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    source.fill_buf()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: ExportLimits = ExportLimits { value: 16, fields: 8 };
    const WANTED: [&str; 2] = ["MESSAGE", "_PID"];

    /// The messages, and how it ended.
    fn read(mut stream: &[u8]) -> String {
        let mut told = Vec::new();
        loop {
            match ExportEntry::read(&mut stream, LIMITS, &WANTED) {
                Ok(Some(entry)) => told.push(format!(
                    "{}{}",
                    String::from_utf8_lossy(entry.get("MESSAGE").unwrap_or(b"-")),
                    if entry.cut > 0 { format!("~{}", entry.cut) } else { String::new() }
                )),
                Ok(None) => break,
                Err(error) => {
                    told.push(error.to_string());
                    break;
                }
            }
        }
        told.join("|")
    }

    #[test]
    fn fields_by_line_and_by_length() {
        let binary = |name: &str, value: &[u8]| {
            [name.as_bytes(), b"\n", &(value.len() as u64).to_le_bytes(), value, b"\n"].concat()
        };
        for (stream, expected) in [
            (b"".to_vec(), ""),
            (b"MESSAGE=a=b\n_PID=1\n\nMESSAGE=c\n\n".to_vec(), "a=b|c"),
            ([&b"X=1\n"[..], &binary("MESSAGE", b"a\nb\xff"), b"\n"].concat(), "a\nb\u{fffd}"),
            (b"MESSAGE=0123456789abcdefXYZ\n\n".to_vec(), "0123456789abcdef~3"),
            ([&binary("MESSAGE", &[b'x'; 20]), &b"\n"[..]].concat(), "xxxxxxxxxxxxxxxx~4"),
            ([&binary("OTHER", &[b'x'; 99]), &b"\n"[..]].concat(), "-"),
            (b"MESSAGE=a\n".to_vec(), "the journal's export ends within an entry"),
            (b"MESSAGE=a".to_vec(), "the journal's export ends within an entry"),
            (b"MESSAGE\nabc".to_vec(), "the journal's export ends within an entry"),
            (
                b"=a\n\n".to_vec(),
                "the journal's export has a field without a name that can be read",
            ),
            (
                [&b"MESSAGE\n"[..], &u64::MAX.to_le_bytes(), b"x\n\n"].concat(),
                "the journal's export names a field of 18446744073709551615 bytes",
            ),
        ] {
            assert_eq!(read(&stream), expected, "{}", String::from_utf8_lossy(&stream));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_end(stream in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&stream);
        }

        #[test]
        fn what_is_written_is_read(messages in prop::collection::vec("[^\n]{0,4}", 0..5)) {
            let stream: String = messages.iter().map(|text| format!("MESSAGE={text}\nA=b\n\n")).collect();
            prop_assert_eq!(read(stream.as_bytes()), messages.join("|"));
        }
    }
}
