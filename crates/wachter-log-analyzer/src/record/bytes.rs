/// Reads along the beginning of a line. Every step takes what it asks for or leaves all as it was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scan<'a> {
    rest: &'a [u8],
}

impl<'a> Scan<'a> {
    pub(crate) const fn new(line: &'a [u8]) -> Self {
        Self { rest: line }
    }

    /// What has not been read.
    pub(crate) const fn rest(self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn peek(self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Takes one given byte.
    pub(crate) fn byte(&mut self, byte: u8) -> Option<()> {
        let (first, rest) = self.rest.split_first()?;
        (*first == byte).then(|| self.rest = rest)
    }

    /// Takes a given text.
    pub(crate) fn text(&mut self, text: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(text)?;
        Some(())
    }

    /// Takes one byte or more while they are wanted.
    pub(crate) fn while_(&mut self, wanted: impl Fn(u8) -> bool) -> Option<&'a [u8]> {
        let end = self.rest.iter().position(|byte| !wanted(*byte)).unwrap_or(self.rest.len());
        if end == 0 {
            return None;
        }
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(taken)
    }

    /// Takes what stands before a byte, and the byte.
    pub(crate) fn until(&mut self, byte: u8) -> Option<&'a [u8]> {
        let end = memchr::memchr(byte, self.rest)?;
        let taken = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        Some(taken)
    }

    /// Takes a word, and the spaces after it.
    pub(crate) fn word(&mut self) -> Option<&'a [u8]> {
        let word = self.while_(|byte| byte != b' ')?;
        self.spaces();
        Some(word)
    }

    /// Takes spaces, none included.
    pub(crate) fn spaces(&mut self) {
        let _ = self.while_(|byte| byte == b' ');
    }

    /// Takes `least` to `most` digits.
    pub(crate) fn digits(&mut self, least: usize, most: usize) -> Option<u64> {
        let count = self.rest.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
        if count < least {
            return None;
        }
        let (taken, rest) = self.rest.split_at(count);
        let number = taken.iter().try_fold(0_u64, |sum, digit| {
            sum.checked_mul(10)?.checked_add((digit - b'0').into())
        })?;
        self.rest = rest;
        Some(number)
    }

    /// Takes two digits.
    pub(crate) fn two(&mut self) -> Option<i8> {
        self.digits(2, 2).and_then(|number| i8::try_from(number).ok())
    }
}

/// Bytes as text, where they are UTF-8.
pub(crate) fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| !text.is_empty())
}
