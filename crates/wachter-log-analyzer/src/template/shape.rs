use super::MOST_TOKENS;
use super::hash::Keyed;
use super::token::{Token, WILD, cut};

/// One template: its text, and what it takes to compare lines with it.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// What wrote its lines, as a number of the model's.
    pub(crate) origin: u16,
    /// Tokens joined by single spaces, values as `<*>`.
    pub(crate) text: String,
    /// The places of its values, as bits.
    pub(crate) values: u64,
    /// Those of them that were words until they had shown enough different ones.
    pub(crate) learned: u64,
    /// The places of words that say something, as bits.
    pub(super) telling: u64,
    pub(super) sum: u64,
    pub(super) hashes: Box<[u64]>,
    /// The hash of each token as it would be if it were a value.
    pub(super) wilds: Box<[u64]>,
}

impl Shape {
    /// The template of a line.
    pub(super) fn of_line(origin: u16, line: &[u8], tokens: &[Token], key: Keyed) -> Self {
        let mut text = String::new();
        for token in tokens {
            push(&mut text, line, token, token.is_value());
        }
        Self::of_tokens(origin, text, tokens, 0, key)
    }

    /// The template with this text. Nothing where it is none: no template has so many tokens, or learned a place
    /// where a word stands.
    pub(crate) fn of_text(origin: u16, text: &str, learned: u64, key: Keyed) -> Option<Self> {
        if text.len() > usize::from(u16::MAX) {
            return None;
        }
        let mut tokens = Vec::new();
        cut(text.as_bytes(), key, &mut tokens);
        let shape = Self::of_line(origin, text.as_bytes(), &tokens, key);
        (shape.text == text && learned & !shape.values == 0).then_some(Self { learned, ..shape })
    }

    fn of_tokens(origin: u16, text: String, tokens: &[Token], learned: u64, key: Keyed) -> Self {
        debug_assert!(tokens.len() <= MOST_TOKENS);
        Self {
            origin,
            text,
            values: bits(tokens, Token::is_value),
            learned,
            telling: bits(tokens, |token| token.telling),
            sum: sum(tokens, key),
            hashes: tokens.iter().map(|token| token.hash).collect(),
            wilds: tokens.iter().map(|token| token.wild).collect(),
        }
    }

    /// The same with values at the `places`, learned.
    pub(super) fn generalized(&self, places: u64, key: Keyed) -> Self {
        let mut tokens = Vec::new();
        cut(self.text.as_bytes(), key, &mut tokens);
        let mut text = String::new();
        for (place, token) in tokens.iter_mut().enumerate() {
            let value = token.is_value() || places & 1 << place != 0;
            push(&mut text, self.text.as_bytes(), token, value);
            if value {
                (token.hash, token.telling) = (token.wild, false);
            }
        }
        Self::of_tokens(self.origin, text, &tokens, self.learned | places, key)
    }

    /// Whether it is the template of a line with these tokens, those at `places` taken as values.
    #[inline]
    pub(super) fn is_of(&self, origin: u16, tokens: &[Token], places: u64) -> bool {
        self.origin == origin
            && self.hashes.len() == tokens.len()
            && self.hashes.iter().zip(tokens).enumerate().all(|(place, (hash, token))| {
                *hash == if places & 1 << place != 0 { token.wild } else { token.hash }
            })
    }

    /// Where it and another differ in words alone: at most two places. Nothing where they differ in more, or in nothing.
    pub(super) fn differs(&self, other: &Self) -> Option<u64> {
        if self.hashes.len() != other.hashes.len() || self.origin != other.origin {
            return None;
        }
        let mut places = 0_u64;
        for place in 0..self.hashes.len() {
            if self.hashes[place] == other.hashes[place] {
                continue;
            }
            let words = (self.values | other.values) & 1 << place == 0;
            if !words || self.wilds[place] != other.wilds[place] || places.count_ones() == 2 {
                return None;
            }
            places |= 1 << place;
        }
        (places != 0).then_some(places)
    }

    /// The hash by which it is found.
    pub(super) fn hash(&self, key: Keyed) -> u64 {
        key.line(self.sum, self.hashes.len(), self.origin)
    }

    /// The same for templates that may have words to merge: those with values at the same places and the same first token.
    pub(super) fn family(&self, key: Keyed) -> u64 {
        let values = (0..self.hashes.len())
            .filter(|place| *place == 0 || self.values & 1 << place != 0)
            .fold(0_u64, |sum, place| sum.wrapping_add(key.at(self.hashes[place], place)));
        key.line(values, self.hashes.len(), self.origin)
    }

    /// The same for lines that one combination of learned places may fit.
    pub(super) fn front(&self, key: Keyed) -> u64 {
        front(self.origin, self.hashes.first().copied(), self.hashes.len(), key)
    }

    /// The token at a place, as the text has it.
    pub(crate) fn token(&self, place: usize) -> Option<&str> {
        self.text.split(' ').nth(place)
    }
}

/// See [`Shape::front`].
pub(super) fn front(origin: u16, first: Option<u64>, tokens: usize, key: Keyed) -> u64 {
    key.line(key.at(first.unwrap_or_default(), 0), tokens, origin)
}

/// What the tokens of a line add up to.
#[inline]
pub(super) fn sum(tokens: &[Token], key: Keyed) -> u64 {
    tokens
        .iter()
        .enumerate()
        .fold(0, |sum: u64, (place, token)| sum.wrapping_add(key.at(token.hash, place)))
}

fn bits(tokens: &[Token], is: impl Fn(&Token) -> bool) -> u64 {
    tokens.iter().enumerate().fold(0, |bits, (place, token)| bits | u64::from(is(token)) << place)
}

fn push(text: &mut String, line: &[u8], token: &Token, value: bool) {
    if !text.is_empty() {
        text.push(' ');
    }
    let token_text = token.span.of(line);
    let kept = if value { &token_text[..usize::from(token.key)] } else { token_text };
    // A word and a key are UTF-8; anything else was taken for a value.
    text.push_str(&String::from_utf8_lossy(kept));
    if value {
        text.push_str(WILD);
    }
}
