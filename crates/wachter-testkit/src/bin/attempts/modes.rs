//! Misbehaviour that exhausts something. Each has its own bound, so that a jail that does not hold
//! costs a test machine little: 1 GiB of memory, 2,000 processes, 1 GiB of disk.

use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use serde_json::{Value, json};

/// Runs one; none if there is no mode of this name.
pub(crate) fn run(mode: &str, input: &Value) -> Option<Value> {
    let path = input["path"].as_str().map_or_else(std::env::temp_dir, PathBuf::from);
    Some(match mode {
        "memory" => memory(),
        "memory-together" => memory_together(
            input["processes"].as_u64().unwrap_or(0),
            input["mebibytes"].as_u64().unwrap_or(0),
        ),
        "forks" => forks(),
        "fill" => fill(&path, false),
        "fill-fast" => fill_fast(&path),
        "fill-removed" => fill(&path, true),
        "fill-closed" => fill_closed(&path),
        "inodes" => inodes(&path),
        "deep" => deep(&path),
        "spin" => loop {
            std::hint::spin_loop();
        },
        "hang" => hang(false),
        "hang-deaf" => hang(true),
        "daemon" => daemon(),
        "crash" => {
            unsafe { libc::abort() };
        }
        "kill-everyone" => {
            unsafe { libc::kill(-1, libc::SIGKILL) };
            json!("survived")
        }
        "threads-that-spin" => {
            for _ in 0..4 {
                std::thread::spawn(|| {
                    loop {
                        std::hint::spin_loop();
                    }
                });
            }
            hang(false)
        }
        _ => return None,
    })
}

fn memory() -> Value {
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    for _ in 0..1_024 {
        let mut piece = Vec::new();
        if piece.try_reserve_exact(1 << 20).is_err() {
            // Refused by the limit of one process: as good as ended by the limit of all.
            return json!({ "refused_after_mebibytes": pieces.len() });
        }
        piece.resize(1 << 20, 1);
        pieces.push(piece);
    }
    json!({ "mebibytes": pieces.len() })
}

/// Processes that each keep some memory, until all have theirs or were killed for it.
fn memory_together(processes: u64, mebibytes: u64) -> Value {
    let bytes = usize::try_from(mebibytes << 20).unwrap_or(usize::MAX);
    let mut children = Vec::new();
    for _ in 0..processes {
        let mut ends = [0; 2];
        if unsafe { libc::pipe(ends.as_mut_ptr()) } < 0 {
            break;
        }
        match unsafe { libc::fork() } {
            0 => {
                let mut kept: Vec<u8> = Vec::new();
                let had = kept.try_reserve_exact(bytes).is_ok();
                if had {
                    kept.resize(bytes, 1);
                }
                std::hint::black_box(&kept);
                unsafe { libc::write(ends[1], [u8::from(had)].as_ptr().cast(), 1) };
                hang(true)
            }
            child if child > 0 => children.push((child, ends[0])),
            _ => break,
        }
        // So that the end of a child that is killed is the end of its pipe.
        unsafe { libc::close(ends[1]) };
    }
    let mut had = 0;
    for (_, pipe) in &children {
        let mut byte = [0_u8];
        unsafe { libc::read(*pipe, byte.as_mut_ptr().cast(), 1) };
        had += u64::from(byte[0]);
    }
    for (child, _) in &children {
        unsafe { libc::kill(*child, libc::SIGKILL) };
    }
    json!({ "processes": children.len(), "had": had, "mebibytes": had * mebibytes })
}

/// Processes that wait, as many as there may be.
fn forks() -> Value {
    let mut children = Vec::new();
    for _ in 0..2_000 {
        match unsafe { libc::fork() } {
            0 => hang(true),
            child if child > 0 => children.push(child),
            _ => break,
        };
    }
    for child in &children {
        unsafe { libc::kill(*child, libc::SIGKILL) };
    }
    json!({ "processes": children.len() })
}

