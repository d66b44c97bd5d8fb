use std::sync::{Arc, Mutex};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, TryAcquireError};

use crate::lock;

/// Room for what waits to be written, in bytes. It can be made larger and smaller while it is in use:
/// what is too much of it then goes as it is given back.
#[derive(Debug)]
pub(crate) struct Room {
    permits: Arc<Semaphore>,
    size: Mutex<Size>,
}

#[derive(Debug)]
struct Size {
    limit: u32,
    /// Permits that are handed out beyond the limit, and are not to come back.
    excess: u32,
}

impl Room {
    pub(crate) fn new(limit: u32) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(limit as usize));
        Arc::new(Self { permits, size: Mutex::new(Size { limit, excess: 0 }) })
    }

    pub(crate) fn limit(&self) -> u32 {
        lock(&self.size).limit
    }

    /// Sets the limit. Who waits gets in as soon as there is room by the new one.
    pub(crate) fn resize(&self, limit: u32) {
        let mut size = lock(&self.size);
        let (more, less) = (limit.saturating_sub(size.limit), size.limit.saturating_sub(limit));
        let forgiven = more.min(size.excess);
        size.excess -= forgiven;
        self.permits.add_permits((more - forgiven) as usize);
        let forgotten = self.permits.forget_permits(less as usize);
        size.excess += less - u32::try_from(forgotten).unwrap_or(less);
        size.limit = limit;
    }

    /// Bytes that are taken.
    pub(crate) fn taken(&self) -> usize {
        let size = lock(&self.size);
        (size.limit as usize + size.excess as usize)
            .saturating_sub(self.permits.available_permits())
    }

    pub(crate) fn try_take(self: &Arc<Self>, bytes: u32) -> Result<Taken, TryAcquireError> {
        let permit = Arc::clone(&self.permits).try_acquire_many_owned(bytes)?;
        Ok(Taken { permit: Some(permit), room: Arc::clone(self) })
    }

    pub(crate) async fn take(self: &Arc<Self>, bytes: u32) -> Result<Taken, AcquireError> {
        let permit = Arc::clone(&self.permits).acquire_many_owned(bytes).await?;
        Ok(Taken { permit: Some(permit), room: Arc::clone(self) })
    }
}

/// A part of the room, until it is dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    permit: Option<OwnedSemaphorePermit>,
    room: Arc<Room>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        let Some(mut permit) = self.permit.take() else { return };
        let mut size = lock(&self.room.size);
        // Before anybody who waits is given it.
        let held = permit.num_permits();
        let gone = held.min(size.excess as usize);
        if let Some(gone) = permit.split(gone) {
            size.excess -= u32::try_from(gone.num_permits()).unwrap_or(size.excess);
            gone.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Take(u32),
        GiveBack(prop::sample::Index),
        Resize(u32),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (1..40_u32).prop_map(Step::Take),
            any::<prop::sample::Index>().prop_map(Step::GiveBack),
            (0..60_u32).prop_map(Step::Resize),
        ];
        prop::collection::vec(step, 0..60)
    }

    proptest! {
        /// What may be taken is what the limit of the moment leaves, whatever it was before.
        #[test]
        fn the_newest_limit_holds(steps in steps()) {
            let (room, mut limit) = (Room::new(50), 50);
            let mut held: Vec<(u32, Taken)> = Vec::new();
            for step in steps {
                let taken: u32 = held.iter().map(|(bytes, _)| bytes).sum();
                match step {
                    Step::Take(bytes) => {
                        let got = room.try_take(bytes);
                        prop_assert_eq!(got.is_ok(), taken + bytes <= limit);
                        held.extend(got.ok().map(|got| (bytes, got)));
                    }
                    Step::GiveBack(which) if !held.is_empty() => {
                        held.swap_remove(which.index(held.len()));
                    }
                    Step::GiveBack(_) => {}
                    Step::Resize(to) => {
                        limit = to;
                        room.resize(to);
                    }
                }
                let taken: u32 = held.iter().map(|(bytes, _)| bytes).sum();
                prop_assert_eq!((room.limit(), room.taken()), (limit, taken as usize));
            }
        }
    }
}
