//! What a power cut leaves of the changes that were not synced, decided by a seed.

use std::path::PathBuf;

use super::disk::{Change, Disk, File, write};

/// The unit that a disk writes: SQLite's own tests tear at the same size.
const SECTOR: usize = 512;

/// One power cut.
#[derive(Debug)]
pub(super) struct Damage {
    random: Random,
    extreme: Option<Plan>,
}

/// What becomes of the waiting changes of one file. Independent decisions alone would hardly ever
/// keep all of one file and nothing of another, which is what breaks a missing sync.
#[derive(Clone, Copy, Debug)]
enum Plan {
    DropAll,
    KeepAll,
    /// Keeps this many, and a part of the next.
    KeepFirst(usize),
    /// Drops this many, and a part of the next.
    DropFirst(usize),
    /// Decides on each by itself; this many of four are kept whole.
    Each(u64),
}

/// What becomes of one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Dropped,
    Kept,
    Torn,
}

impl Damage {
    pub(super) fn of_seed(seed: u64) -> Self {
        let extreme = match seed {
            0 => Some(Plan::DropAll),
            1 => Some(Plan::KeepAll),
            _ => None,
        };
        Self { random: Random(seed), extreme }
    }

    /// The files of the folder after the cut.
    pub(super) fn image(mut self, disk: &Disk) -> Vec<(PathBuf, Vec<u8>)> {
        let mut image = Vec::new();
        for (path, name) in &disk.names {
            // Each thing that the name ever stood for since the sync of its folder is possible.
            let at = match self.extreme {
                Some(Plan::DropAll) => 0,
                Some(_) => name.waiting.len(),
                None => self.random.below(name.waiting.len() + 1),
            };
            let file = at.checked_sub(1).map_or(name.synced, |at| name.waiting[at]);
            if let Some(file) = file.and_then(|file| disk.files.get(&file)) {
                image.push((path.clone(), self.content(file)));
            }
        }
        image
    }

    fn content(&mut self, file: &File) -> Vec<u8> {
        let mut content = file.synced.clone();
        let plan = self.plan(file.waiting.len());
        for (at, change) in file.waiting.iter().enumerate() {
            let fate = self.fate(plan, at);
            match change {
                Change::Write { offset, bytes } if fate != Fate::Kept => {
                    self.tear(&mut content, *offset, bytes, fate);
                }
                Change::Resize { .. } if fate == Fate::Dropped => {}
                // A size is one number: it is never torn.
                change => change.apply(&mut content),
            }
        }
        content
    }

    fn plan(&mut self, count: usize) -> Plan {
        if let Some(extreme) = self.extreme {
            return extreme;
        }
        match self.random.below(6) {
            0 => Plan::DropAll,
            1 => Plan::KeepAll,
            2 => Plan::KeepFirst(self.random.below(count + 1)),
            3 => Plan::DropFirst(self.random.below(count + 1)),
            _ => Plan::Each(self.random.next() % 4),
        }
    }

    fn fate(&mut self, plan: Plan, at: usize) -> Fate {
        match plan {
            Plan::DropAll => Fate::Dropped,
            Plan::KeepAll => Fate::Kept,
            Plan::KeepFirst(count) | Plan::DropFirst(count) if at == count => Fate::Torn,
            Plan::KeepFirst(count) if at < count => Fate::Kept,
            Plan::DropFirst(count) if at > count => Fate::Kept,
            Plan::KeepFirst(_) | Plan::DropFirst(_) => Fate::Dropped,
            Plan::Each(kept) if self.random.next() % 4 < kept => Fate::Kept,
            Plan::Each(_) if self.random.one_of(2) => Fate::Dropped,
            Plan::Each(_) => Fate::Torn,
        }
    }

