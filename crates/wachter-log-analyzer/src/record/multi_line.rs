/// Tells which lines continue the record before them: stack traces of the usual languages, and
/// whatever is indented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MultiLine {
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Nothing has been read.
    #[default]
    Empty,
    /// An ordinary line, or an indented one after it.
    Plain,
    /// Within a trace of Python, before its first indented line or after.
    Python,
    /// After the line that ends a trace of Python: another may follow after an empty line.
    PythonEnded,
    /// Within the stack of a routine of Go, whose functions are not indented.
    Go,
}

/// What Python writes between the traces of one error.
const PYTHON_BETWEEN: [&[u8]; 2] = [
    b"During handling of the above exception, another exception occurred:",
    b"The above exception was the direct cause of the following exception:",
];
const PYTHON_BEGIN: &[u8] = b"Traceback (most recent call last):";

impl MultiLine {
    /// Takes the next line, and says whether it continues the record before it.
    pub(crate) fn continues(&mut self, line: &[u8]) -> bool {
        let (continues, state) = self.judge(line);
        self.state = state;
        continues
    }

    fn judge(self, line: &[u8]) -> (bool, State) {
        let started = self.state != State::Empty;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.starts_with(PYTHON_BEGIN) {
            return (started, State::Python);
        }
        let indented = matches!(line.first(), Some(b' ' | b'\t'));
        match self.state {
            State::Python if indented || line.is_empty() => return (true, State::Python),
            State::Python if is_error(line) => return (true, State::PythonEnded),
            State::PythonEnded if line.is_empty() => return (true, State::PythonEnded),
            State::PythonEnded if PYTHON_BETWEEN.contains(&line) => {
                return (true, State::PythonEnded);
            }
            State::Go if indented || line.is_empty() || is_go(line) => return (true, State::Go),
            _ => {}
        }
        if is_goroutine(line) {
            return (started, State::Go);
        }
        if line.starts_with(b"panic: ") {
            return (false, State::Go);
        }
        let continues = started && (indented || is_java(line) || closes(line));
        (continues, State::Plain)
    }
}

/// `SomeError: what` or `package.SomeError`: the last line of a trace of Python.
fn is_error(line: &[u8]) -> bool {
    let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
    !name.is_empty()
        && name.first().is_some_and(u8::is_ascii_alphabetic)
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_'))
}

fn is_goroutine(line: &[u8]) -> bool {
    line.strip_prefix(b"goroutine ")
        .is_some_and(|rest| rest.first().is_some_and(u8::is_ascii_digit) && rest.ends_with(b"]:"))
}

/// `main.work(0x1)` or `created by main.main`.
fn is_go(line: &[u8]) -> bool {
    line.starts_with(b"created by ")
        || line.starts_with(b"[signal ")
        || is_goroutine(line)
        || (line.ends_with(b")") && memchr::memchr(b' ', line).is_none())
}

/// `Caused by: ...`, `java.io.IOException: ...`
fn is_java(line: &[u8]) -> bool {
    if line.starts_with(b"Caused by: ") || line.starts_with(b"Suppressed: ") {
        return true;
    }
    let name = line.split(|byte| matches!(byte, b':' | b' ')).next().unwrap_or_default();
    let dotted = memchr::memchr(b'.', name).is_some();
    let named = [&b"Exception"[..], b"Error", b"Throwable"].iter().any(|end| name.ends_with(end));
    dotted
        && named
        && name.first().is_some_and(u8::is_ascii_lowercase)
        && name
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'$'))
}

/// The end of a JSON text over several lines.
fn closes(line: &[u8]) -> bool {
    !line.is_empty() && line.iter().all(|byte| matches!(byte, b'}' | b']' | b')' | b',' | b';'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of each record joined by `|`.
    fn records(text: &str) -> Vec<String> {
        let mut multi_line = MultiLine::default();
        let mut records: Vec<String> = Vec::new();
        for line in text.lines() {
            if multi_line.continues(line.as_bytes()) {
                let last = records.last_mut().unwrap();
                last.push('|');
                last.push_str(line);
            } else {
                records.push(line.to_owned());
            }
        }
        records
    }

    #[test]
    fn lines_that_belong_together() {
        for (text, expected) in [
            ("a\nb", vec!["a", "b"]),
            ("  x\na\n b\n\tc\nd", vec!["  x", "a| b|\tc", "d"]),
            (
                "12:00 ERROR x\njava.io.IOException: y\n\tat a.b(C.java:1)\nCaused by: z\n\t... 3 more\n12:01 INFO",
                vec![
                    "12:00 ERROR x|java.io.IOException: y|\tat a.b(C.java:1)|Caused by: z|\t... 3 more",
                    "12:01 INFO",
                ],
            ),
            (
                "ERROR x\nTraceback (most recent call last):\n  File \"a\", line 1\n    x()\nValueError: y\nINFO next",
                vec![
                    "ERROR x|Traceback (most recent call last):|  File \"a\", line 1|    x()|ValueError: y",
                    "INFO next",
                ],
            ),
            (
                "Traceback (most recent call last):\n  a\nE: y\n\nDuring handling of the above exception, another exception occurred:\n\nTraceback (most recent call last):\n  b\na.B\nnext",
                vec![
                    "Traceback (most recent call last):|  a|E: y||During handling of the above exception, another exception occurred:||Traceback (most recent call last):|  b|a.B",
                    "next",
                ],
            ),
            (
                "panic: x\n\ngoroutine 1 [running]:\nmain.work(0x1)\n\t/a.go:3\ncreated by main.main\n\t/a.go:9\nnext line",
                vec![
                    "panic: x||goroutine 1 [running]:|main.work(0x1)|\t/a.go:3|created by main.main|\t/a.go:9",
                    "next line",
                ],
            ),
            (
                "{\n  \"a\": [\n  ]\n}\n{\"b\": 1}\n{\"c\": 1}",
                vec!["{|  \"a\": [|  ]|}", "{\"b\": 1}", "{\"c\": 1}"],
            ),
        ] {
            assert_eq!(records(text), expected);
        }
    }
}
