//! The worker of this crate's tests, and a node to be killed. A real node starts itself again instead.

use std::process::ExitCode;

use wachter_gitops::{FetchLimits, Fetcher, Job, Remote, Source};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [mode, url, repository] if mode == "node" => node(url, repository),
        _ => wachter_gitops::worker_main(std::io::stdin().lock(), std::io::stdout().lock()),
    }
}

/// Fetches once, as a node does.
fn node(url: &str, repository: &str) -> ExitCode {
    let (Ok(location), Ok(worker)) = (url.parse(), std::env::current_exe()) else {
        return ExitCode::FAILURE;
    };
    let job = Job {
        repository: repository.into(),
        source: Source::Remote(Remote::new(location)),
        branch: None,
        limits: FetchLimits::default(),
        accept_unconfined: false,
    };
    match (Fetcher { worker, arguments: Vec::new() }).fetch(&job) {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
