use wasmtime::ResourceLimiter;

/// Bytes of the host that one element of a table takes.
const ELEMENT: u64 = 16;

/// Counts what a module's memories and tables take together, and refuses what is more than it may have.
#[derive(Debug)]
pub(crate) struct MemoryLimit {
    most: u64,
    taken: u64,
    refused: bool,
}

impl MemoryLimit {
    pub(crate) fn new(most: u64) -> Self {
        Self { most, taken: 0, refused: false }
    }

    /// Whether the module asked for more than it may have.
    pub(crate) fn refused(&self) -> bool {
        self.refused
    }

    pub(crate) fn most(&self) -> u64 {
        self.most
    }

    fn grow(&mut self, current: usize, desired: usize, maximum: Option<usize>, unit: u64) -> bool {
        // What the module's own declaration forbids is not for want of memory.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return false;
        }
        let more = (desired.saturating_sub(current) as u64).saturating_mul(unit);
        let taken = self.taken.saturating_add(more);
        let fits = taken <= self.most;
        if fits {
            self.taken = taken;
        } else {
            self.refused = true;
        }
        fits
    }
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(self.grow(current, desired, maximum, 1))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(self.grow(current, desired, maximum, ELEMENT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_and_tables_count_together() {
        let mut limit = MemoryLimit::new(1_000);
        let mut check = |table: bool, current: usize, desired: usize, expected: bool| {
            let grown = match table {
                true => limit.table_growing(current, desired, Some(100)),
                false => limit.memory_growing(current, desired, None),
            };
            assert_eq!(grown.unwrap(), expected, "{current} {desired}");
            limit.refused()
        };
        assert!(!check(false, 0, 600, true));
        assert!(!check(true, 0, 25, true));
        // The module itself says that its table has no more.
        assert!(!check(true, 25, 101, false));
        assert!(check(false, 600, 601, false));
        assert!(check(false, 0, usize::MAX, false));
    }
}
