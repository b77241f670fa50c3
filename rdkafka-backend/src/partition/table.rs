//! A table that only grows.

use std::array;
use std::sync::OnceLock;

/// The number of entries in the first chunk. Each further chunk has twice as many as the one before.
const FIRST: usize = 8;

/// Entries by their index, in up to `CHUNKS` chunks. A chunk is created when one of its entries is used for the first time. Entries
/// stay where they are, so they are read without a lock.
pub(super) struct Table<T, const CHUNKS: usize> {
    chunks: [OnceLock<Box<[T]>>; CHUNKS],
}

impl<T: Default, const CHUNKS: usize> Table<T, CHUNKS> {
    pub(super) fn new() -> Self {
        Self { chunks: array::from_fn(|_| OnceLock::new()) }
    }

    /// The entry at `index`; `None` if no entry of its chunk was used.
    pub(super) fn get(&self, index: usize) -> Option<&T> {
        let (chunk, offset) = place(index);
        self.chunks.get(chunk)?.get()?.get(offset)
    }

    /// The entries of the chunks that were used, with their indices.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        let used = self.chunks.iter().enumerate().filter_map(|(chunk, entries)| Some((chunk, entries.get()?)));
        used.flat_map(|(chunk, entries)| {
            let first = (FIRST << chunk) - FIRST;
            entries.iter().enumerate().map(move |(offset, entry)| (first + offset, entry))
        })
    }

    /// The entry at `index`, which has its default value at first; `None` if the table cannot have it.
    pub(super) fn get_or_default(&self, index: usize) -> Option<&T> {
        let (chunk, offset) = place(index);
        let create = || (0..FIRST << chunk).map(|_| T::default()).collect();
        self.chunks.get(chunk)?.get_or_init(create).get(offset)
    }
}

/// The chunk of an index, and the place in it.
fn place(index: usize) -> (usize, usize) {
    let number = index.saturating_add(FIRST);
    let chunk = (number.ilog2() - FIRST.ilog2()) as usize;
    (chunk, number - (FIRST << chunk))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn each_index_has_an_entry_of_its_own_that_stays() {
        const CHUNKS: usize = 5;
        const ENTRIES: usize = FIRST * ((1 << CHUNKS) - 1);
        let table: Table<AtomicUsize, CHUNKS> = Table::new();
        let first: *const _ = table.get_or_default(0).expect("an entry");
        for index in (0..ENTRIES).rev() {
            table.get_or_default(index).expect("an entry").store(index + 1, Ordering::Relaxed);
        }
        for index in 0..ENTRIES {
            assert_eq!(table.get(index).expect("an entry").load(Ordering::Relaxed), index + 1);
        }
        assert!(
            table
                .iter()
                .map(|(index, entry)| (index + 1, entry.load(Ordering::Relaxed)))
                .eq((1..=ENTRIES).map(|it| (it, it)))
        );
        assert!(std::ptr::eq(first, table.get(0).expect("an entry")));
        for index in [ENTRIES, usize::MAX] {
            assert!(table.get(index).is_none() && table.get_or_default(index).is_none(), "{index}");
        }
    }

    #[test]
    fn a_chunk_that_is_not_used_does_not_exist() {
        let table: Table<AtomicUsize, 3> = Table::new();
        assert!(table.get(0).is_none() && table.get(FIRST).is_none());
        table.get_or_default(FIRST).expect("an entry");
        assert!(table.get(0).is_none() && table.get(3 * FIRST - 1).is_some() && table.get(3 * FIRST).is_none());
    }
}
