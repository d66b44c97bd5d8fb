use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

use hashbrown::HashTable;

use super::MOST_TEXT;
use super::hash::Keyed;
use super::shape::{Shape, front, sum};
use super::table::{Entry, Slot, Table};
use super::token::{Token, cut};

/// How many different words in one place make it a value.
const ONE_PLACE: usize = 4;

/// How many different words in each of two places make both values.
const TWO_PLACES: usize = 6;

/// How many other words that say something a template keeps when one place, or two, become values.
const KEPT: [u32; 2] = [2, 3];

/// Finds the template of each line, and learns templates. `T` is what its owner keeps of each.
#[derive(Clone, Debug)]
pub(crate) struct Miner<T> {
    key: Keyed,
    table: Table<T>,
    /// By [`Shape::hash`].
    index: HashTable<Slot>,
    /// By [`Shape::family`].
    families: HashMap<u64, Vec<Slot>, Hashed>,
    /// By [`Shape::front`]: the combinations of learned places, each with the number of templates that have it.
    learned: HashMap<u64, BTreeMap<(u32, u64), u32>, Hashed>,
    tokens: Vec<Token>,
}

type Hashed = BuildHasherDefault<AlreadyHashed>;

/// Where a line belongs.
pub(crate) enum Found<T> {
    /// To a template that was there.
    Known(Slot),
    /// To one that begins with this line.
    New(Slot),
    /// To one that begins with this line and takes others in.
    Merged(Slot, Vec<Merge<T>>),
}

/// A template that went into another.
pub(crate) struct Merge<T> {
    pub(crate) shape: Shape,
    pub(crate) facts: T,
}

impl<T> Default for Miner<T> {
    fn default() -> Self {
        Self {
            key: Keyed::random(),
            table: Table::default(),
            index: HashTable::new(),
            families: HashMap::default(),
            learned: HashMap::default(),
            tokens: Vec::new(),
        }
    }
}

impl<T: Default> Miner<T> {
    /// The template of a line, which is learned if there was none.
    #[inline]
    pub(crate) fn observe(&mut self, origin: u16, line: &[u8]) -> Found<T> {
        match self.find(origin, line) {
            Some(slot) => Found::Known(slot),
            None => self.learn(origin, line),
        }
    }

    /// The template of a line, if there is one.
    #[inline]
    pub(crate) fn find(&mut self, origin: u16, line: &[u8]) -> Option<Slot> {
        let line = line.get(..MOST_TEXT).unwrap_or(line);
        cut(line, self.key, &mut self.tokens);
        let sum = sum(&self.tokens, self.key);
        self.lookup(origin, sum, 0).or_else(|| self.find_learned(origin, sum))
    }

    #[inline]
    fn lookup(&self, origin: u16, sum: u64, places: u64) -> Option<Slot> {
        let hash = self.key.line(sum, self.tokens.len(), origin);
        let is = |slot: &Slot| {
            let entry = self.table.get(*slot);
            entry.is_some_and(|entry| entry.shape.is_of(origin, &self.tokens, places))
        };
        self.index.find(hash, is).copied()
    }

    /// Few places first, so that the template that says most is found whatever the order in which they were learned.
    fn find_learned(&self, origin: u16, sum: u64) -> Option<Slot> {
        let first = self.tokens.first().map(|token| token.hash);
        let combinations = self.learned.get(&front(origin, first, self.tokens.len(), self.key))?;
        combinations.keys().find_map(|(_, places)| {
            let mut sum = sum;
            for place in ones(*places) {
                let Token { hash, wild, .. } = self.tokens[place];
                let before = self.key.at(hash, place);
                sum = sum.wrapping_sub(before).wrapping_add(self.key.at(wild, place));
            }
            self.lookup(origin, sum, *places)
        })
    }

    #[cold]
    fn learn(&mut self, origin: u16, line: &[u8]) -> Found<T> {
        let mut slot =
            self.insert(Shape::of_line(origin, line, &self.tokens, self.key), T::default());
        let mut merged = Vec::new();
        while let Some(places) = self.places_to_generalize(slot) {
            (slot, merged) = self.merge(slot, places, merged);
        }
        if merged.is_empty() { Found::New(slot) } else { Found::Merged(slot, merged) }
    }

    /// Where a template that begins now shows, with its relatives, enough different words.
    fn places_to_generalize(&self, slot: Slot) -> Option<u64> {
        let shape = &self.table.get(slot)?.shape;
        let mut relatives: BTreeMap<(u32, u64), Vec<Slot>> = BTreeMap::new();
        for other in self.families.get(&shape.family(self.key))? {
            let Some(entry) = self.table.get(*other).filter(|_| *other != slot) else { continue };
            if let Some(places) = entry.shape.differs(shape) {
                relatives.entry((places.count_ones(), places)).or_default().push(*other);
            }
        }
        let enough = |((count, places), others): &((u32, u64), Vec<Slot>)| {
            let kept = (shape.telling & !places).count_ones();
            let telling = shape.telling & places == *places && places & 1 == 0;
            telling
                && if *count == 1 {
                    others.len() + 1 >= ONE_PLACE && kept >= KEPT[0]
                } else {
                    kept >= KEPT[1]
                        && ones(*places).all(|place| self.words(others, place) + 1 >= TWO_PLACES)
                }
        };
        // One place before two, and of several the one with most words.
        let mut found: Vec<_> = relatives.into_iter().filter(|found| enough(found)).collect();
        found.sort_by_key(|((count, places), others)| (*count, usize::MAX - others.len(), *places));
        found.first().map(|((_, places), _)| *places)
    }

