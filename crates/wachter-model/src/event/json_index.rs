use std::cmp::Reverse;
use std::sync::OnceLock;

use serde_json::Number;

use super::quote::next_quote;

/// Brackets within brackets that are followed; the limit of `serde_json`, so that what is taken in
/// can be read again.
pub(super) const MOST_NESTED: usize = 127;
/// What is not longer is gone through each time that it is asked for. A number of so few digits is in
/// range, if it has no exponent.
const SHORT: usize = 64;
/// Members that are looked through one by one; more are sorted.
const FEW: usize = 16;
/// The bytes of text that a value takes, name and comma included; rather few.
const BYTES_A_VALUE: usize = 16;
/// So much text is provided for ahead.
const MOST_AHEAD: usize = 1 << 16;
/// What [`Slot::inner`] says of a value that is read from its place alone.
const PLAIN: u32 = u32::MAX;

/// Where the values of a JSON text stand, found in one pass, none of them read: a value costs 12
/// bytes, an object or array 12 more.
///
/// The text is one that `serde_json` went through, without white space between its tokens.
#[derive(Debug)]
pub(super) struct JsonIndex {
    /// What objects and arrays hold; what one holds is together.
    pub(super) slots: Vec<Slot>,
    pub(super) groups: Vec<Group>,
    pub(super) heavy: Vec<Heavy>,
    /// The keys of objects where one is escaped, in the order of their members.
    pub(super) keys: Vec<Box<[Box<str>]>>,
    pub(super) root: Slot,
}

/// A value: what an array or an object holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    /// Where the quotation mark before its key is, in an object.
    key: u32,
    /// Where the value begins.
    pub(super) at: u32,
    /// Its place in `groups` or `heavy`, or [`PLAIN`].
    inner: u32,
}

/// An array or an object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    first: u32,
    count: u32,
    pub(super) order: Order,
}

/// How the members of an object stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// As written: the elements of an array, or few members, of whom the last of a name counts.
    Written,
    /// By their names, which are each there once.
    Sorted,
    /// The same, and their names are in `keys` at this place.
    Unescaped(u32),
}

/// A value that would cost too much each time that it is asked for.
#[derive(Debug)]
pub(super) enum Heavy {
    /// A text that is long or has escapes: where it ends, and what it is without them.
    Text { end: u32, made: Option<OnceLock<Box<str>>> },
    /// A long number.
    Number(Number),
}

impl Slot {
    pub(super) fn inner(self) -> Option<usize> {
        (self.inner != PLAIN).then_some(self.inner as usize)
    }

    /// The key as written, without its quotation marks. Between it and the value are one and a colon.
    pub(super) fn key(self, text: &str) -> &str {
        &text[self.key as usize + 1..self.at as usize - 2]
    }
}

impl JsonIndex {
    /// The index of a text; `None` where `serde_json` reads no value of it: it nests too deep, a number
    /// is out of range, an escape is no character. Nor is a text beyond 4 GiB read.
    pub(super) fn of(text: &str) -> Option<Self> {
        u32::try_from(text.len()).ok()?;
        // What most texts need; what is too much is given back below.
        let likely = text.len().min(MOST_AHEAD) / BYTES_A_VALUE;
        let mut making = Making {
            text,
            index: Self {
                slots: Vec::with_capacity(likely),
                groups: Vec::with_capacity(likely / 8),
                heavy: Vec::new(),
                keys: Vec::new(),
                root: Slot { key: 0, at: 0, inner: PLAIN },
            },
            open: Vec::new(),
            pending: Vec::with_capacity(likely / 4),
        };
        making.run()?;
        let mut index = making.index;
        index.slots.shrink_to_fit();
        index.groups.shrink_to_fit();
        index.heavy.shrink_to_fit();
        Some(index)
    }

    /// What it takes in memory, besides what its texts are without escapes, which are shorter than as
    /// they were written.
    pub(super) fn bytes(&self) -> usize {
        let keys: usize = self.keys.iter().flatten().map(|key| key.len() + 16).sum();
        size_of::<Self>()
            + size_of_val(&self.slots[..])
            + size_of_val(&self.groups[..])
            + size_of_val(&self.heavy[..])
            + keys
    }

    pub(super) fn held(&self, group: usize) -> &[Slot] {
        let Group { first, count, .. } = self.groups[group];
        &self.slots[first as usize..][..count as usize]
    }
}

/// An index that is being made.
struct Making<'t> {
    text: &'t str,
    index: JsonIndex,
    open: Vec<Open>,
    /// What the open ones hold so far, those of the innermost last.
    pending: Vec<Slot>,
}

/// An object or array whose end was not reached.
struct Open {
    object: bool,
    /// Whether a key has an escape.
    escaped: bool,
    /// Where in `pending` begins what it holds.
    first: usize,
}

