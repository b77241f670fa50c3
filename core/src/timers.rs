//! Records with a timeout of their own, earliest first.
//!
//! A binary heap in a table of its own, with a cell for each such record. The record's slot knows its cell, so a record
//! that ends leaves the heap in logarithmic time. Records without a timeout of their own touch none of it.

use crate::Instant;
use crate::pool::Pool;
use crate::slot::{NIL, Slot};
use crate::storage::Table;

/// A cell of the heap. Equal times are ordered by slot, so the order is total.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timer {
    pub(crate) at: Instant,
    pub(crate) slot: u32,
}

pub(crate) struct Timers<C> {
    /// The first `len` of them are the heap.
    cells: C,
    len: u32,
}

impl<C: Table<Timer>> Timers<C> {
    pub(crate) const fn new(cells: C) -> Self {
        Self { cells, len: 0 }
    }

    #[inline]
    pub(crate) const fn len(&self) -> u32 {
        self.len
    }

    /// The record whose timeout passes first.
    pub(crate) fn first(&self) -> Option<Timer> {
        self.get(0)
    }

    fn get(&self, cell: u32) -> Option<Timer> {
        self.cells.values().get(cell as usize).copied().filter(|_| cell < self.len)
    }

    /// Notes when the timeout of the record in a slot passes.
    pub(crate) fn insert<R, T, S: Table<Slot<R, T>>>(&mut self, pool: &mut Pool<R, T, S>, timer: Timer) {
        let end = self.len;
        // A cell is there for each slot.
        if self.cells.values().len() == end as usize && self.cells.push(timer).is_err() {
            return;
        }
        self.len += 1;
        self.move_up(pool, end, timer);
    }

    /// Forgets the record in `slot`; whether it had a timeout of its own.
    pub(crate) fn remove<R, T, S: Table<Slot<R, T>>>(&mut self, pool: &mut Pool<R, T, S>, slot: u32) -> bool {
        let Some(record) = pool.get_mut(slot).filter(|record| record.timer != NIL) else { return false };
        let at = core::mem::replace(&mut record.timer, NIL);
        let Some(last) = self.len.checked_sub(1).and_then(|end| self.get(end)) else { return false };
        self.len -= 1;
        if at < self.len {
            let goes_up = at > 0 && self.get((at - 1) / 2).is_some_and(|parent| last < parent);
            if goes_up { self.move_up(pool, at, last) } else { self.move_down(pool, at, last) }
        }
        true
    }

    fn put<R, T, S: Table<Slot<R, T>>>(&mut self, pool: &mut Pool<R, T, S>, at: u32, timer: Timer) {
        if let Some(cell) = self.cells.values_mut().get_mut(at as usize) {
            *cell = timer;
        }
        if let Some(slot) = pool.get_mut(timer.slot) {
            slot.timer = at;
        }
    }

    fn move_up<R, T, S: Table<Slot<R, T>>>(&mut self, pool: &mut Pool<R, T, S>, mut at: u32, timer: Timer) {
        while at > 0 {
            let parent = (at - 1) / 2;
            match self.get(parent) {
                Some(above) if timer < above => self.put(pool, at, above),
                _ => break,
            }
            at = parent;
        }
        self.put(pool, at, timer);
    }

    fn move_down<R, T, S: Table<Slot<R, T>>>(&mut self, pool: &mut Pool<R, T, S>, mut at: u32, timer: Timer) {
        loop {
            let left = at.saturating_mul(2).saturating_add(1);
            let mut least = (timer, at);
            for child in [left, left.saturating_add(1)] {
                if let Some(below) = self.get(child).filter(|below| *below < least.0) {
                    least = (below, child);
                }
            }
            if least.1 == at {
                break;
            }
            self.put(pool, at, least.0);
            at = least.1;
        }
        self.put(pool, at, timer);
    }
}
