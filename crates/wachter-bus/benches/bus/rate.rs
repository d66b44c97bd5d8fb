//! How often something is done, by several at once.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

/// One measurement.
pub(crate) struct Clients {
    /// Times a second.
    pub(crate) rate: f64,
    /// How long each took, in milliseconds.
    took: Vec<f64>,
}

impl Clients {
    pub(crate) fn run<F, W>(runtime: &Runtime, clients: u64, length: Duration, work: F) -> Self
    where
        F: Fn(u64) -> W + Clone + Send + 'static,
        W: Future<Output = ()> + Send,
    {
        runtime.block_on(async {
            let begun = Instant::now();
            let tasks: Vec<_> = (0..clients)
                .map(|client| {
                    let work = work.clone();
                    tokio::spawn(async move {
                        let mut took = Vec::new();
                        while begun.elapsed() < length {
                            let start = Instant::now();
                            work(client + took.len() as u64).await;
                            took.push(start.elapsed().as_secs_f64() * 1e3);
                        }
                        took
                    })
                })
                .collect();
            let mut took = Vec::new();
            for task in tasks {
                took.extend(task.await.expect("a client does not panic"));
            }
            Self::of(took, begun.elapsed())
        })
    }

    /// From how long each took, in milliseconds.
    pub(crate) fn of(took: Vec<f64>, length: Duration) -> Self {
        Self { rate: took.len() as f64 / length.as_secs_f64(), took }
    }
}

/// Rate and times over all turns.
pub(crate) fn summary(turns: Vec<Clients>) -> String {
    let rate = median(&turns.iter().map(|turn| turn.rate).collect::<Vec<_>>());
    let took: Vec<_> = turns.into_iter().flat_map(|turn| turn.took).collect();
    let (half, most) = (percentile(&took, 0.5), percentile(&took, 0.99));
    format!("{rate:.0}/s (p50 {half:.2} ms, p99 {most:.2} ms)")
}

pub(crate) fn median(values: &[f64]) -> f64 {
    percentile(values, 0.5)
}

pub(crate) fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1) as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place in a list"
    )]
    let place = (last * share).round() as usize;
    sorted.get(place).copied().unwrap_or(f64::NAN)
}
