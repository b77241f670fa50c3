//! Where a record's outcome waits for its `Delivery`: cells in segments, shared by both sides without a lock.
//!
//! The producer's side ([`Completions`]) fills cells, the `Delivery` side ([`CellHandle`]) reads and returns them. A record that
//! is accepted takes its cell from [`FreeCells`]. Segments are never freed one by one: their number follows the most
//! deliveries that were held at once. Nothing here knows what an outcome is: failures and what deliveries share are type
//! parameters.

mod handle;
mod segment;

use std::task::Waker;

use aioproducer_core::TopicId;
use aioproducer_core::backend::Delivered;

pub(crate) use self::handle::{CellHandle, Origin};
pub(crate) use self::segment::{CellRef, Unneeded};
use self::segment::{DONE, FAILED, NONE, PENDING, SEGMENT, Segment};
use crate::runtime::sync::{Arc, Ordering, lock};

/// The producer's side. `F` is what a failure leaves, `C` what all handles can see.
pub(crate) struct Completions<F, C> {
    segments: boxcar::Vec<Arc<Segment<F, C>>>,
    context: Arc<C>,
}

/// The free cells from which accepted records take theirs.
pub(crate) struct FreeCells<F, C> {
    cells: Vec<CellRef>,
    /// The segment of the last one that was taken, which most often is the next one's, and its number.
    recent: Option<(usize, Arc<Segment<F, C>>)>,
    /// Where to look for cells that came back.
    next: usize,
}

impl<F, C> Default for FreeCells<F, C> {
    fn default() -> Self {
        Self { cells: Vec::new(), recent: None, next: 0 }
    }
}

impl<F, C> FreeCells<F, C> {
    /// A cell to be completed once, and the handle that will read it.
    #[inline]
    pub(crate) fn acquire(&mut self, completions: &Completions<F, C>) -> (CellRef, CellHandle<F, C>) {
        loop {
            if let Some(cell) = self.cells.last().copied()
                && let Some((number, segment)) = &self.recent
                && *number == cell.segment()
            {
                self.cells.pop();
                segment.cells[cell.index() as usize].state.store(PENDING, Ordering::Relaxed);
                return (cell, CellHandle::new(Arc::clone(segment), cell.index()));
            }
            self.prepare(completions);
        }
    }

    /// Provides a free cell, and turns to the segment of the next one.
    #[cold]
    fn prepare(&mut self, completions: &Completions<F, C>) {
        if self.cells.is_empty() {
            self.refill(completions);
        }
        let segment = self.cells.last().map(|cell| cell.segment());
        self.recent = segment.and_then(|number| Some((number, Arc::clone(completions.segments.get(number)?))));
    }

    /// Collects what was given back, one segment at a time; makes a segment if there is nothing.
    fn refill(&mut self, completions: &Completions<F, C>) {
        let count = completions.segments.count();
        for _ in 0..count {
            let number = self.next;
            self.next = (self.next + 1) % count;
            let Some(segment) = completions.segments.get(number) else { continue };
            let mut index = segment.take_freed();
            while index != NONE {
                self.cells.push(CellRef::new(number, index));
                index = segment.cells[index as usize].next.load(Ordering::Relaxed);
            }
            if !self.cells.is_empty() {
                return;
            }
        }
        let segment = Segment::new(Arc::clone(&completions.context));
        let segment = completions.segments.push(Arc::new(segment));
        self.cells.extend((0..SEGMENT).rev().map(|index| CellRef::new(segment, index)));
    }
}

impl<F, C> Completions<F, C> {
    pub(crate) fn new(context: Arc<C>) -> Self {
        Self { segments: boxcar::Vec::new(), context }
    }

    /// Completes an acquired cell. Either this or [`Completions::complete_failed`] is called, once. No lock may be held: a
    /// waker may be dropped.
    pub(crate) fn complete_delivered(
        &self,
        at: CellRef,
        topic: TopicId,
        delivered: Delivered,
        wakers: &mut Vec<Waker>,
    ) {
        let Some(segment) = self.segments.get(at.segment()) else { return };
        let cell = &segment.cells[at.index() as usize];
        cell.topic.store(topic.0, Ordering::Relaxed);
        cell.partition.store(delivered.partition, Ordering::Relaxed);
        cell.offset.store(delivered.offset().unwrap_or(-1), Ordering::Relaxed);
        cell.timestamp.store(delivered.timestamp().unwrap_or(-1), Ordering::Relaxed);
        drop(segment.finish(at.index(), DONE, wakers));
    }

    /// How many segments there are.
    #[cfg(all(test, not(interleave)))]
    pub(crate) fn segments(&self) -> usize {
        self.segments.count()
    }