    /// Applies a part of a write: of a dropped one at most the growth of the file.
    fn tear(&mut self, content: &mut Vec<u8>, offset: usize, bytes: &[u8], fate: Fate) {
        let grows = self.extreme.is_none() && self.random.one_of(4);
        let noise = grows && self.random.one_of(2);
        let parts = sectors(offset, bytes.len());
        // A disk writes a sector from one end to the other; at most one is under way.
        let under_way = self.random.one_of(2).then(|| self.random.below(parts.len()));
        for (at, (start, end)) in parts.into_iter().enumerate() {
            let part = &bytes[start - offset..end - offset];
            let kept = match fate {
                Fate::Kept => part,
                Fate::Torn if Some(at) == under_way => {
                    let middle = self.random.below(part.len() + 1);
                    if self.random.one_of(2) {
                        &part[..middle]
                    } else {
                        write(content, start + middle, &part[middle..]);
                        continue;
                    }
                }
                Fate::Torn if self.random.one_of(2) => part,
                Fate::Torn | Fate::Dropped => &[],
            };
            if !kept.is_empty() {
                write(content, start, kept);
            } else if grows && content.len() < end {
                let old = content.len();
                content.resize(end, 0);
                if noise {
                    // What lies before this write is a gap, which reads as zeros.
                    let from = old.max(start);
                    content[from..].fill_with(|| self.random.byte());
                }
            }
        }
    }
}

/// The range cut at the borders of sectors: start and end of each part.
fn sectors(offset: usize, length: usize) -> Vec<(usize, usize)> {
    let end = offset + length;
    let mut parts = Vec::with_capacity(length / SECTOR + 2);
    let mut start = offset;
    while start < end {
        let next = (start / SECTOR + 1) * SECTOR;
        parts.push((start, next.min(end)));
        start = next;
    }
    parts
}