    fn words(&self, slots: &[Slot], place: usize) -> usize {
        let hash = |slot: &Slot| self.table.get(*slot)?.shape.hashes.get(place).copied();
        slots.iter().filter_map(hash).collect::<BTreeSet<_>>().len()
    }

    /// Puts a template and its relatives at `places` into one, and gives what went into it.
    fn merge(
        &mut self,
        slot: Slot,
        places: u64,
        mut merged: Vec<Merge<T>>,
    ) -> (Slot, Vec<Merge<T>>) {
        let Some(entry) = self.table.get(slot) else { return (slot, merged) };
        let general = entry.shape.generalized(places, self.key);
        let family = self.families.get(&entry.shape.family(self.key)).cloned().unwrap_or_default();
        let belongs = |other: &Slot| {
            let other = self.table.get(*other).and_then(|other| other.shape.differs(&entry.shape));
            other.is_some_and(|differs| differs & !places == 0)
        };
        let mut members: Vec<Slot> = family.into_iter().filter(belongs).collect();
        members.push(slot);
        let same = |other: &Slot| {
            self.table.get(*other).is_some_and(|other| {
                other.shape.origin == general.origin && other.shape.hashes == general.hashes
            })
        };
        members.extend(self.index.find(general.hash(self.key), same));
        for member in members {
            let entry = self.remove(member);
            merged.extend(entry.map(|Entry { shape, facts }| Merge { shape, facts }));
        }
        (self.insert(general, T::default()), merged)
    }
}

impl<T> Miner<T> {
    /// Adds a template with what is known of it. The caller knows that there is none with the same text.
    pub(crate) fn insert(&mut self, shape: Shape, facts: T) -> Slot {
        let key = self.key;
        let (hash, family, front) = (shape.hash(key), shape.family(key), shape.front(key));
        let learned = shape.learned;
        let slot = self.table.insert(Entry { shape, facts });
        let table = &self.table;
        self.index.insert_unique(hash, slot, |slot| {
            table.get(*slot).map_or(0, |entry| entry.shape.hash(key))
        });
        self.families.entry(family).or_default().push(slot);
        if learned != 0 {
            let places = (learned.count_ones(), learned);
            *self.learned.entry(front).or_default().entry(places).or_default() += 1;
        }
        slot
    }

    /// Takes a template out.
    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Entry<T>> {
        let entry = self.table.remove(slot)?;
        let key = self.key;
        if let Ok(found) = self.index.find_entry(entry.shape.hash(key), |other| *other == slot) {
            found.remove();
        }
        let family = entry.shape.family(key);
        if let Some(slots) = self.families.get_mut(&family) {
            slots.retain(|other| *other != slot);
            if slots.is_empty() {
                self.families.remove(&family);
            }
        }
        let (front, learned) = (entry.shape.front(key), entry.shape.learned);
        if let Some(combinations) = self.learned.get_mut(&front).filter(|_| learned != 0) {
            let places = (learned.count_ones(), learned);
            if let Some(count) = combinations.get_mut(&places) {
                *count -= 1;
                if *count == 0 {
                    combinations.remove(&places);
                }
            }
            if combinations.is_empty() {
                self.learned.remove(&front);
            }
        }
        Some(entry)
    }

    /// A template, and the tokens of the line that was looked up last.
    #[inline]
    pub(crate) fn get_with_tokens(&mut self, slot: Slot) -> Option<(&mut Entry<T>, &[Token])> {
        Some((self.table.get_mut(slot)?, &self.tokens))
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&Entry<T>> {
        self.table.get(slot)
    }

    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Entry<T>> {
        self.table.get_mut(slot)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot, &Entry<T>)> {
        self.table.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry<T>> {
        self.table.iter_mut()
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) const fn key(&self) -> Keyed {
        self.key
    }
}

/// The places of the ones.
#[inline]
pub(crate) fn ones(mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let place = (bits != 0).then(|| bits.trailing_zeros() as usize);
        bits &= bits.wrapping_sub(1);
        place
    })
}