impl Making<'_> {
    fn run(&mut self) -> Option<()> {
        let bytes = self.text.as_bytes();
        let (mut at, mut key_next) = (0, false);
        while let Some(byte) = bytes.get(at) {
            match byte {
                b',' => {
                    key_next = self.open.last()?.object;
                    at += 1;
                }
                b'}' | b']' => {
                    self.close()?;
                    at += 1;
                }
                b'"' if key_next => {
                    key_next = false;
                    let end = text_end(bytes, at)?;
                    if end.doubtful {
                        serde_json::from_str::<String>(&self.text[at..end.at]).ok()?;
                    }
                    self.open.last_mut()?.escaped |= end.escaped;
                    // After the colon.
                    let value = end.at + 1;
                    self.pending.push(Slot { key: place(at), at: place(value), inner: PLAIN });
                    at = value;
                }
                byte => {
                    if self.open.last().is_some_and(|open| !open.object) {
                        self.pending.push(Slot { key: 0, at: place(at), inner: PLAIN });
                    }
                    match byte {
                        b'{' | b'[' => {
                            let object = *byte == b'{';
                            key_next = object;
                            let first = self.pending.len();
                            self.open.push(Open { object, escaped: false, first });
                            if self.open.len() > MOST_NESTED {
                                return None;
                            }
                            at += 1;
                        }
                        b'"' => at = self.text_at(at)?,
                        b't' | b'n' => at += 4,
                        b'f' => at += 5,
                        _ => at = self.number_at(at)?,
                    }
                }
            }
        }
        Some(())
    }

    fn close(&mut self) -> Option<()> {
        let open = self.open.pop()?;
        let first = self.index.slots.len();
        let mut order = Order::Written;
        if open.object && (open.escaped || self.pending.len() - open.first > FEW) {
            order = self.sort(&open)?;
        }
        self.index.slots.extend(self.pending.drain(open.first..));
        let count = place(self.index.slots.len() - first);
        let group = place(self.index.groups.len());
        self.index.groups.push(Group { first: place(first), count, order });
        self.note(group);
        Some(())
    }

    /// Sorts what an object holds, and keeps of each name the last.
    fn sort(&mut self, open: &Open) -> Option<Order> {
        let text = self.text;
        if open.escaped {
            return self.sort_unescaped(open);
        }
        let held = &mut self.pending[open.first..];
        held.sort_unstable_by_key(|slot| (slot.key(text), Reverse(slot.key)));
        let mut kept = 0;
        for next in 0..held.len() {
            if kept == 0 || held[kept - 1].key(text) != held[next].key(text) {
                held[kept] = held[next];
                kept += 1;
            }
        }
        self.pending.truncate(open.first + kept);
        Some(Order::Sorted)
    }

    fn sort_unescaped(&mut self, open: &Open) -> Option<Order> {
        let text = self.text;
        let named = self.pending[open.first..].iter().map(|slot| {
            let quoted = &text[slot.key as usize..slot.at as usize - 1];
            Some((serde_json::from_str::<String>(quoted).ok()?, *slot))
        });
        let mut named = named.collect::<Option<Vec<_>>>()?;
        named
            .sort_by(|(one, at), (other, of_other)| one.cmp(other).then(of_other.key.cmp(&at.key)));
        named.dedup_by(|(later, _), (kept, _)| later == kept);
        self.pending.truncate(open.first);
        self.pending.extend(named.iter().map(|(_, slot)| *slot));
        let names = named.into_iter().map(|(name, _)| name.into_boxed_str());
        self.index.keys.push(names.collect());
        Some(Order::Unescaped(place(self.index.keys.len() - 1)))
    }

    /// Looks at a text; gives where it ends.
    fn text_at(&mut self, at: usize) -> Option<usize> {
        let end = text_end(self.text.as_bytes(), at)?;
        if end.escaped || end.at - at > SHORT {
            if end.doubtful {
                serde_json::from_str::<String>(&self.text[at..end.at]).ok()?;
            }
            let made = end.escaped.then(OnceLock::new);
            self.note_heavy(Heavy::Text { end: place(end.at), made });
        }
        Some(end.at)
    }

    /// Looks at a number; gives where it ends.
    fn number_at(&mut self, at: usize) -> Option<usize> {
        let rest = &self.text.as_bytes()[at..];
        let end = rest.iter().position(|byte| matches!(byte, b',' | b'}' | b']'));
        let number = &self.text[at..at + end.unwrap_or(rest.len())];
        if number.len() > SHORT {
            self.note_heavy(Heavy::Number(serde_json::from_str(number).ok()?));
        } else if number.contains(['e', 'E']) {
            serde_json::from_str::<Number>(number).ok()?;
        }
        Some(at + number.len())
    }

    fn note_heavy(&mut self, heavy: Heavy) {
        self.index.heavy.push(heavy);
        self.note(place(self.index.heavy.len() - 1));
    }

    /// Notes of the value that was just looked at where more of it is.
    fn note(&mut self, inner: u32) {
        self.pending.last_mut().unwrap_or(&mut self.index.root).inner = inner;
    }
}

/// Where a text ends.
pub(super) struct TextEnd {
    /// The place after its last quotation mark.
    pub(super) at: usize,
    pub(super) escaped: bool,
    /// Whether an escape may be half a character.
    doubtful: bool,
}

/// The end of the text whose quotation mark is at `at`.
pub(super) fn text_end(bytes: &[u8], at: usize) -> Option<TextEnd> {
    let mut end = TextEnd { at: at + 1, escaped: false, doubtful: false };
    loop {
        let found = next_quote(bytes, end.at)?;
        if bytes[found] == b'"' {
            end.at = found + 1;
            return Some(end);
        }
        end.escaped = true;
        // Half characters are those from D800 to DFFF.
        end.doubtful |= matches!(bytes.get(found + 1..found + 3), Some([b'u', b'd' | b'D']));
        end.at = found + 2;
    }
}

/// A place in a text whose length was looked at.
fn place(at: usize) -> u32 {
    u32::try_from(at).expect("there are fewer values than bytes, and those are counted by 32 bits")
}