/// SplitMix64: neighbouring seeds give unrelated numbers.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below the limit; 0 where the limit is 0.
    fn below(&mut self, limit: usize) -> usize {
        let limit = limit.max(1) as u64;
        usize::try_from(self.next() % limit).expect("it is below a number of this type")
    }

    /// True once in this many times.
    fn one_of(&mut self, count: u64) -> bool {
        self.next().is_multiple_of(count)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use proptest::prelude::*;

    use super::super::log::{FileId, Log, Operation};
    use super::*;

    /// Makes the file as the VFS does.
    fn make(log: &mut Log, path: &Path) -> FileId {
        std::fs::write(path, "").unwrap();
        log.opened(path, false).unwrap().unwrap()
    }

    /// A disk with one file, whose folder is synced.
    fn disk(synced: &[u8], writes: &[(usize, Vec<u8>)]) -> Disk {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::of_folder(folder.path()).unwrap();
        let path = folder.path().canonicalize().unwrap().join("file");
        let file = make(&mut log, &path);
        log.folder_synced(file);
        log.written(file, 0, synced);
        log.synced(file);
        for (offset, bytes) in writes {
            log.written(file, *offset, bytes);
        }
        let mut disk = Disk::default();
        log.between(0, usize::MAX).iter().for_each(|operation| disk.apply(operation));
        disk
    }

    fn content(disk: &Disk, seed: u64) -> Vec<u8> {
        let image = Damage::of_seed(seed).image(disk);
        assert_eq!(image.len(), 1, "the name is synced");
        image.into_iter().next().unwrap().1
    }

    fn bytes(size: usize) -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 1..size)
    }

    proptest! {
        /// A byte has one of the contents that it ever had since the last sync; one that was never
        /// written keeps its own.
        #[test]
        fn nothing_but_what_was_written_changes(
            synced in bytes(3000),
            writes in prop::collection::vec((0usize..4000, bytes(2500)), 0..6),
            seed in any::<u64>(),
        ) {
            let disk = disk(&synced, &writes);
            for (at, found) in content(&disk, seed).into_iter().enumerate() {
                let written: Vec<u8> = writes
                    .iter()
                    .filter_map(|(offset, bytes)| bytes.get(at.checked_sub(*offset)?).copied())
                    .collect();
                let before = synced.get(at).copied();
                // Behind the old end a write may have left its length alone, and any bytes.
                let anything = before.is_none() && !written.is_empty();
                prop_assert!(
                    anything || found == before.unwrap_or(0) || written.contains(&found),
                    "byte {at} is {found}: it was {before:?}, and then {written:?}"
                );
            }
        }

        #[test]
        fn the_extremes_are_all_and_nothing(
            synced in bytes(3000),
            writes in prop::collection::vec((0usize..4000, bytes(2500)), 0..6),
        ) {
            let disk = disk(&synced, &writes);
            prop_assert!(content(&disk, 0) == synced);
            let mut all = synced;
            writes.iter().for_each(|(offset, bytes)| write(&mut all, *offset, bytes));
            prop_assert!(content(&disk, 1) == all);
        }

        #[test]
        fn sectors_cover_a_write_and_stay_inside(offset in 0usize..5000, length in 1usize..5000) {
            let parts = sectors(offset, length);
            prop_assert_eq!(parts[0].0, offset);
            prop_assert_eq!(parts[parts.len() - 1].1, offset + length);
            for pair in parts.windows(2) {
                prop_assert_eq!(pair[0].1, pair[1].0);
                prop_assert_eq!(pair[0].1 % SECTOR, 0);
            }
        }
    }

    /// Two writes, one behind the other: every way to lose one of them or a part is among a few
    /// hundred seeds.
    #[test]
    fn every_kind_of_damage_happens() {
        let disk = disk(&[0; 2048], &[(0, vec![1; 1024]), (1024, vec![2; 1024])]);
        let mut kinds = BTreeSet::new();
        for seed in 2..600 {
            let content = content(&disk, seed);
            let sector = |at: usize| {
                let part = &content[at * SECTOR..(at + 1) * SECTOR];
                let first = part[0];
                if part.iter().all(|byte| *byte == first) {
                    if first == 0 { "old" } else { "new" }
                } else if first == 0 {
                    "end"
                } else {
                    "start"
                }
            };
            kinds.insert([sector(0), sector(1), sector(2), sector(3)]);
        }
        for expected in [
            ["old", "old", "old", "old"],
            ["new", "new", "old", "old"],
            ["old", "old", "new", "new"],
            ["new", "new", "new", "new"],
            ["new", "old", "new", "new"],
            ["old", "new", "old", "old"],
            ["start", "old", "old", "old"],
            ["new", "end", "new", "new"],
        ] {
            assert!(kinds.contains(&expected), "{expected:?} is not among {kinds:?}");
        }
    }

    /// Names: what they ever stood for since the sync of their folder, and nothing after it.
    #[test]
    fn names_wait_for_the_sync_of_their_folder() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::of_folder(folder.path()).unwrap();
        let path = folder.path().canonicalize().unwrap().join("file");
        let images = |log: &Log| {
            let mut disk = Disk::default();
            log.between(0, usize::MAX).iter().for_each(|operation| disk.apply(operation));
            (0..100).map(|seed| Damage::of_seed(seed).image(&disk)).collect::<BTreeSet<_>>()
        };
        let there =
            |content: &str| vec![(Path::new("file").to_owned(), content.as_bytes().to_vec())];

        let first = make(&mut log, &path);
        log.written(first, 0, b"1");
        log.synced(first);
        assert_eq!(images(&log), BTreeSet::from([vec![], there("1")]));
        log.folder_synced(first);
        assert_eq!(images(&log), BTreeSet::from([there("1")]));

        log.deleted(&path, false);
        let second = make(&mut log, &path);
        log.written(second, 0, b"2");
        log.synced(second);
        assert_eq!(images(&log), BTreeSet::from([vec![], there("1"), there("2")]));
        log.deleted(&path, true);
        assert_eq!(images(&log), BTreeSet::from([vec![]]));
        assert!(matches!(log.between(0, usize::MAX).last(), Some(Operation::SyncFolder { .. })));
    }

    /// A size that was set is there whole or not at all.
    #[test]
    fn a_size_is_never_torn() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::of_folder(folder.path()).unwrap();
        let path = folder.path().canonicalize().unwrap().join("file");
        let file = make(&mut log, &path);
        log.folder_synced(file);
        log.written(file, 0, &[7; 1000]);
        log.synced(file);
        log.resized(file, 10);
        let mut disk = Disk::default();
        log.between(0, usize::MAX).iter().for_each(|operation| disk.apply(operation));
        let sizes: BTreeSet<usize> = (0..100).map(|seed| content(&disk, seed).len()).collect();
        assert_eq!(sizes, BTreeSet::from([10, 1000]));
    }
}
