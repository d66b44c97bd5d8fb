use super::Shape;

/// Where a template is kept. It names another template after its own is gone, so nobody keeps one for longer than a call.
pub(crate) type Slot = usize;

/// A template and what is known of it.
#[derive(Clone, Debug)]
pub(crate) struct Entry<T> {
    pub(crate) shape: Shape,
    pub(crate) facts: T,
}

/// Entries at places that stay theirs while they live.
#[derive(Clone, Debug)]
pub(crate) struct Table<T> {
    entries: Vec<Option<Entry<T>>>,
    free: Vec<Slot>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), free: Vec::new() }
    }
}

impl<T> Table<T> {
    pub(crate) fn insert(&mut self, entry: Entry<T>) -> Slot {
        if let Some(slot) = self.free.pop() {
            self.entries[slot] = Some(entry);
            return slot;
        }
        self.entries.push(Some(entry));
        self.entries.len() - 1
    }

    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Entry<T>> {
        let entry = self.entries.get_mut(slot)?.take()?;
        self.free.push(slot);
        Some(entry)
    }

    #[inline]
    pub(crate) fn get(&self, slot: Slot) -> Option<&Entry<T>> {
        self.entries.get(slot)?.as_ref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Entry<T>> {
        self.entries.get_mut(slot)?.as_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot, &Entry<T>)> {
        self.entries.iter().enumerate().filter_map(|(slot, entry)| Some((slot, entry.as_ref()?)))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry<T>> {
        self.entries.iter_mut().flatten()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }
}
