//! Waiting for what was accepted so far.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use aioproducer_core::{FlushPoint, Instant};

use crate::runtime::Task;
use crate::shared::{Discard, Effects, FlushWaiter, Phase, Shared, State};

/// The future of [`AioProducer::flush`](crate::AioProducer::flush).
#[must_use = "futures do nothing unless awaited"]
pub struct Flush<'a> {
    shared: &'a Shared,
    within: Option<Duration>,
    waiting: Option<Waiting>,
}

struct Waiting {
    id: u64,
    point: FlushPoint,
    deadline: Option<(Instant, Task)>,
}

impl<'a> Flush<'a> {
    pub(crate) fn new(shared: &'a Shared) -> Self {
        Self { shared, within: None, waiting: None }
    }

    /// Gives up after `limit`, counted from the first poll. The records stay accepted.
    pub fn within(mut self, limit: Duration) -> Self {
        self.within = Some(limit);
        self
    }
}

impl Future for Flush<'_> {
    type Output = Result<(), FlushError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let shared = this.shared;
        let Some(waiting) = &mut this.waiting else {
            let begun = shared.with(|state, effects| {
                let point = state.machine.flush();
                if state.is_flushed(point) {
                    return None;
                }
                effects.flush_backend();
                let id = state.next_flush;
                state.next_flush += 1;
                state.flushes.push_back(FlushWaiter { id, point, waker: Some(cx.waker().clone()) });
                Some((id, point))
            });
            let Some((id, point)) = begun else { return Poll::Ready(Ok(())) };
            let deadline = this.within.filter(|_| shared.lock().is_timed()).map(|limit| {
                let at = shared.runtime.now() + limit;
                (at, shared.runtime.sleep_until(at))
            });
            this.waiting = Some(Waiting { id, point, deadline });
            return self.poll(cx);
        };
        let (flushed, timed) = shared.with(|state, effects| {
            let flushed = state.is_flushed(waiting.point);
            match state.flush_position(waiting.id) {
                Some(_) if flushed => state.end_flush(waiting.id, effects),
                Some(at) => {
                    let before = state.flushes[at].waker.replace(cx.waker().clone());
                    effects.discard.extend(before.map(Discard::Waker));
                }
                None => {}
            }
            (flushed, state.is_timed())
        });
        if flushed {
            this.waiting = None;
            return Poll::Ready(Ok(()));
        }
        if let Some((_, timer)) = &mut waiting.deadline
            && timed
            && timer.as_mut().poll(cx).is_ready()
        {
            let remaining = shared.with(|state, _| state.machine.len_before(waiting.point));
            return Poll::Ready(if remaining == 0 { Ok(()) } else { Err(FlushError::Timeout { remaining }) });
        }
        Poll::Pending
    }
}

impl Drop for Flush<'_> {
    fn drop(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            self.shared.with(|state, effects| state.end_flush(waiting.id, effects));
        }
    }
}

impl State {
    fn flush_position(&self, id: u64) -> Option<usize> {
        self.flushes.binary_search_by_key(&id, |flush| flush.id).ok()
    }

    /// Whether timers may be used. A producer that is ending may have lost its runtime, and ends soon by itself.
    fn is_timed(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Closing(_))
    }

    fn end_flush(&mut self, id: u64, effects: &mut Effects) {
        let flush = self.flush_position(id).and_then(|at| self.flushes.remove(at));
        effects.discard.extend(flush.and_then(|flush| flush.waker).map(Discard::Waker));
    }
}

impl fmt::Debug for Flush<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flush").field("within", &self.within).finish_non_exhaustive()
    }
}

/// Why a flush ended early.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FlushError {
    /// The limit of [`Flush::within`] passed.
    Timeout {
        /// Records accepted before the flush that have no outcome yet.
        remaining: usize,
    },
}

impl fmt::Display for FlushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout { remaining } => write!(f, "{remaining} records had no outcome before the flush's limit"),
        }
    }
}

impl std::error::Error for FlushError {}
