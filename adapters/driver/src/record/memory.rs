//! What records are made of.

use std::collections::VecDeque;

use super::OwnedRecord;
use super::arena::Arena;

/// Memory for records, most of which has been other records' before.
pub(crate) struct Memory {
    /// For what they borrow.
    pub(crate) arena: Arena,
    /// Places of records that are gone. First in, first out: memory is then walked through in one direction, which
    /// processors foresee.
    places: VecDeque<OwnedRecord>,
    /// The places that are kept at most.
    most: usize,
}

impl Memory {
    /// For `slots` records at once: a list of places that grows is moved, which takes too long for a poll.
    pub(crate) fn new(arena: Arena, slots: usize) -> Self {
        let mut places = VecDeque::new();
        // Without memory for the list no place is kept.
        let most = if places.try_reserve_exact(slots).is_ok() { slots } else { 0 };
        Self { arena, places, most }
    }

    /// A place for a record, `None` if no record has left one.
    #[inline(always)]
    pub(super) fn place(&mut self) -> Option<OwnedRecord> {
        self.places.pop_front()
    }

    /// Takes back the places of cleared records, as many as there are slots.
    pub(crate) fn recycle(&mut self, places: impl IntoIterator<Item = OwnedRecord>) {
        let missing = self.most.saturating_sub(self.places.len());
        self.places.extend(places.into_iter().take(missing));
    }

    /// How many places are kept.
    #[cfg(all(test, not(interleave)))]
    pub(crate) fn places(&self) -> usize {
        self.places.len()
    }
}
