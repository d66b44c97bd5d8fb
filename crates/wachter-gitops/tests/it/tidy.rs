//! The node's own repository stays small, and loses nothing on the way.

use std::path::Path;
use std::time::Duration;

use wachter_gitops::{
    FetchError, FetchLimits, Job, LocalRepository, Repository, Source, TreeLimits,
};

use crate::fleet::{Fleet, now};
use crate::support::{assert_sound, fetch, files};

impl Fleet {
    fn tidy_job(&self) -> Job {
        Job { source: Source::Own(self.node.kept()), ..self.job() }
    }

    fn tidy(&mut self) {
        fetch(&self.tidy_job()).unwrap();
        self.node.refresh().unwrap();
    }

    fn git_folder(&self) -> std::path::PathBuf {
        Repository::git_folder(&self.world.path("data"))
    }

    /// Commits that each change one of `files` files of 200 bytes, made by one process.
    fn many_commits(&self, commits: u64, files: u64) -> Vec<String> {
        let mut script = Vec::new();
        for number in 1..=commits {
            script.extend(b"commit refs/heads/many\ncommitter t <t@t> 1 +0000\ndata 1\n.\n");
            if number == 1 {
                script.extend(b"from refs/heads/main^0\n");
            }
            let range = if number == 1 { 0..files } else { number % files..number % files + 1 };
            for file in range {
                script.extend(format!("M 644 inline docs/{file}\ndata 200\n").bytes());
                script.extend(noise(number * 1000 + file, 200));
                script.push(b'\n');
            }
        }
        self.origin.git(&["branch", "-M", "main"]).unwrap();
        self.origin.git_with_input(&["fast-import", "--quiet"], &script).unwrap();
        let listed = self.origin.git(&["rev-list", "--reverse", "main..many"]).unwrap();
        listed.lines().map(str::to_owned).collect()
    }

    /// Every release that is remembered can be read, and Git finds nothing wrong.
    fn assert_whole(&mut self) {
        self.node.refresh().unwrap();
        for release in self.node.state().history.clone() {
            self.node.snapshot_of(&release).unwrap();
        }
        assert_sound(&self.git_folder());
    }
}

/// Packs and bytes below `objects/pack`.
fn packs(repository: &Path) -> (usize, u64) {
    let files = files(&repository.join("objects/pack"));
    let packs = files.iter().filter(|file| file.extension().is_some_and(|end| end == "pack"));
    (packs.count(), files.iter().map(|file| file.metadata().unwrap().len()).sum())
}

/// Bytes that a compressor finds nothing in.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(bytes).collect()
}

#[test]
fn two_hundred_releases_take_what_git_itself_would() {
    let mut fleet = Fleet::new();
    fleet.origin.commit("first").unwrap();
    let commits = fleet.many_commits(200, 100);
    let objects = fleet.origin.path().join(".git/objects");
    let mut local = LocalRepository::open(&objects, TreeLimits::default()).unwrap();
    let like = fleet.statement(1, &commits[0]);
    let mut most = 0;
    for (sequence, commit) in (1..).zip(&commits) {
        let statement = wachter_trust::ReleaseStatement {
            sequence: sequence.to_string().parse().unwrap(),
            commit: commit.parse().unwrap(),
            tree: local.snapshot(commit.parse().unwrap()).unwrap().digest(),
            ..like.clone()
        };
        fleet.tag(sequence, &statement, &fleet.alice);
        fleet.accepts(sequence);
        if fleet.node.is_untidy().unwrap() {
            fleet.tidy();
            assert_eq!(packs(&fleet.git_folder()).0, 1, "release {sequence}");
        }
        most = most.max(packs(&fleet.git_folder()).0);
    }
    assert!((20..=21).contains(&most), "{most} packs at the most");
    fleet.tidy();
    fleet.assert_whole();
    assert_eq!(fleet.node.state().history.len(), 20);
    // What Git makes of the same objects with all of its arts.
    let peer = fleet.world.path("peer.git");
    let (from, to) = (fleet.origin.path().to_str().unwrap(), peer.to_str().unwrap());
    fleet.origin.git(&["clone", "-q", "--mirror", "--no-local", from, to]).unwrap();
    fleet.origin.git(&["-C", to, "repack", "-q", "-a", "-d", "-f"]).unwrap();
    let (own, peer) = (packs(&fleet.git_folder()).1, packs(&peer).1);
    assert!(own < peer * 2, "{own} bytes, and {peer} when git packs it");
}

#[test]
fn what_nobody_names_goes_and_the_rest_stays() {
    let mut fleet = Fleet::new();
    fleet.release(1);
    fleet.accepts(1);
    let main = fleet.origin.git(&["rev-parse", "HEAD"]).unwrap();
    // Mallory has a tag fetched and takes it away: that must not fill the disk for ever.
    fleet.origin.write("large", noise(1, 1 << 20)).unwrap();
    let commit = fleet.origin.commit("large").unwrap();
    fleet.tag(9, &fleet.statement(9, &commit), &fleet.mallory);
    fleet.refuses();
    fleet.tidy();
    assert!(packs(&fleet.git_folder()).1 > 1 << 20, "the server still names it");
    fleet.origin.git(&["tag", "-d", "wachter/9"]).unwrap();
    fleet.origin.git(&["reset", "-q", "--hard", &main]).unwrap();
    assert!(fleet.sync().refused.is_empty());
    fleet.tidy();
    assert!(packs(&fleet.git_folder()).1 < 1 << 16);
    fleet.assert_whole();
    // Nothing to do is nothing done.
    let before = packs(&fleet.git_folder());
    fleet.tidy();
    assert_eq!(packs(&fleet.git_folder()), before);
    // The same content again: the server has to send it anew.
    fleet.origin.write("large", noise(1, 1 << 20)).unwrap();
    fleet.release(10);
    fleet.accepts(10);
    fleet.assert_whole();
}