/// Takes what is a keyed hash already as it is.
#[derive(Clone, Copy, Debug, Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The templates after these lines, sorted.
    fn mined(lines: &[&str]) -> Vec<String> {
        let mut miner = Miner::<()>::default();
        for line in lines {
            miner.observe(0, line.as_bytes());
        }
        let mut texts: Vec<_> = miner.iter().map(|(_, entry)| entry.shape.text.clone()).collect();
        texts.sort();
        texts
    }

    #[test]
    fn a_word_with_four_different_ones_in_its_place_is_a_value() {
        let lines: Vec<String> = ["ann", "bob", "cas", "dora", "eve"]
            .iter()
            .map(|name| format!("session opened for {name} by uid=7"))
            .collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        assert_eq!(mined(&lines[..3]).len(), 3);
        assert_eq!(mined(&lines[..4]), ["session opened for <*> by uid=<*>"]);
        assert_eq!(mined(&lines), ["session opened for <*> by uid=<*>"]);
    }

    #[test]
    fn what_would_say_nothing_any_more_is_not_merged() {
        let lines = ["state is up", "state is down", "state is odd", "state is even"];
        assert_eq!(mined(&lines), ["state is <*>"]);
        assert_eq!(mined(&["is up", "is down", "is odd", "is even", "is so"]).len(), 5);
        // The first word tells programs' messages apart.
        assert_eq!(
            mined(&["up is state", "down is state", "odd is state", "so is state"]).len(),
            4
        );
    }

    #[test]
    fn the_value_of_a_key_keeps_its_key() {
        let lines = ["login failed user=ann", "login failed user=bob", "login failed user=cas"];
        assert_eq!(mined(&lines).len(), 3);
        let more = [&lines[..], &["login failed user=dora", "login failed role=admin"]].concat();
        assert_eq!(mined(&more), ["login failed role=admin", "login failed user=<*>"]);
    }

    #[test]
    fn two_places_that_vary_together_are_values() {
        let names = ["ann", "bob", "cas", "dora", "eve", "fay", "gus"];
        let hosts = ["mars", "venus", "pluto", "juno", "ceres", "vesta", "eros"];
        let lines: Vec<String> = names
            .iter()
            .zip(hosts)
            .map(|(name, host)| format!("user {name} came in from {host} today"))
            .collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        assert_eq!(mined(&lines[..5]).len(), 5);
        assert_eq!(mined(&lines), ["user <*> came in from <*> today"]);
    }

    #[test]
    fn origins_are_apart() {
        let mut miner = Miner::<()>::default();
        assert!(matches!(miner.observe(0, b"the same line"), Found::New(_)));
        assert!(matches!(miner.observe(1, b"the same line"), Found::New(_)));
        assert!(matches!(miner.observe(0, b"the same  line"), Found::Known(_)));
        assert_eq!(miner.len(), 2);
    }

    #[test]
    fn what_was_merged_is_handed_over_once() {
        let mut miner = Miner::<u32>::default();
        for name in ["ann", "bob", "cas"] {
            let Found::New(slot) = miner.observe(0, format!("hello dear {name}").as_bytes()) else {
                panic!("{name} is no new template");
            };
            miner.get_mut(slot).unwrap().facts = 1;
        }
        let Found::Merged(slot, members) = miner.observe(0, b"hello dear dora") else {
            panic!("nothing was merged");
        };
        assert_eq!(members.iter().map(|member| member.facts).sum::<u32>(), 3);
        assert_eq!(miner.get(slot).unwrap().shape.text, "hello dear <*>");
        assert_eq!(miner.len(), 1);
        miner.remove(slot);
        assert!(miner.find(0, b"hello dear ann").is_none());
        assert!(miner.families.is_empty() && miner.learned.is_empty() && miner.index.is_empty());
    }

    fn lines() -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec(
            "(up|down|in) (is|at|of) (ann|bob|cas|dora|eve) (in|on) k=(x|y|z|u|v|1)",
            1..60,
        )
    }

    proptest! {
        #[test]
        fn a_line_is_of_the_template_that_it_was_put_into(lines in lines()) {
            let mut miner = Miner::<()>::default();
            for line in &lines {
                let slot = match miner.observe(0, line.as_bytes()) {
                    Found::Known(slot) | Found::New(slot) | Found::Merged(slot, _) => slot,
                };
                prop_assert_eq!(miner.find(0, line.as_bytes()), Some(slot));
            }
            for line in &lines {
                prop_assert!(miner.find(0, line.as_bytes()).is_some());
            }
        }

        #[test]
        fn a_key_changes_nothing_and_a_text_is_all_there_is_to_a_template(lines in lines()) {
            let mut one = Miner::<()>::default();
            let mut other = Miner::<()>::default();
            for (number, line) in lines.iter().enumerate() {
                one.observe(0, line.as_bytes());
                other.observe(0, line.as_bytes());
                if number % 7 == 0 {
                    let mut again = Miner::<()>::default();
                    for (_, entry) in other.iter() {
                        let Shape { origin, text, learned, .. } = &entry.shape;
                        let shape = Shape::of_text(*origin, text, *learned, again.key());
                        again.insert(shape.unwrap(), ());
                    }
                    other = again;
                }
            }
            let texts = |miner: &Miner<()>| {
                let shape = |entry: &Entry<()>| (entry.shape.text.clone(), entry.shape.learned);
                let mut texts: Vec<_> = miner.iter().map(|(_, entry)| shape(entry)).collect();
                texts.sort();
                texts
            };
            prop_assert_eq!(texts(&one), texts(&other));
        }
    }
}
