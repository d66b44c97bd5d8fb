//! Takes secrets out of a stream of text, as it goes by.
//!
//! What is found: a value (without white space at its ends) as it stands, with the escapes of JSON in
//! any mixture, and in base64, of both alphabets, with anything before and after it, with and without
//! padding, and broken into lines. It is replaced by `[redacted:<name>]`; where finds overlap they are
//! replaced as one, under the name of the first.
//!
//! What is not found: a value of fewer than [`MIN_REDACTED_BYTES`] bytes; parts of a value; and what a
//! program makes of one on purpose, such as hexadecimal digits. This keeps accidents out of logs. It
//! does not contain a module that wants to tell.
//!
//! Memory is bounded by the values: about 250 bytes for each byte of them. Of what was taken in,
//! nothing is held back but what may be the begin of a find, so whole lines go on at once.

mod escape;
mod needle;
mod view;

use std::fmt;
use std::sync::Arc;

use escape::{Decoded, decode};
pub use needle::MIN_REDACTED_BYTES;
use needle::Needle;
use view::{Span, View};

/// Secrets to be looked for; cheap to clone.
#[derive(Clone)]
pub struct Secrets(Arc<Inner>);

struct Inner {
    names: Vec<String>,
    needles: Vec<Needle>,
    /// Bytes that a find or an escape may begin with.
    interesting: [bool; 256],
}

impl Secrets {
    /// Of names and values.
    #[must_use]
    pub fn new<'a>(secrets: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let (mut names, mut needles) = (Vec::new(), Vec::new());
        for (name, value) in secrets {
            needles.extend(needle::needles(names.len(), value));
            names.push(name.to_owned());
        }
        let mut interesting = [false; 256];
        interesting[usize::from(b'\\')] = true;
        for needle in &needles {
            interesting[usize::from(needle.first())] = true;
        }
        Self(Arc::new(Inner { names, needles, interesting }))
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Secrets").field(&self.0.names).finish()
    }
}

/// Takes secrets out of one stream. What comes out is the same however the stream was cut into pieces.
pub struct Redactor {
    secrets: Secrets,
    plain: View,
    json: View,
    /// The begin of an escape that is not finished.
    escape: Vec<u8>,
    /// What was taken in and did not go on yet, and where in the stream it begins.
    held: Vec<u8>,
    begin: u64,
    found: Vec<Span>,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").field("held", &self.held.len()).finish_non_exhaustive()
    }
}

impl Redactor {
    /// At the begin of a stream.
    #[must_use]
    pub fn new(secrets: &Secrets) -> Self {
        let view = || View::new(&secrets.0.needles);
        Self {
            secrets: secrets.clone(),
            plain: view(),
            json: view(),
            escape: Vec::with_capacity(escape::LONGEST),
            held: Vec::new(),
            begin: 0,
            found: Vec::new(),
        }
    }

    /// Takes bytes in, and appends to `out` what can go on.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let secrets = Arc::clone(&self.secrets.0);
        let needles = &secrets.needles;
        let mut at = self.end();
        self.held.extend_from_slice(bytes);
        let mut rest = bytes;
        while let Some((byte, after)) = rest.split_first() {
            if self.plain.is_idle() && self.json.is_idle() && self.escape.is_empty() {
                let dull = |byte: &&u8| !secrets.interesting[usize::from(**byte)];
                let count = rest.iter().take_while(dull).count();
                if let Some(last) = count.checked_sub(1) {
                    at += count as u64;
                    self.plain.pass_over(rest[last], at - 1);
                    self.json.pass_over(rest[last], at - 1);
                    rest = &rest[count..];
                    continue;
                }
            }
            self.plain.step(needles, *byte, at, at + 1, &mut self.found);
            at += 1;
            self.escape.push(*byte);
            self.unescape(needles, at);
            rest = after;
        }
        let settled = self.plain.settled(needles, at);
        let settled = settled.min(self.json.settled(needles, at - self.escape.len() as u64));
        self.pass_on(settled, out);
    }

    /// Ends the stream, and appends the rest of it to `out`.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        let secrets = Arc::clone(&self.secrets.0);
        let end = self.end();
        // An escape that is not finished is none.
        while !self.escape.is_empty() {
            let byte = self.escape.remove(0);
            let start = end - self.escape.len() as u64 - 1;
            self.json.step(&secrets.needles, byte, start, start + 1, &mut self.found);
        }
        self.pass_on(end, out);
    }

    fn end(&self) -> u64 {
        self.begin + self.held.len() as u64
    }

    /// Hands on to the second view what the bytes up to `end` make clear.
    fn unescape(&mut self, needles: &[Needle], end: u64) {
        while let Decoded::Bytes { bytes, count, of } = decode(&self.escape) {
            let start = end - self.escape.len() as u64;
            for byte in &bytes[..count] {
                self.json.step(needles, *byte, start, start + of as u64, &mut self.found);
            }
            self.escape.drain(..of);
        }
    }

    /// Appends what lies before `settled`, where no more is found, to `out`.
    fn pass_on(&mut self, settled: u64, out: &mut Vec<u8>) {
        // Of those that begin at one place, the longest gives the name.
        self.found.sort_by(|a, b| {
            (a.start, b.end, a.goes_on, a.secret).cmp(&(b.start, a.end, b.goes_on, b.secret))
        });
        let mut at = self.begin;
        let mut next = 0;
        while let Some(first) = self.found.get(next).copied() {
            let mut end = first.end;
            let mut after = next + 1;
            while let Some(span) = self.found.get(after)
                && (span.start < end || span.goes_on && span.start == end)
            {
                end = end.max(span.end);
                after += 1;
            }
            if end > settled {
                break;
            }
            self.copy(at, first.start, out);
            out.extend_from_slice(b"[redacted:");
            out.extend_from_slice(self.secrets.0.names[first.secret].as_bytes());
            out.push(b']');
            (at, next) = (end, after);
        }
        // What is not settled yet may be part of a find that is not over.
        let until = self.found.get(next).map_or(settled, |span| span.start.min(settled)).max(at);
        self.copy(at, until, out);
        self.found.drain(..next);
        let done = usize::try_from(until - self.begin).unwrap_or(usize::MAX);
        self.held.drain(..done.min(self.held.len()));
        self.begin = until;
    }

    fn copy(&self, from: u64, until: u64, out: &mut Vec<u8>) {
        let place = |at: u64| usize::try_from(at - self.begin).unwrap_or(usize::MAX);
        if from < until
            && let Some(text) = self.held.get(place(from)..place(until))
        {
            out.extend_from_slice(text);
        }
    }
}
