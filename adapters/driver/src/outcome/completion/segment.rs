//! Cells in segments, and the transitions of a cell.
//!
//! A cell's state decides every race:
//!
//! ```text
//! PENDING ──poll──▶ WAITING          a waker is registered
//! PENDING | WAITING ──complete──▶ DONE | FAILED ──read or dropped──▶ on the segment's stack of free cells
//! PENDING | WAITING ──dropped──▶ ABANDONED ──complete──▶ on the segment's stack of free cells
//! ```

use std::task::Waker;

use crate::runtime::sync::{Arc, AtomicI32, AtomicI64, AtomicU32, AtomicU64, Mutex, Ordering, lock};

#[cfg(not(interleave))]
pub(super) const SEGMENT: u32 = 1024;
#[cfg(interleave)]
pub(super) const SEGMENT: u32 = 2;

pub(super) const PENDING: u32 = 0;
pub(super) const WAITING: u32 = 1;
pub(super) const DONE: u32 = 2;
pub(super) const FAILED: u32 = 3;
pub(super) const ABANDONED: u32 = 4;

/// No cell: the end of the stack of free ones.
pub(super) const NONE: u32 = u32::MAX;

/// Names a cell for the side that completes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CellRef(u32);

impl CellRef {
    pub(super) fn new(segment: usize, index: u32) -> Self {
        Self(segment as u32 * SEGMENT + index)
    }

    pub(super) fn segment(self) -> usize {
        (self.0 / SEGMENT) as usize
    }

    pub(super) fn index(self) -> u32 {
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
pub(super) struct Cell {
    pub(super) state: AtomicU32,
    pub(super) topic: AtomicU32,
    pub(super) partition: AtomicI32,
    /// The next free cell, while this one is on the stack.
    pub(super) next: AtomicU32,
    pub(super) offset: AtomicI64,
    pub(super) timestamp: AtomicI64,
}

/// What only a failure needs, or a reader that polls before the outcome.
pub(super) struct Slow<F> {
    waker: Option<Waker>,
    pub(super) failure: Option<F>,
}

/// What a completion leaves over.
pub(crate) struct Unneeded<F> {
    pub(crate) failure: Option<F>,
    pub(crate) waker: Option<Waker>,
}

impl<F> Unneeded<F> {
    const NOTHING: Self = Self { failure: None, waker: None };
}

pub(super) struct Segment<F, C> {
    pub(super) cells: Box<[Cell]>,
    pub(super) slow: Box<[Mutex<Slow<F>>]>,
    /// Cells that were given back: the last one's index, and above it a count of changes, so that a stack that
    /// looks the same is the same.
    freed: AtomicU64,
    pub(super) context: Arc<C>,
}

impl<F, C> Segment<F, C> {
    pub(super) fn new(context: Arc<C>) -> Self {
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

    /// This and the next one return what they take out, so that it is dropped without the lock: a drop may run the
    /// application's code.
    pub(super) fn swap_waker(&self, index: u32, waker: Option<Waker>) -> Option<Waker> {
        std::mem::replace(&mut lock(&self.slow[index as usize]).waker, waker)
    }

    pub(super) fn take_failure(&self, index: u32) -> Option<F> {
        lock(&self.slow[index as usize]).failure.take()
    }

    pub(super) fn give_back(&self, index: u32) {
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

    /// Ends a cell's wait. A task that awaits many deliveries needs one wake-up, so a waker of the task that is woken last comes
    /// back; so does the failure if the cell was abandoned. Neither may be dropped under a lock.
    pub(super) fn finish(&self, index: u32, state: u32, wakers: &mut Vec<Waker>) -> Unneeded<F> {
        let cell = &self.cells[index as usize];
        match cell.state.swap(state, Ordering::AcqRel) {
            WAITING => match self.swap_waker(index, None) {
                Some(waker) if wakers.last().is_some_and(|last| last.will_wake(&waker)) => {
                    Unneeded { failure: None, waker: Some(waker) }
                }
                waker => {
                    wakers.extend(waker);
                    Unneeded::NOTHING
                }
            },
            ABANDONED => {
                let failure = self.take_failure(index);
                self.give_back(index);
                Unneeded { failure, waker: None }
            }
            _ => Unneeded::NOTHING,
        }
    }

    /// Takes the whole stack: no cell is popped by itself, so none can be popped twice.
    pub(super) fn take_freed(&self) -> u32 {
        if self.freed.load(Ordering::Relaxed) as u32 == NONE {
            return NONE;
        }
        self.freed.swap(u64::from(NONE), Ordering::Acquire) as u32
    }
}
