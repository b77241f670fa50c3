//! Which lane has its deadline first: the end of its linger, or of its wait for credit.
//!
//! Time does not run backwards, so lanes that have just got their first record need no sorting: they form a list. Lanes
//! whose deadline was moved are in a binary heap. Both are ordered by a lower bound of the deadline. The real deadline is
//! computed when the lane comes first, so most changes cost nothing.

use super::{LaneRow, Lanes};
use crate::Instant;
use crate::slot::{Links, NIL};
use crate::storage::Table;

/// Where a lane waits for its deadline.
#[derive(Clone, Copy, Debug)]
pub(super) enum Noted {
    Nowhere,
    /// In the list of fresh lanes, with this bound.
    Fresh(Instant, Links),
    /// In that cell of the heap.
    Heap(u32),
}

impl LaneRow {
    const fn heap(&self) -> (Instant, u32) {
        (self.heap_at, self.heap_lane)
    }

    /// A moment before which the lane has no deadline, if it is known without looking further.
    pub(crate) const fn bound(&self) -> Option<Instant> {
        match self.noted {
            Noted::Fresh(bound, _) => Some(bound),
            Noted::Heap(_) | Noted::Nowhere => None,
        }
    }
}

impl<L: Table<LaneRow>> Lanes<L> {
    /// The lane that comes first, with its bound.
    pub(crate) fn earliest(&self) -> Option<(Instant, u32)> {
        let top = self.get(0).filter(|_| self.heap_len > 0).map(|row| row.heap());
        let fresh = self.get(self.fresh.head).and_then(LaneRow::bound).map(|bound| (bound, self.fresh.head));
        match (top, fresh) {
            (Some(top), Some(fresh)) => Some(top.min(fresh)),
            (top, fresh) => top.or(fresh),
        }
    }

    /// Notes a lane that got its first record now. All such notes are as long before their bound, so they are in order.
    pub(crate) fn note_fresh(&mut self, lane: u32, bound: Instant) {
        let tail = self.fresh.tail;
        let Some(row) = self.get_mut(lane).filter(|row| matches!(row.noted, Noted::Nowhere)) else { return };
        row.noted = Noted::Fresh(bound, Links { previous: tail, next: NIL });
        self.fresh.tail = lane;
        match self.fresh_links(tail) {
            Some(links) => links.next = lane,
            None => self.fresh.head = lane,
        }
    }

    /// Makes sure that the lane comes first no later than at `deadline`.
    pub(crate) fn note(&mut self, lane: u32, deadline: Instant) {
        let Some(row) = self.get(lane) else { return };
        match row.noted {
            Noted::Nowhere => self.heap_push(lane, deadline),
            Noted::Fresh(bound, _) if bound <= deadline => {}
            Noted::Fresh(..) => self.postpone(lane, deadline),
            Noted::Heap(at) => {
                if self.get(at).is_some_and(|cell| deadline < cell.heap_at) {
                    self.heap_up(at, (deadline, lane));
                }
            }
        }
    }

    /// Gives the lane that comes first its real, later deadline.
    pub(crate) fn postpone(&mut self, lane: u32, deadline: Instant) {
        if let Some(&LaneRow { noted: Noted::Heap(at), .. }) = self.get(lane) {
            self.heap_down(at, (deadline, lane));
        } else {
            self.forget(lane);
            self.heap_push(lane, deadline);
        }
    }

    /// A lane without a record has no deadline.
    pub(crate) fn forget(&mut self, lane: u32) {
        let Some(row) = self.get_mut(lane) else { return };
        match core::mem::replace(&mut row.noted, Noted::Nowhere) {
            Noted::Nowhere => {}
            Noted::Heap(at) => self.heap_remove(at),
            Noted::Fresh(_, Links { previous, next }) => {
                match self.fresh_links(previous) {
                    Some(links) => links.next = next,
                    None => self.fresh.head = next,
                }
                match self.fresh_links(next) {
                    Some(links) => links.previous = previous,
                    None => self.fresh.tail = previous,
                }
            }
        }
    }

    fn fresh_links(&mut self, lane: u32) -> Option<&mut Links> {
        match &mut self.get_mut(lane)?.noted {
            Noted::Fresh(_, links) => Some(links),
            Noted::Heap(_) | Noted::Nowhere => None,
        }
    }

    fn heap_push(&mut self, lane: u32, deadline: Instant) {
        let end = self.heap_len;
        self.heap_len += 1;
        self.heap_up(end, (deadline, lane));
    }

    fn heap_remove(&mut self, at: u32) {
        self.heap_len -= 1;
        let end = self.heap_len;
        if at == end {
            return;
        }
        let Some(moved) = self.get(end).map(LaneRow::heap) else { return };
        let goes_up = at > 0 && self.get((at - 1) / 2).is_some_and(|parent| moved < parent.heap());
        if goes_up { self.heap_up(at, moved) } else { self.heap_down(at, moved) }
    }

    fn heap_put(&mut self, at: u32, entry: (Instant, u32)) {
        if let Some(cell) = self.get_mut(at) {
            (cell.heap_at, cell.heap_lane) = entry;
        }
        if let Some(row) = self.get_mut(entry.1) {
            row.noted = Noted::Heap(at);
        }
    }

    fn heap_up(&mut self, mut at: u32, entry: (Instant, u32)) {
        while at > 0 {
            let parent = (at - 1) / 2;
            match self.get(parent).map(LaneRow::heap) {
                Some(above) if entry < above => self.heap_put(at, above),
                _ => break,
            }
            at = parent;
        }
        self.heap_put(at, entry);
    }

    fn heap_down(&mut self, mut at: u32, entry: (Instant, u32)) {
        loop {
            let left = at.saturating_mul(2).saturating_add(1);
            let mut least = (entry, at);
            for child in [left, left.saturating_add(1)] {
                if child < self.heap_len
                    && let Some(below) = self.get(child).map(LaneRow::heap)
                    && below < least.0
                {
                    least = (below, child);
                }
            }
            if least.1 == at {
                break;
            }
            self.heap_put(at, least.0);
            at = least.1;
        }
        self.heap_put(at, entry);
    }
}
