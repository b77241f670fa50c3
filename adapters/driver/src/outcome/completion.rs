//! Where a record's outcome waits for its `Delivery`: cells in segments, shared by both sides without a lock.
//!
//! The producer's side (`Completions`) fills cells, the `Delivery` side (`CellHandle`) reads and returns them; whoever
//! accepts a record takes its cell from the `FreeCells`, under the producer's lock. A cell's state decides every race:
//!
//! ```text
//! PENDING ──poll──▶ WAITING          a waker is registered
//! PENDING | WAITING ──complete──▶ DONE | FAILED ──read or dropped──▶ on the segment's stack of free cells
//! PENDING | WAITING ──dropped──▶ ABANDONED ──complete──▶ on the segment's stack of free cells
//! ```
//!
//! Segments are never freed one by one: their number follows the most deliveries that were held at once.

use std::task::{Context, Poll, Waker};

use aioproducer_core::TopicId;
use aioproducer_core::backend::Delivered;

use crate::runtime::sync::{Arc, AtomicI32, AtomicI64, AtomicU32, AtomicU64, Mutex, Ordering, lock};

#[cfg(not(interleave))]
const SEGMENT: u32 = 1024;
#[cfg(interleave)]
const SEGMENT: u32 = 2;

const PENDING: u32 = 0;
const WAITING: u32 = 1;
const DONE: u32 = 2;
const FAILED: u32 = 3;
const ABANDONED: u32 = 4;

/// No cell: the end of the stack of free ones.
const NONE: u32 = u32::MAX;

/// Names a cell for the side that completes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CellRef(u32);

impl CellRef {
    fn new(segment: usize, index: u32) -> Self {
        Self(segment as u32 * SEGMENT + index)
    }

    fn segment(self) -> usize {
        (self.0 / SEGMENT) as usize
    }

    fn index(self) -> u32 {
        self.0 % SEGMENT
    }

    pub(crate) fn to_bits(self) -> u32 {
        self.0
    }

    pub(crate) fn from_bits(bits: u32) -> Self {
        Self(bits)
    }
}

/// What passes from one side to the other, half a cache line: cells of records that end together lie together.
struct Cell {
    state: AtomicU32,
    topic: AtomicU32,
    partition: AtomicI32,
    /// The next free cell, while this one is on the stack.
    next: AtomicU32,
    offset: AtomicI64,
    timestamp: AtomicI64,
}

/// What only a reader that came too early or a failure needs.
struct Slow<F> {
    waker: Option<Waker>,
    failure: Option<F>,
}

struct Segment<F, C> {
    cells: Box<[Cell]>,
    slow: Box<[Mutex<Slow<F>>]>,
    /// Cells that were given back: the last one's index, and above it a count of changes, so that a stack that
    /// looks the same is the same.
    freed: AtomicU64,
    context: Arc<C>,
}

impl<F, C> Segment<F, C> {
    fn new(context: Arc<C>) -> Self {
        let cell = |_| Cell {
            state: AtomicU32::new(PENDING),
            topic: AtomicU32::new(0),
            partition: AtomicI32::new(0),
            next: AtomicU32::new(NONE),
            offset: AtomicI64::new(0),
            timestamp: AtomicI64::new(0),
        };
        let slow = |_| Mutex::new(Slow { waker: None, failure: None });
        let (cells, slow) = ((0..SEGMENT).map(cell).collect(), (0..SEGMENT).map(slow).collect());
        Self { cells, slow, freed: AtomicU64::new(u64::from(NONE)), context }
    }

    /// This and the next one return what they take out, so that it is dropped without the lock: a drop may run anybody's
    /// code.
    fn swap_waker(&self, index: u32, waker: Option<Waker>) -> Option<Waker> {
        std::mem::replace(&mut lock(&self.slow[index as usize]).waker, waker)
    }

    fn take_failure(&self, index: u32) -> Option<F> {
        lock(&self.slow[index as usize]).failure.take()
    }

    fn give_back(&self, index: u32) {
        let mut head = self.freed.load(Ordering::Relaxed);
        loop {
            self.cells[index as usize].next.store(head as u32, Ordering::Relaxed);
            let changed = ((head >> 32).wrapping_add(1) << 32) | u64::from(index);
            match self.freed.compare_exchange_weak(head, changed, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// Ends a cell's wait. Returns the failure if it was abandoned.
    fn finish(&self, index: u32, state: u32, wakers: &mut Vec<Waker>) -> Option<F> {
        let cell = &self.cells[index as usize];
        match cell.state.swap(state, Ordering::AcqRel) {
            WAITING => {
                let waker = self.swap_waker(index, None);
                // A task that awaits many deliveries needs one wake-up.
                if let Some(waker) = waker
                    && !wakers.last().is_some_and(|last| last.will_wake(&waker))
                {
                    wakers.push(waker);
                }
                None
            }
            ABANDONED => {
                let failure = self.take_failure(index);
                self.give_back(index);
                failure
            }
            _ => None,
        }
    }

    /// Takes the whole stack, so nobody pops single cells and nothing can be popped twice.
    fn take_freed(&self) -> u32 {
        if self.freed.load(Ordering::Relaxed) as u32 == NONE {
            return NONE;
        }
        self.freed.swap(u64::from(NONE), Ordering::Acquire) as u32
    }
}

/// The producer's side. `F` is what a failure leaves, `C` what all handles can see.
pub(crate) struct Completions<F, C> {
    segments: boxcar::Vec<Arc<Segment<F, C>>>,
    context: Arc<C>,
}

/// Free cells known to whoever accepts records.
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
                return (cell, CellHandle { segment: Some(Arc::clone(segment)), index: cell.index() });
            }
            self.prepare(completions);
        }
    }

    /// Sees to it that there is a free cell, and turns to the segment of the one that is next.
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

    /// To be called once for an acquired cell; so is the next one, if this is not.
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

    /// Has an acquired cell used again whose handle was dropped and which is never completed.
    pub(crate) fn discard(&self, at: CellRef) {
        if let Some(segment) = self.segments.get(at.segment()) {
            drop(segment.finish(at.index(), DONE, &mut Vec::new()));
        }
    }

    /// Returns the failure if nobody will ask for it.
    #[must_use = "dropping a failure may run anybody's code: not under a lock"]
    pub(crate) fn complete_failed(&self, at: CellRef, failure: F, wakers: &mut Vec<Waker>) -> Option<F> {
        let Some(segment) = self.segments.get(at.segment()) else { return Some(failure) };
        lock(&segment.slow[at.index() as usize]).failure = Some(failure);
        segment.finish(at.index(), FAILED, wakers)
    }
}