/// Files of one mebibyte until something says no.
fn fill(folder: &std::path::Path, remove: bool) -> Value {
    let bytes = vec![1; 1 << 20];
    let mut open = Vec::new();
    for number in 0..1_024 {
        let path = folder.join(format!("fill-{number}"));
        let written = fs::File::create(&path).and_then(|mut file| {
            file.write_all(&bytes)?;
            Ok(file)
        });
        match written {
            Ok(file) if remove => {
                let _ = fs::remove_file(&path);
                open.push(file);
                if open.len() > 900 {
                    break;
                }
            }
            Ok(_) => {}
            Err(error) => return json!({ "mebibytes": number, "error": error.to_string() }),
        }
        // As fast as a slow disk, so that what a watcher misses does not depend on this machine's.
        pause(std::time::Duration::from_millis(2));
    }
    pause(std::time::Duration::from_secs(3));
    json!({ "mebibytes": 1_024 })
}

/// Writes without a pause, at most one gibibyte, and keeps a file that says how many bytes in how many
/// microseconds.
fn fill_fast(folder: &std::path::Path) -> Value {
    let begin = std::time::Instant::now();
    let bytes = vec![1; 1 << 20];
    let Ok(pace) = fs::File::create(folder.join("pace")) else { return json!("no file") };
    for number in 1..=1_024_u64 {
        let path = folder.join(format!("fill-{number}"));
        if let Err(error) = fs::write(&path, &bytes) {
            return json!({ "mebibytes": number, "error": error.to_string() });
        }
        // Of one length, so that it is never seen half.
        let line = format!("{:>20} {:>20}", number << 20, begin.elapsed().as_micros());
        let _ = std::os::unix::fs::FileExt::write_all_at(&pace, line.as_bytes(), 0);
    }
    pause(std::time::Duration::from_secs(3));
    json!({ "mebibytes": 1_024 })
}

/// The same, in a folder that is closed to those who would count.
fn fill_closed(folder: &std::path::Path) -> Value {
    use std::os::unix::fs::DirBuilderExt;
    let closed = folder.join("closed");
    if fs::DirBuilder::new().mode(0o300).create(&closed).is_err() {
        return json!("no folder");
    }
    fill(&closed, false)
}

fn inodes(folder: &std::path::Path) -> Value {
    for number in 0..200_000 {
        if let Err(error) = fs::File::create(folder.join(format!("inode-{number}"))) {
            return json!({ "files": number, "error": error.to_string() });
        }
    }
    json!({ "files": 200_000 })
}

/// Folders in folders, deeper than any path can name.
fn deep(folder: &std::path::Path) -> Value {
    let Ok(top) = fs::File::open(folder) else { return json!("no folder") };
    let mut at = top.as_raw_fd();
    for depth in 0..5_000 {
        if unsafe { libc::mkdirat(at, c"deep".as_ptr(), 0o700) } < 0 {
            return json!({ "depth": depth });
        }
        let next = unsafe { libc::openat(at, c"deep".as_ptr(), libc::O_DIRECTORY) };
        if at != top.as_raw_fd() {
            unsafe { libc::close(at) };
        }
        at = next;
    }
    json!({ "depth": 5_000 })
}

fn hang(deaf: bool) -> ! {
    if deaf {
        for signal in 1..=64 {
            unsafe { libc::signal(signal, libc::SIG_IGN) };
        }
    }
    loop {
        unsafe { libc::pause() };
    }
}

/// Leaves a process behind that has a session of its own and hears nothing.
fn daemon() -> Value {
    unsafe {
        if libc::fork() == 0 {
            libc::setsid();
            if libc::fork() == 0 {
                // The pipes too are let go of, so that nobody notices.
                for descriptor in 0..3 {
                    libc::close(descriptor);
                }
                hang(true);
            }
            libc::_exit(0);
        }
        let mut status = 0;
        libc::wait(&raw mut status);
    }
    json!("left")
}

/// The pace of an attempt, not a wait for something.
fn pause(time: std::time::Duration) {
    let time = libc::timespec {
        tv_sec: time.as_secs().cast_signed(),
        tv_nsec: time.subsec_nanos().into(),
    };
    unsafe { libc::nanosleep(&raw const time, std::ptr::null_mut()) };
}
