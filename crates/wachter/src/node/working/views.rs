//! Snapshots of the host for runs: by one thread, one after the other, each within a time limit.
//!
//! Agents of the same interval are due at once. Each thread that reads all of `/proc` beside another
//! takes an arena of memory of its own, which is never given back whole: so they take turns.
//!
//! # Invariants
//! - No run waits longer for a look at the host than the look may last, with those before it. It then
//!   begins without views, and is told so in [`HostViews::missing`].
//! - A look that does not come back holds up one thread, however many runs come: while it lasts, no other
//!   is begun. Ending the node does not wait for it.

use std::collections::BTreeSet;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use wachter_protocol::HostView;
use wachter_protocol::module::HostViews;

/// How long a look at the host may last; that at units alone may take 6 seconds.
pub(super) const LIMIT: Duration = Duration::from_secs(10);

/// Takes snapshots of the host.
#[derive(Clone, Debug)]
pub(super) struct Views {
    wanted: mpsc::UnboundedSender<Wanted>,
    /// Since when the look lasts that is under way.
    looking: watch::Receiver<Option<Instant>>,
    limit: Duration,
}

#[derive(Debug)]
struct Wanted {
    views: BTreeSet<HostView>,
    answer: oneshot::Sender<HostViews>,
}

impl Views {
    /// By `sample`, which may block, and may last for `limit`.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(super) fn start(
        limit: Duration,
        sample: impl Fn(&BTreeSet<HostView>) -> HostViews + Send + 'static,
    ) -> io::Result<Self> {
        let (wanted, next) = mpsc::unbounded_channel();
        let (looks, looking) = watch::channel(None);
        // A thread of its own: the runtime would wait for one of its own to end, at the end of the node.
        let builder = std::thread::Builder::new().name("views".to_owned());
        builder.spawn(move || look(next, &looks, sample))?;
        Ok(Self { wanted, looking, limit })
    }

    /// A snapshot of each of `views`; what there is none of is named in `missing`.
    pub(super) async fn take(&self, views: &BTreeSet<HostView>) -> HostViews {
        let mut looking = self.looking.clone();
        let late = |since: &Option<Instant>| {
            since.is_some_and(|since| since + self.limit <= Instant::now())
        };
        if late(&looking.borrow()) {
            return self.too_late(views);
        }
        let (answer, mut answered) = oneshot::channel();
        if self.wanted.send(Wanted { views: views.clone(), answer }).is_err() {
            return without(views, "nobody looks at the host any more; restart the node");
        }
        loop {
            let since = *looking.borrow_and_update();
            tokio::select! {
                biased;
                taken = &mut answered => return taken.unwrap_or_else(|_| {
                    without(views, "looking at the host failed; the log of the node says where")
                }),
                // Without a look, one begins.
                _ = looking.changed() => {}
                () = at(since.map(|since| since + self.limit)) => {
                    tracing::warn!(target: "agents", "a look at the host does not come back; runs begin without views of it");
                    return self.too_late(views);
                }
            }
        }
    }

    fn too_late(&self, views: &BTreeSet<HostView>) -> HostViews {
        let limit = self.limit.as_secs();
        without(
            views,
            &format!(
                "a look at this host has not come back within {limit} s, and no other is begun before it does; a file system whose server is gone may be why"
            ),
        )
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// None of the views, and why.
fn without(views: &BTreeSet<HostView>, why: &str) -> HostViews {
    let missing = views.iter().map(|view| format!("{view}: {why}")).collect();
    HostViews { missing, ..HostViews::default() }
}

/// Looks as often as somebody wants that, until nobody can any more.
fn look(
    mut next: mpsc::UnboundedReceiver<Wanted>,
    looks: &watch::Sender<Option<Instant>>,
    sample: impl Fn(&BTreeSet<HostView>) -> HostViews,
) {
    while let Some(Wanted { views, answer }) = next.blocking_recv() {
        // Whoever waited too long has begun without.
        if answer.is_closed() {
            continue;
        }
        looks.send_replace(Some(Instant::now()));
        let taken = catch_unwind(AssertUnwindSafe(|| sample(&views)));
        looks.send_replace(None);
        if let Ok(taken) = taken {
            let _ = answer.send(taken);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex, mpsc as std_mpsc};

    use super::*;

    /// Long enough for a thread to begin, and short.
    const SHORT: Duration = Duration::from_millis(100);

    fn asked(views: &[HostView]) -> BTreeSet<HostView> {
        views.iter().copied().collect()
    }

    /// What a stand-in sees: each view that it was asked for, in words.
    fn seen(views: &BTreeSet<HostView>) -> HostViews {
        let missing = views.iter().map(|view| format!("{view}: seen")).collect();
        HostViews { missing, ..HostViews::default() }
    }

    #[tokio::test]
    async fn each_is_given_what_it_asked_for_and_one_looks_at_a_time() {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (counted, highest) = (Arc::clone(&now), Arc::clone(&most));
        let views = Views::start(LIMIT, move |views| {
            highest.fetch_max(counted.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::park_timeout(Duration::from_millis(5));
            counted.fetch_sub(1, Ordering::SeqCst);
            seen(views)
        })
        .unwrap();
        let (one, other) = (asked(&[HostView::Cpu]), asked(&[HostView::Units, HostView::Memory]));
        let taken = tokio::join!(views.take(&one), views.take(&other), views.take(&one));
        assert_eq!(taken, (seen(&one), seen(&other), seen(&one)));
        assert_eq!(most.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_look_that_does_not_come_back_holds_nobody_up_and_is_the_only_one() {
        let (release, released) = std_mpsc::channel::<()>();
        let (released, begun) = (Mutex::new(released), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&begun);
        let views = Views::start(SHORT, move |views| {
            counted.fetch_add(1, Ordering::SeqCst);
            let _ = released.lock().unwrap().recv();
            seen(views)
        })
        .unwrap();
        let wanted = asked(&[HostView::Mounts, HostView::Cpu]);
        let (one, other) = tokio::join!(views.take(&wanted), views.take(&wanted));
        for taken in [one, other] {
            assert!(taken.views.is_empty());
            assert_eq!(taken.missing.len(), 2);
            for (sentence, view) in taken.missing.iter().zip(["cpu: ", "mounts: "]) {
                assert!(sentence.starts_with(view), "{sentence}");
                assert!(sentence.contains("has not come back within"), "{sentence}");
            }
        }
        // From now on at once, however many come, and nothing is begun beside it.
        for _ in 0..1_000 {
            assert!(!views.take(&wanted).await.missing.is_empty());
        }
        assert_eq!(begun.load(Ordering::SeqCst), 1);
        // Once it comes back, looks are taken again.
        drop(release);
        while views.take(&wanted).await != seen(&wanted) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(begun.load(Ordering::SeqCst) >= 2);
    }

    #[tokio::test]
    async fn a_look_that_panics_costs_one_run_its_views() {
        let views = Views::start(LIMIT, |views| {
            assert!(!views.contains(&HostView::Clock), "the clock is broken");
            seen(views)
        })
        .unwrap();
        let broken = views.take(&asked(&[HostView::Clock])).await;
        assert!(broken.missing[0].starts_with("clock: looking at the host failed"), "{broken:?}");
        let whole = asked(&[HostView::Cpu]);
        assert_eq!(views.take(&whole).await, seen(&whole));
    }
}
