//! The reader's side of a cell.

use std::task::{Context, Poll};

use aioproducer_core::TopicId;
use aioproducer_core::backend::Delivered;

use super::segment::{ABANDONED, DONE, FAILED, PENDING, Segment, WAITING};
use crate::runtime::sync::{Arc, Ordering};

/// The reader's side of one cell.
pub(crate) struct CellHandle<F, C> {
    /// `None` once the outcome was read.
    segment: Option<Arc<Segment<F, C>>>,
    index: u32,
}

impl<F, C> CellHandle<F, C> {
    pub(super) fn new(segment: Arc<Segment<F, C>>, index: u32) -> Self {
        Self { segment: Some(segment), index }
    }
}

/// What a reader gets.
pub(crate) type Outcome<F, C> = Result<(TopicId, Delivered, Origin<F, C>), F>;

/// What an outcome can still see when its cell is another record's.
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

    /// The segment and the cell's place in it, `None` once the outcome was read.
    pub(super) fn place(&self) -> Option<(&Arc<Segment<F, C>>, u32)> {
        Some((self.segment.as_ref()?, self.index))
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
    /// No task will read the outcome.
    fn abandon(&self, segment: &Segment<F, C>) {
        let cell = &segment.cells[self.index as usize];
        if cell.state.load(Ordering::Acquire) == WAITING {
            // Before the swap: after it the cell may be another record's.
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