    /// Has an acquired cell used again whose handle was dropped and which is never completed. No lock may be held.
    pub(crate) fn discard(&self, at: CellRef) {
        if let Some(segment) = self.segments.get(at.segment()) {
            drop(segment.finish(at.index(), DONE, &mut Vec::new()));
        }
    }

    /// The same for a failure. Returns it if no task will read it, and a waker that is not needed.
    #[must_use = "dropping a failure or a waker may run the application's code: not under a lock"]
    pub(crate) fn complete_failed(&self, at: CellRef, failure: F, wakers: &mut Vec<Waker>) -> Unneeded<F> {
        let Some(segment) = self.segments.get(at.segment()) else {
            return Unneeded { failure: Some(failure), waker: None };
        };
        lock(&segment.slow[at.index() as usize]).failure = Some(failure);
        segment.finish(at.index(), FAILED, wakers)
    }

    /// The name of a handle's cell, `None` once its outcome was read. Linear in the segments.
    pub(crate) fn name(&self, handle: &CellHandle<F, C>) -> Option<CellRef> {
        let (own, index) = handle.place()?;
        let (number, _) = self.segments.iter().find(|(_, segment)| Arc::ptr_eq(segment, own))?;
        Some(CellRef::new(number, index))
    }
}

#[cfg(all(test, not(interleave)))]
mod tests {
    use std::task::{Context, Poll};

    use super::segment::SEGMENT;
    use super::*;

    fn completions<F>() -> (Completions<F, ()>, FreeCells<F, ()>) {
        (Completions::new(Arc::new(())), FreeCells::default())
    }

    /// What a reader gets, without the way back.
    fn poll<F>(handle: &mut CellHandle<F, ()>) -> Poll<Result<(TopicId, Delivered), F>> {
        let polled = handle.poll(&mut Context::from_waker(Waker::noop()));
        polled.map(|outcome| outcome.map(|(topic, delivered, _)| (topic, delivered)))
    }

    fn delivered(offset: i64) -> Delivered {
        Delivered::new(3, Some(offset), Some(9))
    }

    #[test]
    fn s04_a_cell_is_pending_until_its_own_outcome() {
        let (completions, mut free) = completions::<&str>();
        let mut wakers = Vec::new();
        let (first, mut one) = free.acquire(&completions);
        let (second, mut two) = free.acquire(&completions);
        assert!(poll(&mut one).is_pending() && poll(&mut two).is_pending());
        assert_eq!(completions.complete_failed(second, "refused", &mut wakers).failure, None);
        assert!(poll(&mut one).is_pending());
        assert_eq!(poll(&mut two), Poll::Ready(Err("refused")));
        completions.complete_delivered(first, TopicId(5), delivered(7), &mut wakers);
        assert_eq!(poll(&mut one), Poll::Ready(Ok((TopicId(5), delivered(7)))));
        assert_eq!(wakers.len(), 1, "the same task is woken once");
    }

    #[test]
    fn cells_are_used_again_however_they_end() {
        let (completions, mut free) = completions::<String>();
        let mut wakers = Vec::new();
        for round in 0..10 * SEGMENT {
            let (cell, mut handle) = free.acquire(&completions);
            match round % 5 {
                0 => drop(handle),
                1 => {
                    assert!(poll(&mut handle).is_pending());
                    drop(handle);
                }
                2 => {
                    completions.complete_delivered(cell, TopicId(0), delivered(1), &mut wakers);
                    assert!(poll(&mut handle).is_ready());
                    continue;
                }
                _ => {
                    assert_eq!(completions.complete_failed(cell, "lost".to_owned(), &mut wakers).failure, None);
                    continue;
                }
            }
            let unwanted = completions.complete_failed(cell, "lost".to_owned(), &mut wakers);
            assert_eq!(unwanted.failure.as_deref(), Some("lost"));
        }
        assert_eq!(completions.segments.count(), 1);
        assert!(wakers.is_empty(), "a dropped delivery wakes no task");
    }

    #[test]
    fn finished_deliveries_that_are_not_awaited_take_cells_and_no_more() {
        let (completions, mut free) = completions::<()>();
        let mut wakers = Vec::new();
        let mut held = Vec::new();
        for offset in 0..5 * i64::from(SEGMENT) {
            let (cell, handle) = free.acquire(&completions);
            completions.complete_delivered(cell, TopicId(0), delivered(offset), &mut wakers);
            held.push(handle);
        }
        drop(completions);
        for (offset, handle) in held.iter_mut().enumerate() {
            assert_eq!(poll(handle), Poll::Ready(Ok((TopicId(0), delivered(offset as i64)))));
        }
    }
}

#[cfg(all(test, interleave))]
mod loom_tests;