#[test]
fn a_tag_that_is_gone_from_the_server_takes_no_accepted_release_along() {
    let mut fleet = Fleet::new();
    for sequence in 1..=3 {
        fleet.origin.write("config/wachter.yaml", format!("interval: {sequence}s\n")).unwrap();
        fleet.release(sequence);
        fleet.accepts(sequence);
    }
    // The server forgets all of it: no reference names what is in force.
    fleet.origin.git(&["tag", "-d", "wachter/1", "wachter/2", "wachter/3"]).unwrap();
    let _ = fleet.sync();
    fleet.tidy();
    fleet.assert_whole();
    assert_eq!(fleet.content("config/wachter.yaml"), "interval: 3s\n");
    fleet.node.rollback(Some(1), now()).unwrap();
    assert_eq!(fleet.content("config/wachter.yaml"), "interval: 1s\n");
}

#[test]
fn a_large_pack_is_left_alone() {
    let mut fleet = Fleet::new();
    fleet.origin.write("large", noise(1, 1 << 20)).unwrap();
    fleet.release(1);
    fleet.accepts(1);
    let names = |fleet: &Fleet| files(&fleet.git_folder().join("objects/pack"));
    let first = names(&fleet);
    for sequence in 2..=6 {
        fleet.origin.write("config/wachter.yaml", format!("interval: {sequence}s\n")).unwrap();
        fleet.release(sequence);
        fleet.accepts(sequence);
    }
    fleet.tidy();
    assert_eq!(packs(&fleet.git_folder()).0, 2);
    assert!(first.iter().all(|file| names(&fleet).contains(file)));
    fleet.assert_whole();
}

/// What a worker leaves that was killed after one step or another, made by hand.
#[test]
fn every_step_can_be_the_last() {
    type Step = (&'static str, fn(&Path, &Path));
    let copy = |from: &Path, to: &Path, ends: &[&str]| {
        for file in files(from) {
            let end = file.extension().unwrap_or_default().to_string_lossy().into_owned();
            if ends.contains(&end.as_str()) {
                std::fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
            }
        }
    };
    let steps: [Step; 4] = [
        ("the new pack is half written", |_, repository| {
            std::fs::write(repository.join("incoming/tidy"), noise(1, 5000)).unwrap();
        }),
        ("the new pack has no index yet", |_, repository| {
            std::fs::write(repository.join("objects/pack/pack-0.pack"), noise(1, 5000)).unwrap();
        }),
        ("no old pack is removed yet", |_, _| {}),
        ("an old pack lost its index", |_, repository| {
            let all = files(&repository.join("objects/pack"));
            let index = all.iter().find(|file| file.extension().is_some_and(|end| end == "idx"));
            // Of an old one: the new one was written last, and its content is in the others too.
            std::fs::remove_file(index.unwrap()).unwrap();
        }),
    ];
    for (at, (name, leave)) in steps.into_iter().enumerate() {
        let mut fleet = Fleet::new();
        for sequence in 1..=3 {
            fleet.origin.write("config/wachter.yaml", format!("interval: {sequence}s\n")).unwrap();
            fleet.release(sequence);
            fleet.accepts(sequence);
        }
        let (repository, old) = (fleet.git_folder(), fleet.world.path("old"));
        std::fs::create_dir(&old).unwrap();
        copy(&repository.join("objects/pack"), &old, &["pack", "idx"]);
        if at >= 2 {
            fleet.tidy();
            copy(&old, &repository.join("objects/pack"), &["pack", "idx"]);
        }
        leave(&old, &repository);
        fleet.node.refresh().unwrap();
        if at != 3 {
            fleet.assert_whole();
        }
        fleet.tidy();
        fleet.assert_whole();
        assert_eq!(packs(&repository).0, 1, "{name}");
        assert_eq!(files(&repository.join("incoming")), Vec::<std::path::PathBuf>::new(), "{name}");
        fleet.origin.write("config/wachter.yaml", "interval: 9s\n").unwrap();
        fleet.release(9);
        fleet.accepts(9);
    }
}

#[test]
fn a_worker_that_is_killed_loses_nothing() {
    let mut fleet = Fleet::new();
    for sequence in 1..=5 {
        fleet.origin.write("large", noise(sequence, 1 << 18)).unwrap();
        fleet.release(sequence);
        fleet.accepts(sequence);
    }
    let (mut killed, mut done) = (0, 0);
    for milliseconds in (0..).step_by(2) {
        let limits =
            FetchLimits { time: Duration::from_millis(milliseconds), ..FetchLimits::default() };
        match fetch(&Job { limits, ..fleet.tidy_job() }) {
            Ok(_) => done += 1,
            Err(FetchError::Deadline { .. }) => killed += 1,
            Err(other) => panic!("{other:?}"),
        }
        fleet.assert_whole();
        // Well past the first that had time enough, there are no more steps to be killed at.
        if done == 3 {
            break;
        }
    }
    assert!(killed > 0);
    assert_eq!(packs(&fleet.git_folder()).0, 1);
}

#[test]
fn a_job_of_its_own_needs_no_server() {
    let mut fleet = Fleet::new();
    fleet.release(1);
    fleet.accepts(1);
    std::fs::remove_dir_all(fleet.origin.path()).unwrap();
    fleet.tidy();
    assert_eq!(fleet.content("config/wachter.yaml"), "interval: 30s\n");
    let empty = fleet.world.path("empty.git");
    let job = Job { repository: empty.clone(), ..fleet.tidy_job() };
    fetch(&job).unwrap();
    assert_eq!(packs(&empty).0, 0);
}