/// The reader's side of one cell.
pub(crate) struct CellHandle<F, C> {
    /// `None` once the outcome was read.
    segment: Option<Arc<Segment<F, C>>>,
    index: u32,
}

/// What a reader gets.
pub(crate) type Outcome<F, C> = Result<(TopicId, Delivered, Origin<F, C>), F>;

/// What an outcome can still see when its cell is somebody else's.
pub(crate) struct Origin<F, C>(Arc<Segment<F, C>>);

impl<F, C> Origin<F, C> {
    pub(crate) fn context(&self) -> &C {
        &self.0.context
    }
}

impl<F, C> Clone for Origin<F, C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<F, C> CellHandle<F, C> {
    /// What all handles can see, `None` once the outcome was read.
    pub(crate) fn context(&self) -> Option<&C> {
        self.segment.as_ref().map(|segment| &*segment.context)
    }

    /// The same once there is an outcome to read.
    #[inline]
    pub(crate) fn context_if_ended(&self) -> Option<&C> {
        let segment = self.segment.as_ref()?;
        let state = segment.cells[self.index as usize].state.load(Ordering::Relaxed);
        (state == DONE || state == FAILED).then(|| &*segment.context)
    }

    /// The cell's name. Linear in the segments.
    pub(crate) fn name(&self, completions: &Completions<F, C>) -> Option<CellRef> {
        let own = self.segment.as_ref()?;
        let (number, _) = completions.segments.iter().find(|(_, segment)| Arc::ptr_eq(segment, own))?;
        Some(CellRef::new(number, self.index))
    }

    /// The outcome, once.
    ///
    /// # Panics
    /// When polled again after it was ready.
    #[inline]
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome<F, C>> {
        let Some(segment) = &self.segment else { panic!("a delivery was polled after it was ready") };
        let cell = &segment.cells[self.index as usize];
        let mut state = cell.state.load(Ordering::Acquire);
        if state != DONE && state != FAILED {
            drop(segment.swap_waker(self.index, Some(cx.waker().clone())));
            match cell.state.compare_exchange(PENDING, WAITING, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) | Err(WAITING) => return Poll::Pending,
                Err(ended) => state = ended,
            }
            drop(segment.swap_waker(self.index, None));
        }
        let (offset, timestamp) = (cell.offset.load(Ordering::Relaxed), cell.timestamp.load(Ordering::Relaxed));
        let partition = cell.partition.load(Ordering::Relaxed);
        let [offset, timestamp] = [offset, timestamp].map(|value| (value >= 0).then_some(value));
        let delivered = Delivered::new(partition, offset, timestamp);
        let topic = TopicId(cell.topic.load(Ordering::Relaxed));
        let failure = if state == FAILED { segment.take_failure(self.index) } else { None };
        segment.give_back(self.index);
        let Some(segment) = self.segment.take() else { return Poll::Pending };
        Poll::Ready(match failure {
            None => Ok((topic, delivered, Origin(segment))),
            Some(failure) => Err(failure),
        })
    }
}

impl<F, C> Drop for CellHandle<F, C> {
    #[inline]
    fn drop(&mut self) {
        if let Some(segment) = &self.segment {
            self.abandon(segment);
        }
    }
}

impl<F, C> CellHandle<F, C> {
    /// Nobody will ask for the outcome.
    fn abandon(&self, segment: &Segment<F, C>) {
        let cell = &segment.cells[self.index as usize];
        if cell.state.load(Ordering::Acquire) == WAITING {
            // Before the swap: after it the cell may be somebody else's.
            drop(segment.swap_waker(self.index, None));
        }
        match cell.state.swap(ABANDONED, Ordering::AcqRel) {
            DONE => segment.give_back(self.index),
            FAILED => {
                drop(segment.take_failure(self.index));
                segment.give_back(self.index);
            }
            _ => {}
        }
    }
}

#[cfg(all(test, not(interleave)))]
mod tests {
    use std::task::Waker;

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
        assert_eq!(completions.complete_failed(second, "refused", &mut wakers), None);
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
                    assert_eq!(completions.complete_failed(cell, "lost".to_owned(), &mut wakers), None);
                    continue;
                }
            }
            let unwanted = completions.complete_failed(cell, "lost".to_owned(), &mut wakers);
            assert_eq!(unwanted.as_deref(), Some("lost"));
        }
        assert_eq!(completions.segments.count(), 1);
        assert!(wakers.is_empty(), "a dropped delivery wakes nobody");
    }

    #[test]
    fn finished_deliveries_that_nobody_awaits_take_cells_and_no_more() {
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
