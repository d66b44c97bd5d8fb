//! One way to read a stream: as it is, or with the escapes of JSON taken for what they stand for.

use std::collections::VecDeque;

use super::needle::Needle;

/// A byte as it is read, and where in the stream what it was read from begins.
#[derive(Clone, Copy)]
struct Symbol {
    byte: u8,
    start: u64,
}

/// A part of the stream that gives a secret away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) secret: usize,
    /// It goes on with the span that ends where it starts.
    pub(super) goes_on: bool,
}

/// Base64 of which this much was matched goes on after a line break. Less may be chance, and would
/// hold a whole line back.
const MATCHED_BEFORE_BREAK: usize = 8;

/// The state of a search. Memory is bounded by the longest needle.
pub(super) struct View {
    /// For each needle, how much of it the last symbols are.
    matched: Vec<usize>,
    /// After a match: how many of a partly decided character and two of padding were seen, and where
    /// the match began.
    after: Vec<Option<(u8, u64)>>,
    recent: VecDeque<Symbol>,
    most: usize,
    /// Nothing is matched, not even in part.
    idle: bool,
}

impl View {
    pub(super) fn new(needles: &[Needle]) -> Self {
        let longest = needles.iter().map(Needle::len).max().unwrap_or_default();
        Self {
            matched: vec![0; needles.len()],
            after: vec![None; needles.len()],
            recent: VecDeque::new(),
            // With two bytes of line break after each, and one symbol before.
            most: longest * 3 + 1,
            idle: true,
        }
    }

    /// Whether nothing is matched, not even in part.
    pub(super) const fn is_idle(&self) -> bool {
        self.idle
    }

    /// Takes bytes of which none begins a needle, while nothing is matched: `byte` is the last of them.
    pub(super) fn pass_over(&mut self, byte: u8, start: u64) {
        self.recent.clear();
        self.recent.push_back(Symbol { byte, start });
    }

    /// Takes one byte that was read from `start..end` of the stream.
    pub(super) fn step(
        &mut self,
        needles: &[Needle],
        byte: u8,
        start: u64,
        end: u64,
        found: &mut Vec<Span>,
    ) {
        let last = self.recent.iter().rev().take(2);
        let breaks = last.take_while(|symbol| is_break(symbol.byte)).count();
        if self.recent.len() == self.most {
            self.recent.pop_front();
        }
        self.recent.push_back(Symbol { byte, start });
        self.idle = true;
        for (at, needle) in needles.iter().enumerate() {
            let (matched, after) = (self.matched[at], self.after[at].take());
            let goes_on = needle.broken && is_break(byte) && breaks < 2;
            if let Some((seen, begin)) = after
                && let Some(seen) = continues(needle, seen, byte)
            {
                found.push(Span { start, end, secret: needle.secret, goes_on: true });
                self.after[at] = Some((seen, begin));
            }
            if !(goes_on && matched >= MATCHED_BEFORE_BREAK) {
                self.matched[at] = needle.step(matched, byte);
            }
            if self.matched[at] == needle.len() {
                let start = self.start_of(needle, needle.len());
                found.push(Span { start, end, secret: needle.secret, goes_on: false });
                self.after[at] = needle.tail.map(|_| (0, start));
                self.matched[at] = needle.border();
            }
            self.idle &= self.matched[at] == 0 && self.after[at].is_none();
        }
        if self.idle {
            self.pass_over(byte, start);
        }
    }

    /// The place before which no match of what is still to come can begin; `end` is that of what was
    /// read so far.
    pub(super) fn settled(&self, needles: &[Needle], end: u64) -> u64 {
        let mut settled = end;
        for (at, needle) in needles.iter().enumerate() {
            settled = settled.min(self.start_of(needle, self.matched[at]));
            if let Some((_, begin)) = self.after[at] {
                settled = settled.min(begin);
            }
        }
        settled
    }

    /// Where the last `count` symbols of a match begin, with the one before that the needle decides in
    /// part. No later than the end where there is none of them.
    fn start_of(&self, needle: &Needle, count: usize) -> u64 {
        let mut left = count;
        let mut start = u64::MAX;
        let mut symbols = self.recent.iter().rev().peekable();
        while left > 0
            && let Some(symbol) = symbols.next()
        {
            start = symbol.start;
            left -= usize::from(!(needle.broken && is_break(symbol.byte)));
        }
        match (needle.lead, symbols.peek()) {
            (Some(lead), Some(before)) if lead.fits(before.byte) => before.start,
            _ => start,
        }
    }
}

const fn is_break(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// What follows a match and belongs to it: the character that the value decides in part, and padding.
fn continues(needle: &Needle, seen: u8, byte: u8) -> Option<u8> {
    let fits = match seen {
        0 => needle.tail.is_some_and(|tail| tail.fits(byte)),
        1 | 2 => byte == b'=',
        _ => false,
    };
    fits.then_some(seen + 1)
}
