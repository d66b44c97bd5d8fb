use std::io::{self, Read};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::failure::{FetchFailure, LimitKind};

/// Counts what is received and remembers what failed first.
///
/// The Git libraries wrap errors in their own; the reason that a person can use is kept here.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    received: AtomicU64,
    limit: AtomicU64,
    requests: AtomicU32,
    failure: Mutex<Option<FetchFailure>>,
}

impl Meter {
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit: AtomicU64::new(limit), ..Self::default() })
    }

    /// From now on at most this many bytes in all.
    pub(crate) fn limit_to(&self, bytes: u64) {
        self.limit.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    pub(crate) fn requests(&self) -> u32 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(crate) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Remembers `failure` if it is the first, and gives an error to hand to the library.
    pub(crate) fn fail(&self, failure: FetchFailure) -> io::Error {
        let error = io::Error::other(failure.to_string());
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure);
        error
    }

    /// What failed first.
    pub(crate) fn take_failure(&self) -> Option<FetchFailure> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn count(&self, bytes: usize) -> io::Result<()> {
        let received = self.received.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        let limit = self.limit.load(Ordering::Relaxed);
        if received > limit {
            return Err(self.fail(FetchFailure::Limit { what: LimitKind::Bytes, limit }));
        }
        Ok(())
    }
}

/// A reader whose bytes count.
#[derive(Debug)]
pub(crate) struct Metered<R> {
    pub(crate) inner: R,
    pub(crate) meter: Arc<Meter>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.inner.read(buffer)?;
        self.meter.count(bytes)?;
        Ok(bytes)
    }
}
